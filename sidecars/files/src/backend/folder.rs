//! A folder of this machine.
//!
//! Something appears by a rename and is there for good when its folder is synced too; a folder that was made for it is
//! synced from above first. Folders of names that have become empty are removed, which may take one away that somebody is just
//! about to use: they make it again.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use wire_protocol::file::Digest;

use super::{CONTENT, Contents, Inventory, content_at, content_place, reference_at};
use crate::limits::PIECE_BYTES;
use crate::reference::{ENDING, NAMES};

/// How often something is tried again under whose feet its folder was removed.
const TRIES_MAX: usize = 16;

/// What a file that is being written ends with; whoever finds one may remove it.
const HALF: &str = ".half~";

#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    steps: Steps,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            steps: Steps::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn failing(mut self, steps: Steps) -> Self {
        self.steps = steps;
        self
    }

    pub(super) fn steps(&self) -> Steps {
        self.steps.clone()
    }

    pub(super) async fn place(&self, staged: &Path, digest: Digest) -> io::Result<()> {
        let (folder, staged) = (self.clone(), staged.to_owned());
        blocking(move || {
            let place = folder.root.join(content_place(digest));
            folder.appear(&place, &|| fs::rename(&staged, &place))
        })
        .await
    }

    pub(super) async fn has(&self, digest: Digest) -> io::Result<Option<u64>> {
        let place = self.root.join(content_place(digest));
        blocking(move || missing_is_none(fs::metadata(place).map(|found| found.len()))).await
    }

    pub(super) async fn read(&self, digest: Digest, range: Range<u64>) -> io::Result<Contents> {
        let place = self.root.join(content_place(digest));
        let file = blocking(move || {
            let file = File::open(place)?;
            if file.metadata()?.len() < range.end {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "content is shorter than it was",
                ));
            }
            Ok(file)
        })
        .await?;
        let pieces = stream::try_unfold((file, range.start), move |(file, at)| async move {
            if at >= range.end {
                return Ok(None);
            }
            let bytes = (range.end - at).min(PIECE_BYTES as u64) as usize;
            let (file, piece) = blocking(move || {
                let mut piece = vec![0; bytes];
                file.read_exact_at(&mut piece, at)?;
                Ok((file, Bytes::from(piece)))
            })
            .await?;
            Ok(Some((piece, (file, at + bytes as u64))))
        });
        Ok(pieces.boxed())
    }

    pub(super) async fn put(&self, place: String, content: Vec<u8>) -> io::Result<()> {
        let folder = self.clone();
        blocking(move || {
            let place = folder.root.join(place);
            let half = half(&place);
            folder.appear(&place, &|| {
                folder.steps.step()?;
                write_durable(&half, &content)?;
                folder.steps.step()?;
                fs::rename(&half, &place)
            })
        })
        .await
    }

    pub(super) async fn get(&self, place: String) -> io::Result<Option<Vec<u8>>> {
        let place = self.root.join(place);
        blocking(move || missing_is_none(fs::read(place))).await
    }

    /// Removes a file, and the folders above it that are empty then, below `top`.
    pub(super) async fn remove(&self, place: String, top: String) -> io::Result<()> {
        let folder = self.clone();
        blocking(move || {
            folder.steps.step()?;
            let (place, top) = (folder.root.join(place), folder.root.join(top));
            missing_is_none(fs::remove_file(&place))?;
            let mut above = place.parent();
            while let Some(empty) = above.filter(|above| *above != top && above.starts_with(&top)) {
                if fs::remove_dir(empty).is_err() {
                    break;
                }
                above = empty.parent();
            }
            match above {
                Some(above) => missing_is_none(sync_folder(above)).map(drop),
                None => Ok(()),
            }
        })
        .await
    }

    /// Makes the folder, and removes what was being written when the last store ended.
    pub(super) async fn prepare(&self) -> io::Result<()> {
        let root = self.root.clone();
        blocking(move || {
            make_durable(&root)?;
            walk(&root, NAMES, &mut |place, path| {
                if place.ends_with(HALF) {
                    fs::remove_file(path)?;
                }
                Ok(())
            })
        })
        .await
    }

    pub(super) async fn inventory(&self) -> io::Result<Inventory> {
        let root = self.root.clone();
        blocking(move || {
            let mut inventory = Inventory::default();
            walk(&root, NAMES, &mut |place, path| {
                if place.ends_with(HALF) {
                    return Ok(());
                }
                // One that is gone meanwhile was removed.
                let Some(text) = missing_is_none(fs::read(path))? else {
                    return Ok(());
                };
                match reference_at(place, &text) {
                    Some(reference) => inventory.references.push(reference),
                    None => inventory.strange.push(place.to_owned()),
                }
                Ok(())
            })?;
            walk(&root, CONTENT, &mut |place, path| {
                let bytes = missing_is_none(fs::metadata(path))?.map(|found| found.len());
                match (content_at(place), bytes) {
                    (Some(digest), Some(bytes)) => inventory.contents.push((digest, bytes)),
                    (None, Some(_)) => inventory.strange.push(place.to_owned()),
                    (_, None) => {}
                }
                Ok(())
            })?;
            Ok(inventory)
        })
        .await
    }

    /// Makes `place` appear by `rename`, and what is above it stay.
    fn appear(&self, place: &Path, rename: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        let above = place.parent().expect("a place is below the root");
        for _ in 0..TRIES_MAX {
            self.steps.step()?;
            let appeared = make_durable(above).and_then(|()| {
                self.steps.step()?;
                rename()
            });
            match appeared {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    self.steps.step()?;
                    return sync_folder(above);
                }
            }
        }
        Err(io::Error::other("its folder is removed again and again"))
    }
}

/// Files below a folder of the root, each with its place.
fn walk(root: &Path, below: &str, visit: &mut dyn FnMut(&str, &Path) -> io::Result<()>) -> io::Result<()> {
    let mut folders = vec![below.to_owned()];
    while let Some(folder) = folders.pop() {
        let Some(entries) = missing_is_none(fs::read_dir(root.join(&folder)))? else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let place = format!("{folder}/{}", name.to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(place);
            } else {
                visit(&place, &entry.path())?;
            }
        }
    }
    Ok(())
}

/// Where something is written before it appears: beside it, so that a rename is enough.
fn half(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(ENDING).unwrap_or(&name);
    place.with_file_name(format!("{name}{HALF}"))
}

/// Writes a file and makes its content durable, not yet its name.
pub(crate) fn write_durable(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_data()
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_data()
}

/// Makes a folder, and those above it, to stay.
pub(crate) fn make_durable(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or_else(|| Path::new("."));
    make_durable(above)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    sync_folder(above)
}

fn missing_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Runs what waits for a disk where waiting is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
        Err(_) => Err(io::Error::other("the process is stopping")),
    }
}

/// What is done to a disk, step by step. A test lets all steps from one on fail, as if the process had ended before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    #[cfg(test)]
    left: Option<std::sync::Arc<std::sync::atomic::AtomicI64>>,
}

#[cfg(test)]
impl Steps {
    pub(crate) fn failing_after(steps: i64) -> Self {
        Self {
            left: Some(std::sync::Arc::new(steps.into())),
        }
    }

    /// Whether all steps were taken.
    pub(crate) fn none_failed(&self) -> bool {
        self.left
            .as_ref()
            .is_none_or(|left| left.load(std::sync::atomic::Ordering::Relaxed) >= 0)
    }
}

impl Steps {
    #[cfg_attr(
        not(test),
        expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "tests let it fail")
    )]
    pub(crate) fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(left) = &self.left
            && left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) <= 0
        {
            return Err(io::Error::other("the process has ended, says the test"));
        }
        Ok(())
    }
}
