//! Each queue does what the obvious sequential one does: any sequence of calls on both, compared.

use engine_queue::doorbell::Doorbell;
use engine_queue::mailbox::{Refused, mailbox};
use engine_queue::spsc;
use proptest::prelude::*;
use std::collections::VecDeque;

/// One call. Counts go past the capacity on purpose.
#[derive(Clone, Debug)]
enum Call {
    Push,
    PushMany(usize),
    PushSlice(usize),
    Pop,
    PopMany(usize),
    /// Drains at most the first number and gives up after the second.
    Drain(usize, usize),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        Just(Call::Push),
        (0..12usize).prop_map(Call::PushMany),
        (0..12usize).prop_map(Call::PushSlice),
        Just(Call::Pop),
        (0..12usize).prop_map(Call::PopMany),
        (0..12usize, 0..12usize).prop_map(|(max, used)| Call::Drain(max, used)),
    ]
}

/// The obvious queue, and the numbers that it will be given next.
struct Model {
    items: VecDeque<u64>,
    capacity: usize,
    next: u64,
}

impl Model {
    fn new(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            capacity,
            next: 0,
        }
    }

    /// Puts in up to `wanted` consecutive numbers; returns how many went in.
    fn push(&mut self, wanted: usize) -> usize {
        let count = wanted.min(self.capacity - self.items.len());
        self.items.extend(self.next..self.next + count as u64);
        self.next += count as u64;
        count
    }

    fn pop(&mut self, max: usize) -> Vec<u64> {
        let count = max.min(self.items.len());
        self.items.drain(..count).collect()
    }
}

proptest! {
    #[test]
    fn a_ring_behaves_like_a_bounded_vec_deque(
        bits in 0..4u32,
        calls in prop::collection::vec(call(), 0..200),
    ) {
        let capacity = 1 << bits;
        let (mut producer, mut consumer) = spsc::ring(capacity);
        let mut model = Model::new(capacity);
        for call in calls {
            let next = model.next;
            match call {
                Call::Push => {
                    let pushed = producer.push(next);
                    prop_assert_eq!(pushed.is_ok(), model.push(1) == 1);
                }
                Call::PushMany(count) => {
                    let mut items = next..next + count as u64;
                    prop_assert_eq!(producer.push_many(&mut items), model.push(count));
                    prop_assert_eq!(items.start, model.next, "an item was taken that did not fit");
                }
                Call::PushSlice(count) => {
                    let items: Vec<u64> = (next..next + count as u64).collect();
                    prop_assert_eq!(producer.push_slice(&items), model.push(count));
                }
                Call::Pop => prop_assert_eq!(consumer.pop(), model.pop(1).first().copied()),
                Call::PopMany(max) => {
                    let mut popped = Vec::new();
                    let count = consumer.pop_many(max, |item| popped.push(item));
                    prop_assert_eq!(count, popped.len());
                    prop_assert_eq!(popped, model.pop(max));
                }
                Call::Drain(max, used) => {
                    let drained: Vec<u64> = consumer.drain(max).take(used).collect();
                    prop_assert_eq!(drained, model.pop(max.min(used)));
                }
            }
            prop_assert_eq!(producer.len(), model.items.len());
            prop_assert_eq!(consumer.len(), model.items.len());
            prop_assert_eq!(consumer.is_empty(), model.items.is_empty());
        }
        drop(producer);
        prop_assert_eq!(consumer.drain(usize::MAX).collect::<Vec<_>>(), model.pop(usize::MAX));
        prop_assert!(consumer.is_finished());
    }

    #[test]
    fn a_mailbox_behaves_like_a_bounded_vec_deque(
        capacity in 1..10usize,
        calls in prop::collection::vec(call(), 0..200),
    ) {
        let (sender, mut receiver) = mailbox(capacity, Doorbell::new(|| {}));
        let mut model = Model::new(capacity);
        for call in calls {
            let next = model.next;
            match call {
                Call::Push => {
                    let expected = if model.push(1) == 1 { Ok(()) } else { Err(Refused::Full(next)) };
                    prop_assert_eq!(sender.try_send(next), expected);
                }
                Call::PushMany(count) | Call::PushSlice(count) => {
                    let (sent, refused) = sender.try_send_many(&mut (next..next + count as u64));
                    prop_assert_eq!(sent, model.push(count));
                    let expected = (sent < count).then_some(Refused::Full(model.next));
                    prop_assert_eq!(refused, expected);
                }
                Call::Pop => prop_assert_eq!(receiver.take(), model.pop(1).first().copied()),
                Call::PopMany(max) | Call::Drain(max, _) => {
                    let mut taken = Vec::new();
                    receiver.take_many(max, |item| taken.push(item));
                    prop_assert_eq!(taken, model.pop(max));
                }
            }
            prop_assert_eq!(receiver.len(), model.items.len());
            prop_assert_eq!(receiver.may_sleep(), model.items.is_empty());
            receiver.wake_up();
        }
    }
}
