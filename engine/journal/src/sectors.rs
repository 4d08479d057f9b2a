//! Bytes that begin at a sector's multiple in memory, so that a disk can fetch them from where they lie.

use core::ops::{Deref, DerefMut};
use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::format::SECTOR_BYTES;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(512))]
struct Block([u8; SECTOR_BYTES]);

/// A `Vec<u8>`, as far as a batch needs one, whose memory is aligned to [`SECTOR_BYTES`]. It keeps its memory when it is
/// truncated.
pub(crate) struct SectorBytes {
    blocks: Vec<Block>,
    len: usize,
}

impl SectorBytes {
    pub(crate) fn zeros(len: usize) -> Self {
        let mut bytes = Self {
            blocks: Vec::new(),
            len: 0,
        };
        bytes.resize_with_zeros(len);
        bytes
    }

    pub(crate) fn extend_from_slice(&mut self, more: &[u8]) {
        let start = self.len;
        self.grow_to(start + more.len());
        self[start..].copy_from_slice(more);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Makes it longer, or shorter; what is new is zero.
    pub(crate) fn resize_with_zeros(&mut self, len: usize) {
        let before = self.len;
        self.grow_to(len);
        self.len = len;
        if before < len {
            self[before..].fill(0);
        }
    }

    /// What is new is whatever lay there before.
    #[inline]
    fn grow_to(&mut self, len: usize) {
        let blocks = len.div_ceil(SECTOR_BYTES);
        if blocks > self.blocks.len() {
            let blocks = blocks.max(2 * self.blocks.len());
            self.blocks.resize(blocks, Block([0; SECTOR_BYTES]));
        }
        self.len = self.len.max(len);
    }
}

impl Deref for SectorBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.blocks.as_bytes()[..self.len]
    }
}

impl DerefMut for SectorBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.blocks.as_mut_bytes()[..self.len]
    }
}

impl fmt::Debug for SectorBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Extend(Vec<u8>),
        Truncate(usize),
        Resize(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..1_500).prop_map(Step::Extend),
            (0..2_000_usize).prop_map(Step::Truncate),
            (0..4_000_usize).prop_map(Step::Resize),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_vec_that_is_aligned(steps in prop::collection::vec(step(), 0..20)) {
            let (mut bytes, mut model) = (SectorBytes::zeros(3), vec![0; 3]);
            for step in steps {
                match step {
                    Step::Extend(more) => {
                        bytes.extend_from_slice(&more);
                        model.extend_from_slice(&more);
                    }
                    Step::Truncate(len) => {
                        bytes.truncate(len);
                        model.truncate(len);
                    }
                    Step::Resize(len) => {
                        bytes.resize_with_zeros(len);
                        model.resize(len, 0);
                    }
                }
                prop_assert_eq!(&*bytes, &model[..]);
                prop_assert_eq!(bytes.as_ptr().align_offset(SECTOR_BYTES), 0);
            }
        }
    }
}
