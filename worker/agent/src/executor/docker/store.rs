//! The images that works have used, when each was used last, and which are in use now.
//!
//! Kept in the worker's folder, so that a restart does not take all of them for equally old: a line `seconds id` each. A
//! first use is written at once, because an image that is not in the file is nobody's to remove; a later one with the
//! next look at the disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

/// Shared by attempts and by whoever removes images.
#[derive(Debug)]
pub(super) struct Uses {
    file: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Default, Debug)]
struct Inner {
    /// Seconds since 1970 of the last use, by the image's id.
    last: HashMap<String, u64>,
    /// Attempts that use it now.
    now: HashMap<String, u32>,
    changed: bool,
}

/// An image in use; it is in use no more when this is dropped.
#[derive(Debug)]
pub(super) struct InUse {
    uses: Arc<Uses>,
    id: String,
}

impl Uses {
    /// What the file says; one that is not there, or lines that say nothing, are no use.
    pub(super) fn read(file: PathBuf) -> Self {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let line = |line: &str| {
            let (seconds, id) = line.split_once(' ')?;
            Some((id.to_owned(), seconds.parse().ok()?))
        };
        let inner = Inner {
            last: text.lines().filter_map(line).collect(),
            ..Inner::default()
        };
        Self {
            file,
            inner: Mutex::new(inner),
        }
    }

    /// An attempt uses this image from now on.
    pub(super) fn begin(self: Arc<Self>, id: &str) -> InUse {
        let mut inner = self.inner();
        *inner.now.entry(id.to_owned()).or_default() += 1;
        let is_new = inner.last.insert(id.to_owned(), now_s()).is_none();
        inner.changed = true;
        drop(inner);
        if is_new {
            self.write();
        }
        InUse {
            id: id.to_owned(),
            uses: self,
        }
    }

    /// When a work last used it; `None`: none has.
    pub(super) fn last(&self, id: &str) -> Option<u64> {
        self.inner().last.get(id).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.inner().last.len()
    }

    pub(super) fn is_in_use(&self, id: &str) -> bool {
        self.inner().now.contains_key(id)
    }

    /// The engine has these and no others.
    pub(super) fn retain(&self, there: impl Fn(&str) -> bool) {
        let mut inner = self.inner();
        let before = inner.last.len();
        let Inner { last, now, .. } = &mut *inner;
        last.retain(|id, _| there(id) || now.contains_key(id));
        inner.changed |= inner.last.len() != before;
    }

    /// Writes what has changed. Renamed into place, so that a crash leaves the old file or the new one.
    pub(super) fn write(&self) {
        let mut inner = self.inner();
        if !std::mem::take(&mut inner.changed) {
            return;
        }
        let mut lines: Vec<_> = inner.last.iter().collect();
        lines.sort();
        let text: String = lines
            .iter()
            .map(|(id, seconds)| format!("{seconds} {id}\n"))
            .collect();
        drop(inner);
        let new = self.file.with_extension("new");
        let written: io::Result<()> = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.file));
        if let Err(error) = written {
            self.inner().changed = true;
            tracing::warn!(%error, file = %self.file.display(), "when images were used cannot be kept");
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut inner = self.uses.inner();
        inner.last.insert(self.id.clone(), now_s());
        inner.changed = true;
        if let Some(uses) = inner.now.get_mut(&self.id) {
            *uses -= 1;
            if *uses == 0 {
                inner.now.remove(&self.id);
            }
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_in_use_as_long_as_an_attempt_uses_it_and_its_last_use_survives_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("images");
        let uses = Arc::new(Uses::read(file.clone()));
        assert_eq!(uses.last("a"), None);
        let one = Arc::clone(&uses).begin("a");
        let two = Arc::clone(&uses).begin("a");
        drop(one);
        assert!(uses.is_in_use("a"));
        drop(two);
        assert!(!uses.is_in_use("a"));
        let again = Uses::read(file.clone());
        assert!(again.last("a").is_some(), "a first use is written at once");
        uses.retain(|id| id != "a");
        uses.write();
        assert_eq!(Uses::read(file).last("a"), None, "it is gone, and forgotten");
    }

    #[test]
    fn a_file_of_nonsense_is_no_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("images");
        fs::write(&file, "x\n17 sha256:a\nten sha256:b\n").expect("own folder");
        let uses = Uses::read(file);
        assert_eq!((uses.last("sha256:a"), uses.last("sha256:b")), (Some(17), None));
    }
}
