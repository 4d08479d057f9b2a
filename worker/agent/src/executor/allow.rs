//! Which commands the operator of a worker lets others run.
//!
//! A command is named by the folder that it really lies in and its own name there. The folder is resolved (so
//! `..` and links to folders, such as `/bin` to `/usr/bin`, change nothing), the name is not: where one file
//! plays many commands by its name, as busybox does, allowing one of them must not allow them all.
//!
//! An allowed interpreter can run anything that the worker's user can: then the list keeps mistakes away, not
//! malice.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The commands that may run.
#[derive(Clone, Debug)]
pub struct Allow {
    all: bool,
    commands: BTreeSet<PathBuf>,
    /// Folders in which a bare name is looked for.
    search: Vec<PathBuf>,
}

/// Why an allow-list cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AllowError {
    /// A bare name that is in no folder of `PATH`.
    #[error("`{0}` may run, but no folder in PATH has such a command")]
    NotInPath(String),
    /// An absolute path at which nothing can be executed.
    #[error("`{0}` may run, but there is no executable file")]
    NotThere(String),
    /// Neither an absolute path nor a bare name.
    #[error("`{0}` is neither an absolute path nor the name of a command")]
    Relative(String),
}

/// Why a command does not run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The operator does not allow it.
    NotAllowed,
    /// It is allowed, but there is no such file.
    NotFound,
}

impl Allow {
    /// Reads a list of absolute paths and bare names, the latter as `PATH` (colon-separated) finds them now.
    /// `*` allows everything. Empty entries are skipped.
    ///
    /// # Errors
    /// See [`AllowError`]: an entry that allows nothing is a mistake that should show at the start.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>, path: &OsStr) -> Result<Self, AllowError> {
        let search = std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .collect();
        let mut allow = Self {
            all: false,
            commands: BTreeSet::new(),
            search,
        };
        for entry in entries
            .into_iter()
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            if entry == "*" {
                allow.all = true;
                continue;
            }
            let bare = !entry.contains('/');
            if !bare && !entry.starts_with('/') {
                return Err(AllowError::Relative(entry.to_owned()));
            }
            let found = allow.find(OsStr::new(entry));
            allow.commands.insert(found.ok_or_else(|| {
                let entry = entry.to_owned();
                if bare {
                    AllowError::NotInPath(entry)
                } else {
                    AllowError::NotThere(entry)
                }
            })?);
        }
        Ok(allow)
    }

    /// Nothing may run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.commands.is_empty()
    }

    /// Everything may run.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// The file to execute for this command.
    pub(super) fn resolve(&self, command: &OsStr) -> Result<PathBuf, Refused> {
        let relative = command.as_bytes().contains(&b'/') && !Path::new(command).is_absolute();
        if relative {
            return Err(Refused::NotAllowed);
        }
        match self.find(command) {
            Some(path) if self.all || self.commands.contains(&path) => Ok(path),
            None if self.all => Err(Refused::NotFound),
            _ => Err(Refused::NotAllowed),
        }
    }

    /// An executable file by absolute path or bare name, in the form that the list has.
    fn find(&self, command: &OsStr) -> Option<PathBuf> {
        if command.as_bytes().contains(&b'/') {
            return locate(Path::new(command));
        }
        self.search
            .iter()
            .find_map(|folder| locate(&folder.join(command)))
    }
}

/// The folder resolved, the name as it is; nothing unless an executable file is there.
fn locate(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?.canonicalize().ok()?;
    let path = folder.join(path.file_name()?);
    let metadata = path.metadata().ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn executable(path: &Path) {
        fs::write(path, "#!/bin/sh\n").expect("a temporary folder takes files");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("own file");
    }

    /// `bin/{one,two}`, `link` to `bin`, `bin/alias` to `one`, `other/one`.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["bin", "other"] {
            fs::create_dir(folder.path().join(name)).expect("new folder");
        }
        for name in ["bin/one", "bin/two", "other/one"] {
            executable(&folder.path().join(name));
        }
        fs::write(folder.path().join("bin/data"), "x").expect("new file");
        symlink(folder.path().join("bin"), folder.path().join("link")).expect("new link");
        symlink(folder.path().join("bin/one"), folder.path().join("bin/alias")).expect("new link");
        folder
    }

    #[test]
    fn only_listed_commands_resolve_however_they_are_spelt() {
        let folder = folder();
        let at = |path: &str| folder.path().join(path).into_os_string();
        let allow = Allow::new(["one", " "], &at("bin")).expect("one is there");
        let resolve = |command: &OsStr| allow.resolve(command);
        let one = folder.path().canonicalize().expect("exists").join("bin/one");
        for spelling in ["bin/one", "link/one", "bin/../bin/one", "other/../link/./one"] {
            assert_eq!(resolve(&at(spelling)), Ok(one.clone()), "{spelling}");
        }
        assert_eq!(resolve(OsStr::new("one")), Ok(one));
        for other in [
            "bin/two",
            "other/one",
            "bin/one/../two",
            "bin/alias",
            "bin/none",
            "",
        ] {
            assert_eq!(resolve(&at(other)), Err(Refused::NotAllowed), "{other}");
        }
        for name in ["two", "./one", "../bin/one", "bin/one", "", ".", "..", "/"] {
            assert_eq!(resolve(OsStr::new(name)), Err(Refused::NotAllowed), "{name}");
        }
    }

    #[test]
    fn a_star_allows_everything_but_relative_paths() {
        let folder = folder();
        let at = |path: &str| folder.path().join(path).into_os_string();
        let allow = Allow::new(["*"], &at("bin")).expect("a star needs nothing");
        assert!(allow.is_all());
        assert!(allow.resolve(&at("other/one")).is_ok());
        assert_eq!(allow.resolve(&at("bin/data")), Err(Refused::NotFound));
        assert_eq!(allow.resolve(OsStr::new("./one")), Err(Refused::NotAllowed));
    }

    #[test]
    fn an_entry_that_allows_nothing_is_a_mistake() {
        let folder = folder();
        let path = folder.path().join("bin").into_os_string();
        let error = |entry: &str| Allow::new([entry], &path).expect_err("nothing there");
        assert_eq!(error("three"), AllowError::NotInPath("three".to_owned()));
        assert_eq!(error("data"), AllowError::NotInPath("data".to_owned()));
        assert_eq!(error("/none/one"), AllowError::NotThere("/none/one".to_owned()));
        assert_eq!(error("bin/one"), AllowError::Relative("bin/one".to_owned()));
        assert!(Allow::new([""; 2], &path).expect("nothing").is_empty());
    }
}
