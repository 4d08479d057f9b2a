//! A worker of the pool: its core with a node of its own, and what it does wrong.

use std::collections::{BTreeMap, VecDeque};

use wire_chain::Contracts;
use wire_hub::{Address, Hash, Receipt, Rlc, Ticket, Wei};
use wire_lane::{self as lane, Progress};
use wire_protocol::units::Millis;
use wire_wallet::Wallet;
use worker_chain::core::{Contributor, Effect, Event, Now, Restored, Settings, State};
use worker_chain::faults::Faults;
use worker_chain::shell::node;

use super::troubled::{Sky, Troubled};

/// What a worker does.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    /// What its works give.
    pub(crate) result: Hash,
    pub(crate) faults: Faults,
    /// Blocks that a work takes.
    pub(crate) blocks: u64,
    /// Blocks after which the engine hears of it, beyond those.
    pub(crate) reports_after: u64,
}

const NO_FAULTS: Faults = Faults {
    wrong_result: false,
    no_reveal: false,
    bad_reveal: false,
    late_s: 0,
};

pub(crate) const HONEST: Habits = Habits {
    result: Hash([0x11; 32]),
    faults: NO_FAULTS,
    blocks: 0,
    reports_after: 0,
};

/// Contributes and never reveals.
pub(crate) const SILENT: Habits = Habits {
    faults: Faults {
        no_reveal: true,
        ..NO_FAULTS
    },
    ..HONEST
};

/// Reveals what it has not contributed.
pub(crate) const CLUMSY: Habits = Habits {
    faults: Faults {
        bad_reveal: true,
        ..NO_FAULTS
    },
    ..HONEST
};

/// One whose result is another.
pub(crate) const fn liar(byte: u8) -> Habits {
    Habits {
        result: Hash([byte; 32]),
        ..HONEST
    }
}

pub(crate) struct Member {
    pub(crate) wallet: Wallet,
    pub(crate) habits: Habits,
    /// It runs.
    pub(crate) is_here: bool,
    /// What it was told of orders, in order.
    pub(crate) told: Vec<State>,
    /// All that it sent, in order.
    pub(crate) sent: Vec<Vec<u8>>,
    /// Receipts of what was mined.
    pub(crate) mined: Vec<Receipt>,
    chain: Troubled,
    settings: Settings,
    core: Contributor,
    notes: BTreeMap<String, Vec<u8>>,
}

impl Member {
    pub(crate) fn new(
        url: &str,
        contracts: Contracts,
        key: &[u8; 32],
        sky: Sky,
        final_after: u64,
        habits: Habits,
    ) -> Self {
        let wallet = Wallet::of(key).expect("a key");
        let mut settings = Settings::new(
            contracts.chain_id,
            contracts.hub,
            contracts.pool,
            wallet.address(),
        );
        settings.final_after = final_after;
        settings.inclusion_s = 1;
        settings.lane.fees.cap = Wei(1_000_000_000_000);
        settings.lane.resend_after = Millis(4_000);
        settings.lane.replace_after = Millis(6_000);
        settings.lane.poll = Millis(2_000);
        settings.pause = Millis(100);
        settings.faults = habits.faults;
        Self {
            wallet,
            habits,
            is_here: true,
            told: Vec::new(),
            sent: Vec::new(),
            mined: Vec::new(),
            chain: Troubled::new(url, contracts, sky),
            settings,
            core: Contributor::restore(settings, Restored::default(), super::instant(0)),
            notes: BTreeMap::new(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.wallet.address()
    }

    /// It is killed, and another takes up its notes.
    pub(crate) fn restart(&mut self, now: Now) {
        let notes = self.notes.iter();
        let notes = notes.map(|(key, value)| (key.as_str(), value.as_slice()));
        let restored = Restored::read(&self.settings, notes).expect("notes of its own");
        self.core = Contributor::restore(self.settings, restored, now.instant);
        self.is_here = true;
    }

    /// It sees what there is, and time passes.
    pub(crate) async fn look(&mut self, now: Now) {
        let (events, _) = node::look(&self.chain).await;
        for event in events {
            // Final is here what has so many blocks behind it.
            if !matches!(event, Event::Finalized(_)) {
                self.tell(now, event).await;
            }
        }
        self.tell(now, Event::Tick).await;
    }

    /// A work has its result, which is for an order.
    pub(crate) async fn compute(&mut self, now: Now, ticket: Ticket) {
        let result = self.habits.result;
        self.tell(now, Event::Computed { ticket, result }).await;
    }

    async fn tell(&mut self, now: Now, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.core.handle(now, event, &mut effects);
            for effect in effects {
                events.extend(node::perform(&self.chain, &self.wallet, &effect).await);
                match effect {
                    Effect::Note { number, key, value } => {
                        match value {
                            Some(value) => drop(self.notes.insert(key, value)),
                            None => drop(self.notes.remove(&key)),
                        }
                        events.push_back(Event::Noted(number));
                    }
                    Effect::Told { state, .. } => self.told.push(state),
                    Effect::Lane(lane::Effect::Send { raw, .. }) => self.sent.push(raw),
                    Effect::Report {
                        progress: Progress::Mined(receipt),
                        ..
                    } => self.mined.push(receipt),
                    _ => {}
                }
            }
        }
    }

    /// It was told that an order was won, and what that brought.
    pub(crate) fn was_paid(&self, reward: u128) -> bool {
        let reward = Some(Rlc(reward));
        self.told.contains(&State::Won { reward })
    }
}
