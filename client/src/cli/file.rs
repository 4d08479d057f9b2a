//! `pool file …`: the files of a pool. All but `verify` speak to `pool-gateway`; that reads the store's folder.

mod transfer;
mod verify;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use wire_files::{Files, FilesError, Login};
use wire_protocol::units::{Bytes, Instant};

use super::Context;
use super::args::{File, FileVerb, Format};
use super::connect;
use super::exit::{Exit, Failure};
use super::output::{Output, Show, fields};
use super::quantity;

pub(crate) async fn run(context: &Context, file: File) -> Result<Exit, Failure> {
    let output = &context.output;
    let store = || Remote::of(context, file.files_url.as_deref());
    match file.verb {
        FileVerb::Put { path, name, resume } => transfer::put(&store()?, output, &path, name, resume).await,
        FileVerb::Get {
            source,
            to,
            resume,
            max,
        } => transfer::get(&store()?, output, &source, to, resume, max).await,
        FileVerb::List {
            prefix,
            after,
            limit,
            all,
            owner,
        } => {
            let asked = Asked {
                prefix: &prefix,
                owner: owner.as_deref(),
                limit: if all { PAGE_FILES_MAX } else { limit },
            };
            list(&store()?, output, &asked, after, all).await
        }
        FileVerb::Remove { names, owner } => remove(&store()?, output, &names, owner.as_deref()).await,
        FileVerb::Verify { folder, show } => {
            let folder = folder.unwrap_or_else(|| context.global.data.join("engine/files"));
            verify::verify(&folder, show, output).await
        }
    }
}

/// Files that are asked for at once when all are wanted.
const PAGE_FILES_MAX: u16 = 1_000;

/// The store, as far away as it is, and who we are to it.
struct Remote {
    files: Files,
    login: Login,
    url: String,
}

impl Remote {
    fn of(context: &Context, url: Option<&str>) -> Result<Self, Failure> {
        let place = connect::files(&context.global, url)?;
        let files = Files::new(&place.url, &place.trust).map_err(|error| failed(&error))?;
        Ok(Self {
            files,
            login: Login::new(&place.login, &place.password),
            url: place.url,
        })
    }

    /// The same, for a question that is answered at once or not at all.
    async fn ask(
        &self,
        context_timeout: std::time::Duration,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Page, Failure> {
        let files = self.files.clone().patience(context_timeout);
        let answer = files
            .request(Method::GET, path, query, &self.login)
            .await
            .map_err(|error| failed(&error))?;
        serde_json::from_slice(&answer)
            .map_err(|error| Failure::caused(Exit::Failed, "this is no answer of a file store", &error))
    }

    async fn page(&self, asked: &Asked<'_>, after: Option<&str>) -> Result<Page, Failure> {
        let limit = asked.limit.to_string();
        let mut query = vec![("prefix", asked.prefix), ("limit", &limit)];
        query.extend(after.map(|after| ("after", after)));
        query.extend(asked.owner.map(|owner| ("owner", owner)));
        self.ask(ANSWER_WITHIN, &["files"], &query).await
    }
}

/// How long a question is asked again and again. Uploads and downloads have more patience.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

struct Asked<'a> {
    prefix: &'a str,
    owner: Option<&'a str>,
    limit: u16,
}

#[derive(Deserialize)]
struct Page {
    files: Vec<FileRow>,
    next: Option<String>,
}

/// A file, as the store tells it.
#[derive(Clone, Debug, Deserialize)]
struct FileRow {
    name: String,
    sha256: String,
    bytes: u64,
    created_ms: u64,
    expires_ms: Option<u64>,
}

impl Show for FileRow {
    const KIND: &'static str = "file";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["name", "size", "created", "expires", "sha256"];

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "created_ms": self.created_ms,
            "expires_ms": self.expires_ms,
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            Bytes(self.bytes).to_string(),
            time(self.created_ms),
            self.expires_ms.map_or_else(String::new, time),
            self.sha256.clone(),
        ]
    }

    fn text(&self) -> String {
        fields(&[
            ("name", self.name.clone()),
            ("size", format!("{} ({} bytes)", Bytes(self.bytes), self.bytes)),
            ("sha256", self.sha256.clone()),
            ("created", time(self.created_ms)),
            ("expires", self.expires_ms.map_or_else(String::new, time)),
        ])
    }
}

fn time(ms: u64) -> String {
    quantity::timestamp(Instant(ms.saturating_mul(1_000_000)))
}

async fn list(
    store: &Remote,
    output: &Output,
    asked: &Asked<'_>,
    mut after: Option<String>,
    all: bool,
) -> Result<Exit, Failure> {
    let mut list = output.list();
    loop {
        let page = store.page(asked, after.as_deref()).await?;
        list.page(&page.files)?;
        after = page.next;
        if after.is_none() || !all {
            break;
        }
    }
    list.end()?;
    if let (Some(next), Format::Table) = (after, output.format) {
        eprintln!("there are more: --after {next}, or --all");
    }
    Ok(Exit::Ok)
}

struct Removed<'a>(&'a str);

impl Show for Removed<'_> {
    const KIND: &'static str = "file-removed";
    type Json<'a>
        = Value
    where
        Self: 'a;
    const COLUMNS: &'static [&'static str] = &["name"];

    fn json(&self) -> Value {
        json!({ "name": self.0 })
    }

    fn cells(&self) -> Vec<String> {
        vec![self.0.to_owned()]
    }

    fn text(&self) -> String {
        format!("{} is removed", self.0)
    }
}

async fn remove(
    store: &Remote,
    output: &Output,
    names: &[String],
    owner: Option<&str>,
) -> Result<Exit, Failure> {
    let files = store.files.clone().patience(ANSWER_WITHIN);
    let query: Vec<(&str, &str)> = owner.map(|owner| ("owner", owner)).into_iter().collect();
    let (mut removed, mut failure) = (0, None);
    for name in names {
        let answer = files
            .request(Method::DELETE, &["files", name], &query, &store.login)
            .await;
        match answer.map_err(|error| failed(&error)) {
            Ok(_) => {
                removed += 1;
                output.one(&Removed(name))?;
            }
            Err(error) => {
                if names.len() > 1 {
                    error.tell();
                }
                failure = Some(error);
            }
        }
    }
    match failure {
        None => Ok(Exit::Ok),
        Some(failure) if names.len() == 1 => Err(failure),
        Some(_) if removed > 0 => Ok(Exit::Partly),
        Some(failure) => Ok(failure.exit),
    }
}

/// What the store, or the way to it, says.
fn failed(error: &FilesError) -> Failure {
    let (exit, cure) = match error {
        FilesError::Url(_) => (Exit::Config, "write --files-url as https://pool.example.org"),
        FilesError::Host(_) => (Exit::Config, "write --files-url as https://pool.example.org"),
        FilesError::Tls(_) => (Exit::Config, "give the CA of the pool with --ca FILE (POOL_CA)"),
        FilesError::Unreachable(_) => (
            Exit::Unavailable,
            "see whether pool-gateway runs, and where (--files-url); whether --ca is its CA",
        ),
        FilesError::Refused { status, .. } => match *status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                (Exit::Credentials, "check --login and the password")
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                (Exit::NotFound, "`pool file list` lists what there is")
            }
            StatusCode::BAD_REQUEST => (Exit::Usage, "see `pool file --help`"),
            StatusCode::PAYLOAD_TOO_LARGE => (
                Exit::Usage,
                "the pool's operator decides how long files may be (MAXFILESIZE of pool-gateway)",
            ),
            StatusCode::INSUFFICIENT_STORAGE => (
                Exit::Conflict,
                "remove files with `pool file remove`, or ask the pool's operator for more room",
            ),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                (Exit::Unavailable, "try again a little later")
            }
            _ => (
                Exit::Conflict,
                "look at the file and at `pool file list`, and try again",
            ),
        },
        FilesError::Differs { .. } => (
            Exit::Failed,
            "it may have changed meanwhile: try again from the beginning",
        ),
        FilesError::TooLong { .. } => (Exit::Usage, "take more with --max"),
        FilesError::Credentials(_) => (Exit::Credentials, "check --login and the password"),
        FilesError::Protocol(_) => (Exit::Failed, "see whether --files-url is that of a pool-gateway"),
        FilesError::Io(_) => (
            Exit::Failed,
            "see whether there is room, and whether the file may be written",
        ),
    };
    Failure::caused(exit, "files", error).cure(cure)
}
