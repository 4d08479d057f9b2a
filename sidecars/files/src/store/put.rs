//! Uploads in one go: nothing of one is kept that does not become a file.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use wire_protocol::file::check_name;

use super::staged::Staged;
use super::uploads::{NewUpload, new_id};
use super::{Shared, Store, StoreError, Stored, check_owner, detached};
use crate::backend::blocking;

impl Store {
    /// Uploads a file in one go. `bytes`: how many it will have, if that is known.
    ///
    /// # Errors
    /// As [`Self::begin_upload`] and [`Self::append`]; nothing is kept then.
    pub async fn put(
        &self,
        new: NewUpload,
        bytes: Option<u64>,
        body: impl Stream<Item = Result<Bytes, StoreError>> + Send + Unpin + 'static,
    ) -> Result<Stored, StoreError> {
        check_owner(new.by.owner())?;
        check_name(&new.name)?;
        self.0.check_length(bytes.unwrap_or(0), new.bytes_max)?;
        let shared = Arc::clone(&self.0);
        detached(async move { shared.put(new, bytes, body).await }).await
    }
}

impl Shared {
    async fn put(
        &self,
        new: NewUpload,
        bytes: Option<u64>,
        body: impl Stream<Item = Result<Bytes, StoreError>> + Unpin,
    ) -> Result<Stored, StoreError> {
        let owner = new.by.owner();
        let mut admitted = bytes.unwrap_or(0);
        self.index().admit(owner, admitted)?;
        let id = format!("put-{}", new_id()?);
        let done = self.put_admitted(&new, &id, bytes, body, &mut admitted).await;
        self.index().release(owner, admitted);
        if done.is_err() {
            drop(self.remove_files(&id).await);
        }
        done
    }

    async fn put_admitted(
        &self,
        new: &NewUpload,
        id: &str,
        bytes: Option<u64>,
        body: impl Stream<Item = Result<Bytes, StoreError>> + Unpin,
        admitted: &mut u64,
    ) -> Result<Stored, StoreError> {
        self.check_room(bytes.unwrap_or(0)).await?;
        let ([part, _], owner) = (self.files_of(id), new.by.owner());
        let made = {
            let part = part.clone();
            blocking(move || Staged::create(&part))
        };
        let staged = made.await.map_err(StoreError::io("begin an upload"))?;
        let max = bytes.unwrap_or_else(|| self.length_max(new.bytes_max));
        let (staged, received) = self
            .receive(staged, max, body, std::future::pending(), |more, total| {
                if total > *admitted {
                    self.index().reserve(owner, more, total)?;
                    *admitted += more;
                }
                Ok(())
            })
            .await;
        received?;
        let (digest, bytes_came) = (staged.digest(), staged.bytes);
        if bytes.is_some_and(|bytes| bytes != bytes_came) {
            return Err(StoreError::Cut("it ended early".to_owned()));
        }
        if let Some(expected) = new.digest.filter(|expected| *expected != digest) {
            return Err(StoreError::Differs {
                expected,
                found: digest,
            });
        }
        drop(self.sync(staged).await?);
        let stored = self
            .commit(&part, (digest, bytes_came), &mut false, owner, &new.name)
            .await?;
        // A bucket has a copy.
        drop(self.remove_files(id).await);
        Ok(stored)
    }
}
