//! A follower against an obvious chain that is reorganised under it, and answers that are lost, late or wrong.

use proptest::prelude::*;
use wire_hub::{Address, Answer, Block, BlockRef, Event as Said, Hash, Log, Place, Timestamp};
use wire_protocol::units::{Instant, Millis};

use super::*;

const SETTINGS: Settings = Settings {
    ring_len: 24,
    confirmations: 4,
    final_after: Some(16),
    range_len: 7,
    patience: Millis(50),
    pause: Millis(10),
};

/// A chain that can be reorganised, and a node that shows it.
#[derive(Clone, Default)]
struct Chain {
    blocks: Vec<(Block, Vec<Log>)>,
    /// All that ever were, also orphaned ones.
    known: Vec<(Block, Vec<Log>)>,
    made: u64,
}

impl Chain {
    fn of_len(len: usize) -> Self {
        let mut chain = Self::default();
        chain.grow(len);
        chain
    }

    fn grow(&mut self, count: usize) {
        for _ in 0..count {
            self.made += 1;
            let number = self.blocks.len() as u64;
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&self.made.to_be_bytes());
            let at = BlockRef {
                number,
                hash: Hash(hash),
            };
            let block = Block {
                at,
                parent: self.blocks.last().map_or(Hash::ZERO, |(block, _)| block.at.hash),
                timestamp: Timestamp(number * 12),
                base_fee: None,
            };
            let logs = (0..self.made % 3).map(|index| log(at, index as u32)).collect();
            self.known.push((block, logs));
            self.blocks.push(self.known.last().expect("just pushed").clone());
        }
    }

    /// Replaces the last `depth` blocks by as many others and `more`.
    fn reorganise(&mut self, depth: usize, more: usize) {
        let depth = depth.min(self.blocks.len() - 1);
        self.blocks.truncate(self.blocks.len() - depth);
        self.grow(depth + more);
    }

    fn head(&self) -> Block {
        self.blocks.last().expect("never empty").0
    }

    fn answer(&self, question: Question) -> Reply {
        match question {
            Question::Block(number) => {
                let block = self.blocks.get(number as usize);
                Reply::Block(block.map_or(Answer::Absent, |(block, _)| Answer::Known(*block)))
            }
            Question::LogsOf(at) => {
                let block = self.known.iter().find(|(block, _)| block.at == at);
                Reply::Logs(block.map_or(Answer::Absent, |(_, logs)| Answer::Known(logs.clone())))
            }
            Question::LogsIn { from, to } => Reply::Logs(Answer::Known(self.logs(from, to))),
        }
    }

    fn logs(&self, from: u64, to: u64) -> Vec<Log> {
        let range = self
            .blocks
            .iter()
            .filter(|(block, _)| (from..=to).contains(&block.at.number));
        range.flat_map(|(_, logs)| logs.clone()).collect()
    }
}

fn log(block: BlockRef, log_index: u32) -> Log {
    Log {
        place: Place {
            block,
            log_index,
            transaction: block.hash,
        },
        event: Said::WorkOrderActive {
            woid: Address([log_index as u8; 20]),
        },
    }
}

/// A follower, and whoever listens to it.
struct World {
    follower: Follower,
    now: Instant,
    /// Questions without an answer.
    asked: Vec<(u64, Question)>,
    /// What was given out and not taken back.
    happened: Vec<Log>,
    too_deep: Vec<TooDeep>,
    safe: Option<u64>,
    questions: usize,
}

impl World {
    fn new(from: u64) -> Self {
        Self {
            follower: Follower::new(SETTINGS, from),
            now: Instant(0),
            asked: Vec::new(),
            happened: Vec::new(),
            too_deep: Vec::new(),
            safe: None,
            questions: 0,
        }
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.follower.handle(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Ask { ask, question } => {
                    self.questions += 1;
                    self.asked.push((ask, question));
                }
                Effect::Append { logs, .. } => self.happened.extend(logs),
                Effect::Undo(block) => {
                    // The newest is taken back first.
                    while self.happened.last().is_some_and(|log| log.place.block == block) {
                        self.happened.pop();
                    }
                }
                Effect::Safe(number) => self.safe = Some(number),
                Effect::Final(_) => {}
                Effect::TooDeep(too_deep) => self.too_deep.push(too_deep),
            }
        }
    }

    fn pass(&mut self, span: Millis) {
        self.now = self.now + span;
        self.handle(Event::Tick);
    }

    /// A healthy node answers until nothing is asked.
    fn settle(&mut self, chain: &Chain) {
        self.handle(Event::Head(chain.head()));
        for _ in 0..10_000 {
            if let Some((ask, question)) = self.asked.pop() {
                let reply = chain.answer(question);
                self.handle(Event::Answered { ask, reply });
            } else if self.follower.next_deadline().is_some() {
                self.pass(Millis(100));
            } else if self.follower.tip() == Some(&chain.head()) {
                return;
            } else {
                self.handle(Event::Head(chain.head()));
            }
        }
        panic!("it never settles: {:?}", self.follower);
    }

    fn assert_follows(&self, chain: &Chain, from: u64) {
        assert_eq!(self.follower.tip(), Some(&chain.head()));
        assert_eq!(self.happened, chain.logs(from, u64::MAX));
    }
}

#[test]
fn events_come_once_and_in_order() {
    let chain = Chain::of_len(20);
    let mut world = World::new(3);
    world.settle(&chain);
    world.assert_follows(&chain, 3);
    assert_eq!(world.safe, Some(15));
    let finality = [3, 4, 15, 16, 19, 20].map(|number| world.follower.finality(number));
    let (observed, safe) = (Some(Finality::Observed), Some(Finality::Safe));
    assert_eq!(
        finality,
        [Some(Finality::Final), safe, safe, observed, observed, None]
    );
    world.settle(&chain);
    world.assert_follows(&chain, 3);
}

#[test]
fn a_reorganisation_takes_back_the_events_of_orphaned_blocks_newest_first() {
    let mut chain = Chain::of_len(20);
    let mut world = World::new(0);
    world.settle(&chain);
    for depth in [1, 3, 12] {
        chain.reorganise(depth, 1);
        world.settle(&chain);
        world.assert_follows(&chain, 0);
    }
    assert!(world.too_deep.is_empty());
}

#[test]
fn a_chain_that_became_shorter_is_followed_when_it_shows_another_block() {
    let mut chain = Chain::of_len(20);
    let mut world = World::new(0);
    world.settle(&chain);
    chain.blocks.truncate(12);
    world.handle(Event::Head(chain.head()));
    assert_eq!(
        world.happened.len(),
        Chain::of_len(20).logs(0, 99).len(),
        "it may be a node that lags behind"
    );
    chain.grow(1);
    world.settle(&chain);
    world.assert_follows(&chain, 0);
}

#[test]
fn a_node_that_lags_or_does_not_know_takes_nothing_back() {
    let chain = Chain::of_len(20);
    let mut world = World::new(0);
    world.settle(&chain);
    let lagging = Chain {
        blocks: chain.blocks[..10].to_vec(),
        ..chain.clone()
    };
    world.handle(Event::Head(lagging.head()));
    world.handle(Event::Answered {
        ask: 3,
        reply: Reply::Block(Answer::Absent),
    });
    assert!(world.asked.is_empty());
    // A head that nobody else knows, and a node that answers nothing.
    let mut other = chain.clone();
    other.reorganise(2, 1);
    world.handle(Event::Head(other.head()));
    for _ in 0..5 {
        let (ask, question) = world.asked.pop().expect("it asks again");
        let reply = match question {
            Question::LogsOf(_) | Question::LogsIn { .. } => Reply::Logs(Answer::Unknown),
            Question::Block(_) => Reply::Block(Answer::Absent),
        };
        world.handle(Event::Answered { ask, reply });
        world.pass(Millis(100));
    }
    world.assert_follows(&chain, 0);
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let chain = Chain::of_len(5);
    let mut world = World::new(0);
    world.handle(Event::Head(chain.head()));
    let (lost, _) = world.asked.pop().expect("a question");
    world.pass(Millis(49));
    assert!(world.asked.is_empty());
    world.pass(Millis(1));
    let (again, _) = world.asked[0];
    assert!(again > lost, "an answer to the first would be late");
    world.settle(&chain);
    world.assert_follows(&chain, 0);
}

#[test]
fn more_than_is_remembered_says_so_and_begins_anew_at_the_oldest() {
    let mut chain = Chain::of_len(60);
    let mut world = World::new(0);
    world.settle(&chain);
    let upto_oldest = world.follower.cursor().clone();
    chain.reorganise(30, 1);
    world.settle(&chain);
    let [too_deep] = world.too_deep[..] else {
        panic!("{:?}", world.too_deep)
    };
    assert_eq!(too_deep.oldest.number, 59 - 16, "what is final is not remembered");
    assert!(too_deep.to_string().contains("read the chain anew"), "{too_deep}");
    assert_eq!(world.follower.tip(), Some(&chain.head()));
    let new: Vec<Log> = world
        .happened
        .iter()
        .filter(|log| log.place.block.number >= 43)
        .cloned()
        .collect();
    assert_eq!(new, chain.logs(43, u64::MAX));
    assert_ne!(world.follower.cursor(), &upto_oldest);
}

#[test]
fn far_behind_the_head_logs_are_read_by_range() {
    let chain = Chain::of_len(300);
    let mut world = World::new(5);
    world.settle(&chain);
    world.assert_follows(&chain, 5);
    assert!(
        world.questions < 2 * (300 / 7 + 30),
        "{} questions",
        world.questions
    );
}

#[test]
fn a_tip_that_was_orphaned_while_nobody_looked_is_found_before_ranges_are_read() {
    let mut chain = Chain::of_len(40);
    let mut world = World::new(0);
    world.settle(&chain);
    let cursor = world.follower.cursor().clone();
    chain.reorganise(6, 200);
    world.follower = Follower::restore(SETTINGS, cursor);
    world.settle(&chain);
    world.assert_follows(&chain, 0);
}

#[test]
fn the_nodes_finalized_block_counts_where_it_is_ahead_and_was_followed() {
    let mut chain = Chain::of_len(30);
    let mut world = World::new(0);
    world.settle(&chain);
    let fork = chain.blocks.clone();
    chain.reorganise(7, 3);
    let cases = [
        (&fork[5], None),
        (&fork[20], Some(20)),
        (&fork[20], None),
        (&chain.blocks[25], None),
        (&fork[26], Some(26)),
        (&chain.blocks[32], None),
    ];
    for ((block, _), expected) in cases {
        let mut effects = Vec::new();
        world
            .follower
            .handle(world.now, Event::Finalized(block.at), &mut effects);
        let effect: Vec<Effect> = expected.map(Effect::Final).into_iter().collect();
        assert_eq!(effects, effect, "{}", block.at.number);
    }
}

/// Who was away while blocks were orphaned hears first what is final now.
#[test]
fn a_block_that_is_final_on_another_fork_makes_none_final_that_it_has_orphaned() {
    let mut chain = Chain::of_len(10);
    let mut world = World::new(0);
    world.settle(&chain);
    chain.reorganise(7, 20);
    world.handle(Event::Finalized(chain.blocks[8].0.at));
    world.settle(&chain);
    assert_eq!(world.too_deep, []);
    let happened: Vec<Log> = chain.blocks.iter().flat_map(|(_, logs)| logs.clone()).collect();
    assert_eq!(world.happened, happened);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What was given out less what was taken back is what the chain has, whatever happened on the way.
    #[test]
    fn emitted_minus_undone_is_the_canonical_chain(seed: u64, from in 0_u64..30) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut chain = Chain::of_len(rng.usize(1..80));
        let mut world = World::new(from.min(chain.head().at.number));
        let from = from.min(chain.head().at.number);
        let mut forks = vec![chain.blocks.clone()];
        let mut answers: Vec<(u64, Reply)> = Vec::new();
        for _ in 0..rng.usize(0..300) {
            match rng.u32(0..14) {
                0 => chain.grow(rng.usize(1..4)),
                1 => {
                    forks.push(chain.blocks.clone());
                    chain.reorganise(rng.usize(1..=12), rng.usize(0..3));
                }
                // Back to what was orphaned, if that is not too long ago.
                2 => {
                    let len = chain.blocks.len();
                    let fork = forks[rng.usize(..forks.len())].clone();
                    let common = fork.iter().zip(&chain.blocks).take_while(|(a, b)| a.0 == b.0).count();
                    if common + 12 >= len {
                        forks.push(std::mem::replace(&mut chain.blocks, fork));
                        let missing = len.saturating_sub(chain.blocks.len());
                        chain.grow(missing);
                    }
                }
                3 => {
                    let bytes = postcard::to_allocvec(world.follower.cursor()).expect("a cursor");
                    let cursor = postcard::from_bytes(&bytes).expect("the same cursor");
                    prop_assert_eq!(&cursor, world.follower.cursor());
                    world.follower = Follower::restore(SETTINGS, cursor);
                    world.asked.clear();
                }
                4 | 5 => world.handle(Event::Head(chain.head())),
                // A head of some time ago.
                6 => {
                    let fork = &forks[rng.usize(..forks.len())];
                    let block = fork[rng.usize(fork.len().saturating_sub(5)..fork.len())].0;
                    world.handle(Event::Head(block));
                }
                7 => world.pass(Millis(rng.u64(1..60))),
                8 => drop(world.asked.pop()),
                9 => answers.extend(world.asked.pop().map(|(ask, question)| (ask, chain.answer(question)))),
                _ => {
                    answers.extend(world.asked.pop().map(|(ask, question)| (ask, chain.answer(question))));
                    if !answers.is_empty() {
                        let index = rng.usize(..answers.len());
                        let (ask, reply) = answers[index].clone();
                        let reply = match (rng.u32(0..8), &reply) {
                            (0, Reply::Block(_)) => Reply::Block(Answer::Unknown),
                            (0, Reply::Logs(_)) => Reply::Logs(Answer::Unknown),
                            _ => reply,
                        };
                        world.handle(Event::Answered { ask, reply });
                        if rng.bool() {
                            answers.swap_remove(index);
                        }
                    }
                }
            }
        }
        world.settle(&chain);
        prop_assert!(world.too_deep.is_empty());
        world.assert_follows(&chain, from);
    }
}

/// It is noted whole at every block, in a note of 64 KiB at most.
#[test]
fn a_cursor_is_small_however_much_happens() {
    let chain = Chain::of_len(400);
    let mut world = World::new(0);
    world.settle(&chain);
    let bytes = postcard::to_allocvec(world.follower.cursor()).expect("a note");
    assert!(bytes.len() < 256 * SETTINGS.ring_len, "{} bytes", bytes.len());
}
