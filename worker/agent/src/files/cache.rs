//! Content that was fetched before, by its hash, within a bound; what was used longest ago goes first.
//!
//! ```text
//!  folder/cache/<64 hexadecimal digits>     content; its time of change is when it was last used
//!  folder/cache/.partial-…                  on its way; removed at the next start
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use wire_protocol::file::Digest;

/// A folder of content. See the module.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    shelf: Mutex<Shelf>,
    /// One fetches, the others wait for it: by content.
    fetching: Mutex<BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    partials: std::sync::atomic::AtomicU64,
}

/// What is there, and what has to go.
#[derive(Debug)]
struct Shelf {
    bytes_max: u64,
    bytes: u64,
    items: BTreeMap<Digest, Item>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Item {
    bytes: u64,
    used: SystemTime,
    /// Attempts that are reading it.
    readers: u32,
}

impl Shelf {
    /// What has to go so that `bytes` more fit; least recently used first, and nothing that is being read. It may not be
    /// enough: then it is over its bound for a while.
    fn to_go(&self, bytes: u64) -> Vec<Digest> {
        let mut items: Vec<_> = self.items.iter().filter(|(_, item)| item.readers == 0).collect();
        items.sort_by_key(|(digest, item)| (item.used, **digest));
        let mut left = self.bytes.saturating_add(bytes);
        let mut going = Vec::new();
        for (digest, item) in items {
            if left <= self.bytes_max {
                break;
            }
            left -= item.bytes;
            going.push(*digest);
        }
        going
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(item) = self.items.remove(digest) {
            self.bytes -= item.bytes;
        }
    }

    fn insert(&mut self, digest: Digest, bytes: u64, used: SystemTime) {
        self.remove(&digest);
        let readers = 0;
        self.items.insert(digest, Item { bytes, used, readers });
        self.bytes += bytes;
    }
}

/// Content that stays as long as this is held.
#[derive(Debug)]
pub(super) struct Held<'a> {
    cache: &'a Cache,
    digest: Digest,
    pub(super) path: PathBuf,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(item) = self.cache.shelf().items.get_mut(&self.digest) {
            item.readers -= 1;
        }
    }
}

impl Cache {
    /// Opens the folder, and forgets what was on its way.
    pub(super) fn open(folder: PathBuf, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut shelf = Shelf {
            bytes_max,
            bytes: 0,
            items: BTreeMap::new(),
        };
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            match Digest::from_hex(&name.to_string_lossy()) {
                Ok(digest) => {
                    let metadata = entry.metadata()?;
                    shelf.insert(digest, metadata.len(), metadata.modified()?);
                }
                Err(_) => fs::remove_file(entry.path())?,
            }
        }
        let cache = Self {
            folder,
            shelf: Mutex::new(shelf),
            fetching: Mutex::default(),
            partials: 0.into(),
        };
        cache.make_room(0);
        Ok(cache)
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content that was used last, at most so many.
    pub(super) fn last_used(&self, max: usize) -> Vec<Digest> {
        let shelf = self.shelf();
        let mut items: Vec<_> = shelf
            .items
            .iter()
            .map(|(digest, item)| (item.used, *digest))
            .collect();
        items.sort_unstable_by(|a, b| b.cmp(a));
        items.into_iter().take(max).map(|(_, digest)| digest).collect()
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// The content, if it is there.
    pub(super) fn get(&self, digest: &Digest) -> Option<Held<'_>> {
        let mut shelf = self.shelf();
        let item = shelf.items.get_mut(digest)?;
        item.used = SystemTime::now();
        let path = self.path(digest);
        // For the next start; that it is not noted is no reason to fetch it again. That it has gone is.
        let noted = File::options().append(true).open(&path);
        match noted.and_then(|file| Ok((file.metadata()?.len() == item.bytes, file.set_modified(item.used))))
        {
            Ok((true, _)) => item.readers += 1,
            _ => {
                shelf.remove(digest);
                return None;
            }
        }
        Some(Held {
            cache: self,
            digest: *digest,
            path,
        })
    }

    /// Who else fetches this content waits until the lock is let go, and looks again.
    pub(super) fn fetching(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(fetching.entry(digest).or_default())
    }

    /// A place for content on its way, removed when it is let go.
    pub(super) fn partial(&self) -> Partial {
        let number = self.partials.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Partial(self.folder.join(format!(".partial-{number}")))
    }

    /// Removes what was used longest ago, so that `bytes` more fit.
    pub(super) fn make_room(&self, bytes: u64) {
        let mut shelf = self.shelf();
        for digest in shelf.to_go(bytes) {
            if let Err(error) = fs::remove_file(self.path(&digest)) {
                tracing::warn!(%error, %digest, "a fetched file cannot be removed");
            }
            shelf.remove(&digest);
        }
    }

    /// Keeps content that has come whole.
    pub(super) fn keep(&self, partial: &Partial, digest: Digest, bytes: u64) -> io::Result<Held<'_>> {
        self.make_room(bytes);
        let path = self.path(&digest);
        let mut shelf = self.shelf();
        // Another that read it meanwhile goes on: the file that it has open stays.
        let readers = shelf.items.get(&digest).map_or(0, |item| item.readers);
        fs::rename(&partial.0, &path)?;
        shelf.insert(digest, bytes, SystemTime::now());
        if let Some(item) = shelf.items.get_mut(&digest) {
            item.readers = readers + 1;
        }
        Ok(Held {
            cache: self,
            digest,
            path,
        })
    }
}

/// A file on its way.
pub(super) struct Partial(PathBuf);

impl Partial {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest([n; 32])
    }

    fn keep(cache: &Cache, n: u8, bytes: usize) {
        let partial = cache.partial();
        fs::write(partial.path(), vec![n; bytes]).expect("own folder");
        cache.keep(&partial, digest(n), bytes as u64).expect("it is kept");
    }

    fn there(cache: &Cache) -> Vec<u8> {
        (0..10).filter(|n| cache.path(&digest(*n)).exists()).collect()
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_read_stays() {
        let temporary = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(temporary.path().join("cache"), 30).expect("a folder");
        for n in 1..=3 {
            keep(&cache, n, 10);
        }
        drop(cache.get(&digest(1)).expect("it is there"));
        keep(&cache, 4, 10);
        assert_eq!(there(&cache), [1, 3, 4]);
        let held = cache.get(&digest(3)).expect("it is there");
        keep(&cache, 5, 20);
        assert_eq!(there(&cache), [3, 5]);
        assert_eq!(fs::read(&held.path).expect("it stays"), [3; 10]);
        drop(held);
        keep(&cache, 6, 40);
        assert_eq!(
            there(&cache),
            [6],
            "longer than all: it is kept until the next comes"
        );
        keep(&cache, 7, 1);
        assert_eq!(there(&cache), [7]);
    }

    #[test]
    fn a_start_finds_what_is_whole_and_forgets_the_rest() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("cache");
        let cache = Cache::open(folder.clone(), 30).expect("a folder");
        for n in 1..=3 {
            keep(&cache, n, 10);
        }
        drop(cache.get(&digest(1)).expect("it is there"));
        fs::write(folder.join(".partial-7"), "half").expect("own folder");
        let cache = Cache::open(folder.clone(), 25).expect("a folder");
        assert_eq!(there(&cache), [1, 3]);
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 2);
        fs::remove_file(cache.path(&digest(1))).expect("it is there");
        fs::write(cache.path(&digest(3)), "cut").expect("it is there");
        assert!(cache.get(&digest(1)).is_none() && cache.get(&digest(3)).is_none());
        assert_eq!(cache.shelf().bytes, 0);
    }
}
