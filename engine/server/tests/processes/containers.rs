//! A worker process that runs containers of a real Docker Engine: a disk that fills up, a worker that is killed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::protocol::client_link::Selector;
use client::protocol::ids::WorkerId;
use client::protocol::outcome::Outcome as End;
use client::protocol::outcome::Reason;
use client::protocol::template::{Input, Limits, Retry, WorkTemplate};
use client::protocol::units::Millis;
use client::{Client, Submission, SubmitOptions};
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

/// The variables of a worker with this engine for containers of all images.
fn containers(docker: &DockerEngine) -> Vec<(&'static str, OsString)> {
    vec![
        ("POOL_DOCKER_ALLOW", OsString::from("*")),
        ("POOL_DOCKER_SOCKET", docker.socket().into_os_string()),
    ]
}

fn borrowed<'a>(variables: &'a [(&'static str, OsString)]) -> Vec<(&'static str, &'a OsStr)> {
    variables
        .iter()
        .map(|(name, value)| (*name, value.as_os_str()))
        .collect()
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
    let mut variables = containers(&docker);
    for (name, value) in [
        ("POOL_DOCKER_KEEP", "kept"),
        ("POOL_DISK_LOW", "75"),
        ("POOL_DISK_HIGH", "80"),
        ("POOL_DISK_FULL", "92"),
        ("POOL_DISK_LOOK_S", "1"),
    ] {
        variables.push((name, value.into()));
    }
    variables.push(("POOL_WORKER_FOLDER", folder.clone().into_os_string()));
    let _worker = Worker::start_with(&engine, "small", 2, "", &borrowed(&variables));

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

/// Submits a work, and waits until its container runs in a folder of its own.
async fn begin(engine: &Engine, worker: &Path, template: WorkTemplate) -> (Submission, PathBuf) {
    let client = engine.client().await;
    let before = folders(worker);
    let submission = client
        .submit(template, vec!["the row"], SubmitOptions::default())
        .await
        .expect("accepted");
    let begun = || {
        folders(worker)
            .into_iter()
            .find(|folder| !before.contains(folder) && folder.join("begun").exists())
    };
    until("the work runs", async || begun().is_some()).await;
    (submission, begun().expect("it was there"))
}

async fn ends(client: &Client, submission: Submission) -> Outcome {
    let follow = client.follow(submission.bag).await.expect("it is there");
    let mut outcomes = all_outcomes(follow).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_outlive_their_worker_and_are_taken_up_by_the_next() {
    const WAITS: &str =
        "cat; echo before; >begun; while [ ! -e go ]; do sleep 0.1; done; echo after; echo err >&2";
    let docker = DockerEngine::start();
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    let (variables, folder) = (containers(&docker), engine.folder().join("ant"));
    let start = || Worker::start_with(&engine, "ant", 5, "sh", &borrowed(&variables));
    let mut worker = start();
    let reads = |script: &str| WorkTemplate {
        input: Input::Row,
        ..self::script("box:test", script)
    };
    let limited = WorkTemplate {
        limits: Limits {
            wall_clock: Millis(15_000),
            ..Limits::default()
        },
        retry: Retry {
            attempts_max: 1,
            ..Retry::default()
        },
        ..script("box:test", ">begun; sleep 600")
    };
    let began = Instant::now();
    let (limited, _) = begin(&engine, &folder, limited).await;
    let (meanwhile, meanwhile_folder) = begin(&engine, &folder, reads(WAITS)).await;
    let (later, later_folder) = begin(&engine, &folder, reads(WAITS)).await;
    let (cancelled, _) = begin(&engine, &folder, script("box:test", WAITS)).await;
    let process = command(&[
        "sh",
        "-c",
        "if [ $POOL_ATTEMPT = 1 ]; then >begun; sleep 600; fi; echo again",
    ]);
    let (process, _) = begin(&engine, &folder, process).await;
    assert_eq!(docker.containers().len(), 4);

    worker.kill();
    fs::write(meanwhile_folder.join("go"), "").expect("it is there");
    until("it has ended while nobody looked", async || {
        let running = docker.docker(&["ps", "--quiet"]).stdout;
        String::from_utf8_lossy(&running).lines().count() == 3
    })
    .await;
    let changed = client.cancel(Selector::Work(cancelled.first)).await;
    assert_eq!(changed.expect("an answer"), 1);
    let _worker = start();

    let whole = "the rowbefore\nafter\n";
    let ended = ends(&client, meanwhile).await;
    assert_eq!(
        (ended.outcome, ended.attempt, ended.stdout().as_str()),
        (End::Succeeded, 1, whole)
    );
    let ended = ends(&client, process).await;
    assert_eq!(
        (ended.outcome, ended.attempt, ended.stdout().as_str()),
        (End::Succeeded, 2, "again\n")
    );
    fs::write(later_folder.join("go"), "").expect("it is there");
    let ended = ends(&client, later).await;
    assert_eq!(
        (ended.outcome, ended.attempt, ended.stdout().as_str()),
        (End::Succeeded, 1, whole)
    );
    let ended = ends(&client, limited).await;
    let took = began.elapsed();
    let detail = client.work(limited.first).await.expect("it is remembered");
    assert_eq!((ended.attempt, detail.work.reason), (1, Reason::WallClock));
    assert!(
        (15..40).contains(&took.as_secs()),
        "its time goes on from when it began: {took:?}"
    );
    until("nothing is left", async || {
        docker.containers().is_empty() && folders(&folder).is_empty()
    })
    .await;
    assert_eq!(
        fs::read_dir(folder.join("works")).expect("it is there").count(),
        0
    );
    until("no report is kept", async || {
        fs::metadata(folder.join("reports")).is_ok_and(|file| file.len() == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_while_the_engine_was_away_is_reported_by_the_workers_next_process() {
    const WAITS: &str = "echo began; >begun; while [ ! -e go ]; do sleep 0.1; done; echo done";
    let docker = DockerEngine::start();
    let mut engine = Engine::start(&[]);
    let (variables, folder) = (containers(&docker), engine.folder().join("ant"));
    let mut worker = Worker::start_with(&engine, "ant", 2, "sh", &borrowed(&variables));
    let (contained, one) = begin(&engine, &folder, script("box:test", WAITS)).await;
    let (process, other) = begin(&engine, &folder, command(&["sh", "-c", WAITS])).await;
    engine.kill();
    for folder in [&one, &other] {
        fs::write(folder.join("go"), "").expect("it is there");
    }
    until("both have ended and are gone", async || {
        docker.containers().is_empty() && folders(&folder).is_empty()
    })
    .await;
    // A process is kept a moment after its folder has gone.
    until("both are kept", async || {
        fs::read(folder.join("reports"))
            .is_ok_and(|kept| kept.windows(10).filter(|text| text == b"began\ndone").count() == 2)
    })
    .await;
    worker.kill();
    engine.start_again();
    let _worker = Worker::start_with(&engine, "ant", 2, "sh", &borrowed(&variables));
    let client = engine.client().await;
    for submission in [contained, process] {
        let ended = ends(&client, submission).await;
        assert_eq!(
            (ended.outcome, ended.attempt, ended.stdout().as_str()),
            (End::Succeeded, 1, "began\ndone\n")
        );
    }
}
