//! The job, and the book that is kept of it.
//!
//! A work is its number in ten digits and filler, so a peer carries it like any payload and whoever receives it knows
//! which one it is. The [`Tally`] hands the numbers out and checks that each comes back once.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::Notify;

/// Digits at the beginning of each payload and each result.
pub(super) const DIGITS: usize = 10;

/// Works that may be queued and not yet done. A good user of a queue bounds its backlog; several of these peers slow
/// down with a deep one.
const BACKLOG_MAX: u32 = 20_000;

/// How much, how large, and by how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) works: u32,
    pub(super) payload_bytes: usize,
    pub(super) result_bytes: usize,
    pub(super) consumers: u32,
    pub(super) submitters: u32,
}

impl Load {
    /// Appends the payload of a work.
    pub(super) fn payload(&self, out: &mut Vec<u8>, work: u32) {
        filled(out, work, self.payload_bytes);
    }

    /// Appends the result of a work.
    pub(super) fn result(&self, out: &mut Vec<u8>, work: u32) {
        filled(out, work, self.result_bytes);
    }
}

fn filled(out: &mut Vec<u8>, work: u32, bytes: usize) {
    let end = out.len() + bytes.max(DIGITS);
    let mut digits = [b'0'; DIGITS];
    let mut rest = work;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
    out.extend_from_slice(&digits);
    out.resize(end, b'x');
}

/// Which work a payload or a result belongs to.
///
/// # Errors
/// If it is none of ours: the peer returned something else than it was given.
pub(super) fn work_of(bytes: &[u8]) -> Result<u32> {
    let digits = bytes.get(..DIGITS).context("a payload came back too short")?;
    let digits = std::str::from_utf8(digits).context("a payload came back changed")?;
    digits.parse().context("a payload came back changed")
}

/// What was handed out and what came back; shared by submitters and consumers.
pub(super) struct Tally {
    total: u32,
    counts: Mutex<Counts>,
    changed: Notify,
}

struct Counts {
    taken: u32,
    confirmed: u32,
    known: u32,
    seen: Vec<bool>,
}

impl Tally {
    pub(super) fn new(total: u32) -> Self {
        let counts = Counts {
            taken: 0,
            confirmed: 0,
            known: 0,
            seen: vec![false; total as usize],
        };
        Self {
            total,
            counts: Mutex::new(counts),
            changed: Notify::new(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next works to submit, at most `most` and as many as the backlog has room for; empty: none now.
    pub(super) fn take(&self, most: u32) -> Range<u32> {
        let mut counts = self.counts();
        let room = (counts.confirmed + BACKLOG_MAX).saturating_sub(counts.taken);
        let begin = counts.taken;
        counts.taken += most.min(room).min(self.total - begin);
        begin..counts.taken
    }

    /// True when every work was handed out.
    pub(super) fn exhausted(&self) -> bool {
        self.counts().taken == self.total
    }

    /// A work is done, and the one who collects knows it.
    ///
    /// # Errors
    /// If it was known already, or is none of the works of this run.
    pub(super) fn known(&self, work: u32) -> Result<()> {
        let mut counts = self.counts();
        match counts.seen.get_mut(work as usize) {
            None => bail!("work {work} came back and was never submitted"),
            Some(seen) => ensure!(!std::mem::replace(seen, true), "work {work} came back twice"),
        }
        counts.known += 1;
        let complete = counts.known == self.total;
        drop(counts);
        if complete {
            self.changed.notify_waiters();
        }
        Ok(())
    }

    /// The server has confirmed the end of `works` works to their consumer.
    pub(super) fn confirmed(&self, works: u32) {
        self.counts().confirmed += works;
        self.changed.notify_waiters();
    }

    /// Waits until something was confirmed or the last work is known. Works that were confirmed before the call do not
    /// count: ask [`take`](Self::take) first, in the same turn of the one thread that all of a run shares.
    pub(super) async fn change(&self) {
        self.changed.notified().await;
    }

    /// Waits until every work was confirmed and is known.
    pub(super) async fn complete(&self) {
        loop {
            let changed = self.changed.notified();
            let (confirmed, known) = self.progress();
            if confirmed >= self.total && known == self.total {
                return;
            }
            changed.await;
        }
    }

    /// How many were confirmed and how many are known.
    pub(super) fn progress(&self) -> (u32, u32) {
        let counts = self.counts();
        (counts.confirmed, counts.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        works: 3,
        payload_bytes: 200,
        result_bytes: 64,
        consumers: 1,
        submitters: 1,
    };

    #[test]
    fn a_payload_has_its_length_and_says_whose_it_is() {
        let mut out = Vec::new();
        LOAD.payload(&mut out, 1_234_567);
        assert_eq!(out.len(), 200);
        assert_eq!(work_of(&out).expect("ours"), 1_234_567);
        out.clear();
        LOAD.result(&mut out, u32::MAX);
        assert_eq!((out.len(), work_of(&out).expect("ours")), (64, u32::MAX));
    }

    #[test]
    fn a_foreign_payload_is_refused() {
        assert!(work_of(b"short").is_err());
        assert!(work_of(b"not digits at all").is_err());
    }

    #[test]
    fn works_are_handed_out_once_and_within_the_backlog() {
        let tally = Tally::new(BACKLOG_MAX + 5);
        assert_eq!(tally.take(10), 0..10);
        assert_eq!(tally.take(u32::MAX), 10..BACKLOG_MAX);
        assert!(tally.take(1).is_empty() && !tally.exhausted());
        tally.confirmed(7);
        assert_eq!(tally.take(10), BACKLOG_MAX..BACKLOG_MAX + 5);
        assert!(tally.exhausted());
    }

    #[test]
    fn a_work_that_comes_back_twice_is_an_error() {
        let tally = Tally::new(2);
        tally.known(1).expect("once");
        assert!(tally.known(1).is_err());
        assert!(tally.known(2).is_err(), "never submitted");
    }

    #[tokio::test]
    async fn a_run_is_complete_when_all_are_confirmed_and_known() {
        let tally = Tally::new(2);
        tally.confirmed(2);
        tally.known(0).expect("once");
        let both = async {
            tokio::task::yield_now().await;
            tally.known(1).expect("once");
        };
        tokio::join!(tally.complete(), both);
        assert_eq!(tally.progress(), (2, 2));
    }
}
