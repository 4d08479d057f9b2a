//! The store over HTTP.
//!
//! | request | does |
//! | --- | --- |
//! | `POST /api/v1/uploads` | begins an upload (tus 1.0) |
//! | `HEAD`, `PATCH`, `DELETE /api/v1/uploads/ID` | how far it is; goes on with it; gives it up |
//! | `PUT /api/v1/files/NAME` | uploads in one go |
//! | `GET`, `HEAD /api/v1/files/NAME`, `…/sha256:HEX` | a file, or a range of it |
//! | `DELETE /api/v1/files/NAME` | removes it |
//! | `GET /api/v1/files?prefix=&after=&limit=` | lists files |
//!
//! Each error is a [`Problem`] that names what is wrong and what to do. Where a body was refused of which little is left,
//! that is read and thrown away, so that the connection lives.
//!
//! How long heads, idle connections and readers that do not read are waited for is the business of whoever serves the
//! [`router`]; how long a body may say nothing is decided here (`incoming.rs`).

mod authority;
mod files;
mod incoming;
mod problem;
mod range;
mod tus;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::map_response;
use axum::routing::{get, post};

use crate::store::Store;
pub use authority::{Authority, Denied, Who};
pub use problem::Problem;

/// Where a request comes from; whoever serves the router puts it into the request's extensions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer(pub IpAddr);

/// What every request needs.
#[derive(Clone)]
struct Served {
    store: Store,
    authority: Arc<dyn Authority>,
}

/// Serves a store to those that `authority` knows.
pub fn router(store: Store, authority: Arc<dyn Authority>) -> Router {
    let uploads = Router::new()
        .route("/api/v1/uploads", post(tus::begin).options(tus::options))
        .route(
            "/api/v1/uploads/{id}",
            post(tus::overridden)
                .head(tus::status)
                .patch(tus::append)
                .delete(tus::terminate)
                .options(tus::options),
        )
        .layer(map_response(tus::mark));
    Router::new()
        .merge(uploads)
        .route("/api/v1/files", get(files::list))
        .route(
            "/api/v1/files/{*name}",
            get(files::get)
                .head(files::head)
                .put(files::put)
                .delete(files::remove),
        )
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .with_state(Served { store, authority })
}

impl Served {
    fn who(&self, parts: &Parts) -> Result<Who, Problem> {
        let from = parts.extensions.get::<Peer>();
        let from = from.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |from| from.0);
        let told = text(&parts.headers, header::AUTHORIZATION.as_str());
        Ok(self.authority.who(from, told)?)
    }
}

/// A header's text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A header that is a number; `None`: it is not there.
fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, Problem> {
    if !headers.contains_key(name) {
        return Ok(None);
    }
    let told = text(headers, name).unwrap_or_default();
    // No sign, no space: what is not plain is told, not guessed.
    let plain = !told.is_empty() && told.bytes().all(|digit| digit.is_ascii_digit());
    match told.parse() {
        Ok(number) if plain => Ok(Some(number)),
        _ => Err(Problem::bad_field(
            name,
            &format!("`{told}` is no number of bytes"),
            "send a whole number",
        )),
    }
}

async fn nothing(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-path",
        "there is nothing at this path",
    )
    .detail(format!("there is nothing at {}", uri.path()))
    .cure("files are at /api/v1/files, uploads at /api/v1/uploads")
}

async fn not_so(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no-such-method",
        "this cannot be done here",
    )
    .detail(format!("{method} {} does nothing", uri.path()))
    .cure("the header `allow` says what can be done")
}
