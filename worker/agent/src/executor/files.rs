//! Where the input files of works come from. They come with the gateway; until then there are none.

use std::fs::File;
use std::future::Future;
use std::pin::Pin;

use thiserror::Error;

/// A file that cannot be had; the work ends with `InputMissing` and this text.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Missing(pub String);

/// Finds files by the SHA-256 of their content.
pub trait Files: Send + Sync {
    /// The file, open for reading, its content checked.
    fn open<'a>(
        &'a self,
        sha256: &'a [u8; 32],
    ) -> Pin<Box<dyn Future<Output = Result<File, Missing>> + Send + 'a>>;
}

/// A pool without files: every one is missing.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn open<'a>(
        &'a self,
        _sha256: &'a [u8; 32],
    ) -> Pin<Box<dyn Future<Output = Result<File, Missing>> + Send + 'a>> {
        let text = "this worker has no access to files: give the input inline, or by the row";
        Box::pin(async move { Err(Missing(text.to_owned())) })
    }
}
