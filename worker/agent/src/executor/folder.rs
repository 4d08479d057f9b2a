//! The worker's folder: its identity, its lock, and a folder for each attempt that runs.
//!
//! ```text
//!  folder/lock                 held as long as the worker lives: two workers in one folder would kill
//!                              each other's works
//!  folder/uid                  the worker's identity, made once
//!  folder/status.json          what the worker does, for `pool-worker status`
//!  folder/reports              what the engine has not recorded yet; see `kept`
//!  folder/images               when works used which image last
//!  folder/works                here, or wherever the operator wants it; see [`Folder::open_with`]
//!  folder/works/w7-a1-e3-s0/         an attempt's own folder, its HOME and TMPDIR; removed when it ends
//!  folder/works/w7-a1-e3-s0.group    its process group
//!  folder/works/w7-a1-e3-s0.container    what has to be known to take up its container again
//! ```

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use thiserror::Error;
use wire_protocol::ids::LeaseToken;

use super::kept::Kept;
use super::leftovers::{self, Group};

/// The file that is locked.
const LOCK: &str = "lock";

/// How long a folder may be locked before it counts as another worker's: the guardian of a worker that was killed has it
/// for as long as killing takes.
const GUARDED_FOR: Duration = Duration::from_secs(3);
const _: () = assert!(GUARDED_FOR.as_millis() > leftovers::GONE_WITHIN.as_millis());

/// What the name of a container's note ends with.
const NOTE: &str = "container";

/// A worker's folder, locked.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    works: PathBuf,
    kept: Kept,
    _lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// Another worker has it.
    #[error("{0} is in use by another worker: give each its own folder with --folder")]
    InUse(PathBuf),
    /// The file system says no.
    #[error("{path} cannot be used as a worker's folder")]
    Io {
        /// What was tried on.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Whoever else may write below a shared folder could reach into works.
    #[error("{path}, where works are to run, {problem}: remove it, or give another folder with --works")]
    NotOwn {
        /// What is there.
        path: PathBuf,
        /// What is wrong with it, as the rest of a sentence.
        problem: &'static str,
    },
}

/// An attempt's folder, and where its process group is recorded.
#[derive(Clone, Debug)]
pub(super) struct Workspace {
    pub(super) folder: PathBuf,
    pub(super) record: PathBuf,
    pub(super) note: PathBuf,
}

impl Folder {
    /// Makes the folder if need be, locks it, and removes what an earlier worker left in it: processes first,
    /// then files. What belongs to a container stays for whoever knows whether that still runs.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        Self::open_with(path, None)
    }

    /// The same with the folders of attempts elsewhere: in a folder of this worker's own below `scratch`. A file system in
    /// memory makes and removes folders several times as fast as one on a disk.
    ///
    /// `scratch` may be shared, as `/dev/shm` and `/tmp` are, and the name below it can be guessed. So the folder is made
    /// there, or it is this account's alone already.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn open_with(path: &Path, scratch: Option<&Path>) -> Result<Self, FolderError> {
        let at = |path: &Path, source| FolderError::Io {
            path: path.to_owned(),
            source,
        };
        let make = |path: &Path| {
            let made = private().recursive(true).create(path);
            // Works run elsewhere in the tree, so the path must not depend on where the worker was started.
            made.and_then(|()| path.canonicalize())
                .map_err(|error| at(path, error))
        };
        let path = make(path)?;
        let works = match scratch {
            None => make(&path.join("works"))?,
            Some(scratch) => own(make(scratch)?.join(name_of(&path)))?,
        };
        let deadline = Instant::now() + GUARDED_FOR;
        let lock = loop {
            let lock = lock(&path, FlockOperation::NonBlockingLockExclusive);
            match lock.map_err(|error| at(&path.join(LOCK), error))? {
                Some(lock) => break lock,
                None if Instant::now() > deadline => return Err(FolderError::InUse(path)),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let reports = path.join("reports");
        let kept = Kept::open(reports.clone()).map_err(|error| at(&reports, error))?;
        let folder = Self {
            path,
            works,
            kept,
            _lock: lock,
        };
        folder.clear().map_err(|error| at(&folder.works, error))?;
        Ok(folder)
    }

    /// Where the folders of attempts are.
    #[must_use]
    pub fn works(&self) -> &Path {
        &self.works
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity that is kept here; made at the first call.
    ///
    /// # Errors
    /// The file system says no.
    pub fn uid(&self) -> Result<String, FolderError> {
        let path = self.path.join("uid");
        let at = |source| FolderError::Io {
            path: path.clone(),
            source,
        };
        match fs::read_to_string(&path) {
            Ok(uid) if !uid.trim().is_empty() => return Ok(uid.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(error)),
        }
        let uid = fs::read_to_string("/proc/sys/kernel/random/uuid")
            .map_err(at)?
            .trim()
            .to_owned();
        // Renamed into place, so that a crash leaves no half of an identity.
        let new = path.with_extension("new");
        fs::write(&new, &uid)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(at)?;
        Ok(uid)
    }

    /// A fresh folder for an attempt.
    pub(super) fn workspace(&self, token: LeaseToken) -> io::Result<Workspace> {
        let workspace = self.workspace_of(token);
        private().create(&workspace.folder)?;
        Ok(workspace)
    }

    /// Where an attempt's folder is, or would be.
    pub(super) fn workspace_of(&self, token: LeaseToken) -> Workspace {
        let name = format!("{}-{}-{}-{}", token.work, token.attempt, token.epoch, token.shard);
        Workspace::at(self.works.join(name))
    }

    /// What the engine has not recorded yet.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Folders of containers that an earlier worker started.
    pub(super) fn containers(&self) -> io::Result<Vec<Workspace>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.works)? {
            let path = entry?.path();
            if is_note(&path) {
                found.push(Workspace::at(path.with_extension("")));
            }
        }
        Ok(found)
    }

    /// Removes what belongs to containers of an earlier worker, where this one runs none.
    ///
    /// # Errors
    /// The file system says no.
    pub fn forget_containers(&self) -> io::Result<()> {
        self.containers()?.iter().try_for_each(Workspace::remove)
    }

    fn clear(&self) -> io::Result<()> {
        kill_all(&self.works)?;
        for entry in fs::read_dir(&self.works)? {
            let path = entry?.path();
            if path.with_extension(NOTE).exists() {
                continue;
            }
            if path.is_dir() {
                remove_all(&path)?
            } else {
                fs::remove_file(&path)?
            }
        }
        Ok(())
    }
}

impl Workspace {
    fn at(folder: PathBuf) -> Self {
        Self {
            record: folder.with_extension("group"),
            note: folder.with_extension(NOTE),
            folder,
        }
    }

    /// Removes both on another thread: a large tree takes a while, which must not delay the heartbeat.
    pub(super) async fn remove_apart(self) {
        let removed = tokio::task::spawn_blocking(move || (self.remove(), self)).await;
        if let Ok((Err(error), workspace)) = removed {
            tracing::warn!(%error, folder = %workspace.folder.display(), "a work's folder cannot be removed");
        }
    }

    /// Removes both.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_all(&self.folder)?;
        for file in [&self.record, &self.note] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Keeps others from working in a worker's folder for as long as the file is open, without working there; `None`: somebody
/// does.
pub(super) fn guard(path: &Path) -> io::Result<Option<File>> {
    lock(path, FlockOperation::NonBlockingLockShared)
}

fn lock(path: &Path, how: FlockOperation) -> io::Result<Option<File>> {
    let lock = File::create(path.join(LOCK))?;
    match rustix::fs::flock(&lock, how) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Kills what is left of all attempts whose folders are in `works`, says so, and waits for [`leftovers::GONE_WITHIN`] at most
/// until it is gone. The folders stay.
pub(super) fn kill_all(works: &Path) -> io::Result<()> {
    let deadline = Instant::now() + leftovers::GONE_WITHIN;
    let say = |processes: usize, place: &Path| {
        if processes > 0 {
            tracing::warn!(processes, place = %place.display(), "killed what an earlier worker left running");
        }
    };
    // The most of it, also of commands that began a moment before the worker was killed, which came to record nothing.
    say(leftovers::kill_at_home_below(works, deadline)?, works);
    for entry in fs::read_dir(works)? {
        let path = entry?.path();
        // A record that was cut by a crash names nothing.
        if path.extension().is_some_and(|extension| extension == "group")
            && let Ok(group) = fs::read_to_string(&path).unwrap_or_default().parse::<Group>()
        {
            let folder = path.with_extension("");
            say(group.kill_leftovers(&folder, deadline)?, &folder);
        }
    }
    Ok(())
}

/// What the works of the worker in this folder have theirs in, where several workers share one place for that.
fn name_of(folder: &Path) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, folder.as_os_str().as_bytes());
    format!(
        "pool-works-{}",
        data_encoding::HEXLOWER.encode(&digest.as_ref()[..8])
    )
}

/// A folder that nobody else can reach into: made here, one that is there already is looked at.
fn own(path: PathBuf) -> Result<PathBuf, FolderError> {
    let problem = match private().create(&path) {
        Ok(()) => None,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::symlink_metadata(&path) {
            Ok(there) if !there.is_dir() => Some("is a link or a file"),
            Ok(there) if there.uid() != rustix::process::geteuid().as_raw() => Some("is another account's"),
            Ok(there) if there.mode() & 0o022 != 0 => Some("can be written to by other accounts"),
            Ok(_) => None,
            Err(source) => return Err(FolderError::Io { path, source }),
        },
        Err(source) => return Err(FolderError::Io { path, source }),
    };
    match problem {
        None => Ok(path),
        Some(problem) => Err(FolderError::NotOwn { path, problem }),
    }
}

/// A worker runs in this folder.
pub(crate) fn is_locked(path: &Path) -> bool {
    let Ok(lock) = File::open(path.join(LOCK)) else {
        return false;
    };
    matches!(
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared),
        Err(rustix::io::Errno::WOULDBLOCK)
    )
}

fn is_note(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == NOTE)
}

fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Removes a folder with all that is in it; that there is none is no error.
///
/// Whoever ran in it may have made it as deep as they like, deeper than paths are long or files may be open at once. So
/// what is below is first moved up beside it, and nothing here follows it down.
fn remove_all(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return fs::remove_file(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut name = OsString::from(".removing-");
    name.push(folder.file_name().unwrap_or_default());
    let beside = folder.with_file_name(name);
    let (mut found, mut moved) = (vec![folder.to_owned()], 0_u64);
    while let Some(folder) = found.pop() {
        // A command may have taken the right to look or to write from its own folders.
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // Links are left alone: they may lead anywhere.
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            if moved == 0 {
                // A crash may have left one.
                remove_all(&beside)?;
                private().create(&beside)?;
            }
            // To move a folder is to write to it, because it knows its parent.
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
            moved += 1;
            found.push(beside.join(moved.to_string()));
            fs::rename(entry.path(), &found[found.len() - 1])?;
        }
        fs::remove_dir(&folder)?;
    }
    if moved > 0 {
        fs::remove_dir(&beside)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_worker_at_a_time() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let first = Folder::open(temporary.path()).expect("it is free");
        assert!(is_locked(temporary.path()));
        assert!(matches!(
            Folder::open(temporary.path()),
            Err(FolderError::InUse(_))
        ));
        drop(first);
        assert!(!is_locked(temporary.path()));
        Folder::open(temporary.path()).expect("it is free again");
    }

    #[test]
    fn works_run_below_a_shared_folder_only_in_one_that_is_the_workers_own() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let (path, scratch) = (temporary.path().join("worker"), temporary.path().join("shared"));
        let open = || Folder::open_with(&path, Some(&scratch));
        let works = open().expect("nothing is there").works().to_owned();
        let mode = fs::metadata(&works).expect("it was made").mode();
        assert_eq!((works.parent(), mode & 0o777), (Some(&*scratch), 0o700));
        open().expect("it is its own");

        let refused = |says: &str| match open() {
            Err(error @ FolderError::NotOwn { .. }) => {
                let text = error.to_string();
                let cure = "give another folder with --works";
                assert!(text.contains(says) && text.contains(cure), "{text}");
                assert!(text.starts_with(&*works.to_string_lossy()), "{text}");
            }
            other => panic!("{other:?}"),
        };
        for mode in [0o777, 0o720, 0o702] {
            fs::set_permissions(&works, Permissions::from_mode(mode)).expect("own folder");
            refused("can be written to by other accounts");
        }
        let elsewhere = temporary.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("new folder");
        fs::write(elsewhere.join("precious"), "").expect("new file");
        fs::remove_dir(&works).expect("it is empty");
        std::os::unix::fs::symlink(&elsewhere, &works).expect("new link");
        refused("is a link or a file");
        assert!(elsewhere.join("precious").exists(), "nothing was cleared there");
    }

    #[test]
    fn a_worker_keeps_its_identity_in_its_folder() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let uid = |path: &Path| Folder::open(path).and_then(|folder| folder.uid()).expect("a uid");
        let first = uid(temporary.path());
        assert_eq!(first.len(), 36);
        assert_eq!(uid(temporary.path()), first);
        assert_ne!(uid(&temporary.path().join("other")), first);
    }

    #[test]
    fn folders_that_forbid_writing_are_removed_and_links_not_followed() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let (folder, other) = (temporary.path().join("work"), temporary.path().join("other"));
        fs::create_dir_all(folder.join("a/b")).expect("new folders");
        fs::create_dir(&other).expect("new folder");
        fs::write(other.join("precious"), "").expect("new file");
        std::os::unix::fs::symlink(&other, folder.join("a/link")).expect("new link");
        for path in ["a/b", "a"] {
            fs::set_permissions(folder.join(path), Permissions::from_mode(0o500)).expect("own folder");
        }
        remove_all(&folder).expect("it can be removed");
        assert!(!folder.exists() && other.join("precious").exists());
    }

    #[test]
    fn a_tree_of_any_depth_is_removed() {
        use rustix::fs::{Mode, OFlags, mkdirat, openat};
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = temporary.path().join("work");
        fs::create_dir(&folder).expect("new folder");
        // Deeper than files may be open at once, and its path longer than a path may be.
        let mut at = std::os::fd::OwnedFd::from(File::open(&folder).expect("own folder"));
        for _ in 0..5_000 {
            mkdirat(&at, "d", Mode::RWXU).expect("new folder");
            at = openat(&at, "d", OFlags::DIRECTORY, Mode::empty()).expect("it was made");
        }
        drop(at);
        remove_all(&folder).expect("it can be removed");
        assert_eq!(fs::read_dir(temporary.path()).expect("it is there").count(), 0);
    }

    #[test]
    fn what_an_earlier_worker_left_is_removed() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let works = temporary.path().join("works");
        fs::create_dir_all(works.join("w1-a1-e1-s0/deep")).expect("a leftover folder");
        fs::write(works.join("w1-a1-e1-s0.group"), "group").expect("half a record");
        fs::create_dir_all(works.join("w2-a1-e1-s0/deep")).expect("one without a record");
        fs::create_dir_all(works.join(".removing-w2-a1-e1-s0/1/deep")).expect("half removed");
        fs::create_dir_all(works.join("w3-a1-e1-s0/deep")).expect("one of a container");
        fs::write(works.join("w3-a1-e1-s0.container"), "").expect("its note");
        fs::write(temporary.path().join("uid"), "mine").expect("an identity");
        let folder = Folder::open(temporary.path()).expect("it is free");
        assert!(works.join("w3-a1-e1-s0/deep").exists(), "its container may run");
        folder.forget_containers().expect("own folder");
        assert_eq!(fs::read_dir(works).expect("it is there").count(), 0);
        assert_eq!(folder.uid().ok().as_deref(), Some("mine"));
    }
}
