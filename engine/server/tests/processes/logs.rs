//! Output of works that run, from their worker by way of the engine to a client.

use std::fs;
use std::time::{Duration, Instant};

use client::protocol::ids::{Attempt, WorkId};
use client::protocol::log::LogStream;
use client::protocol::outcome::Outcome as Ended;
use client::protocol::template::WorkTemplate;
use client::protocol::units::Millis;
use client::protocol::view::WorkState;
use client::{Client, LogEvent, LogOptions, Logs, SubmitOptions};
use testkit::docker::DockerEngine;

use crate::kit::{Engine, NullWorkers, Worker, command, null, until};

async fn submit(client: &Client, template: WorkTemplate) -> WorkId {
    let upload = client
        .upload(template, 1, SubmitOptions::default())
        .expect("a valid template");
    upload.send(["x"]).await.expect("accepted").first
}

/// Reads until a stream has come so far; what was read of it.
async fn read(logs: &mut Logs, of: LogStream, upto: usize) -> String {
    let mut text = Vec::new();
    while text.len() < upto {
        match logs.next().await.expect("a link") {
            Some(LogEvent::Output {
                stream,
                missing,
                bytes,
                ..
            }) if stream == of => {
                assert_eq!(missing, 0, "nothing of so little is left out");
                text.extend_from_slice(&bytes);
            }
            Some(LogEvent::Output { .. }) => {}
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8(text).expect("text")
}

/// Prints a line, waits for a flag, prints another; fails the first time.
fn two_lines(engine: &Engine) -> WorkTemplate {
    let script = format!(
        "echo begun; while [ ! -e {0}/go ]; do sleep 0.02; done; echo gone on; echo bad >&2; mkdir {0}/again",
        engine.folder().display()
    );
    let mut template = command(&["/bin/sh", "-c", &script]);
    // Time to hear of the first attempt's end before the next begins.
    template.retry.backoff_min = Millis::from_secs(2);
    template.retry.backoff_max = Millis::from_secs(2);
    template
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_work_is_followed_from_its_first_word_over_an_engines_death_to_its_last_attempt() {
    let mut engine = Engine::start(&[]);
    let client = engine.client().await;
    let work = submit(&client, two_lines(&engine)).await;
    // Before anybody can run it.
    let mut logs = client.logs(work, LogOptions::default());
    let both = async {
        tokio::join!(read(&mut logs, LogStream::Stdout, 6), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Worker::start(&engine, "ant", 1, "/bin/sh")
        })
    };
    let (begun, _ant) = both.await;
    assert_eq!(begun, "begun\n");
    let once = LogOptions {
        follow: false,
        ..LogOptions::default()
    };
    let mut looked = client.logs(work, once);
    assert_eq!(read(&mut looked, LogStream::Stdout, 6).await, "begun\n");
    let ended = looked.next().await.expect("a link");
    // Whether the engine has been told yet that it runs is a matter of milliseconds.
    let Some(LogEvent::Ended {
        attempt: Attempt(1),
        state: WorkState::Leased | WorkState::Running,
    }) = ended
    else {
        panic!("{ended:?}");
    };
    engine.kill();
    // The first try of the work fails, because this is there.
    fs::create_dir(engine.folder().join("again")).expect("a folder");
    engine.start_again();
    // Until worker and client are back: what an attempt prints that ends before is heard by nobody.
    until("it runs", async || {
        client
            .work(work)
            .await
            .is_ok_and(|known| known.work.state == WorkState::Running)
    })
    .await;
    let settled = tokio::time::timeout(Duration::from_secs(2), logs.next()).await;
    assert!(settled.is_err(), "nothing new is printed: {settled:?}");
    fs::write(engine.folder().join("go"), "").expect("own folder");
    assert_eq!(read(&mut logs, LogStream::Stdout, 8).await, "gone on\n");
    let mut events = Vec::new();
    while let Some(event) = logs.next().await.expect("a link") {
        if event == (LogEvent::AttemptEnded { attempt: Attempt(1) }) {
            fs::remove_dir(engine.folder().join("again")).expect("it is there");
        }
        events.push(event);
    }
    assert_eq!(
        events[events.len() - 1],
        LogEvent::Ended {
            attempt: Attempt(2),
            state: WorkState::Done(Ended::Succeeded),
        }
    );
    let ended = events
        .iter()
        .filter(|event| matches!(event, LogEvent::AttemptEnded { .. }))
        .count();
    assert_eq!(ended, 1, "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_output_that_is_followed_holds_up_no_work() {
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    let _ant = Worker::start(&engine, "ant", 2, "/bin/sh");
    let flood = submit(
        &client,
        command(&["/bin/sh", "-c", "timeout 20 yes 'much ado about nothing'; true"]),
    )
    .await;
    let mut logs = client.logs(flood, LogOptions::default());
    // A reader that is far too slow, on a link of its own.
    let slow = engine.client().await;
    let mut unread = slow.logs(flood, LogOptions::default());
    unread.next().await.expect("a link");
    let heard = logs.next().await.expect("a link");
    assert!(matches!(heard, Some(LogEvent::Output { .. })), "{heard:?}");
    let _null = NullWorkers::start(&engine, &["null-1"], 4);
    let began = Instant::now();
    for _ in 0..20 {
        let work = submit(&client, null()).await;
        client.wait_work(work).await.expect("it ends");
    }
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(10),
        "twenty works one after the other took {took:?}"
    );
    let mut missing = 0;
    while missing == 0 {
        if let Some(LogEvent::Output {
            missing: left_out, ..
        }) = logs.next().await.expect("a link")
        {
            missing += left_out;
        }
    }
    drop(logs);
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_can_be_followed_too() {
    let docker = DockerEngine::start();
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    let socket = docker.socket().into_os_string();
    let variables = [
        ("POOL_DOCKER_ALLOW", "*".as_ref()),
        ("POOL_DOCKER_SOCKET", socket.as_os_str()),
    ];
    let _ant = Worker::start_with(&engine, "ant", 1, "", &variables);
    let script = "echo begun; while [ ! -e go ]; do sleep 0.1; done; echo gone on; echo bad >&2";
    let template = WorkTemplate {
        app: "docker:box:test".to_owned(),
        ..command(&["sh", "-c", script])
    };
    let work = submit(&client, template).await;
    let mut logs = client.logs(work, LogOptions::default());
    assert_eq!(read(&mut logs, LogStream::Stdout, 6).await, "begun\n");
    let state = client.work(work).await.expect("known").work.state;
    assert!(matches!(state, WorkState::Leased | WorkState::Running), "{state}");
    let folders = fs::read_dir(engine.folder().join("ant/works")).expect("it is there");
    let mut folders = folders.flatten().map(|entry| entry.path());
    let own = folders.find(|path| path.is_dir()).expect("the work's folder");
    fs::write(own.join("go"), "").expect("the worker's user may");
    assert_eq!(read(&mut logs, LogStream::Stdout, 8).await, "gone on\n");
    until("it has ended", async || {
        matches!(logs.next().await.expect("a link"), Some(LogEvent::Ended { .. }))
    })
    .await;
}
