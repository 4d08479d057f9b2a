//! What is wrong, in words and for programs: RFC 9457.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wire_protocol::file::FileError;
use wire_protocol::units::Millis;

use crate::index::Refusal;
use crate::store::StoreError;

/// An answer that is an error. Its `type` is `urn:workerpool:problem:KIND`; the kinds are documented and stay.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: Option<String>,
    field: Option<&'static str>,
    cure: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<&'a str>,
}

/// When to come back to a store that is full of uploads: some end within this time.
const UPLOADS_RETRY: Millis = Millis(10_000);

/// When to come back to one whose disk failed: it may have been a bucket that was away.
const FAILURE_RETRY: Millis = Millis(5_000);

impl Problem {
    /// One of this kind.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        Self {
            status,
            kind,
            title,
            detail: None,
            field: None,
            cure: None,
            headers: Vec::new(),
        }
    }

    /// What exactly is wrong, with the values.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// Which header, parameter or part of the path is wrong.
    #[must_use]
    pub fn at(self, field: &'static str) -> Self {
        Self {
            field: Some(field),
            ..self
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn cure(self, cure: &'static str) -> Self {
        Self {
            cure: Some(cure),
            ..self
        }
    }

    /// When it may be different, to the next whole second.
    #[must_use]
    pub fn retry_after(self, wait: Millis) -> Self {
        let seconds = wait.0.div_ceil(1_000).max(1);
        self.header(header::RETRY_AFTER.as_str(), &seconds.to_string())
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    pub(super) fn bad_field(field: &'static str, detail: &str, cure: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "the request is wrong")
            .detail(format!("{field}: {detail}"))
            .at(field)
            .cure(cure)
    }

    pub(super) fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "this is not allowed").detail(detail)
    }

    pub(super) fn no_file(source: &str, owner: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-file", "there is no such file")
            .detail(format!("{owner} has no file {source}"))
            .at("name")
            .cure("GET /api/v1/files lists those that there are; outputs of works expire")
    }

    fn differs(detail: String) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "content-differs",
            "the content is not what it should be",
        )
        .detail(detail)
        .at("sha256")
        .cure("hash the file again and upload it from the beginning; it may have changed meanwhile")
    }

    fn too_long(detail: String) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "the file is too long").detail(detail)
    }

    fn no_room(detail: String) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "no-room", "there is no room").detail(detail)
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-name", "this names no file")
            .detail(error.to_string())
            .cure("a name has segments of letters, digits and ._-+=@ with / between them; content is sha256: and 64 digits")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::FileBytes { .. } => Self::too_long(detail).cure(
                "make it shorter, or have MAXFILESIZE of the pool or the bound of the work's outputs raised",
            ),
            Refusal::OwnerBytes { .. } => {
                Self::no_room(detail).cure("remove files, or have the quota raised (POOL_FILES_QUOTA)")
            }
            Refusal::OwnerUploads { .. } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-uploads",
                "too many uploads at once",
            )
            .detail(detail)
            .retry_after(UPLOADS_RETRY)
            .cure("finish uploads or give them up with DELETE; those on which nothing moves expire"),
            Refusal::Uploads { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-uploads",
                "too many uploads at once",
            )
            .detail(detail)
            .retry_after(UPLOADS_RETRY)
            .cure("come back a little later"),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match error {
            StoreError::Name(error) => error.into(),
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::Owner(_) => Self::forbidden(&detail),
            StoreError::TooLong { .. } => Self::too_long(detail)
                .cure("send as many bytes as were announced, and no more than a file may have"),
            StoreError::Full => Self::no_room(detail).cure("tell the operator of the pool, or remove files"),
            StoreError::Differs { .. } => Self::differs(detail),
            StoreError::Offset { at, .. } => Self::new(
                StatusCode::CONFLICT,
                "other-offset",
                "the upload is at another place",
            )
            .detail(detail)
            .at("upload-offset")
            .header("upload-offset", &at.to_string())
            .cure("ask with HEAD where it is, and go on from there"),
            StoreError::TakenOver => Self::new(StatusCode::CONFLICT, "taken-over", "another request goes on")
                .detail(detail)
                .cure("ask with HEAD where it is, and go on from there; one request at a time"),
            StoreError::NoUpload => {
                Self::new(StatusCode::NOT_FOUND, "no-such-upload", "there is no such upload")
                    .detail(detail)
                    .cure("begin the upload again")
            }
            StoreError::NoFile => {
                Self::new(StatusCode::NOT_FOUND, "no-such-file", "there is no such file").detail(detail)
            }
            StoreError::Cut(_) => Self::new(StatusCode::BAD_REQUEST, "cut", "the upload was cut")
                .detail(detail)
                .cure("go on where it was cut"),
            StoreError::Stalled => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "stalled",
                "nothing came for too long",
            )
            .detail(detail)
            .header("connection", "close")
            .cure("go on where it stopped"),
            StoreError::InUse(_) | StoreError::Io { .. } => {
                // What the disk says is not for everybody.
                tracing::error!(error = &error as &dyn std::error::Error, "a request failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "failed",
                    "the file store failed",
                )
                .detail(detail)
                .retry_after(FAILURE_RETRY)
                .cure("try again; if it stays so, the log of the pool's gateway says why")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: format!("urn:workerpool:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail,
            field: self.field,
            cure: self.cure,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}
