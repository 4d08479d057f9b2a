//! The brain of a worker: what it holds, what it runs, what it still has to report, and when it connects.
//!
//! Deterministic and without input or output: the shell tells it what happened and at what time, and performs
//! the effects that it asks for, in order. The same events at the same times with the same seed give the same
//! effects, byte for byte, so one thread can simulate a whole pool of them.
//!
//! ```text
//!        Event::{Connected, Frame, Disconnected}      Event::Ended            Event::{Tick, Flush, Drain, Hold}
//!  link ───────────────────────────────────────┐  executors ──────┐   clock, operator ───────┐
//!                                              ▼                  ▼                          ▼
//!                                        ┌──────────────────── Agent::handle ────────────────────┐
//!                                        │ waiting (FIFO) ─► running (slots) ─► reports (kept)   │
//!                                        └──────────────────────────┬────────────────────────────┘
//!                                                                   ▼
//!   Effect::{Connect, Send, Disconnect}   Effect::{Start, Kill}   Effect::{Note, Exit}
//! ```
//!
//! What is let in and how a worker leaves stands in `agent/intake.rs`, whose output is told in `agent/logs.rs`, why there is
//! nothing to do in `agent/idle.rs`.
//!
//! # The way of one work
//!
//! | it is | from | until | the engine reads |
//! | --- | --- | --- | --- |
//! | waiting | `Assign`, no free slot | a slot is free · `Retract` · `Cancel` · drain · hold | `Retracted` if it is given back |
//! | running | `Start` | `Ended` | `Started`, if it lasts [`STARTED_AFTER`] or somebody asks for it back |
//! | stopping | `Cancel`, or not adopted | `Ended` | nothing more |
//! | reported | `Ended` | `Recorded` | `Finished`, once a connection |
//!
//! What an earlier process of the worker left running or unreported is taken up before the first event
//! ([`Agent::resume`], [`Agent::resume_report`]) and then like what it held itself.
//!
//! A token is in at most one of these places, and a second assignment of it changes nothing. What a worker
//! holds outlives its connections: it is presented with the next `Join`, and `Welcome` says what of it goes
//! on. Reports are numbered from 1 in each connection and kept until the engine says that they are recorded.
//!
//! Works of the executor `null` (and those of an executor that the worker does not offer) end inside the core,
//! in no time: they cost no hop through the shell and no allocation, which makes them the measure of our own
//! overhead.
//!
//! Deliberately absent: executors, the socket, encryption, the clock, and any opinion about what a result means.

mod agent;
mod backoff;
mod effect;
mod event;
mod held;
mod ledger;
mod reports;
mod runner;
mod warm;

pub use agent::{Agent, Identity, Phase, Settings, Status};
pub use effect::{Disconnect, Effect, Effects, Exit, Note};
pub use event::Event;

use wire_protocol::units::Millis;

/// An attempt that ends sooner is first heard of when it ends; one that lasts is announced. So short works
/// cost no frame of their own, and a person who looks at a long one sees that it runs.
pub const STARTED_AFTER: Millis = Millis(50);

/// Announcements wait for each other at least this long, so that many works that start one after the other
/// share a frame.
pub const STARTED_APART: Millis = Millis(25);

/// Time from the wish to connect until `Welcome` has come; then it is tried anew.
pub const JOIN_TIMEOUT: Millis = Millis::from_secs(10);

/// After the deadline of a drain, time for giving back what ran and for hearing that reports are recorded; then the worker
/// leaves whatever is missing. So long what runs is also kept for an engine that is away and may come back.
pub const LEAVE_TIMEOUT: Millis = Millis::from_secs(10);

/// A worker that has had nothing to do for this long asks why. Less is the pause between two bags.
pub const IDLE_AFTER: Millis = Millis::from_secs(10);

/// While the reason stays the same it asks again after twice the time each time, up to this.
pub const ASK_AGAIN_MAX: Millis = Millis::from_secs(60);

/// Attempts whose output is followed at once. The engine counts them too.
pub const LOGS_MAX: usize = 32;

/// Bytes of output that are told of one attempt in a second: more than anybody reads.
pub const LOG_BYTES_PER_SECOND: u64 = 256 << 10;

/// The same of all attempts together.
pub const LOG_BYTES_PER_SECOND_ALL: u64 = 1 << 20;

/// Wait before the first reconnection (jitter takes up to half of it away). Each further one waits twice as
/// long, up to [`BACKOFF_MAX`].
pub const BACKOFF_MIN: Millis = Millis(100);

/// The longest wait of our own accord. A link that lasted longer than this starts the backoff over.
pub const BACKOFF_MAX: Millis = Millis::from_secs(5);

/// The longest wait that an engine may ask for with `Refused`.
pub const RETRY_AFTER_MAX: Millis = Millis::from_secs(60);

/// The longest wait for another certificate until it is asked for again; for those that end sooner than in a month or
/// so it is a tenth of the time that is left when it is asked for.
pub const RENEWALS_APART_MAX: Millis = Millis::from_secs(24 * 3600);

/// Bytes of reports that are not recorded yet, above which no further work starts. Attempts that already run
/// may add theirs, so the sum stays below this and one result per slot.
pub const REPORT_BYTES_MAX: usize = 16 << 20;

/// Payload bytes of one `Finished` frame, unless a single report is longer.
pub const FINISHED_BYTES_MAX: usize = 256 << 10;

/// Templates that one connection may define. A connection that defines more is closed, and joins again with none.
pub const TEMPLATES_MAX: usize = 4_096;

const _: () = assert!(
    FINISHED_BYTES_MAX + wire_protocol::limits::RESULT_BYTES_MAX + 64
        < wire_protocol::frame::PAYLOAD_BYTES_MAX
);
