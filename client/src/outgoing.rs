//! Frames on their way to a link's writer, which gives it many at once and copies what is long as seldom as it can.

use bytes::Bytes;

/// Bytes that are worth a piece of their own: a link looks through its pieces for each packet that it sends.
const PIECE_BYTES_MIN: usize = 16 << 10;

/// Whole frames, in one piece or in two.
pub(crate) struct Frames {
    pub(crate) head: Vec<u8>,
    /// What follows, shared with whoever may have to send it again.
    pub(crate) rest: Bytes,
}

impl From<Vec<u8>> for Frames {
    fn from(head: Vec<u8>) -> Self {
        Self {
            head,
            rest: Bytes::new(),
        }
    }
}

/// Frames that leave together.
#[derive(Default)]
pub(crate) struct Batch {
    pieces: Vec<Bytes>,
    /// What comes behind the pieces and is not one yet.
    open: Vec<u8>,
}

impl Batch {
    pub(crate) fn push(&mut self, Frames { head, rest }: Frames) {
        if self.open.is_empty() {
            self.open = head;
        } else {
            self.open.extend_from_slice(&head);
        }
        if rest.len() < PIECE_BYTES_MIN {
            self.open.extend_from_slice(&rest);
        } else {
            self.close();
            self.pieces.push(rest);
        }
    }

    /// How long they are together.
    pub(crate) fn bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum::<usize>() + self.open.len()
    }

    /// All of them in order. Whoever has sent them calls [`clear`](Self::clear).
    pub(crate) fn pieces(&mut self) -> &mut [Bytes] {
        self.close();
        &mut self.pieces
    }

    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(std::mem::take(&mut self.open).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_order_and_long_ones_are_not_copied() {
        let long = Bytes::from(vec![7; PIECE_BYTES_MIN]);
        let with = |head: &[u8], rest: &Bytes| Frames {
            head: head.to_vec(),
            rest: rest.clone(),
        };
        let frames = [
            Frames::from(vec![1, 2]),
            with(&[3], &Bytes::from_static(&[4, 5])),
            with(&[6], &long),
            with(&[8], &Bytes::from_static(&[9])),
        ];
        let mut batch = Batch::default();
        for _ in 0..2 {
            for Frames { head, rest } in &frames {
                batch.push(with(head, rest));
            }
            assert_eq!(batch.bytes(), 8 + long.len());
            let pieces = batch.pieces();
            assert_eq!(pieces[0], [1, 2, 3, 4, 5, 6][..]);
            assert_eq!(pieces[1].as_ptr(), long.as_ptr());
            assert_eq!(pieces[2], [8, 9][..]);
            assert_eq!(pieces.len(), 3);
            batch.clear();
        }
    }
}
