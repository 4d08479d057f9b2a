//! Files: read, listed, put in one go, removed.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde::Serialize;
use wire_protocol::file::Digest;

use super::authority::Readable;
use super::incoming::Incoming;
use super::range::{self, Wanted};
use super::{Problem, Served, number, text};
use crate::limits::PAGE_FILES_MAX;
use crate::reference::Reference;

/// Files in a page unless somebody says how many.
const PAGE_FILES: usize = 100;

pub(super) type Parameters = Query<HashMap<String, String>>;

/// A file, for programs.
#[derive(Serialize)]
pub(super) struct FileJson {
    name: String,
    sha256: String,
    bytes: u64,
    created_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
}

#[derive(Serialize)]
struct PageJson {
    files: Vec<FileJson>,
    /// What `after` has to be for the next page.
    next: Option<String>,
}

impl FileJson {
    pub(super) fn of(file: Reference) -> Self {
        let ms = |instant: wire_protocol::units::Instant| instant.0 / 1_000_000;
        Self {
            name: file.name,
            sha256: file.digest.hex(),
            bytes: file.bytes,
            created_ms: ms(file.created),
            expires_ms: file.expires.map(ms),
        }
    }
}

pub(super) async fn list(
    State(served): State<Served>,
    Query(parameters): Parameters,
    parts: Parts,
) -> Result<Response, Problem> {
    let who = served.who(&parts)?;
    who.account()?;
    let owner = who.owner(parameters.get("owner").map(String::as_str))?;
    let limit = match parameters.get("limit") {
        None => PAGE_FILES,
        Some(told) => told
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE_FILES_MAX).contains(limit))
            .ok_or_else(|| {
                Problem::bad_field(
                    "limit",
                    &format!("`{told}` is no number from 1 to 1000"),
                    "ask for 1 to 1000 files",
                )
            })?,
    };
    let prefix = parameters.get("prefix").map_or("", String::as_str);
    let after = parameters.get("after").map(String::as_str);
    let page = served.store.list(owner, prefix, after, limit);
    let page = PageJson {
        files: page.files.into_iter().map(FileJson::of).collect(),
        next: page.next,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

pub(super) async fn head(
    State(served): State<Served>,
    Path(name): Path<String>,
    Query(parameters): Parameters,
    parts: Parts,
) -> Result<Response, Problem> {
    let file = find(&served, &name, &parameters, &parts)?;
    let found = Found::of(file, &parts.headers);
    found.answer(Body::empty())
}

pub(super) async fn get(
    State(served): State<Served>,
    Path(name): Path<String>,
    Query(parameters): Parameters,
    parts: Parts,
) -> Result<Response, Problem> {
    let file = find(&served, &name, &parameters, &parts)?;
    let found = Found::of(file, &parts.headers);
    let Some(range) = found.range() else {
        return found.answer(Body::empty());
    };
    let pieces = served.store.read(file.digest, range).await?;
    found.answer(Body::from_stream(pieces))
}

fn find(
    served: &Served,
    name: &str,
    parameters: &HashMap<String, String>,
    parts: &Parts,
) -> Result<Readable, Problem> {
    let who = served.who(parts)?;
    who.readable(&served.store, name, parameters.get("owner").map(String::as_str))
}

/// A file, and what of it was asked for.
struct Found {
    file: Readable,
    tag: String,
    wanted: Wanted,
    /// Whoever asks has it already.
    known: bool,
}

impl Found {
    fn of(file: Readable, headers: &HeaderMap) -> Self {
        let tag = format!("\"{}\"", file.digest.hex());
        let known = text(headers, header::IF_NONE_MATCH.as_str()).is_some_and(|told| matches(told, &tag));
        // A range of another content than they have is of no use to them (RFC 9110, section 13.1.5).
        let same = text(headers, header::IF_RANGE.as_str()).is_none_or(|told| told.trim() == tag);
        let wanted = match text(headers, header::RANGE.as_str()) {
            Some(told) if same => range::parse(told, file.bytes),
            _ => Wanted::All,
        };
        Self {
            file,
            tag,
            wanted,
            known,
        }
    }

    /// The bytes to send; `None`: none are.
    fn range(&self) -> Option<std::ops::Range<u64>> {
        match &self.wanted {
            _ if self.known => None,
            Wanted::All => Some(0..self.file.bytes),
            Wanted::Some(range) => Some(range.clone()),
            Wanted::None => None,
        }
    }

    fn answer(self, body: Body) -> Result<Response, Problem> {
        let bytes = self.file.bytes;
        if matches!(self.wanted, Wanted::None) && !self.known {
            let problem = Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "no-such-range",
                "there are no such bytes",
            );
            return Err(problem
                .detail(format!("the file has {bytes} bytes"))
                .at("range")
                .header("content-range", &format!("bytes */{bytes}"))
                .cure("ask for bytes that it has"));
        }
        // By its hash it is the same for ever; a name may be another file's next time.
        let cache = if self.file.fixed {
            "private, max-age=31536000, immutable"
        } else {
            "private, no-cache"
        };
        let mut response = Response::builder()
            .header(header::ETAG, &self.tag)
            .header(header::CACHE_CONTROL, cache)
            .header(header::ACCEPT_RANGES, "bytes");
        if self.known {
            return Ok(response
                .status(StatusCode::NOT_MODIFIED)
                .body(Body::empty())
                .expect("its headers are plain"));
        }
        let sent = match &self.wanted {
            Wanted::Some(range) => {
                let (start, last) = (range.start, range.end - 1);
                response = response
                    .status(StatusCode::PARTIAL_CONTENT)
                    .header(header::CONTENT_RANGE, format!("bytes {start}-{last}/{bytes}"));
                range.end - range.start
            }
            _ => bytes,
        };
        let hash = BASE64.encode(&self.file.digest.0);
        Ok(response
            .header(header::CONTENT_LENGTH, sent)
            .header("repr-digest", format!("sha-256=:{hash}:"))
            // Whatever somebody has uploaded, a browser must not run it as a page of ours.
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_DISPOSITION, "attachment")
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .body(body)
            .expect("its headers are plain"))
    }
}

/// Whether one of the tags of `If-None-Match` is this one.
fn matches(told: &str, tag: &str) -> bool {
    told.split(',').map(str::trim).any(|one| {
        let one = one.strip_prefix("W/").unwrap_or(one);
        one == "*" || one == tag
    })
}

pub(super) async fn put(
    State(served): State<Served>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (body, rest) = Incoming::new(&parts.headers, body);
    let answer = put_body(&served, &name, &parts, body).await;
    if answer.is_err() {
        rest.thrown_away().await;
    }
    answer
}

async fn put_body(served: &Served, name: &str, parts: &Parts, body: Incoming) -> Result<Response, Problem> {
    let who = served.who(parts)?;
    let digest = match text(&parts.headers, "repr-digest") {
        None => None,
        Some(told) => Some(repr_digest(told)?),
    };
    let bytes = number(&parts.headers, "content-length")?;
    let new = who.upload(name, digest)?;
    let stored = served.store.put(new, bytes, body).await?;
    let status = if stored.replaced {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let tag = format!("\"{}\"", stored.file.digest.hex());
    Ok((status, [(header::ETAG, tag)], Json(FileJson::of(stored.file))).into_response())
}

/// What a body's content is to be: `Repr-Digest` of RFC 9530, with SHA-256.
fn repr_digest(told: &str) -> Result<Digest, Problem> {
    let hash = told.split(',').find_map(|one| {
        let encoded = one.trim().strip_prefix("sha-256=:")?.strip_suffix(':')?;
        let hash = BASE64.decode(encoded.as_bytes()).ok()?;
        Some(Digest(hash.try_into().ok()?))
    });
    hash.ok_or_else(|| {
        let detail = format!("`{told}` has no SHA-256");
        Problem::bad_field("repr-digest", &detail, "write sha-256=:BASE64:, or leave it away")
    })
}

pub(super) async fn remove(
    State(served): State<Served>,
    Path(name): Path<String>,
    Query(parameters): Parameters,
    parts: Parts,
) -> Result<Response, Problem> {
    let who = served.who(&parts)?;
    who.account()?;
    let owner = who.owner(parameters.get("owner").map(String::as_str))?;
    wire_protocol::file::check_name(&name).map_err(|error| Problem::from(error).at("name"))?;
    let removed = served.store.remove(owner, &name).await;
    removed.map_err(|error| match error {
        crate::StoreError::NoFile => Problem::no_file(&name, owner),
        error => error.into(),
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
