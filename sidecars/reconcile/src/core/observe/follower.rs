//! The follower: see the module's documentation.

use serde::{Deserialize, Serialize};
use wire_hub::{Answer, Block, BlockRef, Log};
use wire_protocol::units::Instant;

use super::event::{Effect, Event, Finality, Question, Reply, Settings, TooDeep};
use super::ring::Ring;

/// Follows a chain.
#[derive(Clone, Debug)]
pub struct Follower {
    settings: Settings,
    /// What is durable.
    cursor: Cursor,
    head: Option<Block>,
    finalized: Option<BlockRef>,
    /// The tip was seen to be there, so that what follows far behind the head can be read by range.
    is_anchored: bool,
    doing: Doing,
}

/// What a follower has to keep to go on after a restart. Bounded by the ring.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cursor {
    ring: Ring,
    /// The first block that was ever followed.
    begun: u64,
    /// The next block, where the ring is empty.
    from: u64,
    safe: Option<u64>,
    final_: Option<u64>,
    asks: u64,
}

/// ```text
///                  head is another                 parent is the tip         logs
///   Resting ───────────────────────► Reading ─────────────────────► Scanning ─────► (Append) Resting
///      ▲                                │ parent is another
///      │   the ancestor, with Undo      ▼
///      ├──────────────────────────── Walking ◄─┐ not this one either
///      │                                └──────┘
///      │                                                     logs          block
///      ├─ far behind: Walking (is the tip there?) ─► Ranging ────► Anchoring ────► (Append) Resting
///      │
///   Pausing ◄── no answer, or none that helps: then all over from what is known
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
enum Doing {
    Resting,
    Reading { by: Asked, number: u64 },
    Scanning { by: Asked, block: Block },
    Ranging { by: Asked, from: u64, to: u64 },
    Anchoring { by: Asked, to: u64, logs: Vec<Log> },
    Walking { by: Asked, start: u64, number: u64 },
    Pausing { until: Instant },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asked {
    ask: u64,
    until: Instant,
}

impl Follower {
    /// Begins with the block of number `from`.
    ///
    /// # Panics
    /// If the settings are out of their bounds.
    #[must_use]
    pub fn new(settings: Settings, from: u64) -> Self {
        let cursor = Cursor {
            ring: Ring::default(),
            begun: from,
            from,
            safe: None,
            final_: None,
            asks: 0,
        };
        Self::restore(settings, cursor)
    }

    /// Goes on where another left off.
    ///
    /// # Panics
    /// If the settings are out of their bounds.
    #[must_use]
    pub fn restore(settings: Settings, cursor: Cursor) -> Self {
        assert!(
            settings.ring_len >= 2,
            "a ring has a tip and a parent: {settings:?}"
        );
        assert!(settings.range_len >= 1, "a range has a block: {settings:?}");
        Self {
            settings,
            cursor,
            head: None,
            finalized: None,
            is_anchored: false,
            doing: Doing::Resting,
        }
    }

    /// What is to be kept, as soon as the effects so far are made good.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The last block that was followed.
    #[must_use]
    pub fn tip(&self) -> Option<&Block> {
        self.cursor.ring.tip()
    }

    /// How sure a block of this number is; `None`: it was not followed yet.
    #[must_use]
    pub fn finality(&self, number: u64) -> Option<Finality> {
        let is_upto = |bound: Option<u64>| Some(number) <= bound;
        if !is_upto(self.tip().map(|tip| tip.at.number)) {
            return None;
        }
        Some(match (is_upto(self.cursor.final_), is_upto(self.cursor.safe)) {
            (true, _) => Finality::Final,
            (false, true) => Finality::Safe,
            (false, false) => Finality::Observed,
        })
    }

    /// The first block that was ever followed.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.cursor.begun
    }

    /// A block of the last ones that were followed.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<&Block> {
        self.cursor.ring.at(number)
    }

    /// Whether this block is in the chain that was followed, as far as is remembered: what is older than that is.
    #[must_use]
    pub fn has(&self, block: BlockRef) -> bool {
        let oldest = self.cursor.ring.oldest().map(|oldest| oldest.at.number);
        let is_older = oldest.is_some_and(|oldest| block.number < oldest);
        is_older || self.cursor.ring.hash_at(block.number) == Some(block.hash)
    }

    /// Follows everything again, from this block on. Nothing is said to be undone.
    pub fn begin_again(&mut self, now: Instant, from: u64, effects: &mut Vec<Effect>) {
        self.cursor = Cursor {
            ring: Ring::default(),
            begun: from.min(self.cursor.begun),
            from,
            safe: None,
            final_: None,
            asks: self.cursor.asks,
        };
        self.is_anchored = false;
        self.advance(now, effects);
    }

    /// When to say [`Event::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.doing {
            Doing::Resting => None,
            Doing::Pausing { until } => Some(*until),
            Doing::Reading { by, .. }
            | Doing::Scanning { by, .. }
            | Doing::Ranging { by, .. }
            | Doing::Anchoring { by, .. }
            | Doing::Walking { by, .. } => Some(by.until),
        }
    }

    /// Takes an event. A late or repeated answer changes nothing.
    pub fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Head(block) => self.on_head(now, block, effects),
            Event::Finalized(block) => {
                if self.finalized.is_none_or(|known| known.number <= block.number) {
                    self.finalized = Some(block);
                }
                self.mature(effects);
            }
            Event::Answered { ask, reply } => self.on_answered(now, ask, reply, effects),
            Event::Tick => {
                if self.next_deadline().is_some_and(|deadline| deadline <= now) {
                    self.advance(now, effects);
                }
            }
        }
    }

    fn on_head(&mut self, now: Instant, block: Block, effects: &mut Vec<Effect>) {
        let hash_here = self.cursor.ring.hash_at(block.at.number);
        let is_behind = self.tip().is_some_and(|tip| block.at.number < tip.at.number);
        if is_behind && hash_here.is_none_or(|hash| hash == block.at.hash) {
            return; // A node that lags behind.
        }
        self.head = Some(block);
        let is_another = hash_here.is_some_and(|hash| hash != block.at.hash);
        let is_walking_above =
            matches!(self.doing, Doing::Walking { number, .. } if number > block.at.number);
        let is_resting = matches!(self.doing, Doing::Resting);
        if is_resting && block.at.number == self.next_number() {
            self.on_read(now, block.at.number, &Answer::Known(block), effects);
        } else if is_resting || (is_another && is_walking_above) {
            self.advance(now, effects);
        }
    }

    fn on_answered(&mut self, now: Instant, ask: u64, reply: Reply, effects: &mut Vec<Effect>) {
        let doing = std::mem::replace(&mut self.doing, Doing::Resting);
        match (doing, reply) {
            (Doing::Reading { by, number }, Reply::Block(answer)) if by.ask == ask => {
                self.on_read(now, number, &answer, effects);
            }
            (Doing::Scanning { by, block }, Reply::Logs(answer)) if by.ask == ask => {
                self.on_scanned(now, block, answer, effects);
            }
            (Doing::Ranging { by, from, to }, Reply::Logs(answer)) if by.ask == ask => {
                self.on_ranged(now, from, to, answer, effects);
            }
            (Doing::Anchoring { by, to, logs }, Reply::Block(answer)) if by.ask == ask => {
                self.on_anchored(now, to, logs, &answer, effects);
            }
            (Doing::Walking { by, start, number }, Reply::Block(answer)) if by.ask == ask => {
                self.on_walked(now, start, number, &answer, effects);
            }
            (other, _) => self.doing = other,
        }
    }

    /// The number of the block that comes next.
    fn next_number(&self) -> u64 {
        self.tip().map_or(self.cursor.from, |tip| tip.at.number + 1)
    }

    /// What to do next, from what is known alone.
    fn advance(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.doing = Doing::Resting;
        let Some(head) = self.head else { return };
        let next = self.next_number();
        if head.at.number < next {
            let here = self.cursor.ring.hash_at(head.at.number);
            if here.is_some_and(|hash| hash != head.at.hash) {
                self.walk(now, head.at.number, head.at.number, effects);
            }
        } else if let Some(to) = self.range_end(head.at.number) {
            if self.is_anchored || self.tip().is_none() {
                let by = self.ask(now, Question::LogsIn { from: next, to }, effects);
                self.doing = Doing::Ranging { by, from: next, to };
            } else {
                self.walk(now, next - 1, next - 1, effects);
            }
        } else {
            let by = self.ask(now, Question::Block(next), effects);
            self.doing = Doing::Reading { by, number: next };
        }
    }

    /// The last block of the next range, if the next block is further behind the head than the ring is long.
    fn range_end(&self, head: u64) -> Option<u64> {
        let deep = head.checked_sub(self.settings.ring_len as u64)?;
        let next = self.next_number();
        (next <= deep).then(|| deep.min(next + self.settings.range_len - 1))
    }

    fn walk(&mut self, now: Instant, start: u64, number: u64, effects: &mut Vec<Effect>) {
        let by = self.ask(now, Question::Block(number), effects);
        self.doing = Doing::Walking { by, start, number };
    }

    fn pause(&mut self, now: Instant) {
        self.doing = Doing::Pausing {
            until: now + self.settings.pause,
        };
    }

    fn ask(&mut self, now: Instant, question: Question, effects: &mut Vec<Effect>) -> Asked {
        self.cursor.asks += 1;
        let ask = self.cursor.asks;
        effects.push(Effect::Ask { ask, question });
        let until = now + self.settings.patience;
        Asked { ask, until }
    }

    fn on_read(&mut self, now: Instant, number: u64, answer: &Answer<Block>, effects: &mut Vec<Effect>) {
        let Some(block) = of_number(answer, number) else {
            return self.pause(now);
        };
        match self.tip() {
            Some(tip) if tip.at.hash != block.parent => {
                let start = tip.at.number;
                self.walk(now, start, start, effects);
            }
            _ => {
                let by = self.ask(now, Question::LogsOf(block.at), effects);
                self.doing = Doing::Scanning { by, block };
            }
        }
    }

    fn on_scanned(
        &mut self,
        now: Instant,
        block: Block,
        answer: Answer<Vec<Log>>,
        effects: &mut Vec<Effect>,
    ) {
        match answer {
            Answer::Known(logs) if logs.iter().all(|log| log.place.block == block.at) => {
                let logs = in_order(logs);
                self.cursor.ring.push(block);
                effects.push(Effect::Append { upto: block, logs });
                self.mature(effects);
                self.advance(now, effects);
            }
            // The node knows no such block any more: what has its number then may be another.
            _ => self.pause(now),
        }
    }

    fn on_ranged(
        &mut self,
        now: Instant,
        from: u64,
        to: u64,
        answer: Answer<Vec<Log>>,
        effects: &mut Vec<Effect>,
    ) {
        match answer {
            Answer::Known(logs)
                if logs
                    .iter()
                    .all(|log| (from..=to).contains(&log.place.block.number)) =>
            {
                let by = self.ask(now, Question::Block(to), effects);
                let logs = in_order(logs);
                self.doing = Doing::Anchoring { by, to, logs };
            }
            _ => self.pause(now),
        }
    }

    fn on_anchored(
        &mut self,
        now: Instant,
        to: u64,
        logs: Vec<Log>,
        answer: &Answer<Block>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(block) = of_number(answer, to) else {
            return self.pause(now);
        };
        let of_block = |log: &&Log| log.place.block.number == to;
        if logs
            .iter()
            .filter(of_block)
            .any(|log| log.place.block != block.at)
        {
            return self.pause(now);
        }
        self.cursor.ring.restart(block);
        self.is_anchored = true;
        effects.push(Effect::Append { upto: block, logs });
        self.mature(effects);
        self.advance(now, effects);
    }

    fn on_walked(
        &mut self,
        now: Instant,
        start: u64,
        number: u64,
        answer: &Answer<Block>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(block) = of_number(answer, number) else {
            return self.pause(now);
        };
        let is_ours = self.cursor.ring.hash_at(number) == Some(block.at.hash);
        if is_ours && number == start {
            return self.on_not_orphaned(now, start, effects);
        }
        if is_ours {
            self.undo_beyond(number, effects);
            return self.advance(now, effects);
        }
        match self.cursor.ring.oldest() {
            Some(oldest) if number > oldest.at.number => self.walk(now, start, number - 1, effects),
            Some(oldest) => {
                let oldest = oldest.at;
                self.on_all_orphaned(oldest, effects);
                self.advance(now, effects);
            }
            None => self.advance(now, effects),
        }
    }

    /// The block that was doubted is there.
    fn on_not_orphaned(&mut self, now: Instant, number: u64, effects: &mut Vec<Effect>) {
        let tip = *self.tip().expect("a walk goes over blocks of the ring");
        let is_far_behind = self
            .head
            .is_some_and(|head| self.range_end(head.at.number).is_some());
        if number == tip.at.number && is_far_behind && !self.is_anchored {
            self.is_anchored = true;
            return self.advance(now, effects);
        }
        // Whoever said otherwise was wrong or is late; the next head will tell.
        if self.head.is_some_and(|head| head.at.number <= tip.at.number) {
            self.head = Some(tip);
        }
        self.pause(now);
    }

    fn on_all_orphaned(&mut self, oldest: BlockRef, effects: &mut Vec<Effect>) {
        self.cursor.from = oldest.number;
        while let Some(block) = self.cursor.ring.pop() {
            effects.push(Effect::Undo(block.at));
        }
        let before = oldest.number.checked_sub(1);
        self.cursor.safe = self.cursor.safe.min(before);
        self.cursor.final_ = self.cursor.final_.min(before);
        self.is_anchored = false;
        if oldest.number > self.cursor.begun {
            effects.push(Effect::TooDeep(TooDeep { oldest }));
        }
    }

    fn undo_beyond(&mut self, ancestor: u64, effects: &mut Vec<Effect>) {
        while let Some(block) = self.cursor.ring.pop_beyond(ancestor) {
            effects.push(Effect::Undo(block.at));
        }
        if self.cursor.safe > Some(ancestor) {
            self.cursor.safe = Some(ancestor);
            effects.push(Effect::Safe(ancestor));
        }
    }

    /// Whether this block is the one of its number that was followed: a node may have finalized another since.
    fn is_behind(&self, block: BlockRef) -> bool {
        let ring = &self.cursor.ring;
        match ring.hash_at(block.number) {
            Some(hash) => hash == block.hash,
            // What is before the ring cannot be orphaned any more; what is beyond it was not followed yet.
            None => ring
                .oldest()
                .is_some_and(|oldest| block.number < oldest.at.number),
        }
    }

    /// Says what has become safe and final, and lets go of what cannot be orphaned any more.
    fn mature(&mut self, effects: &mut Vec<Effect>) {
        let Some(tip) = self.tip().map(|tip| tip.at.number) else {
            return;
        };
        let safe = tip.checked_sub(self.settings.confirmations);
        if safe > self.cursor.safe {
            self.cursor.safe = safe;
            effects.extend(safe.map(Effect::Safe));
        }
        let by_depth = self.settings.final_after.and_then(|depth| tip.checked_sub(depth));
        let by_node = self.finalized.filter(|block| self.is_behind(*block));
        let final_ = by_depth.max(by_node.map(|block| block.number));
        if final_ > self.cursor.final_ {
            self.cursor.final_ = final_;
            effects.extend(final_.map(Effect::Final));
        }
        let keep = self.cursor.final_.unwrap_or(0);
        self.cursor.ring.shorten(keep, self.settings.ring_len);
    }
}

fn of_number(answer: &Answer<Block>, number: u64) -> Option<Block> {
    answer.known().filter(|block| block.at.number == number).copied()
}

/// In the order of the chain, each once.
fn in_order(mut logs: Vec<Log>) -> Vec<Log> {
    logs.sort_by_key(|log| (log.place.block.number, log.place.log_index));
    logs.dedup_by_key(|log| log.place);
    logs
}
