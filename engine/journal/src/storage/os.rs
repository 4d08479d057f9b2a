//! A folder of the operating system.

use super::{File, Storage};
use crate::format::SECTOR_BYTES;
use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

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
        Ok(Arc::new(OsFile::new(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.may_write()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(self.path(name))?;
        Ok(Arc::new(OsFile::new(file)))
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
        self.folder.display().to_string()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that syncs names, and fdatasync does not promise to"
)]
fn sync_names(folder: &fs::File) -> io::Result<()> {
    folder.sync_all()
}

struct OsFile {
    file: fs::File,
    past_cache: PastCache,
}

impl OsFile {
    fn new(file: fs::File) -> Self {
        Self {
            file,
            past_cache: PastCache::default(),
        }
    }
}

/// The same file once more, for writes that go past the page cache (`O_DIRECT`). They cost
/// less, the more the larger they are (`benches/append.rs`); the kernel keeps both views of a file the same.
#[derive(Default)]
struct PastCache {
    /// Opened when it is first needed. `None`: this file system has none.
    file: OnceLock<Option<fs::File>>,
    /// The disk has larger sectors.
    refused: AtomicBool,
}

impl PastCache {
    /// Writes all of `bytes`. `false`: that does not go; write them in the ordinary way.
    fn write_at(&self, file: &fs::File, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        let sectors = [offset as usize, bytes.len(), bytes.as_ptr().addr()]
            .iter()
            .all(|at| at.is_multiple_of(SECTOR_BYTES));
        // Relaxed: it publishes nothing, and one attempt too many does no harm.
        if !sectors || self.refused.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let Some(direct) = self.file.get_or_init(|| open_direct(file)) else {
            return Ok(false);
        };
        match direct.write_all_at(bytes, offset) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.refused.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// By its descriptor: its name may have changed, and may be another file's by now.
fn open_direct(file: &fs::File) -> Option<fs::File> {
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()?;
    OpenOptions::new()
        .write(true)
        .custom_flags(direct)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .ok()
}

impl File for OsFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.past_cache.write_at(&self.file, offset, bytes)? {
            return Ok(());
        }
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
