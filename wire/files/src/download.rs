//! Downloads.

use std::path::Path;

use reqwest::header::{CONTENT_LENGTH, ETAG, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};
use ring::digest::{Context, SHA256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire_protocol::file::Digest;

use crate::web::check_host;
use crate::{CHUNK_BYTES, Content, Credentials, Effort, Files, FilesError, Tried};

/// Where a file is.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// In the store, by its name or `sha256:…`.
    Store(&'a str),
    /// In the web.
    Url(&'a str),
}

/// Which file, and how much of it is taken.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where it is.
    pub place: Place<'a>,
    /// What its content must be.
    pub digest: Option<Digest>,
    /// Bytes that are taken at most.
    pub bytes_max: u64,
    /// What is already at the place it goes to is its beginning, of a download that was cut.
    pub goes_on: bool,
}

impl Files {
    fn url_of(&self, place: Place<'_>) -> Result<Url, FilesError> {
        match place {
            Place::Store(source) => Ok(self.at(&["files", source])),
            Place::Url(url) => {
                let url = Url::parse(url).map_err(|_| FilesError::Url(url.to_owned()))?;
                check_host(self.hosts, &url).map_err(FilesError::Host)?;
                Ok(url)
            }
        }
    }

    /// What a file of the store is, without its content.
    ///
    /// # Errors
    /// The store refuses it, or nothing has moved for too long.
    pub async fn look(&self, source: &str, credentials: &dyn Credentials) -> Result<Content, FilesError> {
        let mut effort = Effort::new(self.patience);
        loop {
            let request = self.http.head(self.at(&["files", source]));
            match self.ask(request, credentials, effort.fresh()).await {
                Ok(response) => {
                    let length = response.headers().get(CONTENT_LENGTH);
                    let bytes = length.and_then(|length| length.to_str().ok()?.parse().ok());
                    let content = digest_of(&response).zip(bytes);
                    return content
                        .map(|(digest, bytes)| Content { digest, bytes })
                        .ok_or_else(|| FilesError::Protocol("it does not say what the file is".to_owned()));
                }
                Err(tried) => effort.again(tried).await?,
            }
        }
    }

    /// Downloads into a file of this machine, which is made or replaced; how far it has come is told to `progress`, with
    /// the length where it is known. What was written is left there if it fails.
    ///
    /// # Errors
    /// The store refuses it, the content differs, it is too long, or nothing has moved for too long.
    pub async fn download(
        &self,
        wanted: Wanted<'_>,
        to: &Path,
        credentials: &dyn Credentials,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Content, FilesError> {
        let mut sink = Sink::open(to, wanted.goes_on).await?;
        let mut effort = Effort::new(self.patience);
        let mut expected = wanted.digest;
        loop {
            let before = sink.bytes;
            let received = self
                .receive(
                    wanted,
                    &mut expected,
                    &mut sink,
                    credentials,
                    &mut effort,
                    progress,
                )
                .await;
            if sink.bytes != before {
                effort.moved();
            }
            match received {
                Ok(()) => break,
                // What is here is longer than what is there: it is not its beginning.
                Err(Tried::Elsewhere(error)) if sink.bytes > 0 => {
                    sink.restart().await?;
                    effort.again(Tried::Failed(error, None)).await?;
                }
                Err(tried) => effort.again(tried).await?,
            }
        }
        let bytes = sink.bytes;
        let found = sink.finish().await?;
        match expected {
            Some(expected) if expected != found => Err(FilesError::Differs { expected, found }),
            _ => Ok(Content { digest: found, bytes }),
        }
    }

    /// Everything from where the sink is, in one request.
    async fn receive(
        &self,
        wanted: Wanted<'_>,
        expected: &mut Option<Digest>,
        sink: &mut Sink,
        credentials: &dyn Credentials,
        effort: &mut Effort,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(), Tried> {
        let refuse = |error: FilesError| Tried::Refused(error);
        let url = self.url_of(wanted.place).map_err(refuse)?;
        let mut request = self.http.get(url);
        if sink.bytes > 0
            && let Some(digest) = expected
        {
            request = request
                .header(RANGE, format!("bytes={}-", sink.bytes))
                .header(IF_RANGE, format!("\"{}\"", digest.hex()));
        } else if sink.bytes > 0 {
            // Of a name that nobody has seen yet: what is here may be of an earlier file of that name.
            sink.restart().await.map_err(|error| refuse(error.into()))?;
        }
        let mut response = self.ask(request, credentials, effort.fresh()).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT && sink.bytes > 0 {
            sink.restart().await.map_err(|error| refuse(error.into()))?;
        }
        if wanted.digest.is_none() && matches!(wanted.place, Place::Store(_)) {
            *expected = digest_of(&response);
        }
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let length = length.map(|length| length.saturating_add(sink.bytes));
        let too_long = |bytes| {
            refuse(FilesError::TooLong {
                bytes,
                max: wanted.bytes_max,
            })
        };
        if let Some(bytes) = length.filter(|bytes| *bytes > wanted.bytes_max) {
            return Err(too_long(bytes));
        }
        progress(sink.bytes, length);
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| Tried::Failed(FilesError::from_http(error), None))?;
            let Some(chunk) = chunk else { break };
            if sink.bytes + chunk.len() as u64 > wanted.bytes_max {
                return Err(too_long(sink.bytes + chunk.len() as u64));
            }
            sink.write(&chunk).await.map_err(|error| refuse(error.into()))?;
            progress(sink.bytes, length);
        }
        match length {
            Some(length) if sink.bytes < length => Err(Tried::Failed(
                FilesError::Protocol("it ended early".to_owned()),
                None,
            )),
            _ => Ok(()),
        }
    }
}

/// What the store says that the content is.
fn digest_of(response: &Response) -> Option<Digest> {
    let tag = response.headers().get(ETAG)?.to_str().ok()?;
    let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
    let hex = tag.strip_prefix(Digest::PREFIX).unwrap_or(tag);
    Digest::from_hex(hex).ok()
}

/// Where a download goes: a file, and the hash of what is in it.
struct Sink {
    file: File,
    hash: Context,
    bytes: u64,
}

impl Sink {
    async fn open(path: &Path, goes_on: bool) -> std::io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(!goes_on)
            .open(path)
            .await?;
        let (mut hash, mut bytes) = (Context::new(&SHA256), 0);
        if goes_on {
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                let read = file.read(&mut chunk).await?;
                if read == 0 {
                    break;
                }
                hash.update(&chunk[..read]);
                bytes += read as u64;
            }
        }
        Ok(Self { file, hash, bytes })
    }

    async fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.file.write_all(chunk).await?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    async fn restart(&mut self) -> std::io::Result<()> {
        use tokio::io::AsyncSeekExt;
        self.file.flush().await?;
        self.file.set_len(0).await?;
        self.file.rewind().await?;
        self.hash = Context::new(&SHA256);
        self.bytes = 0;
        Ok(())
    }

    async fn finish(mut self) -> std::io::Result<Digest> {
        self.file.flush().await?;
        let digest = self.hash.finish();
        Ok(Digest(digest.as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }
}
