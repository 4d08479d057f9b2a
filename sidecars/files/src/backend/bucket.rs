//! A bucket: whatever [`object_store`] speaks to. An object appears as a whole when it is put, also one in parts.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path as Place;
use object_store::{Error, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::Semaphore;
use wire_protocol::file::Digest;

use super::folder::blocking;
use super::{CONTENT, Contents, Inventory, content_at, content_place, reference_at};
use crate::reference::{NAMES, Reference};

/// Bytes of a part. S3 takes no smaller ones than 5 MiB, and ten thousand of them, which makes 80 GiB of a file.
const PART_BYTES: u64 = 8 << 20;

/// Uploads that are copied to the bucket at once, each with one part in memory.
const COPIES_MAX: usize = 4;

/// References that are read at once at a start.
const READS_MAX: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    bucket: Arc<dyn ObjectStore>,
    copies: Arc<Semaphore>,
}

impl Bucket {
    pub(super) fn new(bucket: Arc<dyn ObjectStore>) -> Self {
        Self {
            bucket,
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
        }
    }

    /// Content that is there with all its bytes is not sent again.
    pub(super) async fn place(&self, staged: &Path, digest: Digest, bytes: u64) -> io::Result<()> {
        if self.has(digest).await? == Some(bytes) {
            return Ok(());
        }
        let _copy = self.copies.acquire().await.expect("it is never closed");
        let path = staged.to_owned();
        let file = Arc::new(blocking(move || File::open(path)).await?);
        let place = Place::from(content_place(digest));
        if bytes <= PART_BYTES {
            let all = part(&file, 0..bytes).await?;
            self.bucket.put(&place, all).await.map_err(io_error)?;
            return Ok(());
        }
        let mut upload = self.bucket.put_multipart(&place).await.map_err(io_error)?;
        let sent = send(&mut *upload, &file, bytes).await;
        if sent.is_err() {
            // Parts that stay cost room; buckets have rules to remove them.
            drop(upload.abort().await);
        }
        sent
    }

    pub(super) async fn has(&self, digest: Digest) -> io::Result<Option<u64>> {
        let found = self.bucket.head(&Place::from(content_place(digest))).await;
        missing_is_none(found.map(|found| found.size))
    }

    pub(super) async fn read(&self, digest: Digest, range: Range<u64>) -> io::Result<Contents> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let place = Place::from(content_place(digest));
        let found = self.bucket.get_opts(&place, options).await.map_err(io_error)?;
        Ok(found.into_stream().map_err(io_error).boxed())
    }

    pub(super) async fn put(&self, place: &str, content: Vec<u8>) -> io::Result<()> {
        let put = self.bucket.put(&Place::from(place), content.into()).await;
        put.map(drop).map_err(io_error)
    }

    pub(super) async fn get(&self, place: &str) -> io::Result<Option<Vec<u8>>> {
        self.get_at(&Place::from(place)).await
    }

    async fn get_at(&self, place: &Place) -> io::Result<Option<Vec<u8>>> {
        let Some(found) = missing_is_none(self.bucket.get(place).await)? else {
            return Ok(None);
        };
        Ok(Some(found.bytes().await.map_err(io_error)?.to_vec()))
    }

    pub(super) async fn remove(&self, place: &str) -> io::Result<()> {
        missing_is_none(self.bucket.delete(&Place::from(place)).await).map(drop)
    }

    pub(super) async fn inventory(&self) -> io::Result<Inventory> {
        let mut inventory = Inventory::default();
        let mut read = self
            .bucket
            .list(Some(&Place::from(NAMES)))
            .map_err(io_error)
            .map_ok(|found| async move {
                let text = self.get_at(&found.location).await?;
                Ok::<_, io::Error>((found.location, text))
            })
            .try_buffer_unordered(READS_MAX);
        while let Some((place, text)) = read.try_next().await? {
            let Some(text) = text else { continue };
            let found = Reference::from_json(&text).filter(|found| Place::from(found.place()) == place);
            match found.filter(|found| reference_at(&found.place(), &text).is_some()) {
                Some(reference) => inventory.references.push(reference),
                None => inventory.strange.push(place.to_string()),
            }
        }
        let mut listed = self.bucket.list(Some(&Place::from(CONTENT)));
        while let Some(found) = listed.try_next().await.map_err(io_error)? {
            match content_at(found.location.as_ref()) {
                Some(digest) => inventory.contents.push((digest, found.size)),
                None => inventory.strange.push(found.location.to_string()),
            }
        }
        Ok(inventory)
    }
}

async fn send(upload: &mut dyn MultipartUpload, file: &Arc<File>, bytes: u64) -> io::Result<()> {
    let mut at = 0;
    while at < bytes {
        let end = (at + PART_BYTES).min(bytes);
        let part = part(file, at..end).await?;
        upload.put_part(part).await.map_err(io_error)?;
        at = end;
    }
    upload.complete().await.map(drop).map_err(io_error)
}

async fn part(file: &Arc<File>, range: Range<u64>) -> io::Result<PutPayload> {
    let file = Arc::clone(file);
    let part = blocking(move || {
        let mut part = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut part, range.start)?;
        Ok(Bytes::from(part))
    });
    Ok(part.await?.into())
}

fn missing_is_none<T>(result: Result<T, Error>) -> io::Result<Option<T>> {
    match result {
        Err(Error::NotFound { .. }) => Ok(None),
        other => other.map(Some).map_err(io_error),
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, error),
        error => io::Error::other(error),
    }
}
