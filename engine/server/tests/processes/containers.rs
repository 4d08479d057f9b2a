//! A worker process that runs containers of a real Docker Engine: a disk that fills up.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::protocol::ids::WorkerId;
use client::protocol::outcome::Outcome as End;
use client::protocol::template::WorkTemplate;
use client::{Client, SubmitOptions};
use testkit::disk::SmallDisk;
use testkit::docker::DockerEngine;

use crate::kit::{Engine, Outcome, Worker, all_outcomes, command, until};

/// Works of this image, all with the same script.
fn script(image: &str, script: &str) -> WorkTemplate {
    WorkTemplate {
        app: format!("docker:{image}"),
        ..command(&["sh", "-c", script])
    }
}

/// Submits so many works and gives their outcomes when all have ended.
async fn run(client: &Client, template: WorkTemplate, works: u32) -> Vec<Outcome> {
    let (upload, follow) = client
        .submit_followed(template, works, SubmitOptions::default())
        .expect("a valid template");
    let rows = vec!["x"; works as usize];
    let (submission, outcomes) = tokio::join!(upload.send(rows), all_outcomes(follow));
    submission.expect("accepted");
    outcomes
}

fn succeeded(outcomes: &[Outcome]) {
    for outcome in outcomes {
        assert_eq!(outcome.outcome, End::Succeeded, "{outcome:?}");
    }
}

/// The folders of works that a worker runs.
fn folders(worker: &Path) -> Vec<PathBuf> {
    let works = fs::read_dir(worker.join("works")).map(|works| works.flatten().collect::<Vec<_>>());
    let paths = works.unwrap_or_default().into_iter().map(|entry| entry.path());
    paths.filter(|path| path.is_dir()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_takes_images_then_holds_the_worker_and_loses_no_work() {
    const WAITS: &str = "while [ ! -e go ]; do sleep 0.1; done; echo went";
    let disk = SmallDisk::new(240);
    let (data, folder) = (disk.path().join("docker"), disk.path().join("worker"));
    fs::create_dir(&data).expect("a folder");
    let docker = DockerEngine::start_in(&data);
    for name in ["busy:1", "kept:1", "old:1", "new:1", "foreign:1"] {
        docker.make_large_image(name, 20);
    }
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    let variables = [
        ("POOL_DOCKER_ALLOW", OsStr::new("*")),
        ("POOL_DOCKER_KEEP", OsStr::new("kept")),
        ("POOL_DOCKER_SOCKET", docker.socket().as_os_str()),
        ("POOL_WORKER_FOLDER", folder.as_os_str()),
        ("POOL_DISK_LOW", OsStr::new("75")),
        ("POOL_DISK_HIGH", OsStr::new("80")),
        ("POOL_DISK_FULL", OsStr::new("92")),
        ("POOL_DISK_LOOK_S", OsStr::new("1")),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_os_str()))
        .collect();
    let _worker = Worker::start_with(&engine, "small", 2, "", &variables);

    // The image that is used longest ago is in use to the end of this.
    let busy = {
        let client = engine.client().await;
        tokio::spawn(async move { run(&client, script("busy:1", WAITS), 1).await })
    };
    until("the long work runs", async || folders(&folder).len() == 1).await;
    let long = folders(&folder).remove(0);
    for image in ["kept:1", "old:1", "new:1"] {
        succeeded(&run(&client, script(image, "true"), 1).await);
        // Uses are told apart by the second.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    let all = ["box:test", "busy:1", "foreign:1", "kept:1", "new:1", "old:1"];
    assert_eq!(docker.images(), all);

    disk.fill("first", 81);
    until("the oldest image is gone", async || {
        !docker.images().contains(&"old:1".to_owned())
    })
    .await;
    assert_eq!(
        docker.images(),
        ["box:test", "busy:1", "foreign:1", "kept:1", "new:1"]
    );
    disk.fill("second", 81);
    until("the next image is gone", async || {
        !docker.images().contains(&"new:1".to_owned())
    })
    .await;
    let left = ["box:test", "busy:1", "foreign:1", "kept:1"];
    assert_eq!(docker.images(), left, "none that is in use, kept or foreign goes");

    disk.fill("third", 96);
    let worker = WorkerId(1);
    until("the worker holds", async || {
        client
            .worker(worker)
            .await
            .is_ok_and(|view| view.problem.is_some())
    })
    .await;
    let why = client.explain_worker(worker).await.expect("an answer").summary;
    let named = format!(
        "the worker takes no work: the disk of {} (its folder) is 9",
        folder.display()
    );
    assert!(
        why.starts_with(&named) && why.ends_with("works come again below 80 %"),
        "{why}"
    );
    assert_eq!(docker.images(), left);

    // What runs goes on, what comes waits.
    let submission = client
        .submit(script("kept:1", "echo x"), vec!["x"; 6], SubmitOptions::default())
        .await
        .expect("accepted");
    let why = client.explain_work(submission.first).await.expect("an answer");
    assert!(
        why.facts
            .iter()
            .any(|fact| fact.contains("could run it but takes no work: the disk")),
        "{why:?}"
    );
    fs::write(long.join("go"), "").expect("there is room for nothing");
    let ended = busy.await.expect("no panic");
    succeeded(&ended);
    assert_eq!((ended[0].stdout().as_str(), ended[0].attempt), ("went\n", 1));
    assert_eq!(client.status().await.expect("an answer").works_leased, 0);

    for file in ["first", "second", "third"] {
        fs::remove_file(disk.path().join(file)).expect("it is there");
    }
    let follow = client.follow(submission.bag).await.expect("it is there");
    let outcomes = all_outcomes(follow).await;
    succeeded(&outcomes);
    assert_eq!(outcomes.len(), 6);
    assert!(
        client
            .worker(worker)
            .await
            .is_ok_and(|view| view.problem.is_none())
    );
}
