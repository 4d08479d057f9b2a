//! Reading the events of many blocks: as many at once as the node gives.
//!
//! Nodes bound `eth_getLogs`, each in its own way, by blocks, by logs or by time, and few say where the bound is. So the
//! stretch is found out: halved when the node says that it is too much, and a little longer after each that went well.

use std::ops::RangeInclusive;

use wire_hub::Log;

use crate::rpc::RpcError;
use crate::{Answer, Chain, Why};

/// Blocks that are asked for at first.
pub const STRETCH_FIRST: u64 = 2_000;

/// Blocks that are asked for at most: nothing is gained beyond, and an answer has to fit into memory.
pub const STRETCH_MAX: u64 = 50_000;

/// Where a reader is, and how far it goes at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogReader {
    next: u64,
    stretch: u64,
}

impl LogReader {
    /// From this block on.
    #[must_use]
    pub const fn from(next: u64) -> Self {
        Self {
            next,
            stretch: STRETCH_FIRST,
        }
    }

    /// The first block that was not read.
    #[must_use]
    pub const fn next_block(&self) -> u64 {
        self.next
    }

    /// The next events, and the blocks that they are all of; absent when everything up to `last` was read. Blocks may be
    /// replaced while one reads: whoever goes near the head compares them afterwards.
    pub async fn read(&mut self, chain: &impl Chain, last: u64) -> Answer<(RangeInclusive<u64>, Vec<Log>)> {
        while let Some(blocks) = self.blocks(last) {
            match chain.logs(blocks.clone()).await {
                Answer::Known(logs) => {
                    self.went_well(*blocks.end());
                    return Answer::Known((blocks, logs));
                }
                // Some nodes do not say that it is too much: they just never end.
                Answer::Unknown(Why::TooMuch(_) | Why::Rpc(RpcError::TimedOut { .. }))
                    if self.stretch > 1 =>
                {
                    self.stretch /= 2;
                }
                // A node has logs of every block that it has, be they none.
                Answer::Absent => return Answer::Absent,
                Answer::Unknown(why) => return Answer::Unknown(why),
            }
        }
        Answer::Absent
    }

    fn blocks(&self, last: u64) -> Option<RangeInclusive<u64>> {
        let end = self.next.saturating_add(self.stretch - 1).min(last);
        (self.next <= last).then_some(self.next..=end)
    }

    fn went_well(&mut self, last: u64) {
        self.next = last.saturating_add(1);
        // A bound that was just met is met again at once if this grows fast, and a chance is lost if it never does.
        self.stretch = (self.stretch + self.stretch / 4 + 1).min(STRETCH_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_grow_and_end_where_the_reader_stops() {
        let mut reader = LogReader::from(7);
        assert_eq!(reader.blocks(7), Some(7..=7));
        assert_eq!(reader.blocks(6), None);
        assert_eq!(reader.blocks(1_000_000), Some(7..=2_006));
        let mut stretches = 0;
        while let Some(blocks) = reader.blocks(1_000_000) {
            reader.went_well(*blocks.end());
            stretches += 1;
        }
        assert_eq!(reader.next_block(), 1_000_001);
        assert_eq!(reader.stretch, STRETCH_MAX);
        assert!(stretches < 40, "{stretches}");
        reader.went_well(u64::MAX);
        assert_eq!(reader.next_block(), u64::MAX);
    }
}
