//! What works print while they run, for whoever follows: whose output goes out, and how much of it.
//!
//! Output is told on a link that also carries reports and signs of life, so it gets a share and no more: each attempt
//! [`LOG_BYTES_PER_SECOND`], all together [`LOG_BYTES_PER_SECOND_ALL`], a second's worth at once. What is beyond it is
//! dropped here; offsets tell the reader how much. Nothing is followed over the end of a connection: the engine asks
//! again.

use std::collections::BTreeMap;

use wire_protocol::log::{FollowLog, LOG_CHUNK_BYTES_MAX, LogChunk, LogWish, WorkerLog};
use wire_protocol::units::Instant;
use wire_protocol::worker_link::kind;

use super::{Agent, Effect, Effects, LeaseToken, Link, Reason};
use crate::{LOG_BYTES_PER_SECOND, LOG_BYTES_PER_SECOND_ALL, LOGS_MAX};

/// Attempts whose output somebody follows.
#[derive(Debug)]
pub(super) struct Logs {
    followed: BTreeMap<LeaseToken, Followed>,
    share: Share,
}

#[derive(Debug)]
struct Followed {
    /// Only what there is already.
    once: bool,
    share: Share,
}

/// Bytes that may be said: a bucket that fills up with time, to a second's worth.
#[derive(Debug)]
struct Share {
    per_second: u64,
    left: u64,
    at: Instant,
}

impl Share {
    fn full(per_second: u64, at: Instant) -> Self {
        Self {
            per_second,
            left: per_second,
            at,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.since(self.at);
        if passed.0 > 0 {
            let more = passed.0.saturating_mul(self.per_second) / 1_000;
            self.left = self.left.saturating_add(more).min(self.per_second);
            self.at = now;
        }
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            followed: BTreeMap::new(),
            share: Share::full(LOG_BYTES_PER_SECOND_ALL, Instant(0)),
        }
    }
}

impl Logs {
    pub(super) fn is_wanted(&self, token: LeaseToken) -> bool {
        !self.followed.is_empty() && self.followed.contains_key(&token)
    }

    pub(super) fn forget(&mut self, token: LeaseToken) {
        if !self.followed.is_empty() {
            self.followed.remove(&token);
        }
    }

    /// Whether so many bytes of this attempt may be said now.
    fn takes(&mut self, token: LeaseToken, bytes: u64, now: Instant) -> bool {
        let Some(followed) = self.followed.get_mut(&token) else {
            return false;
        };
        self.share.refill(now);
        followed.share.refill(now);
        if bytes > followed.share.left || bytes > self.share.left {
            return false;
        }
        followed.share.left -= bytes;
        self.share.left -= bytes;
        true
    }

    pub(super) fn check(&self) {
        assert!(self.followed.len() <= LOGS_MAX, "more is followed than may be");
    }
}

impl Agent {
    /// The engine wants to hear what an attempt prints, or no longer.
    pub(super) fn on_follow_log(&mut self, asked: FollowLog, effects: &mut Effects) {
        let FollowLog { token, wish } = asked;
        let before = self.logs.followed.remove(&token);
        let is_here = self.held.knows(token) && !self.held.has_report(token);
        if wish == LogWish::Stop {
            if before.is_some() && self.held.runs(token) {
                effects.push(Effect::UnfollowLog(token));
            }
            return;
        }
        if !is_here || self.logs.followed.len() >= LOGS_MAX {
            return self.say_tokens(kind::LOG_TOLD, Reason::None, &[token], effects);
        }
        let share = before.map_or_else(
            || Share::full(LOG_BYTES_PER_SECOND, self.now),
            |before| before.share,
        );
        let once = wish == LogWish::Once;
        self.logs.followed.insert(token, Followed { once, share });
        if self.held.runs(token) {
            effects.push(Effect::FollowLog(token));
        } else if once {
            // It waits for a slot, and has printed nothing.
            self.on_log_told(token, effects);
        }
    }

    pub(super) fn on_log(&mut self, token: LeaseToken, chunk: LogChunk<'_>, effects: &mut Effects) {
        if !self.held.runs(token) {
            return;
        }
        let mut offset = chunk.offset;
        // One without bytes says how long the stream is.
        let pieces = chunk.bytes.chunks(LOG_CHUNK_BYTES_MAX);
        let end = chunk.bytes.is_empty().then_some(&[][..]);
        for bytes in pieces.chain(end) {
            if !self.logs.takes(token, bytes.len() as u64, self.now) {
                return;
            }
            let Link::Joined(joined) = &mut self.link else {
                return;
            };
            joined.said = self.now;
            let chunk = LogChunk {
                offset,
                bytes,
                ..chunk
            };
            effects.send(|out| WorkerLog { token, chunk }.push(out, kind::LOG));
            offset += bytes.len() as u64;
        }
    }

    /// Everything that there was when the engine asked has been handed over.
    pub(super) fn on_log_told(&mut self, token: LeaseToken, effects: &mut Effects) {
        let Some(followed) = self.logs.followed.get(&token) else {
            return;
        };
        if followed.once {
            self.logs.followed.remove(&token);
            if self.held.runs(token) {
                effects.push(Effect::UnfollowLog(token));
            }
        }
        self.say_tokens(kind::LOG_TOLD, Reason::None, &[token], effects);
    }

    /// Nobody is there to follow any more.
    pub(super) fn stop_logs(&mut self, effects: &mut Effects) {
        for token in std::mem::take(&mut self.logs.followed).into_keys() {
            if self.held.runs(token) {
                effects.push(Effect::UnfollowLog(token));
            }
        }
    }
}
