//! Containers of a real Docker Engine: what works do in them, what they try and what is left of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::docker::{DockerEngine, IMAGE};
use wire_protocol::ids::{Attempt as AttemptId, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::outcome::{Output, Reason};
use wire_protocol::template::{Input, Limits, WorkTemplate};
use wire_protocol::units::{Bytes, Millis};
use worker_agent::executor::{
    Attempt, Bounds, Docker, DockerConfig, Ended, Executor, Folder, Gpus, ImageAllow, Kill, Killer, Printed,
    Running,
};

/// A worker's executor, and the engine that it uses.
struct Setup {
    engine: DockerEngine,
    _parent: tempfile::TempDir,
    folder: PathBuf,
    executor: Arc<Docker>,
}

impl Setup {
    fn new() -> Self {
        Self::allowing(&["box", "nowhere.invalid/*"], "worker")
    }

    /// With a folder of this name.
    fn allowing(images: &[&str], name: &str) -> Self {
        let engine = DockerEngine::start();
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join(name);
        let executor = executor(&engine, &folder, images);
        Self {
            _parent: parent,
            engine,
            folder,
            executor,
        }
    }

    fn start(&self, work: u64, template: WorkTemplate, row: &[u8]) -> (Killer, Running) {
        let (killer, kill) = Kill::pair();
        let attempt = Attempt {
            token: LeaseToken {
                work: WorkId(work),
                epoch: Epoch(1),
                attempt: AttemptId(1),
                shard: Shard(0),
            },
            template: Arc::new(template),
            row: row.into(),
            printed: Printed::default(),
        };
        (killer, Arc::clone(&self.executor).run(attempt, kill))
    }

    /// Runs it to its end; neither container nor folder is left.
    async fn run(&self, work: u64, template: WorkTemplate, row: &[u8]) -> Ended {
        let (_killer, running) = self.start(work, template, row);
        let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
        let left = fs::read_dir(self.folder.join("works"))
            .expect("it is there")
            .count();
        assert_eq!(left, 0, "its folder is removed");
        assert_eq!(self.engine.containers(), [""; 0], "its container is removed");
        ended.expect("it ends in time")
    }
}

fn executor(engine: &DockerEngine, folder: &Path, images: &[&str]) -> Arc<Docker> {
    let config = DockerConfig {
        socket: engine.socket(),
        folder: Arc::new(Folder::open(folder).expect("it is ours")),
        worker: "ant".to_owned(),
        allow: ImageAllow::new(images.iter().copied()).expect("images"),
        network: ImageAllow::default(),
        keep: ImageAllow::default(),
        gpus: Gpus::new(vec!["0".to_owned()]),
        pinned: false,
        bounds: Bounds {
            memory: Bytes::from_mib(64),
            cpu_milli: 0,
            processes: 32,
            disk: Bytes::from_mib(32),
            runtime: None,
        },
        pull_within: Duration::from_secs(10),
        files: None,
    };
    Arc::new(Docker::connect(config).expect("its socket is there"))
}

fn command(words: &[&str]) -> WorkTemplate {
    WorkTemplate {
        app: format!("docker:{IMAGE}"),
        command: words.iter().map(ToString::to_string).collect(),
        ..WorkTemplate::default()
    }
}

fn shell(script: &str) -> WorkTemplate {
    command(&["sh", "-c", script])
}

fn output(ended: &Ended) -> (String, String) {
    let output = Output::parse(&ended.result).expect("an executor's result is an output");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

fn said(ended: &Ended) -> String {
    let (stdout, stderr) = output(ended);
    format!("{ended:?}\n{stdout}\n{stderr}")
}

#[tokio::test]
async fn a_work_runs_in_a_container_and_says_how_it_ended() {
    let setup = Setup::new();
    let ended = setup
        .run(
            1,
            shell("echo out; echo err >&2; echo kept > file; cat file"),
            b"",
        )
        .await;
    assert_eq!(
        (ended.reason, ended.exit_code),
        (Reason::None, 0),
        "{}",
        said(&ended)
    );
    assert_eq!(output(&ended), ("out\nkept\n".to_owned(), "err\n".to_owned()));

    let ended = setup.run(2, shell("exit 3"), b"").await;
    assert_eq!(
        (ended.reason, ended.exit_code),
        (Reason::ExitCode, 3),
        "{}",
        said(&ended)
    );

    let mut template = command(&["echo", "tile {tile}"]);
    template.columns = vec!["tile".to_owned()];
    let ended = setup.run(3, template, b"7").await;
    assert_eq!(output(&ended).0, "tile 7\n", "{}", said(&ended));

    for (input, row, given) in [
        (Input::Row, b"the row".to_vec(), "the row"),
        (Input::Inline(b"inline".to_vec()), Vec::new(), "inline"),
    ] {
        let template = WorkTemplate {
            input,
            ..command(&["cat"])
        };
        let ended = setup.run(4, template, &row).await;
        assert_eq!(output(&ended).0, given, "{}", said(&ended));
    }

    let mut template = shell("id -u; pwd; echo $HOME $A $POOL_WORK_ID $POOL_ATTEMPT; env | wc -l");
    template.env = vec![("A".to_owned(), "x y".to_owned())];
    let ended = setup.run(5, template, b"").await;
    assert!(
        output(&ended).0.starts_with("65534\n/work\n/work x y 5 1\n"),
        "{}",
        said(&ended)
    );

    let limits = Limits {
        wall_clock: Millis(500),
        ..Limits::default()
    };
    let template = WorkTemplate {
        limits,
        ..shell("echo begins; sleep 60")
    };
    let began = Instant::now();
    let ended = setup.run(6, template, b"").await;
    assert_eq!(ended.reason, Reason::WallClock, "{}", said(&ended));
    assert_eq!(output(&ended).0, "begins\n");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_the_reason() {
    let setup = Setup::new();
    for (app, words, reason, says) in [
        (
            "docker:evil/miner",
            &["true"][..],
            Reason::NotAllowed,
            "does not allow the image docker.io/evil/miner:latest",
        ),
        (
            "docker:Evil!",
            &["true"],
            Reason::BadParameters,
            "`Evil!` is no image",
        ),
        ("docker", &["true"], Reason::BadParameters, "is no image"),
        (
            "docker:nowhere.invalid/a",
            &["true"],
            Reason::InputMissing,
            "cannot be pulled",
        ),
        (
            "docker:box:test",
            &["nothing-of-this-name"],
            Reason::CannotStart,
            "nothing-of-this-name",
        ),
        ("docker:box:test", &[], Reason::CannotStart, "o command"),
        (
            "docker:box:test",
            &["echo", "{x}"],
            Reason::BadParameters,
            "names no column",
        ),
    ] {
        let template = WorkTemplate {
            app: app.to_owned(),
            ..command(words)
        };
        let ended = setup.run(1, template, b"").await;
        assert_eq!(ended.reason, reason, "{app} {words:?}: {}", said(&ended));
        assert!(
            output(&ended).1.contains(says),
            "{app} {words:?}: {}",
            said(&ended)
        );
    }
}

#[tokio::test]
async fn gpus_that_docker_cannot_give_are_refused_with_the_reason_and_hidden_from_others() {
    let setup = Setup::new();
    let mut template = shell("true");
    template.requirements.gpus = 1;
    // This test is for machines without NVIDIA's toolkit, as those of the tests are.
    for _ in 0..2 {
        let ended = setup.run(1, template.clone(), b"").await;
        assert_eq!(ended.reason, Reason::ExecutorFailed, "{}", said(&ended));
        let text = output(&ended).1;
        assert!(
            text.contains("Docker has no driver for GPUs") && text.contains("--gpus"),
            "{text}"
        );
    }
    template.requirements.gpus = 2;
    let ended = setup.run(2, template, b"").await;
    assert_eq!(ended.reason, Reason::NoRoom, "{}", said(&ended));
    let mut template = shell("echo $NVIDIA_VISIBLE_DEVICES");
    template.env = vec![("NVIDIA_VISIBLE_DEVICES".to_owned(), "all".to_owned())];
    let ended = setup.run(3, template, b"").await;
    assert_eq!(
        output(&ended).0,
        "void\n",
        "a work cannot talk itself into more: {}",
        said(&ended)
    );
}

#[tokio::test]
async fn what_a_work_tries_stays_in_its_container() {
    let setup = Setup::new();
    let canary = tempfile::tempdir().expect("a folder");
    fs::write(canary.path().join("secret"), "x").expect("a file");

    // A link to the host's files leads nowhere.
    let link = format!("ln -s {0}/secret out; ls {0}; cat out", canary.path().display());
    for (script, says) in [
        ("touch /x /bin/x", "touch: /bin/x: Read-only file system"),
        ("mknod sda b 8 0", "mknod: sda: Operation not permitted"),
        ("busybox mount -o remount,rw /", "mount: permission denied"),
        (
            "ls /var/run/docker.sock /run/docker.sock",
            "ls: /run/docker.sock: No such file or directory",
        ),
        (&*link, "cat: can't open 'out': No such file or directory"),
    ] {
        let ended = setup.run(1, shell(script), b"").await;
        assert_eq!(ended.reason, Reason::ExitCode, "{script}: {}", said(&ended));
        assert!(output(&ended).1.contains(says), "{script}: {}", said(&ended));
        assert_eq!(output(&ended).0, "", "{script}: nothing is found");
    }
    let own = "busybox grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status; ls /sys/class/net; ls -d /proc/[0-9]*";
    let ended = setup.run(2, shell(own), b"").await;
    let found = output(&ended).0;
    let lines: Vec<_> = found.lines().map(|line| line.replace('\t', " ")).collect();
    let none = "0000000000000000";
    let expected = [
        format!("CapEff: {none}"),
        format!("CapBnd: {none}"),
        "NoNewPrivs: 1".to_owned(),
        "Seccomp: 2".to_owned(),
        "lo".to_owned(),
        "/proc/1".to_owned(),
    ];
    assert_eq!(lines[..6], expected, "{found}");
    assert!(lines.len() < 10, "nobody's processes but its own: {found}");

    let ended = setup
        .run(
            3,
            shell(&format!(
                "yes {} | head -c 50000000; echo done >&2",
                "a".repeat(99)
            )),
            b"",
        )
        .await;
    let kept = Output::parse(&ended.result).expect("an output");
    assert_eq!(
        (ended.reason, kept.stdout_cut),
        (Reason::None, true),
        "{}",
        kept.stdout.len()
    );

    let ended = setup
        .run(
            4,
            shell("for i in $(busybox seq 100); do sleep 9 & done; wait"),
            b"",
        )
        .await;
    assert!(output(&ended).1.contains("can't fork"), "{}", said(&ended));

    let ended = setup
        .run(5, shell("x=$(yes | head -c 300000000); echo no"), b"")
        .await;
    assert_eq!(ended.reason, Reason::OutOfMemory, "{}", said(&ended));

    // One file stops at its bound, many files at theirs, and so does what is hidden from whoever counts.
    let ended = setup
        .run(
            6,
            shell("dd if=/dev/zero of=f bs=1M count=100; busybox stat -c %s f"),
            b"",
        )
        .await;
    assert!(
        output(&ended).0 == "33554432\n" || ended.reason == Reason::DiskLimit,
        "{}",
        said(&ended)
    );
    let many =
        "i=0; while true; do dd if=/dev/zero of=f$i bs=1M count=4 2>/dev/null; i=$((i+1)); sleep 0.02; done";
    let deep = "while mkdir d && cd d; do :; done; sleep 60";
    for script in [many, deep] {
        let ended = setup.run(7, shell(script), b"").await;
        assert_eq!(ended.reason, Reason::DiskLimit, "{script}: {}", said(&ended));
    }
    let ended = setup
        .run(
            8,
            shell("for i in 1 2 3; do dd if=/dev/zero of=/tmp/f$i bs=1M count=30 || exit 1; done"),
            b"",
        )
        .await;
    let full = output(&ended).1.contains("No space left on device");
    assert!(full || ended.reason == Reason::OutOfMemory, "{}", said(&ended));

    // The worker has survived all of it.
    let ended = setup.run(9, shell("echo well"), b"").await;
    assert_eq!(output(&ended).0, "well\n", "{}", said(&ended));
}

#[tokio::test]
async fn a_work_whose_image_is_being_fetched_can_be_cancelled() {
    // A registry that takes connections and says nothing.
    let registry = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    registry.set_nonblocking(true).expect("it can be");
    let image = format!("{}/a", registry.local_addr().expect("it is bound"));
    let setup = Setup::allowing(&[&image], "works");
    let template = WorkTemplate {
        app: format!("docker:{image}"),
        ..command(&["true"])
    };
    let (killer, running) = setup.start(1, template, b"");
    let running = tokio::spawn(running);
    let mut taken = Vec::new();
    until(|| {
        taken.extend(registry.accept());
        !taken.is_empty()
    })
    .await;
    killer.kill();
    let ended = tokio::time::timeout(Duration::from_secs(2), running).await;
    let ended = ended.expect("it does not wait for the image").expect("no panic");
    assert_eq!(ended.reason, Reason::ExecutorFailed, "{}", said(&ended));
}

#[tokio::test]
async fn a_folder_may_have_any_name_and_an_image_declare_any_volume() {
    let setup = Setup::allowing(&["box"], "a:b,c d");
    setup
        .engine
        .make_image("box:volumes", &["VOLUME /work /tmp /data"]);
    let template = WorkTemplate {
        app: "docker:box:volumes".to_owned(),
        ..shell("echo x > f && cat f && echo y > /data/f && cat /data/f && busybox df -m /data | tail -n 1")
    };
    let ended = setup.run(1, template, b"").await;
    let found = output(&ended).0;
    assert!(found.starts_with("x\ny\ntmpfs"), "{}", said(&ended));
    assert!(found.contains(" 64 "), "as large as it may be: {found}");
}

#[tokio::test]
async fn whoever_dies_leaves_nothing_behind() {
    let mut setup = Setup::new();
    // The work is cancelled.
    let (killer, running) = setup.start(1, shell("sleep 60"), b"");
    let running = tokio::spawn(running);
    until(|| setup.engine.containers().len() == 1).await;
    killer.kill();
    running.await.expect("no panic");
    assert_eq!(setup.engine.containers(), [""; 0]);

    // The attempt is dropped.
    let (_killer, running) = setup.start(2, shell("sleep 60"), b"");
    let running = tokio::spawn(running);
    until(|| setup.engine.containers().len() == 1).await;
    running.abort();
    until(|| setup.engine.containers().is_empty()).await;

    // The worker was killed: the next one of its name removes its containers, and nobody else's.
    for worker in ["ant", "bee"] {
        let label = format!("workerpool.worker={worker}");
        let left = setup.engine.docker(&[
            "run",
            "--detach",
            "--network=none",
            "--name",
            worker,
            "--label",
            &label,
            IMAGE,
            "sleep",
            "60",
        ]);
        assert!(left.status.success(), "{left:?}");
    }
    Arc::clone(&setup.executor).begin().await;
    assert_eq!(setup.engine.containers(), ["bee"]);
    assert!(setup.engine.docker(&["rm", "--force", "bee"]).status.success());

    // Docker is killed: the work has failed, the worker has not.
    let gives_way = "trap exit TERM; sleep 60 & wait";
    let (_killer, running) = setup.start(3, shell(gives_way), b"");
    let running = tokio::spawn(running);
    until(|| !setup.engine.containers().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    setup.engine.kill();
    let ended = running.await.expect("no panic");
    assert_eq!(ended.reason, Reason::ExecutorFailed, "{}", said(&ended));
    let (_killer, running) = setup.start(4, shell("echo no"), b"");
    let ended = running.await;
    assert_eq!(ended.reason, Reason::ExecutorFailed, "{}", said(&ended));
    setup.engine.start_again();
    Arc::clone(&setup.executor).begin().await;
    assert_eq!(setup.engine.containers(), [""; 0], "what was left is removed");
    let (_killer, running) = setup.start(5, shell("echo well"), b"");
    let ended = running.await;
    assert_eq!(output(&ended).0, "well\n", "{}", said(&ended));
}

async fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come to pass");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
