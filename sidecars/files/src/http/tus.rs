//! Uploads: [tus 1.0](https://tus.io/protocols/resumable-upload) with creation, expiration and termination.
//!
//! Of `Upload-Metadata` we take `name` (or `filename`, as most clients say), and `sha256`, in hexadecimal digits. An upload
//! that is a file is told with `Upload-Name` and `Upload-Sha256`. Content that the owner has already is a file at once: the
//! answer to the creation says `Upload-Offset: LENGTH`.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use wire_protocol::file::Digest;

use super::files::FileJson;
use super::incoming::Incoming;
use super::{Problem, Served, number, text};
use crate::store::UploadStatus;

const VERSION: &str = "1.0.0";

const EXTENSIONS: &str = "creation,expiration,termination";

/// Every answer says which protocol this is.
pub(super) async fn mark(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("tus-resumable", HeaderValue::from_static(VERSION));
    response
}

pub(super) async fn options(State(served): State<Served>) -> Response {
    let headers = [
        ("tus-version", VERSION.to_owned()),
        ("tus-extension", EXTENSIONS.to_owned()),
        ("tus-max-size", served.store.limits().file_bytes_max.to_string()),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

pub(super) async fn begin(State(served): State<Served>, parts: Parts) -> Result<Response, Problem> {
    let who = served.who(&parts)?;
    check_version(&parts.headers)?;
    let Some(bytes) = number(&parts.headers, "upload-length")? else {
        let detail = "it is not there, and a length that is said later is not understood";
        return Err(Problem::bad_field(
            "upload-length",
            detail,
            "say how many bytes the file has",
        ));
    };
    let (name, digest) = metadata(text(&parts.headers, "upload-metadata").unwrap_or_default())?;
    let status = served
        .store
        .begin_upload(who.upload(&name, digest)?, bytes)
        .await?;
    let place = format!("/api/v1/uploads/{}", status.id);
    let response = answer(StatusCode::CREATED, &status);
    let response = response.header(header::LOCATION, place);
    let Some(file) = status.file else {
        return Ok(response.body(Body::empty()).expect("its headers are plain"));
    };
    let response = response.body(()).expect("its headers are plain").into_parts().0;
    Ok((response, Json(FileJson::of(file))).into_response())
}

pub(super) async fn status(
    State(served): State<Served>,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Response, Problem> {
    let who = served.who(&parts)?;
    check_version(&parts.headers)?;
    let status = served.store.upload(&id, &who.by()).await?;
    let mut metadata = format!("name {}", BASE64.encode(status.name.as_bytes()));
    if let Some(digest) = status.digest {
        metadata.push_str(&format!(",sha256 {}", BASE64.encode(digest.hex().as_bytes())));
    }
    let response = answer(StatusCode::OK, &status)
        .header("upload-length", status.bytes)
        .header("upload-metadata", metadata)
        .body(Body::empty());
    Ok(response.expect("its headers are plain"))
}

pub(super) async fn append(
    State(served): State<Served>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (body, rest) = Incoming::new(&parts.headers, body);
    let answer = append_body(&served, &id, &parts, body).await;
    if answer.is_err() {
        rest.thrown_away().await;
    }
    answer
}

async fn append_body(served: &Served, id: &str, parts: &Parts, body: Incoming) -> Result<Response, Problem> {
    let who = served.who(parts)?;
    check_version(&parts.headers)?;
    let kind = text(&parts.headers, header::CONTENT_TYPE.as_str());
    if kind != Some("application/offset+octet-stream") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "bad-content-type",
            "this is no part of an upload",
        )
        .detail(format!("content-type is `{}`", kind.unwrap_or_default()))
        .at("content-type")
        .cure("send application/offset+octet-stream"));
    }
    let Some(offset) = number(&parts.headers, "upload-offset")? else {
        return Err(Problem::bad_field(
            "upload-offset",
            "it is not there",
            "say where this part begins",
        ));
    };
    let status = served.store.append(id, &who.by(), offset, body).await?;
    let response = answer(StatusCode::NO_CONTENT, &status).body(Body::empty());
    Ok(response.expect("its headers are plain"))
}

pub(super) async fn terminate(
    State(served): State<Served>,
    Path(id): Path<String>,
    parts: Parts,
) -> Result<Response, Problem> {
    let who = served.who(&parts)?;
    check_version(&parts.headers)?;
    served.store.terminate(&id, &who.by()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A `POST` that says that it is something else, for those who can send nothing else.
pub(super) async fn overridden(
    state: State<Served>,
    path: Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    match text(request.headers(), "x-http-method-override") {
        Some("PATCH") => append(state, path, request).await,
        Some("DELETE") => terminate(state, path, request.into_parts().0).await,
        Some("HEAD") => status(state, path, request.into_parts().0).await,
        _ => Err(super::not_so(request.method().clone(), request.uri().clone()).await),
    }
}

fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    match text(headers, "tus-resumable") {
        Some(VERSION) => Ok(()),
        told => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "other-version",
            "this is not tus 1.0.0",
        )
        .detail(format!("tus-resumable is `{}`", told.unwrap_or_default()))
        .at("tus-resumable")
        .header("tus-version", VERSION)
        .cure("send `Tus-Resumable: 1.0.0`")),
    }
}

/// What every answer about an upload says.
fn answer(code: StatusCode, status: &UploadStatus) -> axum::http::response::Builder {
    let expires = UNIX_EPOCH + Duration::from_nanos(status.expires.0);
    let mut response = Response::builder()
        .status(code)
        .header(header::CACHE_CONTROL, "no-store")
        .header("upload-offset", status.offset)
        .header("upload-expires", httpdate::fmt_http_date(expires));
    if let Some(file) = &status.file {
        response = response
            .header("upload-name", &file.name)
            .header("upload-sha256", file.digest.hex());
    }
    response
}

/// The name, and the hash if it is said, of `Upload-Metadata`: keys and values in base64, separated by commas.
fn metadata(told: &str) -> Result<(String, Option<Digest>), Problem> {
    let wrong = |detail: String| {
        let cure = "send `name BASE64,sha256 BASE64`, the hash in hexadecimal digits";
        Problem::bad_field("upload-metadata", &detail, cure)
    };
    let (mut name, mut filename, mut digest) = (None, None, None);
    for pair in told.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let place = match key {
            "name" => &mut name,
            "filename" => &mut filename,
            "sha256" => &mut digest,
            // What else a client keeps there is its own.
            _ => continue,
        };
        let value = BASE64.decode(value.trim().as_bytes()).ok();
        let value = value.and_then(|value| String::from_utf8(value).ok());
        *place = Some(value.ok_or_else(|| wrong(format!("`{key}` is no text in base64")))?);
    }
    let name = name
        .or(filename)
        .ok_or_else(|| wrong("it has no `name`".to_owned()))?;
    let digest = digest
        .map(|hex: String| {
            let hex = hex.strip_prefix(Digest::PREFIX).unwrap_or(&hex);
            Digest::from_hex(hex).map_err(|error| wrong(format!("sha256: {error}")))
        })
        .transpose()?;
    Ok((name, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_what_the_protocol_says() {
        let encoded = |text: &str| BASE64.encode(text.as_bytes());
        let hex = "ab".repeat(32);
        let told = format!("name {}, sha256 {},other", encoded("a/b"), encoded(&hex));
        let (name, digest) = metadata(&told).expect("it is well formed");
        assert_eq!((&*name, digest), ("a/b", Some(Digest([0xab; 32]))));
        let (name, digest) = metadata(&format!("filename {}", encoded("x"))).expect("it is well formed");
        assert_eq!((&*name, digest), ("x", None));
        for told in [
            "",
            "sha256 YWI=",
            "name !",
            "name /w==",
            &format!("name YQ==,sha256 {}", encoded("12")),
        ] {
            assert!(metadata(told).is_err(), "{told}");
        }
    }
}
