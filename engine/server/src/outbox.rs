//! Frames and fetches that wait until what they tell is durable.
//!
//! Positions only rise, so it is a queue: whatever is at the front goes first, and the rest need not be looked
//! at. Frames lie in one buffer that is moved together when most of it has gone.

use std::collections::VecDeque;
use std::ops::Range;

use engine_core::Fetch;
use wire_protocol::ids::{LinkId, Lsn};

#[derive(Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Waiting>,
    bytes: Vec<u8>,
    /// Where the bytes of the first that waits begin.
    head: usize,
}

struct Waiting {
    after: Lsn,
    what: What,
}

enum What {
    Frames { link: LinkId, len: usize },
    Fetch(Box<Fetch>),
}

/// Something that may go now.
pub(crate) enum Released<'a> {
    Frames { link: LinkId, frames: &'a [u8] },
    Fetch(Box<Fetch>),
}

/// Bytes that have gone before the buffer is moved together.
const COMPACT_BYTES: usize = 1 << 20;

impl Outbox {
    pub(crate) fn push_frames(&mut self, after: Lsn, link: LinkId, frames: &[u8]) {
        self.bytes.extend_from_slice(frames);
        if let Some(Waiting {
            after: last,
            what: What::Frames { link: same, len },
        }) = self.waiting.back_mut()
            && *same == link
            && *last == after
        {
            *len += frames.len();
            return;
        }
        self.waiting.push_back(Waiting {
            after,
            what: What::Frames {
                link,
                len: frames.len(),
            },
        });
    }

    pub(crate) fn push_fetch(&mut self, fetch: Box<Fetch>) {
        self.waiting.push_back(Waiting {
            after: fetch.after,
            what: What::Fetch(fetch),
        });
    }

    /// Gives what waited for nothing beyond `durable`, in order.
    pub(crate) fn release(&mut self, durable: Lsn, mut give: impl FnMut(Released<'_>)) {
        while self
            .waiting
            .front()
            .is_some_and(|waiting| waiting.after <= durable)
        {
            match self.waiting.pop_front().expect("just seen").what {
                What::Frames { link, len } => {
                    let span: Range<usize> = self.head..self.head + len;
                    give(Released::Frames {
                        link,
                        frames: &self.bytes[span.clone()],
                    });
                    self.head = span.end;
                }
                What::Fetch(fetch) => give(Released::Fetch(fetch)),
            }
        }
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head > COMPACT_BYTES && self.head > self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() - self.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_in_order_and_not_before_what_they_tell_is_durable() {
        let mut outbox = Outbox::default();
        outbox.push_frames(Lsn(1), LinkId(7), b"one");
        outbox.push_frames(Lsn(1), LinkId(7), b"uno");
        outbox.push_frames(Lsn(3), LinkId(8), b"three");
        outbox.push_frames(Lsn(2), LinkId(7), b"two");
        let mut went = Vec::new();
        let mut release = |outbox: &mut Outbox, durable| {
            outbox.release(Lsn(durable), |released| {
                let Released::Frames { link, frames } = released else {
                    panic!("no fetch was pushed")
                };
                went.push((link.0, frames.to_vec()));
            });
            std::mem::take(&mut went)
        };
        assert!(release(&mut outbox, 0).is_empty());
        assert_eq!(release(&mut outbox, 1), [(7, b"oneuno".to_vec())]);
        // The one behind waits with it, although it could go: order is kept.
        assert!(release(&mut outbox, 2).is_empty());
        assert_eq!(
            release(&mut outbox, 3),
            [(8, b"three".to_vec()), (7, b"two".to_vec())]
        );
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }
}
