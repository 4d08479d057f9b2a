//! What is known of all files: the core of the store. It decides and touches nothing.
//!
//! ```text
//!              admit ─────► reserved ─────► insert (the reference is durable) ─► counted
//!                              └─────► release (given up, or counted now)
//!   insert over it, remove, expire ─► content that no reference names ─► unused ─► forget (it is gone)
//!                                                                          └─────► insert: it is used again
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use wire_protocol::file::Digest;
use wire_protocol::units::Instant;

use crate::limits::Limits;
use crate::reference::Reference;

/// Everything that the references say, and what is on its way to become one.
#[derive(Debug)]
pub struct Index {
    limits: Limits,
    owners: BTreeMap<String, Owner>,
    contents: HashMap<Digest, Content>,
    /// Files by when they expire.
    expiring: BTreeSet<(Instant, String, String)>,
    /// Content that no reference names.
    unused: BTreeMap<Digest, u64>,
    /// Content of which nobody knows whether something durable names it; it stays until references are read again.
    doubtful: BTreeSet<Digest>,
    files: usize,
    bytes: u64,
    uploads: usize,
}

#[derive(Debug, Default)]
struct Owner {
    files: BTreeMap<String, Entry>,
    /// How many of its files are this content.
    contents: HashMap<Digest, u32>,
    bytes: u64,
    /// Bytes that uploads will have.
    reserved: u64,
    uploads: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    digest: Digest,
    bytes: u64,
    created: Instant,
    expires: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Content {
    references: u32,
    bytes: u64,
}

/// Why something is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A file may not have so many bytes.
    FileBytes {
        /// The bound.
        max: u64,
    },
    /// The owner has too many bytes already.
    OwnerBytes {
        /// What its files and uploads have.
        used: u64,
        /// The bound.
        max: u64,
    },
    /// The owner has too many unfinished uploads.
    OwnerUploads {
        /// The bound.
        max: usize,
    },
    /// All owners together have too many unfinished uploads.
    Uploads {
        /// The bound.
        max: usize,
    },
}

/// A part of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Files, by name.
    pub files: Vec<Reference>,
    /// The name behind which the list goes on; `None`: this is its end.
    pub next: Option<String>,
}

impl Index {
    /// Of nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            owners: BTreeMap::new(),
            contents: HashMap::new(),
            expiring: BTreeSet::new(),
            unused: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            files: 0,
            bytes: 0,
            uploads: 0,
        }
    }

    /// Takes an upload in: one of its owner's, which will have `bytes` as far as known. Whoever is taken in is released.
    ///
    /// # Errors
    /// It is too much. Nothing has changed then.
    pub fn admit(&mut self, owner: &str, bytes: u64) -> Result<(), Refusal> {
        let limits = self.limits;
        if self.uploads >= limits.uploads_max {
            return Err(Refusal::Uploads {
                max: limits.uploads_max,
            });
        }
        let uploads = self.owners.get(owner).map_or(0, |owner| owner.uploads);
        if uploads >= limits.owner_uploads_max {
            return Err(Refusal::OwnerUploads {
                max: limits.owner_uploads_max,
            });
        }
        self.reserve(owner, bytes, bytes)?;
        self.uploads += 1;
        self.owner(owner).uploads += 1;
        Ok(())
    }

    /// An upload that is in gets so many bytes more, and has `total` with them.
    ///
    /// # Errors
    /// It is too much. Nothing has changed then.
    pub fn reserve(&mut self, owner: &str, more: u64, total: u64) -> Result<(), Refusal> {
        let limits = self.limits;
        if total > limits.file_bytes_max {
            return Err(Refusal::FileBytes {
                max: limits.file_bytes_max,
            });
        }
        let used = self.used(owner);
        if let Some(max) = limits.owner_bytes_max
            && used.saturating_add(more) > max
        {
            return Err(Refusal::OwnerBytes { used, max });
        }
        self.owner(owner).reserved += more;
        Ok(())
    }

    /// An upload is over, well or not: its reservation of `bytes` is given back.
    pub fn release(&mut self, owner: &str, bytes: u64) {
        self.uploads -= 1;
        let entry = self.owner(owner);
        entry.uploads -= 1;
        entry.reserved -= bytes;
        self.tidy(owner);
    }

    /// An upload that was begun before this start; it is in whatever the bounds are now.
    pub fn readmit(&mut self, owner: &str, bytes: u64) {
        self.uploads += 1;
        let entry = self.owner(owner);
        entry.uploads += 1;
        entry.reserved += bytes;
    }

    /// When a file that is called so and made now expires.
    #[must_use]
    pub fn expiry(&self, name: &str, now: Instant) -> Option<Instant> {
        let kept = self.limits.works_kept?;
        name.starts_with("works/").then(|| now + kept)
    }

    /// A reference is durable. Returns the one that it replaces.
    pub fn insert(&mut self, reference: &Reference) -> Option<Reference> {
        let replaced = self.remove(&reference.owner, &reference.name);
        let Reference {
            digest,
            bytes,
            created,
            expires,
            ..
        } = *reference;
        self.files += 1;
        self.unused.remove(&digest);
        let content = self
            .contents
            .entry(digest)
            .or_insert(Content { references: 0, bytes });
        content.references += 1;
        if content.references == 1 {
            self.bytes += bytes;
        }
        let owner = self.owner(&reference.owner);
        owner.bytes += bytes;
        *owner.contents.entry(digest).or_default() += 1;
        let entry = Entry {
            digest,
            bytes,
            created,
            expires,
        };
        owner.files.insert(reference.name.clone(), entry);
        if let Some(expires) = expires {
            self.expiring
                .insert((expires, reference.owner.clone(), reference.name.clone()));
        }
        replaced
    }

    /// A reference is gone. Returns it, if it was there.
    pub fn remove(&mut self, owner: &str, name: &str) -> Option<Reference> {
        let of_owner = self.owners.get_mut(owner)?;
        let entry = of_owner.files.remove(name)?;
        of_owner.bytes -= entry.bytes;
        let uses = of_owner
            .contents
            .get_mut(&entry.digest)
            .expect("an owner's files are counted in its contents");
        *uses -= 1;
        if *uses == 0 {
            of_owner.contents.remove(&entry.digest);
        }
        self.files -= 1;
        let content = self
            .contents
            .get_mut(&entry.digest)
            .expect("what a file names is counted");
        content.references -= 1;
        if content.references == 0 {
            self.contents.remove(&entry.digest);
            self.bytes -= entry.bytes;
            self.unused.insert(entry.digest, entry.bytes);
        }
        if let Some(expires) = entry.expires {
            self.expiring
                .remove(&(expires, owner.to_owned(), name.to_owned()));
        }
        self.tidy(owner);
        Some(entry.reference(owner, name))
    }

    /// A file of an owner.
    #[must_use]
    pub fn file(&self, owner: &str, name: &str, now: Instant) -> Option<Reference> {
        let entry = self.owners.get(owner)?.files.get(name)?;
        let reference = entry.reference(owner, name);
        reference.lives(now).then_some(reference)
    }

    /// Bytes of content that a file of this owner has; `None`: none has it, whoever else's may.
    #[must_use]
    pub fn content(&self, owner: &str, digest: Digest) -> Option<u64> {
        let has = self.owners.get(owner)?.contents.contains_key(&digest);
        has.then(|| self.contents[&digest].bytes)
    }

    /// Bytes of content that a file of anybody has.
    #[must_use]
    pub fn content_of_anybody(&self, digest: Digest) -> Option<u64> {
        self.contents.get(&digest).map(|content| content.bytes)
    }

    /// Files of an owner whose names begin with `prefix`, from behind `after`.
    #[must_use]
    pub fn list(&self, owner: &str, prefix: &str, after: Option<&str>, limit: usize, now: Instant) -> Page {
        let none = Page {
            files: Vec::new(),
            next: None,
        };
        let Some(of_owner) = self.owners.get(owner) else {
            return none;
        };
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut files: Vec<Reference> = of_owner
            .files
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, entry)| entry.reference(owner, name))
            .filter(|reference| reference.lives(now))
            .take(limit.saturating_add(1))
            .collect();
        let more = files.len() > limit;
        files.truncate(limit);
        let next = files.last().filter(|_| more).map(|last| last.name.clone());
        Page { files, next }
    }

    /// Files that are over at `now`, at most `max`.
    #[must_use]
    pub fn expired(&self, now: Instant, max: usize) -> Vec<(String, String)> {
        self.expiring
            .iter()
            .take_while(|(expires, ..)| *expires <= now)
            .take(max)
            .map(|(_, owner, name)| (owner.clone(), name.clone()))
            .collect()
    }

    /// Content is there, whoever names it: it was found at a start, or put there and not named after all.
    pub fn found(&mut self, digest: Digest, bytes: u64) {
        if !self.contents.contains_key(&digest) {
            self.unused.insert(digest, bytes);
        }
    }

    /// Writing a reference from the one content to the other failed, and which of them is named now is not known. Neither
    /// is unused any more.
    pub fn doubt(&mut self, digest: Digest) {
        self.doubtful.insert(digest);
    }

    /// Content that no file has, at most `max`.
    #[must_use]
    pub fn unused(&self, max: usize) -> Vec<Digest> {
        let certain = self
            .unused
            .keys()
            .filter(|digest| !self.doubtful.contains(digest));
        certain.take(max).copied().collect()
    }

    /// Whether no file has it. Only whoever keeps others from naming it meanwhile may remove it then.
    #[must_use]
    pub fn is_unused(&self, digest: Digest) -> bool {
        self.unused.contains_key(&digest) && !self.doubtful.contains(&digest)
    }

    /// Unused content was removed.
    pub fn forget(&mut self, digest: Digest) {
        self.unused.remove(&digest);
    }

    /// Bytes that an owner's files and uploads have.
    #[must_use]
    pub fn used(&self, owner: &str) -> u64 {
        self.owners
            .get(owner)
            .map_or(0, |owner| owner.bytes.saturating_add(owner.reserved))
    }

    /// Files of all owners.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files
    }

    /// Contents that files have, and the bytes of all of them, each once.
    #[must_use]
    pub fn contents(&self) -> (usize, u64) {
        (self.contents.len(), self.bytes)
    }

    /// Unfinished uploads of all owners.
    #[must_use]
    pub fn uploads(&self) -> usize {
        self.uploads
    }

    fn owner(&mut self, owner: &str) -> &mut Owner {
        self.owners.entry(owner.to_owned()).or_default()
    }

    /// Who has nothing is not remembered.
    fn tidy(&mut self, owner: &str) {
        if let Some(found) = self.owners.get(owner)
            && found.files.is_empty()
            && found.uploads == 0
        {
            self.owners.remove(owner);
        }
    }
}

impl Entry {
    fn reference(&self, owner: &str, name: &str) -> Reference {
        Reference {
            owner: owner.to_owned(),
            name: name.to_owned(),
            digest: self.digest,
            bytes: self.bytes,
            created: self.created,
            expires: self.expires,
        }
    }
}

#[cfg(test)]
mod tests;
