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
        Ok(Arc::new(OsFile {
            file,
            direct: open_direct(&self.path(name)),
        }))
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

/// A file of zeros is written in pieces of this size.
const DIRECT_BYTES: usize = 1 << 20;

/// What memory and positions of direct writes are multiples of, on every disk with sectors of up to 4 KiB.
const DIRECT_ALIGNMENT: u64 = 4096;

#[repr(C, align(4096))]
struct AlignedZeros([u8; DIRECT_BYTES]);

static ALIGNED_ZEROS: AlignedZeros = AlignedZeros([0; DIRECT_BYTES]);

/// The same file once more, for writes that go past the page cache. `None`: this file system has none (tmpfs), and
/// zeros are written like everything else.
fn open_direct(path: &Path) -> Option<fs::File> {
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()?;
    OpenOptions::new()
        .write(true)
        .custom_flags(direct)
        .open(path)
        .ok()
}

struct OsFile {
    file: fs::File,
    /// Of files that are new, because they are filled with zeros.
    direct: Option<fs::File>,
}

impl OsFile {
    fn new(file: fs::File) -> Self {
        Self { file, direct: None }
    }
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
        self.file.write_all_at(bytes, offset)
    }

    fn write_zeros(&self, mut from: u64, upto: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct
            && from.is_multiple_of(DIRECT_ALIGNMENT)
            && upto.is_multiple_of(DIRECT_ALIGNMENT)
        {
            while from < upto {
                let left = usize::try_from(upto - from).unwrap_or(usize::MAX);
                let piece = &ALIGNED_ZEROS.0[..left.min(DIRECT_BYTES)];
                match direct.write_all_at(piece, from) {
                    // A disk with larger sectors: the rest goes the ordinary way.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
                    Err(error) => return Err(error),
                    Ok(()) => from += piece.len() as u64,
                }
            }
        }
        while from < upto {
            let left = usize::try_from(upto - from).unwrap_or(usize::MAX);
            let piece = &ALIGNED_ZEROS.0[..left.min(DIRECT_BYTES)];
            self.write_at(from, piece)?;
            from += piece.len() as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
