//! Workers whose machine has more to do than it can: they are slow, not dead.

use std::sync::Arc;
use std::time::Duration;

use client::SubmitOptions;
use client::protocol::outcome::{Outcome as Ended, Reason};
use client::protocol::template::WorkTemplate;
use worker_agent::executor::{Attempt, Ended as Report, Executor, Kill, Running};

use crate::kit::{Engine, InnerWorker, Worker, all_outcomes, command};

/// Keeps the thread of its worker, shell and all, to itself for far longer than the lease.
struct Blocking;

impl Executor for Blocking {
    fn name(&self) -> &'static str {
        "blocking"
    }

    fn run(self: Arc<Self>, _attempt: Attempt, _kill: Kill) -> Running {
        Box::pin(async {
            std::thread::sleep(Duration::from_secs(5));
            Report {
                reason: Reason::None,
                exit_code: 0,
                elapsed: Duration::ZERO,
                result: Vec::new(),
            }
        })
    }
}

/// Eight commands that never pause, for each core that there is, and a worker that cannot come around; the lease ends
/// after one and a half seconds of silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_not_lost_for_being_busy() {
    let engine = Engine::start(&["--lease-timeout-ms", "1500"]);
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get() as u32);
    let _loops = Worker::start(&engine, "loops", 8 * cores, "/bin/sh");
    let _blocked = InnerWorker::start(&engine, "blocked", 1, vec![Arc::new(Blocking)]);
    let client = engine.client().await;
    let endless = command(&["/bin/sh", "-c", "timeout 6 sh -c 'while :; do :; done'; true"]);
    let blocking = WorkTemplate {
        app: "blocking".to_owned(),
        columns: vec!["x".to_owned()],
        ..WorkTemplate::default()
    };
    let run = async |template: WorkTemplate, works: u32| {
        let (upload, follow) = client
            .submit_followed(template, works, SubmitOptions::default())
            .expect("a valid template");
        let rows = vec!["x"; works as usize];
        let (submission, outcomes) = tokio::join!(upload.send(rows), all_outcomes(follow));
        submission.expect("accepted");
        outcomes
    };
    let (loops, blocked) = tokio::join!(run(endless, 8 * cores), run(blocking, 1));
    for outcome in loops.iter().chain(&blocked) {
        assert_eq!((outcome.outcome, outcome.attempt), (Ended::Succeeded, 1));
    }
    assert_eq!((loops.len(), blocked.len()), (8 * cores as usize, 1));
    assert!(!engine.log().contains("nothing was heard"), "{}", engine.log());
}
