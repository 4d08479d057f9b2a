//! The chain side of a worker: its real core, a disk for its notes, and results that wait until they are noted.

use std::collections::BTreeMap;

use sidecars_reconcile::model::Node;
use wire_hub::{Address, Answer, BlockRef, Event as Said, Hash, Rlc, Ticket, Views};
use wire_lane as lane;
use wire_protocol::ids::LeaseToken;
use wire_protocol::outcome::Output;
use wire_protocol::units::Instant;
use worker_chain::core::{Contributor, Effect, Event as Told, Now, Paid, Restored, Settings, State};

use super::{BEGINS, FINAL_AFTER, worker_settings};
use crate::clock::{MS, SEC, Time};
use crate::world::{Ctx, Event, PeerId};

/// How often it asks for a new block.
const LOOKS_EVERY: Time = SEC;
/// How long a note takes to its disk.
const NOTES_TAKE: Time = 5 * MS;

pub(crate) struct Settler {
    peer: PeerId,
    settings: Settings,
    /// One that lies computes something of its own.
    lies: bool,
    /// What outlives the process.
    disk: BTreeMap<String, Vec<u8>>,
    core: Option<Box<Contributor>>,
    /// Attempts whose results wait until they are noted, or refused.
    handing: Vec<(Ticket, LeaseToken)>,
    tick_at: Option<Time>,
}

/// Something for a settler.
pub(crate) enum Post {
    /// It looks for a new block.
    Look,
    Tick,
    /// For its core.
    Told(Told),
    /// This is on its disk now.
    Noted {
        number: u64,
        key: String,
        value: Option<Vec<u8>>,
    },
}

impl Settler {
    pub(crate) fn new(peer: PeerId, wallet: Address, lies: bool) -> Self {
        Self {
            peer,
            settings: worker_settings(wallet),
            lies,
            disk: BTreeMap::new(),
            core: None,
            handing: Vec::new(),
            tick_at: None,
        }
    }

    pub(crate) fn wallet(&self) -> Address {
        self.settings.worker
    }

    pub(crate) fn start(&mut self, ctx: &mut Ctx, life: u64) {
        let notes = self.disk.iter();
        let notes = notes.map(|(key, value)| (key.as_str(), value.as_slice()));
        let restored = Restored::read(&self.settings, notes).expect("notes of its own");
        let now = Instant(ctx.clock.now());
        self.core = Some(Box::new(Contributor::restore(self.settings, restored, now)));
        self.post(ctx, life, 0, Post::Look);
    }

    pub(crate) fn crash(&mut self) {
        self.core = None;
        self.handing.clear();
        self.tick_at = None;
    }

    /// What a work with this ticket results in.
    pub(crate) fn result(&self, ticket: &Ticket) -> Vec<u8> {
        let liar = if self.lies {
            self.wallet()
        } else {
            Address([0; 20])
        };
        let mut encoded = Vec::new();
        Output {
            stdout: format!("{} {liar}", ticket.woid).as_bytes(),
            ..Output::default()
        }
        .encode(&mut encoded);
        encoded
    }

    /// An attempt has this result. The engine hears of it when it is noted here; see [`Self::handle`].
    pub(crate) fn computed(
        &mut self,
        ctx: &mut Ctx,
        life: u64,
        token: LeaseToken,
        ticket: Ticket,
        result: Hash,
    ) -> Vec<LeaseToken> {
        self.handing.push((ticket, token));
        self.handle(ctx, life, Told::Computed { ticket, result })
    }

    /// Takes what has come. Returns attempts whose results the engine may hear of now.
    pub(crate) fn on_post(&mut self, ctx: &mut Ctx, life: u64, post: Post) -> Vec<LeaseToken> {
        match post {
            Post::Look => {
                self.look(ctx, life);
                Vec::new()
            }
            Post::Tick => {
                self.tick_at = None;
                self.handle(ctx, life, Told::Tick)
            }
            Post::Told(told) => self.handle(ctx, life, told),
            Post::Noted { number, key, value } => {
                match value {
                    Some(value) => drop(self.disk.insert(key, value)),
                    None => drop(self.disk.remove(&key)),
                }
                self.handle(ctx, life, Told::Noted(number))
            }
        }
    }

    fn look(&self, ctx: &mut Ctx, life: u64) {
        self.post(ctx, life, LOOKS_EVERY, Post::Look);
        let now = ctx.clock.now();
        let market = ctx.market.as_mut().expect("who has a wallet has a market");
        let node = market.node(now);
        if !node.answers {
            return;
        }
        let head = node.chain.last().block;
        let delay = market.delay();
        let finalized = head.at.number.saturating_sub(FINAL_AFTER);
        for told in [Told::Finalized(finalized), Told::Head(head)] {
            self.post(ctx, life, delay, Post::Told(told));
        }
    }

    fn post(&self, ctx: &mut Ctx, life: u64, delay: Time, post: Post) {
        let peer = self.peer;
        let post = Box::new(post);
        ctx.clock.after(delay, Event::Posted { peer, life, post });
    }

    fn handle(&mut self, ctx: &mut Ctx, life: u64, told: Told) -> Vec<LeaseToken> {
        let now = ctx.clock.now();
        let Some(core) = &mut self.core else {
            return Vec::new();
        };
        let at = Now {
            instant: Instant(now),
            unix_s: BEGINS + now / SEC,
        };
        let mut effects = Vec::new();
        core.handle(at, told, &mut effects);
        let due = core.next_deadline(at);
        let mut done = Vec::new();
        for effect in effects {
            done.extend(self.perform(ctx, life, effect));
        }
        if let Some(due) = due {
            let due = due.0.max(now + MS);
            if self.tick_at.is_none_or(|planned| planned > due) {
                self.tick_at = Some(due);
                self.post(ctx, life, due - now, Post::Tick);
            }
        }
        done
    }

    fn perform(&mut self, ctx: &mut Ctx, life: u64, effect: Effect) -> Vec<LeaseToken> {
        let now = ctx.clock.now();
        match effect {
            Effect::Note { number, key, value } => {
                self.post(ctx, life, NOTES_TAKE, Post::Noted { number, key, value });
            }
            Effect::Taken(ticket) | Effect::Refused { ticket, .. } => return self.handed(&ticket),
            Effect::Told { ticket, state } => {
                let who = self.wallet();
                ctx.trace.tell(now, &format!("{who}: {} is {state}", ticket.woid));
            }
            Effect::Over { ticket, state } => {
                ctx.trace.reach(match state {
                    State::Won { .. } => "a worker paid",
                    State::Lost { .. } => "a stake seized",
                    State::Late => "a worker that is too late",
                    State::Claimed { .. } | State::Expired { .. } => "a worker of an order that fails",
                    _ => "a worker whose order ends otherwise",
                });
                ctx.trace.note(now, &[45], || format!("{}: {state}", ticket.woid));
            }
            Effect::Report { .. } | Effect::Alert(_) => {}
            asks => {
                if let Effect::Lane(lane::Effect::Send { raw, .. }) = &asks {
                    let has_it = |note: &Vec<u8>| note.windows(raw.len()).any(|bytes| bytes == raw);
                    assert!(
                        self.disk.values().any(has_it),
                        "it is sent before its note is durable"
                    );
                }
                let market = ctx.market.as_mut().expect("who has a wallet has a market");
                let answer = answer(&mut market.node(now), self.settings.worker, &asks);
                let delay = market.delay();
                if let Some(told) = answer {
                    self.post(ctx, life, delay, Post::Told(told));
                }
            }
        }
        Vec::new()
    }

    fn handed(&mut self, ticket: &Ticket) -> Vec<LeaseToken> {
        let (handed, waiting) = std::mem::take(&mut self.handing)
            .into_iter()
            .partition(|(of, _)| of == ticket);
        self.handing = waiting;
        let handed: Vec<(Ticket, LeaseToken)> = handed;
        handed.into_iter().map(|(_, token)| token).collect()
    }

    /// Nothing is left to send or to wait for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.core.as_ref().is_some_and(|core| {
            let over = |state: &State| matches!(state, State::Expired { .. });
            core.lane().is_idle() && core.orders().all(|(_, state)| over(state))
        })
    }

    pub(crate) fn describe(&self) -> String {
        let orders = self.core.as_ref().map(|core| {
            let orders: Vec<String> = core
                .orders()
                .map(|(ticket, state)| format!("{} {state}", ticket.woid))
                .collect();
            format!("{}; {:?}", orders.join(", "), core.lane())
        });
        format!("{}: {}", self.wallet(), orders.unwrap_or_default())
    }
}

/// What a node answers.
fn answer(node: &mut Node<'_>, worker: Address, effect: &Effect) -> Option<Told> {
    Some(match effect {
        Effect::See { at, woid } => {
            let (at, woid) = (*at, *woid);
            let views = Box::new(own(node.views(at, woid), worker));
            Told::Seen { at, woid, views }
        }
        Effect::Meet { at } => Told::Met {
            at: *at,
            person: node.person(*at, worker),
        },
        Effect::AskPolicy { at } => Told::Policy {
            at: *at,
            policy: node.see(*at, |mined| mined.hub.policy),
        },
        Effect::AskPaid { woid, from, upto } => Told::Paid {
            woid: *woid,
            upto: *upto,
            paid: paid(node, worker, *woid, *from, *upto),
        },
        Effect::AskPlace(block) => Told::Placed {
            block: *block,
            is_there: match node.see(*block, |_| ()) {
                Answer::Known(()) => Answer::Known(true),
                Answer::Absent => Answer::Known(false),
                Answer::Unknown => Answer::Unknown,
            },
        },
        Effect::Lane(effect) => Told::Lane(node.lane(worker, effect)?),
        _ => return None,
    })
}

/// Of contributions this worker's alone.
fn own(views: Answer<Views>, worker: Address) -> Answer<Views> {
    match views {
        Answer::Known(mut views) => {
            let mine = views.contribution(worker);
            views.contributions = vec![(worker, mine)];
            Answer::Known(views)
        }
        unknown => unknown,
    }
}

/// What the transaction that finalized an order has given or taken.
fn paid(node: &Node<'_>, worker: Address, woid: Address, from: u64, upto: BlockRef) -> Answer<Paid> {
    if !node.answers {
        return Answer::Unknown;
    }
    let blocks = (from..=upto.number).filter_map(|number| node.chain.block(number));
    let mut receipts = blocks.flat_map(|mined| &mined.receipts);
    let is_end = |event: &Said| matches!(event, Said::FinalizeWork { woid: of, .. } if *of == woid);
    let found = receipts.find(|receipt| receipt.logs.iter().any(|log| is_end(&log.event)));
    let Some(receipt) = found else {
        return Answer::Absent;
    };
    let mut paid = Paid::default();
    for log in &receipt.logs {
        let (sum, user, amount) = match log.event {
            Said::Reward { user, amount } => (&mut paid.reward, user, amount),
            Said::Seize { user, amount } => (&mut paid.seized, user, amount),
            _ => continue,
        };
        *sum = sum.plus(if user == worker { amount } else { Rlc(0) });
    }
    Answer::Known(paid)
}
