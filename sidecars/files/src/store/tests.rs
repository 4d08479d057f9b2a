//! Stories of stores: in a folder, in a bucket, killed before each step, and in a crowd.

mod crowd;
mod kills;
mod stories;

use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use object_store::memory::InMemory;
use tempfile::TempDir;

use super::*;
use crate::backend::Steps;
use crate::verify::{Report, verify};

/// A place for a store, which can be closed and opened again.
struct Place {
    folder: TempDir,
    backend: Backend,
    limits: Limits,
}

impl Place {
    fn folder() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = Backend::folder(folder.path());
        Self {
            folder,
            backend,
            limits: Limits::default(),
        }
    }

    fn bucket() -> Self {
        Self {
            backend: Backend::bucket(Arc::new(InMemory::new())),
            ..Self::folder()
        }
    }

    /// One of each kind.
    fn all() -> [Self; 2] {
        [Self::folder(), Self::bucket()]
    }

    fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    fn staging(&self) -> std::path::PathBuf {
        self.folder.path().join("uploads")
    }

    async fn open(&self) -> Store {
        let staging = self.staging();
        let opened = Store::open(self.backend.clone(), &staging, self.limits);
        opened.await.expect("it opens")
    }

    /// One whose disk fails from a step on.
    async fn open_failing(&self, steps: &Steps) -> Result<Store, StoreError> {
        let backend = Backend::failing(self.folder.path(), steps.clone());
        Store::open(backend, &self.staging(), self.limits).await
    }

    async fn verify(&self) -> Report {
        verify(&self.backend, &mut |_| {}).await.expect("it can be read")
    }

    fn left_in_staging(&self) -> Vec<String> {
        files_in(&self.staging())
    }
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != ".lock")
        .collect();
    names.sort();
    names
}

fn user(owner: &str) -> By {
    By::User {
        owner: owner.to_owned(),
    }
}

fn new(name: &str) -> NewUpload {
    NewUpload {
        by: user("anna"),
        name: name.to_owned(),
        digest: None,
        bytes_max: u64::MAX,
    }
}

/// As [`new`], of this content.
fn of(name: &str, content: &[u8]) -> NewUpload {
    NewUpload {
        digest: Some(digest(content)),
        ..new(name)
    }
}

fn digest(content: &[u8]) -> Digest {
    let hash = ring::digest::digest(&ring::digest::SHA256, content);
    Digest(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// What comes: these chunks, then the end.
fn body(
    chunks: &[&[u8]],
) -> impl futures_util::Stream<Item = Result<Bytes, StoreError>> + Send + Unpin + use<> {
    let chunks: Vec<_> = chunks
        .iter()
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    stream::iter(chunks)
}

/// What comes: these chunks, then a cut.
fn cut(
    chunks: &[&[u8]],
) -> impl futures_util::Stream<Item = Result<Bytes, StoreError>> + Send + Unpin + use<> {
    use futures_util::StreamExt;
    let cut = Err(StoreError::Cut("the cable is out".to_owned()));
    body(chunks).chain(stream::iter([cut]))
}

async fn put(store: &Store, name: &str, content: &[u8]) -> Result<Stored, StoreError> {
    store
        .put(new(name), Some(content.len() as u64), body(&[content]))
        .await
}

/// The content of a file.
async fn get(store: &Store, owner: &str, name: &str) -> Option<Vec<u8>> {
    use futures_util::TryStreamExt;
    let file = store.file(owner, name)?;
    let pieces = store
        .read(file.digest, 0..file.bytes)
        .await
        .expect("what is named is there");
    let pieces: Vec<Bytes> = pieces.try_collect().await.expect("it can be read");
    Some(pieces.concat())
}
