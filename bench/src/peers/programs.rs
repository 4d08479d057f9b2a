//! Where the peers' programs are, and how they get there.
//!
//! `--install` unpacks Debian packages into a folder of ours instead of installing them: a server that is installed
//! starts at once, listens, and starts again with the machine. Only what the machine does not have is brought, its
//! libraries with it. Python and Node packages go into folders beside it. Deleting the folder undoes all of it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The folder of the peers' programs.
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        // Servers are started in folders of their own, where a relative path would lead nowhere.
        let folder = std::path::absolute(folder)?;
        Ok(Self { folder })
    }

    /// A folder beneath ours.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where Debian packages are unpacked.
    pub(super) fn debian(&self) -> PathBuf {
        self.folder("debian")
    }

    /// A program of that name: ours before the machine's.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let ours = [self.debian().join("usr/bin"), self.folder("nats/bin")];
        let system = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        let mut places = ours.into_iter().chain(system);
        places.find_map(|place| Some(place.join(name)).filter(|file| file.is_file()))
    }

    /// A file that lies at the same place in our folder or in the machine; a `*` stands for any ending of its
    /// folder's name.
    pub(super) fn find_file(&self, folder: &str, file: &str) -> Option<PathBuf> {
        let (parent, begin) = folder.trim_end_matches('*').rsplit_once('/')?;
        let roots = [self.debian(), PathBuf::from("/")];
        let folders = roots
            .iter()
            .filter_map(|root| fs::read_dir(root.join(parent)).ok())
            .flat_map(Iterator::flatten);
        folders
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(begin))
            .map(|entry| entry.path().join(file))
            .find(|path| path.is_file())
    }

    /// Lets a program of ours find the libraries that came with it.
    pub(super) fn libraries(&self) -> OsString {
        let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
        let mut places = self.debian().join("usr/lib").join(triple).into_os_string();
        if let Some(others) = std::env::var_os("LD_LIBRARY_PATH") {
            places.push(":");
            places.push(others);
        }
        places
    }
}

/// What brings a peer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A Debian package.
    Debian(&'static str),
    /// Folder, and a requirement as `pip` takes it.
    Python(&'static str, &'static str),
    /// Folder, and packages as `npm` takes them.
    Node(&'static str, &'static [&'static str]),
}

impl Programs {
    /// Brings a package into our folder.
    pub(super) fn install(&self, source: Source) -> Result<()> {
        match source {
            Source::Debian(package) => self.unpack(package),
            Source::Python(folder, requirement) => {
                let target = self.folder(folder);
                said(
                    Command::new("python3")
                        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                        .arg("--upgrade")
                        .arg("--target")
                        .arg(target)
                        .arg(requirement),
                )
            }
            Source::Node(folder, packages) => {
                let target = self.folder(folder);
                fs::create_dir_all(&target)?;
                said(
                    Command::new("npm")
                        .args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"])
                        .arg(target)
                        .args(packages),
                )
            }
        }
    }

    /// Unpacks a Debian package and those of its dependencies that the machine lacks.
    fn unpack(&self, package: &str) -> Result<()> {
        let lacking = match lacking(package) {
            Ok(packages) => packages,
            Err(_) => {
                // A fresh container has no lists of packages.
                said(&mut as_root("apt-get", &["update", "--quiet=2"]))?;
                lacking(package)?
            }
        };
        let packages = self.folder("packages");
        fs::create_dir_all(&packages)?;
        said(
            Command::new("apt-get")
                .args(["download", "--quiet=2"])
                .args(&lacking)
                .current_dir(&packages),
        )?;
        for entry in fs::read_dir(&packages)? {
            let file = entry?.path();
            said(Command::new("dpkg").arg("-x").arg(&file).arg(self.debian()))?;
            fs::remove_file(file)?;
        }
        Ok(())
    }
}

/// What `apt-get` would install: asked without installing anything and without being root.
fn lacking(package: &str) -> Result<Vec<String>> {
    let output = Command::new("apt-get")
        .args([
            "install",
            "--simulate",
            "--reinstall",
            "--no-install-recommends",
            package,
        ])
        .env("LC_ALL", "C")
        .output()
        .context("cannot run apt-get; install the peer by hand so that its programs are in PATH")?;
    ensure!(
        output.status.success(),
        "apt-get does not know {package}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(to_install(&String::from_utf8_lossy(&output.stdout)))
}

/// Names in the lines `Inst name …` of a simulation.
fn to_install(simulation: &str) -> Vec<String> {
    let lines = simulation.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

fn as_root(program: &str, arguments: &[&str]) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new(program)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg(program);
        sudo
    };
    command.args(arguments);
    command
}

/// Says what is run, and runs it; its standard output is for people, so it goes where our texts for people go.
fn said(command: &mut Command) -> Result<()> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    eprintln!("  $ {}", words.join(" "));
    let output = command
        .stdout(std::process::Stdio::from(std::io::stderr()))
        .stderr(std::process::Stdio::piped())
        .output()
        .with_context(|| format!("cannot run {}", words[0]))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}:\n{}",
            words[0],
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_names_what_the_machine_lacks() {
        let simulation = "NOTE: only a simulation\nInst liblzf1 (3.6-3 Debian [amd64])\n\
                          Inst redis-server [1] (5:7.0 Debian [amd64])\nConf liblzf1 (3.6-3 Debian [amd64])\n";
        assert_eq!(to_install(simulation), ["liblzf1", "redis-server"]);
    }

    #[test]
    fn programs_of_our_folder_come_before_those_of_the_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        let programs = Programs::new(folder.path()).expect("a path");
        let system = programs.find("sh").expect("every machine has one");
        assert!(!system.starts_with(folder.path()));
        let ours = programs.debian().join("usr/bin/sh");
        fs::create_dir_all(ours.parent().expect("a folder")).expect("room");
        fs::write(&ours, "").expect("room");
        assert_eq!(programs.find("sh"), Some(ours));
        assert_eq!(programs.find("no-such-program"), None);
    }

    #[test]
    fn a_file_is_found_whatever_version_its_folder_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let programs = Programs::new(folder.path()).expect("a path");
        let file = programs.debian().join("opt/pool/server-3.10.8/run");
        fs::create_dir_all(file.parent().expect("a folder")).expect("room");
        fs::write(&file, "").expect("room");
        assert_eq!(programs.find_file("opt/pool/server-*", "run"), Some(file));
        assert_eq!(programs.find_file("opt/pool/server-*", "stop"), None);
    }
}
