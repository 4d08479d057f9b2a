//! Submitters: the same for every peer but for the words.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;

use super::load::{Load, Tally};
use super::wire::{Parsed, Wire};

/// Works that a submitter sends before it waits for confirmations.
const UNCONFIRMED_MAX: u32 = 2_000;
/// Works that it writes with one system call.
const BATCH: u32 = 250;

/// How a peer is told of works, and how it confirms them.
pub(super) trait Submitting {
    /// Appends the command or commands that queue these works.
    fn put(&mut self, out: &mut Vec<u8>, load: &Load, works: Range<u32>);

    /// Parses one confirmation: how many works it is for.
    fn confirmed(&mut self, input: &[u8]) -> Parsed<u32>;
}

/// Submits works until there are none left, and waits for the last confirmation.
pub(super) async fn submit(
    mut wire: Wire,
    tally: Arc<Tally>,
    load: Load,
    mut peer: impl Submitting,
) -> Result<()> {
    let mut unconfirmed = 0;
    loop {
        while unconfirmed + BATCH <= UNCONFIRMED_MAX {
            let works = tally.take(BATCH);
            if works.is_empty() {
                break;
            }
            unconfirmed += works.end - works.start;
            peer.put(&mut wire.out, &load, works);
            wire.send().await?;
        }
        if unconfirmed > 0 {
            unconfirmed -= wire.next(|input| peer.confirmed(input)).await?;
            while let Some(more) = wire.ready(|input| peer.confirmed(input))? {
                unconfirmed -= more;
            }
        } else if tally.exhausted() {
            return Ok(());
        } else {
            tally.change().await;
        }
    }
}
