//! Bounds of the feed. In sum it takes at most 64 × 1.5 MiB of the engine's memory, and that only with 64
//! subscribers who are all sent records of the greatest length; with ordinary ones half a MiB each.

use wire_protocol::frame::PAYLOAD_BYTES_MAX;
use wire_protocol::limits::NAME_BYTES_MAX;

/// Connections at once, greeted or not.
pub const CONNECTIONS_MAX: usize = 64;

/// Subscribers whose positions are remembered. Each may hold back retention, so a new name beyond this is
/// refused until the owner forgets one.
pub const SUBSCRIBERS_MAX: usize = 64;

/// Records are fetched for a subscriber until they are this many bytes; the next when these are written. About
/// what a unix socket takes, so that a subscriber that keeps up costs one read and one write per buffer.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// Buffers written to one subscriber in a turn, so that one that catches up does not keep the others waiting.
pub(crate) const BUFFERS_PER_TURN: usize = 4;

/// Reads of one connection in a turn.
pub(crate) const READS_PER_TURN: usize = 4;

/// Connections accepted in a turn.
pub(crate) const ACCEPTS_PER_TURN: usize = 16;

/// The longest payload that a subscriber sends: a greeting with its name.
pub(crate) const REQUEST_BYTES_MAX: usize = 1024;

const _: () = assert!(REQUEST_BYTES_MAX > NAME_BYTES_MAX + 32);
const _: () = assert!(BUFFER_BYTES < PAYLOAD_BYTES_MAX);
