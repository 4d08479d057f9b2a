//! Where content and references are: a folder, or a bucket.

mod bucket;
mod folder;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::ObjectStore;
use wire_protocol::file::Digest;

use crate::reference::{NAMES, Reference};
use folder::Folder;
pub(crate) use folder::{Steps, blocking, make_durable, sync_folder, write_durable};

/// Content and references, each there as a whole or not at all, and durable when a call returns.
#[derive(Clone, Debug)]
pub struct Backend(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Folder(Folder),
    Bucket(bucket::Bucket),
}

/// Bytes of content, in pieces.
pub type Contents = BoxStream<'static, io::Result<Bytes>>;

/// All that a backend has.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) references: Vec<Reference>,
    /// Where something lies among the references that is none.
    pub(crate) strange: Vec<String>,
    /// Content, and its bytes.
    pub(crate) contents: Vec<(Digest, u64)>,
}

impl Backend {
    /// A folder of this machine. It is made when a [`crate::Store`] opens it.
    #[must_use]
    pub fn folder(root: &Path) -> Self {
        Self(Kind::Folder(Folder::new(root)))
    }

    /// A bucket, or whatever else speaks like one. One store at a time may use it.
    #[must_use]
    pub fn bucket(bucket: Arc<dyn ObjectStore>) -> Self {
        Self(Kind::Bucket(bucket::Bucket::new(bucket)))
    }

    #[cfg(test)]
    pub(crate) fn failing(root: &Path, steps: Steps) -> Self {
        Self(Kind::Folder(Folder::new(root).failing(steps)))
    }

    /// Steps of the disk that uploads are gathered on, which is a folder's own.
    pub(crate) fn steps(&self) -> Steps {
        match &self.0 {
            Kind::Folder(folder) => folder.steps(),
            Kind::Bucket(_) => Steps::default(),
        }
    }

    /// Makes it ready for a store that uses it alone.
    pub(crate) async fn prepare(&self) -> io::Result<()> {
        match &self.0 {
            Kind::Folder(folder) => folder.prepare().await,
            Kind::Bucket(_) => Ok(()),
        }
    }

    /// Moves an upload, which is durable, to its content's place. Content that is there is replaced, so that damage is
    /// healed by whoever uploads it again.
    pub(crate) async fn place(&self, staged: &Path, digest: Digest, bytes: u64) -> io::Result<()> {
        match &self.0 {
            Kind::Folder(folder) => folder.place(staged, digest).await,
            Kind::Bucket(bucket) => bucket.place(staged, digest, bytes).await,
        }
    }

    /// Bytes of content that is there.
    pub(crate) async fn has(&self, digest: Digest) -> io::Result<Option<u64>> {
        match &self.0 {
            Kind::Folder(folder) => folder.has(digest).await,
            Kind::Bucket(bucket) => bucket.has(digest).await,
        }
    }

    /// These bytes of it, which it has.
    pub(crate) async fn read(&self, digest: Digest, range: Range<u64>) -> io::Result<Contents> {
        match &self.0 {
            Kind::Folder(folder) => folder.read(digest, range).await,
            Kind::Bucket(bucket) => bucket.read(digest, range).await,
        }
    }

    /// Removes content; that it is not there is no error.
    pub(crate) async fn remove_content(&self, digest: Digest) -> io::Result<()> {
        match &self.0 {
            Kind::Folder(folder) => {
                let place = content_place(digest);
                // There are 256 of these folders; they stay.
                let top = place[..CONTENT.len() + 3].to_owned();
                folder.remove(place, top).await
            }
            Kind::Bucket(bucket) => bucket.remove(&content_place(digest)).await,
        }
    }

    /// Names content, which is there.
    pub(crate) async fn put_reference(&self, reference: &Reference) -> io::Result<()> {
        match &self.0 {
            Kind::Folder(folder) => folder.put(reference.place(), reference.to_json()).await,
            Kind::Bucket(bucket) => bucket.put(&reference.place(), reference.to_json()).await,
        }
    }

    /// Removes a reference; that it is not there is no error.
    pub(crate) async fn remove_reference(&self, reference: &Reference) -> io::Result<()> {
        match &self.0 {
            Kind::Folder(folder) => folder.remove(reference.place(), NAMES.to_owned()).await,
            Kind::Bucket(bucket) => bucket.remove(&reference.place()).await,
        }
    }

    /// The reference that is there now, where `reference` was found.
    pub(crate) async fn again(&self, reference: &Reference) -> io::Result<Option<Reference>> {
        let text = match &self.0 {
            Kind::Folder(folder) => folder.get(reference.place()).await?,
            Kind::Bucket(bucket) => bucket.get(&reference.place()).await?,
        };
        Ok(text.and_then(|text| Reference::from_json(&text)))
    }

    /// All that is there. References first: content that is named meanwhile is then not taken for missing.
    pub(crate) async fn inventory(&self) -> io::Result<Inventory> {
        match &self.0 {
            Kind::Folder(folder) => folder.inventory().await,
            Kind::Bucket(bucket) => bucket.inventory().await,
        }
    }
}

/// The folder of contents.
const CONTENT: &str = "content";

/// Where content is kept, below the root: 256 folders, so that none is too long to look at.
fn content_place(digest: Digest) -> String {
    let hex = digest.hex();
    let (folder, rest) = hex.split_at(2);
    format!("{CONTENT}/{folder}/{rest}")
}

/// Which content is kept there.
fn content_at(place: &str) -> Option<Digest> {
    let mut parts = place.strip_prefix(CONTENT)?.strip_prefix('/')?.split('/');
    let (folder, rest) = (parts.next()?, parts.next()?);
    let digest = Digest::from_hex(&format!("{folder}{rest}")).ok()?;
    (content_place(digest) == place).then_some(digest)
}

/// A reference, if this is its place.
fn reference_at(place: &str, text: &[u8]) -> Option<Reference> {
    Reference::from_json(text).filter(|reference| reference.place() == place)
}
