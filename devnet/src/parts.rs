//! What a chain is made of: anvil's binary and the contracts' bytecode, both from npm.
//!
//! They are fetched when they are missing, by the `npm` that is there, so that its settings, mirrors and proxies are used;
//! only archives, of which no script is run. Their hashes are those that the registry gave when this was written: what has
//! another is not used.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::BASE64;
use flate2::read::GzDecoder;
use ring::digest::{SHA512, digest};

use crate::DevnetError;

/// The variable with the folder that the parts are in, or come into.
pub const FOLDER_VARIABLE: &str = "POOL_DEVNET_DIR";

/// Bytes of an archive that are unpacked; anvil has 44 MB.
const UNPACKED_BYTES_MAX: u64 = 512 << 20;

/// A package: its name and version, the hash of its archive, and what is taken of it.
struct Package {
    name: &'static str,
    sha512: &'static str,
    /// A file, or a folder, by its name in the archive.
    inside: &'static str,
    /// What it is called here.
    here: &'static str,
}

const CONTRACTS: Package = Package {
    name: "iexec-poco@1.1.17",
    sha512: "zlzIz/Nsv73gvC39qCZyOe4LcQH1r6W0TEQBdC4IF6THPqFtwzD3/I0hcUEHjgiQh/b2rNoSqbq5Q0tJUZOqLQ==",
    inside: "package/build/contracts",
    here: "contracts",
};

const ANVIL_AMD64: Package = Package {
    name: "@foundry-rs/anvil-linux-amd64@1.7.1",
    sha512: "+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
    inside: "package/bin/anvil",
    here: "anvil",
};

const ANVIL_ARM64: Package = Package {
    name: "@foundry-rs/anvil-linux-arm64@1.7.1",
    sha512: "ykHJmFOGdBR8+9smOKBm9ZZDCCCkLQctiHOAddLvmYx9mPeBDMfq6jP51hKYsO5MG8ClPLSlWe+JpiXPjoXgBQ==",
    ..ANVIL_AMD64
};

/// Where the parts are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// The program.
    pub anvil: PathBuf,
    /// The folder with an artifact for each contract.
    pub contracts: PathBuf,
}

/// The parts, fetched if they are missing: into this folder, or that of [`FOLDER_VARIABLE`], or `target/devnet`. Takes
/// some seconds once; whoever comes meanwhile waits.
///
/// # Errors
/// npm is missing, has no network, or gives something else.
pub fn fetch(folder: Option<&Path>) -> Result<Parts, DevnetError> {
    fetch_by("npm", &folder.map_or_else(default_folder, Path::to_path_buf))
}

fn fetch_by(npm: &str, folder: &Path) -> Result<Parts, DevnetError> {
    let parts = Parts {
        anvil: folder.join(ANVIL_AMD64.here),
        contracts: folder.join(CONTRACTS.here),
    };
    if parts.are_there() {
        return Ok(parts);
    }
    fs::create_dir_all(folder).map_err(DevnetError::file(folder))?;
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(DevnetError::file(&path))?;
    lock.lock().map_err(DevnetError::file(&path))?;
    for package in [anvil()?, CONTRACTS] {
        if !folder.join(package.here).exists() {
            package.fetch(npm, folder)?;
        }
    }
    Ok(parts)
}

fn default_folder() -> PathBuf {
    let given = env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
    given.map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target/devnet"),
        PathBuf::from,
    )
}

fn anvil() -> Result<Package, DevnetError> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Ok(ANVIL_AMD64),
        ("linux", "aarch64") => Ok(ANVIL_ARM64),
        (system, machine) => Err(DevnetError::Platform {
            system: format!("{system} on {machine}"),
        }),
    }
}

impl Parts {
    fn are_there(&self) -> bool {
        self.anvil.is_file() && self.contracts.is_dir()
    }
}

impl Package {
    fn fetch(&self, npm: &str, folder: &Path) -> Result<(), DevnetError> {
        let fresh = tempfile::tempdir_in(folder).map_err(DevnetError::file(folder))?;
        let archive = self.download(npm, fresh.path())?;
        self.check(&archive)?;
        unpack(&archive, fresh.path()).map_err(DevnetError::file(&archive))?;
        // What is there is complete: a name is given last.
        let from = fresh.path().join(self.inside);
        fs::rename(&from, folder.join(self.here)).map_err(DevnetError::file(from))
    }

    fn download(&self, npm: &str, into: &Path) -> Result<PathBuf, DevnetError> {
        let cannot = |problem: String| DevnetError::Package {
            package: self.name.to_owned(),
            problem,
        };
        let output = Command::new(npm)
            .args(["pack", "--silent", self.name])
            .current_dir(into)
            .output()
            .map_err(|error| cannot(format!("npm: {error}")))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(cannot(format!("npm pack: {}: {}", output.status, said.trim())));
        }
        let files = fs::read_dir(into).map_err(DevnetError::file(into))?;
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        let mut archives = paths.filter(|path| path.extension().is_some_and(|ending| ending == "tgz"));
        archives
            .next()
            .ok_or_else(|| cannot(format!("npm pack left no archive: {}", said.trim())))
    }

    fn check(&self, archive: &Path) -> Result<(), DevnetError> {
        let bytes = fs::read(archive).map_err(DevnetError::file(archive))?;
        let found = BASE64.encode(digest(&SHA512, &bytes).as_ref());
        if found == self.sha512 {
            return Ok(());
        }
        Err(DevnetError::Hash {
            package: self.name.to_owned(),
            expected: self.sha512,
            found,
        })
    }
}

/// Files leave the folder neither by `..` nor by a link: `tar` sees to that.
fn unpack(archive: &Path, into: &Path) -> io::Result<()> {
    let bytes = GzDecoder::new(File::open(archive)?).take(UNPACKED_BYTES_MAX);
    tar::Archive::new(bytes).unpack(into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn a_missing_npm_is_told_with_its_cure() {
        let folder = folder();
        let error = fetch_by("/nowhere/npm", folder.path()).expect_err("there is none");
        let text = error.to_string();
        for part in [
            "@foundry-rs/anvil",
            "npm: No such file",
            "./dev test",
            FOLDER_VARIABLE,
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    /// A program that does as npm does without a network, or gives something else.
    #[test]
    fn what_npm_says_is_told_and_what_it_gives_is_checked() {
        for (script, told) in [
            ("echo 'npm error code ENOTFOUND' >&2; exit 1", "code ENOTFOUND"),
            ("exit 0", "left no archive"),
            ("echo something else > anvil.tgz", "do not use it"),
        ] {
            let folder = folder();
            let npm = folder.path().join("npm");
            fs::write(&npm, format!("#!/bin/sh\n{script}\n")).expect("own folder");
            fs::set_permissions(&npm, fs::Permissions::from_mode(0o700)).expect("own file");
            let parts = folder.path().join("parts");
            let error = fetch_by(npm.to_str().expect("UTF-8"), &parts)
                .expect_err(told)
                .to_string();
            assert!(error.contains(told), "{error}");
            let left: Vec<_> = fs::read_dir(&parts).expect("it was made").collect();
            assert_eq!(left.len(), 1, "nothing but the lock is left: {left:?}");
        }
    }

    #[test]
    fn parts_that_are_there_are_taken() {
        let folder = folder();
        fs::create_dir(folder.path().join("contracts")).expect("own folder");
        fs::write(folder.path().join("anvil"), "").expect("own folder");
        let parts = fetch_by("/nowhere/npm", folder.path()).expect("all there");
        assert_eq!(parts.anvil, folder.path().join("anvil"));
    }
}
