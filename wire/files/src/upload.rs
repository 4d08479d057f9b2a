//! Uploads.

use std::io::SeekFrom;
use std::path::Path;

use data_encoding::BASE64;
use futures_util::StreamExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Response, StatusCode, Url};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::{CHUNK_BYTES, Content, Credentials, Effort, Files, FilesError, Tried};

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

/// Bytes of one request, so that credentials that run out in the middle do not cost all of it.
const PIECE_BYTES: u64 = 64 << 20;

/// A file on its way to the store.
///
/// It is begun by [`Files::upload`] and goes on by [`Upload::finish`], also in another process: what it needs for that is
/// [`Upload::place`].
#[derive(Debug)]
pub struct Upload {
    url: Url,
}

impl Upload {
    /// Where it goes on.
    #[must_use]
    pub fn place(&self) -> &str {
        self.url.as_str()
    }

    /// One that was begun before.
    ///
    /// # Errors
    /// The place is no URL.
    pub fn at(place: &str) -> Result<Self, FilesError> {
        let url = Url::parse(place).map_err(|_| FilesError::Url(place.to_owned()))?;
        Ok(Self { url })
    }

    /// Sends what the store does not have yet. `progress` is told how many bytes it has.
    ///
    /// # Errors
    /// The store refuses it (the content differs, it is too long, there is no room), or nothing has moved for too long.
    pub async fn finish(
        &self,
        files: &Files,
        file: &Path,
        content: Content,
        credentials: &dyn Credentials,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), FilesError> {
        let mut effort = Effort::new(files.patience);
        let (mut had, mut known) = (0, None);
        loop {
            // After a cut, some of what was sent may have come: ask before anything is sent again.
            let offset = match known.take() {
                Some(offset) => Ok(offset),
                None => self.offset(files, content, credentials, &mut effort).await,
            };
            let sent = match offset {
                Ok(offset) => {
                    progress(offset);
                    if offset > had {
                        effort.moved();
                        had = offset;
                    }
                    self.send(files, file, content, offset, credentials, &mut effort)
                        .await
                }
                Err(tried) => Err(tried),
            };
            match sent {
                Ok(offset) if offset == content.bytes => {
                    progress(offset);
                    return Ok(());
                }
                Ok(offset) => known = Some(offset),
                Err(tried) => effort.again(tried).await?,
            }
        }
    }

    /// How many bytes the store has.
    async fn offset(
        &self,
        files: &Files,
        content: Content,
        credentials: &dyn Credentials,
        effort: &mut Effort,
    ) -> Result<u64, Tried> {
        let request = files.http.head(self.url.clone()).header(TUS.0, TUS.1);
        let response = files.ask(request, credentials, effort.fresh()).await?;
        offset_of(&response, content)
    }

    async fn send(
        &self,
        files: &Files,
        file: &Path,
        content: Content,
        offset: u64,
        credentials: &dyn Credentials,
        effort: &mut Effort,
    ) -> Result<u64, Tried> {
        let io = |error: std::io::Error| Tried::Refused(error.into());
        let bytes = PIECE_BYTES.min(content.bytes - offset);
        let mut file = File::open(file).await.map_err(io)?;
        file.seek(SeekFrom::Start(offset)).await.map_err(io)?;
        let stream = ReaderStream::with_capacity(file.take(bytes), CHUNK_BYTES);
        let request = files
            .http
            .patch(self.url.clone())
            .header(TUS.0, TUS.1)
            .header("upload-offset", offset)
            .header(CONTENT_TYPE, "application/offset+octet-stream")
            .header(CONTENT_LENGTH, bytes)
            .body(Body::wrap_stream(stream.boxed()));
        let response = files.ask(request, credentials, effort.fresh()).await?;
        offset_of(&response, content)
    }
}

fn offset_of(response: &Response, content: Content) -> Result<u64, Tried> {
    let offset = response
        .headers()
        .get("upload-offset")
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match offset {
        Some(offset) if offset <= content.bytes => Ok(offset),
        _ => Err(Tried::Refused(FilesError::Protocol(
            "it does not say how much of the upload it has".to_owned(),
        ))),
    }
}

impl Files {
    /// Begins an upload: `name` is what it will be called. `None`: the store has that content under that name already.
    ///
    /// # Errors
    /// The store refuses it, or nothing has moved for too long.
    pub async fn begin_upload(
        &self,
        name: &str,
        content: Content,
        credentials: &dyn Credentials,
    ) -> Result<Option<Upload>, FilesError> {
        let metadata = format!(
            "name {},sha256 {}",
            BASE64.encode(name.as_bytes()),
            BASE64.encode(content.digest.hex().as_bytes())
        );
        let url = self.at(&["uploads"]);
        let mut effort = Effort::new(self.patience);
        loop {
            let request = self
                .http
                .post(url.clone())
                .header(TUS.0, TUS.1)
                .header("upload-length", content.bytes)
                .header("upload-metadata", &metadata);
            match self.ask(request, credentials, effort.fresh()).await {
                Ok(response) => return upload_of(&url, &response, content),
                Err(tried) => effort.again(tried).await?,
            }
        }
    }

    /// Uploads a file of this machine, whose content is known. `progress` is told how many bytes the store has.
    ///
    /// # Errors
    /// The store refuses it (the content differs, it is too long, there is no room), or nothing has moved for too long.
    pub async fn upload(
        &self,
        name: &str,
        file: &Path,
        content: Content,
        credentials: &dyn Credentials,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), FilesError> {
        // Twice: an upload that the store has forgotten is begun again.
        for last in [false, true] {
            let Some(upload) = self.begin_upload(name, content, credentials).await? else {
                progress(content.bytes);
                return Ok(());
            };
            match upload.finish(self, file, content, credentials, progress).await {
                Err(FilesError::Refused { status, .. })
                    if !last && matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) => {}
                done => return done,
            }
        }
        unreachable!("the second is the last")
    }
}

fn upload_of(asked: &Url, response: &Response, content: Content) -> Result<Option<Upload>, FilesError> {
    let done = offset_of(response, content).is_ok_and(|offset| offset == content.bytes);
    if done && (content.bytes > 0 || response.status() == StatusCode::OK) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION);
    let url = location.and_then(|location| asked.join(location.to_str().ok()?).ok());
    match url {
        Some(url) if url.origin() == asked.origin() => Ok(Some(Upload { url })),
        _ => Err(FilesError::Protocol(
            "it does not say where the upload goes on".to_owned(),
        )),
    }
}
