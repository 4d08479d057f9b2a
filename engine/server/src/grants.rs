//! Grants: where the pool's files are, and the key that says who may read and write them.

use std::path::{Path, PathBuf};

use thiserror::Error;
use wire_grant::Key;
use wire_protocol::file::Claims;
use wire_protocol::worker_link::GrantAnswer;

/// What the engine says to a worker that asks for files.
pub(crate) struct Grants(Option<Store>);

struct Store {
    url: String,
    key: Key,
}

/// The key cannot be used.
#[derive(Debug, Error)]
#[error("the grant key {file} cannot be used")]
pub struct KeyError {
    file: PathBuf,
    source: std::io::Error,
}

impl Grants {
    /// For a pool whose file store is at `url`, if it has one. The key is made where there is none.
    pub(crate) fn new(url: Option<&str>, key: &Path) -> Result<Self, KeyError> {
        let Some(url) = url else { return Ok(Self(None)) };
        let found = Key::read_or_make(key).map_err(|source| KeyError {
            file: key.to_owned(),
            source,
        })?;
        Ok(Self(Some(Store {
            url: url.to_owned(),
            key: found,
        })))
    }

    pub(crate) fn answer(&self, claims: &Claims) -> GrantAnswer {
        match &self.0 {
            Some(store) => GrantAnswer::Granted {
                url: store.url.clone(),
                grant: store.key.sign(claims),
            },
            None => GrantAnswer::Refused {
                reason: "this pool has no file store: its operator starts pool-gateway and gives the engine \
                         POOL_FILES_URL"
                    .to_owned(),
            },
        }
    }
}
