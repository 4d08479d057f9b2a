//! The process executor with real processes.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire_protocol::ids::{Attempt as AttemptNumber, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::outcome::{Output, Reason};
use wire_protocol::template::{Input, Limits, WorkTemplate};
use wire_protocol::units::{Bytes, Millis};
use worker_agent::executor::{
    Allow, Attempt, Ended, Executor, Folder, Gpus, Kill, Killer, Printed, Process, ProcessConfig, Running,
    Sandbox, Seccomp, Sleep, WORK_NICE,
};

/// A command that would run until somebody stops it.
const FOR_EVER: &str = "sleep 600";

pub(crate) struct Rig {
    folder: tempfile::TempDir,
    executor: Arc<Process>,
}

impl Rig {
    fn new() -> Self {
        Self::allowing(&["sh", "cat", "env", "true"])
    }

    fn allowing(commands: &[&str]) -> Self {
        Self::with(commands, None)
    }

    fn with(commands: &[&str], sandbox: Option<Sandbox>) -> Self {
        Self::with_gpus(commands, sandbox, &[])
    }

    fn with_gpus(commands: &[&str], sandbox: Option<Sandbox>, gpus: &[&str]) -> Self {
        Self::set_up(commands, sandbox, gpus, None)
    }

    /// With a filter of system calls, and a network for these.
    pub(crate) fn filtered(commands: &[&str], network: &[&str]) -> Self {
        let path = std::env::var_os("PATH").expect("tests have a PATH");
        let network = Allow::new(network.iter().copied(), &path).expect("every system has these");
        let seccomp = Seccomp::new(network).expect("this kernel has seccomp");
        Self::set_up(commands, None, &[], Some(seccomp))
    }

    fn set_up(commands: &[&str], sandbox: Option<Sandbox>, gpus: &[&str], seccomp: Option<Seccomp>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = std::env::var_os("PATH").expect("tests have a PATH");
        let executor = Process::new(ProcessConfig {
            folder: Arc::new(Folder::open(&folder.path().join("worker")).expect("it is free")),
            allow: Allow::new(commands.iter().copied(), &path).expect("every system has these"),
            shim: PathBuf::from(env!("CARGO_BIN_EXE_pool-worker")),
            sandbox,
            seccomp,
            files: None,
            gpus: Gpus::new(gpus.iter().map(ToString::to_string).collect()),
        });
        Self {
            folder,
            executor: Arc::new(executor),
        }
    }

    fn works(&self) -> PathBuf {
        self.folder.path().join("worker/works")
    }

    fn start(&self, template: WorkTemplate, row: &[u8]) -> (Killer, Running) {
        let (killer, kill) = Kill::pair();
        let attempt = Attempt {
            token: LeaseToken {
                work: WorkId(77),
                epoch: Epoch(1),
                attempt: AttemptNumber(2),
                shard: Shard(0),
            },
            template: Arc::new(template),
            row: row.into(),
            printed: Printed::default(),
        };
        (killer, Arc::clone(&self.executor).run(attempt, kill))
    }

    /// Runs it to its end, and checks that nothing of it is left in the worker's folder.
    pub(crate) fn run(&self, template: WorkTemplate, row: &[u8]) -> Ended {
        let (_killer, running) = self.start(template, row);
        let ended = block_on(running);
        assert_eq!(entries(&self.works()), 0, "its folder is removed");
        ended
    }

    pub(crate) fn shell(&self, script: &str) -> Ended {
        self.run(shell(script), b"")
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        tokio::time::timeout(Duration::from_secs(60), future)
            .await
            .expect("it ends in time")
    })
}

pub(crate) fn command(words: &[&str]) -> WorkTemplate {
    WorkTemplate {
        command: words.iter().map(ToString::to_string).collect(),
        ..WorkTemplate::default()
    }
}

pub(crate) fn shell(script: &str) -> WorkTemplate {
    command(&["sh", "-c", script])
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).expect("it is there").count()
}

fn output(ended: &Ended) -> Output<'_> {
    Output::parse(&ended.result).expect("an executor's result is an output")
}

pub(crate) fn stdout(ended: &Ended) -> &str {
    str::from_utf8(output(ended).stdout).expect("text")
}

pub(crate) fn stderr(ended: &Ended) -> &str {
    str::from_utf8(output(ended).stderr).expect("text")
}

/// Waits until this process is gone, or dead and only not reaped by whoever inherited it.
pub(crate) fn assert_dies(pid: &str) {
    let pid: u32 = pid.trim().parse().expect("a pid");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_dead(pid) {
        assert!(Instant::now() < deadline, "{pid} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn is_dead(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with(['Z', 'X']))
        })
        .unwrap_or(true)
}

#[test]
fn a_command_comes_after_its_worker_when_processors_are_short() {
    let own = fs::read_to_string("/proc/self/stat").expect("every process has it");
    // The nineteenth field, counted from behind the name (proc_pid_stat(5)).
    let nice = |stat: &str| -> i32 {
        let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
        rest.split(' ')
            .nth(16)
            .expect("many fields")
            .parse()
            .expect("a number")
    };
    let ended = Rig::new().run(command(&["cat", "/proc/self/stat"]), b"");
    let output = Output::parse(&ended.result).expect("a command's result");
    let theirs = nice(std::str::from_utf8(output.stdout).expect("text"));
    assert_eq!(theirs, (nice(&own) + WORK_NICE).min(19));
}

#[test]
fn a_sandbox_keeps_a_command_from_what_is_none_of_its_business() {
    assert!(
        Sandbox::is_supported(),
        "this kernel has no Landlock; tests need 5.13 or later"
    );
    let outside = tempfile::tempdir().expect("a folder");
    let path = |name: &str| outside.path().join(name).display().to_string();
    for name in ["secret", "shared", "kept"] {
        fs::write(path(name), "old\n").expect("a file");
    }
    let rig = Rig::with(
        &["sh"],
        Some(Sandbox {
            read: vec![path("shared").into()],
            write: vec![path("kept").into()],
        }),
    );
    let tried = |script: &str| rig.shell(script);
    for script in [
        format!("cat {}", path("secret")),
        format!("ls {}", outside.path().display()),
        format!("echo new > {}", path("secret")),
        format!("echo new > {}", path("shared")),
        format!("touch {}", path("new")),
        format!("ln -s {} link && cat link", path("secret")),
        // Of the worker itself: its identity, and other works.
        "cat ../../uid || ls ..".to_owned(),
        "touch ../other".to_owned(),
        "touch /tmp/escaped /var/tmp/escaped".to_owned(),
    ] {
        let ended = tried(&script);
        assert_eq!(
            ended.reason,
            Reason::ExitCode,
            "{script}: {} {}",
            stdout(&ended),
            stderr(&ended)
        );
    }
    assert_eq!(fs::read_to_string(path("secret")).expect("it is there"), "old\n");
    for script in [
        "echo x > file && cat file && mkdir -p a/b && rm -r a".to_owned(),
        "echo x > /dev/null && head -c 3 /dev/zero > /dev/null && cat /etc/passwd > /dev/null".to_owned(),
        format!("cat {}", path("shared")),
        format!("echo new > {}", path("kept")),
    ] {
        let ended = tried(&script);
        assert_eq!(
            ended.reason,
            Reason::None,
            "{script}: {} {}",
            stdout(&ended),
            stderr(&ended)
        );
    }
    assert_eq!(fs::read_to_string(path("kept")).expect("it is there"), "new\n");

    let mut other = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("it starts");
    let ended = tried(&format!("kill -9 {}", other.id()));
    assert_eq!(ended.reason, Reason::ExitCode, "{}", stderr(&ended));
    assert!(matches!(other.try_wait(), Ok(None)), "it lives");
    other.kill().expect("our child");
    other.wait().expect("our child");
}

#[test]
fn a_command_ends_with_its_code_and_both_streams() {
    let ended = Rig::new().shell("printf out; printf err >&2; exit 3");
    assert_eq!((ended.reason, ended.exit_code), (Reason::ExitCode, 3));
    assert_eq!((stdout(&ended), stderr(&ended)), ("out", "err"));
    assert!(ended.elapsed > Duration::ZERO);
    let ended = Rig::new().run(command(&["true"]), b"");
    assert_eq!((ended.reason, ended.exit_code), (Reason::None, 0));
    assert!(ended.result.is_empty());
}

#[test]
fn a_command_that_dies_of_a_signal_says_which() {
    let ended = Rig::new().shell("kill -TERM $$");
    assert_eq!((ended.reason, ended.exit_code), (Reason::Signal, -15));
}

#[test]
fn a_code_that_a_failing_shim_would_give_is_the_commands_own() {
    let ended = Rig::new().shell("exit 126");
    assert_eq!((ended.reason, ended.exit_code), (Reason::ExitCode, 126));
}

#[test]
fn the_wall_clock_ends_the_whole_group_whatever_it_ignores() {
    let mut template = shell(&format!(
        "trap '' TERM INT HUP; sh -c \"trap '' TERM INT HUP; {FOR_EVER}\" & echo $!; wait"
    ));
    template.limits.wall_clock = Millis(1_500);
    let ended = Rig::new().run(template, b"");
    assert_eq!((ended.reason, ended.exit_code), (Reason::WallClock, -9));
    assert!(ended.elapsed >= Duration::from_millis(1_500));
    assert_dies(stdout(&ended));
}

#[test]
fn what_a_command_leaves_behind_ends_with_it_also_if_it_holds_the_output() {
    let ended = Rig::new().shell(&format!("{FOR_EVER} & echo $!"));
    assert_eq!(ended.reason, Reason::None);
    assert!(
        ended.elapsed < Duration::from_secs(60),
        "it did not wait for that"
    );
    assert_dies(stdout(&ended));
}

#[test]
fn a_killed_attempt_leaves_nothing() {
    let rig = Rig::new();
    let flag = rig.folder.path().join("pid");
    let script = format!(
        "{FOR_EVER} & echo $! > {0}.new; mv {0}.new {0}; wait",
        flag.display()
    );
    let (killer, running) = rig.start(shell(&script), b"");
    let ended = block_on(async {
        let running = tokio::spawn(running);
        until_exists(&flag).await;
        killer.kill();
        running.await.expect("no panic")
    });
    assert_eq!(ended.exit_code, -9);
    assert_dies(&fs::read_to_string(flag).expect("it wrote it"));
    assert_eq!(entries(&rig.works()), 0);
}

#[test]
fn a_dropped_attempt_leaves_nothing_running() {
    let rig = Rig::new();
    let flag = rig.folder.path().join("pid");
    let script = format!(
        "{FOR_EVER} & echo $! > {0}.new; mv {0}.new {0}; wait",
        flag.display()
    );
    let (_killer, running) = rig.start(shell(&script), b"");
    block_on(async {
        let running = tokio::spawn(running);
        until_exists(&flag).await;
        running.abort();
        assert!(running.await.is_err());
    });
    assert_dies(&fs::read_to_string(flag).expect("it wrote it"));
}

async fn until_exists(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} does not appear", path.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn output_beyond_the_bound_is_dropped_and_said_to_be() {
    let mut template = shell("head -c 300000 /dev/zero; printf late >&2");
    template.limits.output = Bytes(1_000);
    let ended = Rig::new().run(template, b"");
    assert_eq!(ended.reason, Reason::None, "it could write everything");
    let output = output(&ended);
    assert_eq!((output.stdout.len(), output.stdout_cut), (1_000, true));
    assert_eq!((output.stderr.len(), output.stderr_cut), (0, true));
}

#[test]
fn the_largest_output_fits_a_result() {
    let mut template = shell("head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2");
    template.limits.output = Bytes(u64::MAX);
    let ended = Rig::new().run(template, b"");
    let output = output(&ended);
    let kept = (output.stdout.len() + output.stderr.len()) as u64;
    assert_eq!(kept, Limits::OUTPUT_MAX.0);
    assert!(ended.result.len() <= wire_protocol::limits::RESULT_BYTES_MAX);
}

#[test]
fn bytes_go_in_and_come_out_as_they_are() {
    let all: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    for (input, row) in [(Input::Row, &all[..]), (Input::Inline(all.clone()), b"")] {
        let mut template = command(&["cat"]);
        template.input = input;
        let ended = Rig::new().run(template, row);
        assert_eq!(ended.reason, Reason::None);
        assert_eq!(output(&ended).stdout, all);
    }
}

#[test]
fn a_command_without_input_reads_nothing() {
    let ended = Rig::new().run(command(&["cat"]), b"row");
    assert_eq!((ended.reason, stdout(&ended)), (Reason::None, ""));
}

#[test]
fn a_command_need_not_read_its_input() {
    let mut template = command(&["true"]);
    template.input = Input::Inline(vec![1; 65_536]);
    assert_eq!(Rig::new().run(template, b"").reason, Reason::None);
}

#[test]
fn a_worker_without_files_says_so() {
    let mut template = command(&["cat"]);
    template.input = Input::File("in.txt".to_owned());
    let ended = Rig::new().run(template, b"");
    assert_eq!(ended.reason, Reason::InputMissing);
    assert!(stderr(&ended).contains("no access to files"));
    let mut template = command(&["sh", "-c", "echo out; echo err >&2"]);
    template.outputs.collect = vec!["out".to_owned()];
    let ended = Rig::new().run(template, b"");
    assert_eq!(ended.reason, Reason::OutputMissing);
    assert_eq!(stdout(&ended), "out\n", "what it printed is kept");
    assert_eq!(stderr(&ended), "err\nthis worker has no access to files");
}

#[test]
fn only_allowed_commands_run() {
    let rig = Rig::allowing(&["cat"]);
    for name in [
        "sh",
        "/bin/sh",
        "./cat",
        "../../bin/sh",
        "cat/../sh",
        "/usr/bin/cat/../sh",
        "{c}",
    ] {
        let mut template = command(&[name, "-c", "echo no"]);
        template.columns = vec!["c".to_owned()];
        let ended = rig.run(template, b"/bin/sh");
        assert_eq!(ended.reason, Reason::NotAllowed, "{name}");
        assert!(stderr(&ended).contains("does not allow"), "{}", stderr(&ended));
    }
    let mut preload = command(&["cat"]);
    preload.env = vec![("LD_PRELOAD".to_owned(), "/evil.so".to_owned())];
    assert_eq!(rig.run(preload, b"").reason, Reason::NotAllowed);
}

#[test]
fn a_command_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("broken");
    fs::write(&script, "#!/nonexistent/interpreter\n").expect("own folder");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("own file");
    let script = script.to_str().expect("text");
    let ended = Rig::allowing(&[script]).run(command(&[script]), b"");
    assert_eq!((ended.reason, ended.exit_code), (Reason::CannotStart, 0));
    assert!(stderr(&ended).contains("No such file"), "{}", stderr(&ended));

    let ended = Rig::allowing(&["*"]).run(command(&["no-such-command-anywhere"]), b"");
    assert_eq!(ended.reason, Reason::CannotStart);
}

#[test]
fn a_row_that_does_not_fit_is_bad_parameters() {
    let mut template = shell("echo {tilt}");
    template.columns = vec!["tile".to_owned()];
    let ended = Rig::new().run(template, b"1");
    assert_eq!(ended.reason, Reason::BadParameters);
    assert!(
        stderr(&ended).contains("{tilt} names no column"),
        "{}",
        stderr(&ended)
    );
}

#[test]
fn columns_reach_arguments_and_variables() {
    let mut template = shell("echo {a}-$B");
    template.columns = vec!["a".to_owned(), "b".to_owned()];
    template.env = vec![("B".to_owned(), "<{b}>".to_owned())];
    let row = wire_protocol::template::row::join(&[b"1", b"x y"]);
    let ended = Rig::new().run(template, &row);
    assert_eq!(stdout(&ended), "1-<x y>\n");
}

#[test]
fn each_gpu_is_one_works_at_a_time_and_who_asks_for_none_sees_none() {
    let setup = Rig::with_gpus(&["sh"], None, &["0", "GPU-5f"]);
    let ask = "echo \"$CUDA_VISIBLE_DEVICES|$NVIDIA_VISIBLE_DEVICES\"";
    let needing = |gpus: u32, script: &str| {
        let mut template = shell(script);
        template.requirements.gpus = gpus;
        template.env = vec![("CUDA_VISIBLE_DEVICES".to_owned(), "0,GPU-5f".to_owned())];
        template
    };
    assert_eq!(stdout(&setup.run(needing(0, ask), b"")), "|void\n");
    assert_eq!(stdout(&setup.run(needing(2, ask), b"")), "0,GPU-5f|0,GPU-5f\n");
    let refused = setup.run(needing(3, ask), b"");
    assert_eq!(refused.reason, Reason::NoRoom, "{}", stderr(&refused));
    block_on(async {
        let (first_killer, first) = setup.start(needing(1, "sleep 60"), b"");
        let first = tokio::spawn(first);
        while entries(&setup.works()) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let begin = |gpus| {
            let attempt = Attempt {
                token: LeaseToken {
                    work: WorkId(100 + u64::from(gpus)),
                    epoch: Epoch(1),
                    attempt: AttemptNumber(1),
                    shard: Shard(0),
                },
                template: Arc::new(needing(gpus, ask)),
                row: Box::default(),
                printed: Printed::default(),
            };
            let (killer, kill) = Kill::pair();
            (
                killer,
                tokio::spawn(Arc::clone(&setup.executor).run(attempt, kill)),
            )
        };
        let (_killer, other) = begin(1);
        let other = other.await.expect("no panic");
        assert_eq!(stdout(&other), "GPU-5f|GPU-5f\n", "the one that is left");
        let (killer, both) = begin(2);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!both.is_finished(), "it waits for the first");
        killer.kill();
        let both = both.await.expect("no panic");
        assert_eq!(both.reason, Reason::ExecutorFailed, "and can be stopped");
        first_killer.kill();
        first.await.expect("no panic");
    });
}

#[test]
fn nothing_of_the_workers_environment_reaches_a_command() {
    let mut template = command(&["env"]);
    template.env = vec![
        ("MINE".to_owned(), "1".to_owned()),
        ("HOME".to_owned(), "/root".to_owned()),
    ];
    let ended = Rig::new().run(template, b"");
    let names: BTreeSet<_> = stdout(&ended)
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some(),
        "there would be something to leak"
    );
    assert_eq!(
        names,
        BTreeSet::from([
            "HOME",
            "LANG",
            "MINE",
            "PATH",
            "POOL_ATTEMPT",
            "POOL_WORK_ID",
            "TMPDIR"
        ])
    );
    let has = |line: &str| stdout(&ended).lines().any(|printed| printed == line);
    assert!(has("POOL_WORK_ID=77") && has("POOL_ATTEMPT=2") && !has("HOME=/root"));
}

#[test]
fn a_work_has_a_folder_of_its_own_and_leaves_nothing_in_it() {
    let rig = Rig::new();
    let ended = rig.shell(
        "pwd -P; echo $HOME; echo $TMPDIR; stat -c %a .; mkdir -p a/b; echo x > a/b/c; chmod 555 a/b; ls",
    );
    let lines: Vec<_> = stdout(&ended).lines().collect();
    let own = rig
        .works()
        .canonicalize()
        .expect("it is there")
        .join("w77-a2-e1-s0");
    let own = own.to_str().expect("text");
    assert_eq!(lines, [own, own, own, "700", "a"]);
}

#[test]
fn limits_hold_in_the_command() {
    let mut template = command(&["cat", "/proc/self/limits"]);
    template.limits.memory = Bytes::from_mib(256);
    template.limits.processes = 50;
    let ended = Rig::new().run(template, b"");
    let limits = stdout(&ended);
    let hard = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).expect(name);
        line[name.len()..]
            .split_ascii_whitespace()
            .nth(1)
            .expect("three columns")
            .to_owned()
    };
    assert_eq!(hard("Max address space"), (256 << 20).to_string());
    assert_eq!(hard("Max processes"), "50");
    assert_eq!(hard("Max core file size"), "0");
    assert_ne!(hard("Max file size"), "unlimited");
}

#[test]
fn a_command_that_wants_more_memory_than_it_may_have_fails() {
    let script = "dd if=/dev/zero of=/dev/null bs=512M count=1";
    let mut template = shell(script);
    template.limits.memory = Bytes::from_mib(128);
    let ended = Rig::new().run(template, b"");
    assert_eq!(ended.reason, Reason::ExitCode, "{}", stderr(&ended));
}

#[test]
fn sleep_takes_its_time_and_no_more_than_its_limit() {
    let run = |app: &str, wall_clock| {
        let mut template = command(&[]);
        template.app = app.to_owned();
        template.limits.wall_clock = Millis(wall_clock);
        let (_killer, kill) = Kill::pair();
        let token = LeaseToken {
            work: WorkId(1),
            epoch: Epoch(1),
            attempt: AttemptNumber(1),
            shard: Shard(0),
        };
        let attempt = Attempt {
            token,
            template: Arc::new(template),
            row: Box::default(),
            printed: Printed::default(),
        };
        block_on(Arc::new(Sleep).run(attempt, kill))
    };
    let ended = run("sleep:20", 60_000);
    assert_eq!(ended.reason, Reason::None);
    assert!(ended.elapsed >= Duration::from_millis(20));
    assert_eq!(run("sleep:60000", 10).reason, Reason::WallClock);
    assert_eq!(run("sleep:soon", 10).reason, Reason::BadParameters);
}
