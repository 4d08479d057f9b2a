//! A folder of the operating system.

use super::{File, Storage};
use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files have mode 0600 and the folder 0700: the journal holds what users submit.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Empty; its `flock` says that an engine has the folder.
const LOCK_NAME: &str = "journal.lock";

/// A real folder. Exclusive use is an `flock`, which the kernel drops with the process.
pub struct OsStorage {
    folder: PathBuf,
    /// Open, so that syncing the folder costs one call.
    handle: fs::File,
    writable: bool,
}

impl OsStorage {
    /// The folder for an engine; made with mode 0700 if it does not exist.
    ///
    /// # Errors
    /// What the system answers; `NotADirectory` if a file has that name.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        if !folder.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(&folder)?;
            if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_names(&fs::File::open(parent)?)?;
            }
        }
        Self::new(folder, true)
    }

    /// The folder for looking only: files are opened for reading and nothing can be made.
    ///
    /// # Errors
    /// `NotFound`, or what the system answers.
    pub fn open_read_only(folder: impl Into<PathBuf>) -> io::Result<Self> {
        Self::new(folder.into(), false)
    }

    fn new(folder: PathBuf, writable: bool) -> io::Result<Self> {
        let handle = OpenOptions::new().read(true).open(&folder)?;
        if !handle.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self {
            folder,
            handle,
            writable,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn may_write(&self) -> io::Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }
    }
}

impl Storage for OsStorage {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(self.writable)
            .open(self.path(name))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.may_write()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(self.path(name))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_write()?;
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_write()?;
        fs::remove_file(self.path(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name().into_string()));
        // A name that is not UTF-8 is none of ours.
        names
            .filter_map(|name: io::Result<_>| name.map(Result::ok).transpose())
            .collect()
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_names(&self.handle)
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.may_write()?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(self.path(LOCK_NAME))?;
        match lock.try_lock() {
            Ok(()) => Ok(Box::new(lock)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn describe(&self) -> String {
        Path::display(&self.folder).to_string()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that syncs names, and fdatasync does not promise to"
)]
fn sync_names(folder: &fs::File) -> io::Result<()> {
    folder.sync_all()
}

struct OsFile(fs::File);

impl File for OsFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
