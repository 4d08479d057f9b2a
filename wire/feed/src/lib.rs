//! The unix socket between the engine and its sidecars on the same machine.
//!
//! Durable journal records go out. The engine has a thread that turns a [`FeedServer`] over its
//! journal (a [`RecordSource`]); a sidecar opens a [`Subscription`], names itself and the record behind which it
//! wants to go on, and acknowledges what it has made its own. The messages are `wire_protocol::feed`.
//!
//! ```text
//!  journal ──durable──► RecordSource ─► FeedServer ══ unix socket ══► Subscription ─► sidecar's own store
//!             wake ──────────────────────▲   ▲                             │
//!  retention ◄── floor() ────────────────┘   └───────── acknowledge ◄──────┘
//! ```
//!
//! What makes it safe to lean on:
//!
//! - Only durable records leave, in order, without gap or repeat; the subscriber checks that again.
//! - What is not yet sent stays in the journal. A subscriber has one bounded buffer here, so a slow one falls
//!   behind on disk and nobody waits for it.
//! - The engine keeps every record behind the lowest acknowledgement of the subscribers it knows
//!   ([`FeedServer::floor`]), also while they are away. Their positions are the owner's to persist.
//! - Whoever does not keep to the protocol is told why and closed; the others notice nothing.
//!
//! This crate does not know the engine and decides nothing about works.

mod connection;
mod frame_buffer;
mod limits;
mod positions;
mod server;
mod socket;
mod source;
mod subscription;

pub use frame_buffer::{FrameBuffer, FrameTooLong};
pub use limits::{BUFFER_BYTES, CONNECTIONS_MAX, SUBSCRIBERS_MAX};
pub use positions::SubscriberStatus;
pub use server::{FeedEvent, FeedServer, FeedWaker};
pub use socket::BindError;
pub use source::{ReadError, RecordSource};
pub use subscription::{Stopper, Subscription, SubscriptionError};
