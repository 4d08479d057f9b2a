//! The last blocks that were followed, each the parent of the next.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use wire_hub::{Block, Hash};

/// Blocks from the oldest that may still be orphaned to the tip. Numbers have no gap.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ring(VecDeque<Block>);

impl Ring {
    pub(crate) fn tip(&self) -> Option<&Block> {
        self.0.back()
    }

    pub(crate) fn oldest(&self) -> Option<&Block> {
        self.0.front()
    }

    pub(crate) fn at(&self, number: u64) -> Option<&Block> {
        let oldest = self.oldest()?.at.number;
        let index = usize::try_from(number.checked_sub(oldest)?).ok()?;
        self.0.get(index)
    }

    pub(crate) fn hash_at(&self, number: u64) -> Option<Hash> {
        self.at(number).map(|block| block.at.hash)
    }

    pub(crate) fn push(&mut self, block: Block) {
        if let Some(tip) = self.tip() {
            assert_eq!(block.at.number, tip.at.number + 1, "a ring has no gap");
            assert_eq!(block.parent, tip.at.hash, "each block is the parent of the next");
        }
        self.0.push_back(block);
    }

    /// The tip, taken off if its number is beyond `ancestor`.
    pub(crate) fn pop_beyond(&mut self, ancestor: u64) -> Option<Block> {
        let tip = self.tip()?;
        if tip.at.number <= ancestor {
            return None;
        }
        self.0.pop_back()
    }

    pub(crate) fn pop(&mut self) -> Option<Block> {
        self.0.pop_back()
    }

    /// Lets go of blocks before `number`, and of more than `len_max`.
    pub(crate) fn shorten(&mut self, number: u64, len_max: usize) {
        while self.0.len() > len_max || self.oldest().is_some_and(|oldest| oldest.at.number < number) {
            if self.0.len() == 1 {
                return;
            }
            self.0.pop_front();
        }
    }

    /// Only this block, behind which others follow.
    pub(crate) fn restart(&mut self, block: Block) {
        self.0.clear();
        self.0.push_back(block);
    }
}
