//! The client's side of a pool: submit works, follow their outcomes, ask and change things.
//!
//! ```text
//!   Client ──► request table ──► one writer ──► QUIC link ──► engine
//!     ▲            │  ▲                              │
//!     └── answers ─┘  └──────── one reader ◄─────────┘
//! ```
//!
//! A [`Client`] is one link that comes back by itself. Any number of requests may be under way; each has a
//! number, and the reader hands every answer to whoever waits for that number. When the link is lost, those
//! who wait are told, and each does what is safe for it: a query or a command is asked again (a repeat
//! changes nothing), an [`Upload`] opens again with its key and sends what was not acknowledged, a
//! [`Follow`] follows again and pages through what it missed. So a caller sees an engine that restarts as a
//! delay, and an error only when its patience ends.
//!
//! What is bounded: rows sent and not acknowledged ([`UNACKNOWLEDGED_ROWS_MAX`]), outcomes received and not
//! consumed ([`OUTCOMES_BYTES_MAX`]), frames waiting for the link.
//!
//! ```no_run
//! use client::{Client, ConnectOptions, SubmitOptions, Trust, protocol::template::WorkTemplate};
//!
//! # async fn example() -> Result<(), client::ClientError> {
//! let trust = Trust::Ca("data/pool/certs/ca.pem".into());
//! let options = ConnectOptions::new("127.0.0.1:4322".parse().unwrap(), trust, "admin", "secret");
//! let client = Client::connect(options).await?;
//!
//! let command = ["echo", "{tile}"].map(str::to_owned).to_vec();
//! let template = WorkTemplate { command, columns: vec!["tile".into()], ..WorkTemplate::default() };
//! let rows: Vec<String> = (0..1024).map(|tile| tile.to_string()).collect();
//!
//! let (upload, mut follow) = client.submit_followed(template, 1024, SubmitOptions::default())?;
//! let outcomes = async {
//!     while follow.recv(|item| println!("{}: {}", item.work, item.outcome)).await? > 0 {}
//!     Ok(())
//! };
//! tokio::try_join!(upload.send(rows), outcomes)?;
//! # Ok(()) }
//! ```
//!
//! Works that come up one by one go through a [`Stream`]. It costs a row's bytes a work, whatever the rate:
//!
//! ```no_run
//! use client::{Client, StreamOptions, protocol::template::WorkTemplate};
//!
//! # async fn example(client: Client, template: WorkTemplate) -> Result<(), client::ClientError> {
//! let (stream, mut outcomes) = client.stream(template, StreamOptions::default())?;
//! tokio::spawn(async move { while outcomes.recv(|item| println!("{}: {}", item.work, item.outcome)).await? > 0 {}
//!     Ok::<_, client::ClientError>(()) });
//!
//! let work = stream.submit("one row").await?; // durable
//! let tickets = [stream.push("two").await?, stream.push("three").await?]; // under way together
//! for ticket in tickets {
//!     println!("{} after {work}", ticket.await?);
//! }
//! println!("{} works", stream.finish().await?.works);
//! # Ok(()) }
//! ```

mod connection;
mod error;
mod follow;
mod logs;
mod outgoing;
mod query;
mod routes;
mod sending;
mod stream;
mod submit;

pub use connection::{Client, ConnectOptions};
pub use error::ClientError;
pub use follow::{Follow, OUTCOMES_BYTES_MAX};
pub use logs::{LogEvent, LogOptions, Logs};
pub use query::WorksPage;
pub use sending::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX, UNACKNOWLEDGED_BYTES_MAX, UNACKNOWLEDGED_ROWS_MAX};
pub use stream::{Stream, StreamOptions, StreamOutcomes, StreamSummary, Ticket};
pub use submit::{Submission, SubmitEvent, SubmitOptions, Upload};
pub use wire_link::{Fingerprint, Trust};
/// The words that requests and answers are made of.
pub use wire_protocol as protocol;
