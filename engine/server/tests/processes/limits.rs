//! More than there is room for: works, and bytes on the disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use client::protocol::template::WorkTemplate;
use client::protocol::units::Millis;
use client::protocol::{client_link, worker_link};
use client::{Client, Submission, SubmitEvent, SubmitOptions};
use tokio::task::JoinHandle;
use wire_link::ConnectError;

use crate::kit::{Engine, NullWorkers, Peer, Worker, all_outcomes, command, null, until};

/// Limits that were reached, with the advice when to come again.
type Refusals = Arc<Mutex<Vec<(String, Millis)>>>;

/// Sends rows in the background and notes each time that the engine was busy.
fn submit(client: &Client, template: WorkTemplate, rows: Vec<Vec<u8>>) -> (JoinHandle<Submission>, Refusals) {
    let busy = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&busy);
    let upload = client
        .upload(template, rows.len() as u32, SubmitOptions::default())
        .expect("valid");
    let upload = upload.on_event(move |event| {
        if let SubmitEvent::Busy { limit, retry_after } = event {
            noted.lock().expect("no panic").push((limit, retry_after));
        }
    });
    let sending = tokio::spawn(async move { upload.send(rows).await.expect("accepted in the end") });
    (sending, busy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn works_beyond_the_bound_wait_outside_and_go_on_when_there_is_room() {
    let engine = Engine::start(&["--works-open-max", "100"]);
    let client = engine.client().await;
    let (first, _) = submit(&client, null(), vec![Vec::new(); 100]);
    let first = first.await.expect("no panic");
    let (second, busy) = submit(&client, null(), vec![Vec::new(); 50]);
    until("the engine says that it is busy", async || {
        !busy.lock().expect("no panic").is_empty()
    })
    .await;
    let (limit, retry_after) = busy.lock().expect("no panic")[0].clone();
    assert_eq!(limit, "works");
    assert!(retry_after > Millis(0), "{retry_after}");
    assert!(!second.is_finished());
    assert_eq!(
        client.status().await.expect("an answer").works_queued,
        100,
        "nothing more was taken"
    );

    let _workers = NullWorkers::start(&engine, &["null"], 4);
    let second = second.await.expect("no panic");
    for bag in [first.bag, second.bag] {
        all_outcomes(client.follow(bag).await.expect("the bag is there")).await;
    }
    assert_eq!(client.status().await.expect("an answer").works_done, 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn links_of_one_address_beyond_the_bound_are_refused_until_one_leaves() {
    let engine = Engine::start(&["--links-per-address-max", "2"]);
    let (first, second) = (engine.client().await, engine.client().await);
    // Workers and clients of an address are counted together.
    for (address, alpn) in [
        (engine.ready().clients, client_link::ALPN),
        (engine.ready().workers, worker_link::ALPN),
    ] {
        let refused = Peer::connect(&engine, address, alpn).await.err();
        assert!(matches!(refused, Some(ConnectError::Busy { .. })), "{refused:?}");
    }
    first.status().await.expect("who is there is not disturbed");
    drop(second);
    until("there is room again", async || {
        Client::connect(engine.connect_options()).await.is_ok()
    })
    .await;
}

/// Segments of 2 MiB, as the kit has them, that an engine prepares: 16 MiB and one in reserve.
const SPARES: usize = 9;

/// A small file system in memory; unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`: this machine does not let us mount.
    fn mount(at: &Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(at.to_owned()))
    }

    /// Segments that are prepared and wait.
    fn spares(&self) -> usize {
        let files = fs::read_dir(&self.0)
            .expect("a folder")
            .map(|file| file.expect("it can be listed"));
        let names = files.map(|file| file.file_name().into_string().expect("ASCII"));
        names
            .filter(|name| name.starts_with("spare-") && name.ends_with(".seg"))
            .count()
    }

    /// A file that takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).expect("a file");
        for piece in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; piece]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn on_a_full_disk_submissions_wait_completions_go_on_and_a_restart_works() {
    let mut engine = Engine::prepare(&[]);
    let Some(disk) = SmallDisk::mount(&engine.data(), 160) else {
        println!(
            "no file system can be mounted here, so the engine was NOT run on a full disk; what its journal does \
             then is covered by engine-journal's tests with an injected disk (tests/journal/disk_full.rs)"
        );
        return;
    };
    engine.start_again();
    let client = engine.client().await;
    // Works that are under way, for as long as there is no gate.
    let gate = engine.folder().join("gate");
    let script = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    let _worker = Worker::start(&engine, "gated", 4, "/bin/sh");
    let (running, _) = submit(&client, command(&["/bin/sh", "-c", &script]), vec![vec![b'x']; 4]);
    let running = running.await.expect("no panic");
    until("four works run", async || {
        client.status().await.is_ok_and(|status| status.works_leased == 4)
    })
    .await;

    // Some of these the worker takes ahead of time, and runs once there is a gate; the last ones it does not.
    let (queued, _) = submit(&client, null(), vec![Vec::new(); 1_000]);
    let queued = queued.await.expect("no panic");

    // A segment that is being prepared when the disk gets full would give its room back, or take the last of it.
    until("the journal has all the room that it wants ahead", async || {
        disk.spares() == SPARES
    })
    .await;
    let ballast = disk.fill();
    let rows = vec![vec![b'x'; 32 << 10]; 800];
    let (sending, busy) = submit(
        &client,
        WorkTemplate {
            columns: vec!["x".to_owned()],
            ..null()
        },
        rows,
    );
    until("the disk is full", async || {
        busy.lock()
            .expect("no panic")
            .iter()
            .any(|(limit, _)| limit == "disk")
    })
    .await;
    assert!(!sending.is_finished());

    let workers = NullWorkers::start(&engine, &["null"], 8);
    File::create(gate).expect("a file");
    let done = all_outcomes(client.follow(running.bag).await.expect("the bag is there")).await;
    assert_eq!(done.len(), 4, "what is under way goes on to its end");
    let why = client
        .explain_work(queued.first.offset(999))
        .await
        .expect("an answer");
    assert!(why.summary.starts_with("the disk is full"), "{}", why.summary);

    engine.kill();
    engine.start_again();
    let again = all_outcomes(client.follow(running.bag).await.expect("the bag is there")).await;
    assert_eq!(again, done, "a restart on the full disk has everything");
    assert!(!sending.is_finished(), "there is still no room");

    fs::remove_file(ballast).expect("the ballast goes");
    let submission = tokio::time::timeout(crate::kit::PATIENCE, sending).await;
    let submission = submission
        .expect("intake goes on when there is room")
        .expect("no panic");
    for (bag, works) in [(queued.bag, 1_000), (submission.bag, 800)] {
        let done = all_outcomes(client.follow(bag).await.expect("the bag is there")).await;
        assert_eq!(done.len(), works, "what waited goes on too");
    }
    drop(workers);
    assert!(engine.stop().success());
    // The folder of the test cannot be removed while something is mounted in it.
    drop(disk);
}
