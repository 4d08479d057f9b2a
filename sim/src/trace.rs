//! What happened: a hash of everything, always, and the story in words, when somebody asks for it.
//!
//! A simulation is repeatable, so nobody pays for words in advance: a seed that failed is run once more, with
//! the story being written.

use std::collections::{BTreeMap, VecDeque};

use wire_protocol::ids::WorkId;

use crate::clock::{MS, SEC, Time, US};

/// Lines that are kept.
const LINES_MAX: usize = 200_000;

#[derive(Default)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    telling: bool,
    printing: bool,
    lines: VecDeque<String>,
    reached: BTreeMap<&'static str, u64>,
}

impl Trace {
    pub(crate) fn new(telling: bool, printing: bool) -> Self {
        Self {
            telling: telling || printing,
            printing,
            ..Self::default()
        }
    }

    /// Something happened; `text` is called only if the story is being written.
    pub(crate) fn note(&mut self, now: Time, numbers: &[u64], text: impl FnOnce() -> String) {
        self.events += 1;
        self.mix(now);
        for number in numbers {
            self.mix(*number);
        }
        if self.telling {
            let text = text();
            if !text.is_empty() {
                self.tell(now, &text);
            }
        }
    }

    /// Mixes bytes into the hash.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ bytes.len() as u64);
    }

    /// Whether words are wanted; for callers whose words come from a loop.
    pub(crate) fn is_telling(&self) -> bool {
        self.telling
    }

    /// A line of the story that is no event of its own.
    pub(crate) fn tell(&mut self, now: Time, text: &str) {
        if !self.telling {
            return;
        }
        let (seconds, millis, micros) = (now / SEC, now % SEC / MS, now % MS / US);
        let line = format!("{seconds:>4}.{millis:03}_{micros:03} {text}");
        if self.printing {
            println!("{line}");
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// A rare thing happened. Whoever runs many seeds sees by the counts whether they come to where bugs live.
    pub(crate) fn reach(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            *self.reached.entry(what).or_default() += times;
        }
    }

    pub(crate) fn reached(&self) -> &BTreeMap<&'static str, u64> {
        &self.reached
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// The last lines that mention the work, or the last of all.
    pub(crate) fn story(&self, work: Option<WorkId>, len: usize) -> Vec<String> {
        let mut lines: Vec<String> = match work.map(|work| work.to_string()) {
            Some(name) => self
                .lines
                .iter()
                .rev()
                .filter(|line| mentions(line, &name))
                .take(len)
                .cloned()
                .collect(),
            None => self.lines.iter().rev().take(len).cloned().collect(),
        };
        lines.reverse();
        lines
    }

    fn mix(&mut self, word: u64) {
        // Multiply and fold, as in wyhash: enough to tell two runs apart.
        let product = u128::from(self.hash ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xe703_7ed1_a0b4_28db;
        self.hash = (product as u64) ^ ((product >> 64) as u64);
    }
}

/// The line has this name as a whole word; lines about the engine's or a worker's life concern every work.
fn mentions(line: &str, name: &str) -> bool {
    line.contains("!!")
        || line
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_about_its_work() {
        let mut trace = Trace::new(true, false);
        for text in ["w1 queued", "w11 queued", "!! the engine crashed", "s0/e1/w1/a1"] {
            trace.tell(0, text);
        }
        assert_eq!(trace.story(Some(WorkId(1)), 50).len(), 3);
        assert_eq!(trace.story(None, 2).len(), 2);
    }

    #[test]
    fn the_hash_tells_orders_apart() {
        let hash = |numbers: &[u64]| {
            let mut trace = Trace::default();
            trace.note(1, numbers, String::new);
            trace.hash()
        };
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_eq!(hash(&[1, 2]), hash(&[1, 2]));
    }
}
