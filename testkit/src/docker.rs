//! A Docker Engine of a test's own: a real `dockerd` with its own folders, socket and containers.
//!
//! It needs root. It has no bridge and changes no rules of the host's network, so that several may run beside each other.
//! The only image is made here, of a static busybox; there is no registry.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The image that every engine has.
pub const IMAGE: &str = "box:test";

/// How long a start may take; it takes half a second.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long a stop in good order may take before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// An engine. Dropped, it stops with all its containers.
#[derive(Debug)]
pub struct DockerEngine {
    /// Its data, socket and log.
    folder: PathBuf,
    /// What its images are made of.
    files: tempfile::TempDir,
    _own: Option<tempfile::TempDir>,
    child: Option<Child>,
}

impl DockerEngine {
    /// A new one, with [`IMAGE`] and no containers.
    ///
    /// # Panics
    /// It does not start, or is not installed; the message says which, and what to do.
    #[must_use]
    pub fn start() -> Self {
        let own = tempfile::tempdir().expect("a folder");
        let mut engine = Self::start_in(own.path());
        engine._own = Some(own);
        engine
    }

    /// The same with its data in this folder, which has to be empty and to outlive it.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_in(folder: &Path) -> Self {
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        assert!(
            is_root,
            "a Docker Engine starts as root only: run these tests as root"
        );
        let mut engine = Self {
            folder: folder.to_owned(),
            files: tempfile::tempdir().expect("a folder"),
            _own: None,
            child: None,
        };
        engine.start_again();
        engine.pack();
        engine.make_image(IMAGE, &[]);
        engine
    }

    /// Starts it again, with what it had.
    ///
    /// # Panics
    /// It does not start within a minute.
    pub fn start_again(&mut self) {
        let deadline = Instant::now() + START_WITHIN;
        self.spawn();
        while !self.docker(&["version"]).status.success() {
            let ended = self.child.as_mut().expect("it was started").try_wait();
            if !matches!(ended, Ok(None)) {
                // On a machine that is busy enough it gives up its containerd.
                self.spawn();
            }
            assert!(
                Instant::now() < deadline,
                "the engine does not start:\n{}",
                fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn spawn(&mut self) {
        let at = |name: &str| self.folder.join(name);
        let log = fs::File::options().create(true).append(true).open(at("log"));
        let log = log.expect("a log file");
        // Told to stop if the test is killed; killed, it would leave its containers behind.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(program())
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(["--bridge=none", "--iptables=false", "--ip-masq=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("setpriv (util-linux) starts the engine"));
    }

    /// kill -9; its containers run on until it is started again.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our child");
        child.wait().expect("our child");
        // The next one looks whether the process of this number still lives, which may be another's by then.
        drop(fs::remove_file(self.folder.join("pid")));
    }

    /// Its unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }

    /// Runs `docker` on it.
    ///
    /// # Panics
    /// There is no such program.
    pub fn docker(&self, arguments: &[&str]) -> Output {
        let output = Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(arguments)
            .stdin(Stdio::null())
            .output();
        output.expect("docker (docker.io) is here: `./dev test` installs it")
    }

    /// Containers, running or not, by their names.
    ///
    /// # Panics
    /// The engine does not answer.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        let listed = self.docker(&["ps", "--all", "--format", "{{.Names}}"]);
        assert!(listed.status.success(), "{listed:?}");
        let names = String::from_utf8(listed.stdout).expect("text");
        names.lines().map(str::to_owned).collect()
    }

    /// Makes an image of this name of the same files, with changes as of a Dockerfile.
    ///
    /// # Panics
    /// The engine says no.
    pub fn make_image(&self, name: &str, changes: &[&str]) {
        self.import(&self.archive(), name, changes);
    }

    /// Makes an image of this name that takes so many mebibytes more.
    ///
    /// # Panics
    /// The engine says no.
    pub fn make_large_image(&self, name: &str, mib: usize) {
        let large = self.files.path().join("large");
        fs::create_dir_all(&large).expect("a folder");
        // Each byte of its own, so that nothing is shared or compressed away.
        let byte = |n: usize| (n.wrapping_mul(0x9e37_79b9) >> 16) as u8;
        let filler: Vec<u8> = (0..mib << 20).map(byte).collect();
        fs::write(large.join("filler"), filler).expect("a file");
        let archive = self.files.path().join("large.tar");
        fs::copy(self.archive(), &archive).expect("a copy");
        let added = Command::new("tar")
            .arg("-rf")
            .arg(&archive)
            .arg("-C")
            .arg(&large)
            .arg("filler")
            .status();
        assert!(added.expect("tar runs").success());
        self.import(&archive, name, &[]);
    }

    /// Images, by their names.
    ///
    /// # Panics
    /// The engine does not answer.
    #[must_use]
    pub fn images(&self) -> Vec<String> {
        let listed = self.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        assert!(listed.status.success(), "{listed:?}");
        let names = String::from_utf8(listed.stdout).expect("text");
        let mut names: Vec<_> = names.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    fn import(&self, archive: &Path, name: &str, changes: &[&str]) {
        let mut arguments = vec!["import"];
        arguments.extend(changes.iter().flat_map(|change| ["--change", change]));
        arguments.extend([archive.to_str().expect("UTF-8"), name]);
        let imported = self.docker(&arguments);
        assert!(imported.status.success(), "{imported:?}");
    }

    fn archive(&self) -> PathBuf {
        self.files.path().join("root.tar")
    }

    fn pack(&self) {
        let root = self.files.path().join("root");
        fs::create_dir_all(root.join("bin")).expect("a folder");
        fs::copy("/bin/busybox", root.join("bin/busybox"))
            .expect("busybox (busybox-static) is here: `./dev test` installs it");
        for name in [
            "sh", "true", "cat", "echo", "sleep", "dd", "id", "ls", "head", "touch", "mkdir", "mknod", "ln",
            "yes", "pwd", "tail", "wc", "env",
        ] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
        }
        let packed = Command::new("tar")
            .arg("-cf")
            .arg(self.archive())
            .arg("-C")
            .arg(&root)
            .arg(".")
            .status();
        assert!(packed.expect("tar runs").success());
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let deadline = Instant::now() + STOP_WITHIN;
        drop(Command::new("kill").arg(child.id().to_string()).status());
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(child.kill());
        drop(child.wait());
    }
}

/// Debian keeps it where only root's PATH leads.
fn program() -> &'static str {
    let known = ["/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd"];
    let found = known.into_iter().find(|path| Path::new(path).exists());
    found.expect("dockerd is here: `./dev test` installs it, else `apt-get install docker.io`")
}
