//! The entrance: what happens to an event, and when the next one is due.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{Answer, Block, BlockRef, Hash, OrderStatus, Person, Rlc, Ticket, Views};
use wire_lane::{self as lane, Intent, Lane};
use wire_protocol::units::Instant;

use super::event::{Effect, Event, Now, Paid, Refusal, Settings};
use super::judge::{Case, Verdict};
use super::membership::{Member, Membership};
use super::notes::{self, Restored};
use super::order::{self, Kept, Order, State};

/// How often it is asked what an order has paid; then its end is told without.
const PAID_ASKED_MAX: u32 = 3;

/// Contributes results to orders, and reveals them.
#[derive(Clone, Debug)]
pub struct Contributor {
    pub(super) settings: Settings,
    pub(super) orders: BTreeMap<Hash, Order>,
    pub(super) lane: Lane,
    pub(super) member: Member,
    /// The last block that a node said it has.
    pub(super) head: Option<Block>,
    pub(super) final_: Option<u64>,
    /// What the hub has of this worker, at which block.
    pub(super) person: Option<(BlockRef, Answer<Person>)>,
    /// Orders to look at again.
    pub(super) due: BTreeSet<Hash>,
    /// Intents that wait for views to be checked.
    pub(super) checks: Vec<Intent>,
    pub(super) notes: u64,
    /// Notes of this core and what they are to the lane, or of which order.
    pub(super) noting_nonces: BTreeMap<u64, u64>,
    pub(super) noting_orders: BTreeMap<u64, Hash>,
    /// Notes of the lane that became durable while the last block was too old to send anything.
    noted_late: Vec<u64>,
    /// When what nobody knew is asked for again.
    pub(super) ask_again_at: Option<Instant>,
    /// The highest stake that an order has asked for.
    pub(super) stake_asked: Rlc,
    foreign: Vec<(String, Ticket)>,
}

impl Contributor {
    /// Goes on with what an earlier process has left.
    #[must_use]
    pub fn restore(settings: Settings, restored: Restored, now: Instant) -> Self {
        let entry = |kept: Kept| {
            let mut order = Order::of(kept);
            order.is_noted = true;
            (order::key(&order.kept.ticket), order)
        };
        Self {
            settings,
            orders: restored.orders.into_iter().map(entry).collect(),
            lane: Lane::restore(settings.lane, restored.nonces, now),
            member: Member::default(),
            head: None,
            final_: None,
            person: None,
            due: BTreeSet::new(),
            checks: Vec::new(),
            notes: 0,
            noting_nonces: BTreeMap::new(),
            noting_orders: BTreeMap::new(),
            noted_late: Vec::new(),
            ask_again_at: None,
            stake_asked: Rlc(0),
            foreign: restored.foreign,
        }
    }

    /// Orders under way, and those that are over and not final.
    pub fn orders(&self) -> impl Iterator<Item = (&Ticket, &State)> {
        self.orders
            .values()
            .map(|order| (&order.kept.ticket, &order.state))
    }

    /// The transactions.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Where it stands with the pool.
    #[must_use]
    pub const fn membership(&self) -> Membership {
        self.member.is
    }

    /// What it has at the hub, as was last heard.
    #[must_use]
    pub fn person(&self) -> Option<Person> {
        self.person.as_ref()?.1.known().copied()
    }

    /// The last block that a node said it has.
    #[must_use]
    pub const fn head(&self) -> Option<&Block> {
        self.head.as_ref()
    }

    /// The stake that orders of this pool have asked for, at most, and that is not free.
    #[must_use]
    pub fn stake_missing(&self) -> Option<State> {
        let low = |order: &Order| matches!(order.state, State::StakeLow { .. }).then_some(order.state);
        let free = self.person()?.balance.stake;
        let of_all = || {
            let needs = self.stake_asked;
            (free < needs && !self.is_busy()).then_some(State::StakeLow { free, needs })
        };
        self.orders.values().find_map(low).or_else(of_all)
    }

    /// Some of the stake is bound by orders that are under way, and will be free.
    fn is_busy(&self) -> bool {
        self.orders.values().any(|order| order.over_since.is_none())
    }

    /// When to say [`Event::Tick`].
    #[must_use]
    pub fn next_deadline(&self, now: Now) -> Option<Instant> {
        // A lane that may not send has nothing to look for.
        let lane = self.is_fresh(now).then(|| self.lane.next_deadline()).flatten();
        lane.into_iter().chain(self.ask_again_at).min()
    }

    /// Whether the node's last block is new enough to act upon.
    #[must_use]
    pub fn is_fresh(&self, now: Now) -> bool {
        let age_s_max = self.settings.block_age_s_max;
        let is_new = |head: &Block| head.timestamp.0.saturating_add(age_s_max) >= now.unix_s;
        self.head
            .as_ref()
            .is_some_and(|head| age_s_max == 0 || is_new(head))
    }

    /// Takes an event. What comes twice, late, or of a block that is not the last changes nothing.
    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        self.forget_foreign(effects);
        let instant = now.instant;
        match event {
            Event::Computed { ticket, result } => self.on_computed(&ticket, result, effects),
            Event::Head(block) => self.on_head(now, block, effects),
            Event::Finalized(number) => self.on_final(instant, number, effects),
            Event::Seen { at, woid, views } => self.on_seen(instant, at, woid, &views),
            Event::Met { at, person } => self.on_met(instant, at, person),
            Event::Policy { at, policy } => {
                if self.head.is_some_and(|head| head.at == at)
                    && let Answer::Known(policy) = policy
                {
                    self.member.policy = Some(policy);
                    self.due.extend(self.orders.keys());
                }
            }
            Event::Paid { woid, upto, paid } => self.on_paid(woid, upto, &paid),
            Event::Placed { block, is_there } => self.on_placed(instant, block, &is_there, effects),
            // By an account the lane begins to sign.
            Event::Lane(lane::Event::Account(_)) if !self.is_fresh(now) => {}
            Event::Lane(event) => self.tell(instant, event, effects),
            Event::Noted(number) => self.on_noted(now, number, effects),
            Event::Tick => self.on_tick(now, effects),
        }
        self.proceed(now, effects);
    }

    fn on_computed(&mut self, ticket: &Ticket, result: Hash, effects: &mut Vec<Effect>) {
        let key = order::key(ticket);
        if let Some(order) = self.orders.get(&key) {
            if order.is_noted {
                effects.push(Effect::Taken(*ticket));
            }
            return;
        }
        let is_full = self.orders.len() >= self.settings.orders_max;
        let too_many = is_full.then_some(Refusal::TooMany {
            orders_max: self.settings.orders_max,
        });
        if let Some(why) = self.settings.refusal(ticket).or(too_many) {
            effects.push(Effect::Refused { ticket: *ticket, why });
            return;
        }
        let result = ticket.result.unwrap_or(result);
        #[cfg(debug_assertions)]
        let result = match self.settings.faults.wrong_result {
            true => wire_hub::keccak(&result.0),
            false => result,
        };
        let kept = Kept {
            ticket: *ticket,
            result,
            from: self.head.map_or(0, |head| head.at.number),
            failures: 0,
        };
        let value = notes::order(&kept);
        self.orders.insert(key, Order::of(kept));
        let number = self.note(notes::order_key(&key), Some(value), effects);
        self.noting_orders.insert(number, key);
    }

    pub(super) fn note(&mut self, key: String, value: Option<Vec<u8>>, effects: &mut Vec<Effect>) -> u64 {
        self.notes += 1;
        let number = self.notes;
        effects.push(Effect::Note { number, key, value });
        number
    }

    fn on_noted(&mut self, now: Now, number: u64, effects: &mut Vec<Effect>) {
        match self.noting_nonces.remove(&number) {
            // What is durable is sent.
            Some(note) if self.is_fresh(now) => self.tell(now.instant, lane::Event::Noted(note), effects),
            late => self.noted_late.extend(late),
        }
        let Some(key) = self.noting_orders.remove(&number) else {
            return;
        };
        let Some(order) = self.orders.get_mut(&key) else {
            return;
        };
        order.is_noted = true;
        effects.push(Effect::Taken(order.kept.ticket));
        if let Some(head) = self.head {
            let woid = order.kept.ticket.woid;
            effects.push(Effect::See { at: head.at, woid });
        }
    }

    /// Orders of before that are of another chain, hub or pool.
    fn forget_foreign(&mut self, effects: &mut Vec<Effect>) {
        for (key, ticket) in std::mem::take(&mut self.foreign) {
            if let Some(why) = self.settings.refusal(&ticket) {
                effects.push(Effect::Refused { ticket, why });
            }
            self.note(key, None, effects);
        }
    }

    fn on_head(&mut self, now: Now, block: Block, effects: &mut Vec<Effect>) {
        let last = self.head.replace(block);
        let is_same = last.is_some_and(|last| last.at == block.at);
        if let Some(last) = last.filter(|last| !is_same && block.parent != last.at.hash) {
            effects.push(Effect::AskPlace(last.at));
        }
        if let Some(number) = block.at.number.checked_sub(self.settings.final_after) {
            self.on_final(now.instant, number, effects);
        }
        if !is_same {
            self.ask_all(effects);
            // Of an order that is over since a block that is final by its number.
            let final_ = self.final_;
            let settled = self.orders.values().filter_map(|order| order.over_since);
            let settled: BTreeSet<BlockRef> = settled.filter(|since| Some(since.number) <= final_).collect();
            effects.extend(settled.into_iter().map(Effect::AskPlace));
        }
        if !is_same && self.is_fresh(now) {
            for note in std::mem::take(&mut self.noted_late) {
                self.tell(now.instant, lane::Event::Noted(note), effects);
            }
            self.tell(now.instant, lane::Event::Head(block), effects);
        }
    }

    /// Asks what the new block says.
    fn ask_all(&mut self, effects: &mut Vec<Effect>) {
        let Some(Block { at, .. }) = self.head else { return };
        self.ask_again_at = None;
        effects.push(Effect::Meet { at });
        let is_outside = !matches!(self.member.is, Membership::Subscribed | Membership::Elsewhere(_));
        if self.settings.subscribes && is_outside {
            effects.push(Effect::AskPolicy { at });
        }
        let noted = self.orders.values().filter(|order| order.is_noted);
        effects.extend(noted.map(|order| Effect::See {
            at,
            woid: order.kept.ticket.woid,
        }));
    }

    fn on_final(&mut self, now: Instant, number: u64, effects: &mut Vec<Effect>) {
        // What is not there yet is not final.
        let number = self.head.map_or(number, |head| number.min(head.at.number));
        if Some(number) > self.final_ {
            self.final_ = Some(number);
            self.tell(now, lane::Event::Final(number), effects);
        }
    }

    fn on_seen(&mut self, now: Instant, at: BlockRef, woid: wire_hub::Address, views: &Answer<Views>) {
        if self.head.is_none_or(|head| head.at != at) {
            return;
        }
        let of_woid = self
            .orders
            .iter_mut()
            .filter(|(_, order)| order.kept.ticket.woid == woid);
        for (key, order) in of_woid {
            order.seen = Some((at, views.clone()));
            self.due.insert(*key);
            if let Some(views) = views.known() {
                order.was_there = true;
                self.stake_asked = self.stake_asked.max(views.consensus.stake_amount);
                if views.order.status != OrderStatus::Completed {
                    order.open_at = at.number;
                    order.forget_paid();
                }
            }
        }
        if *views == Answer::Unknown {
            self.ask_again_at.get_or_insert(now + self.settings.pause);
        }
    }

    fn on_met(&mut self, now: Instant, at: BlockRef, person: Answer<Person>) {
        if self.head.is_none_or(|head| head.at != at) {
            return;
        }
        if person == Answer::Unknown {
            self.ask_again_at.get_or_insert(now + self.settings.pause);
        }
        // What was last heard is told until there is something new, and acted upon only if it is of the last block.
        if person != Answer::Unknown || self.person.is_none() {
            self.person = Some((at, person));
        }
        self.due.extend(self.orders.keys());
    }

    fn on_paid(&mut self, woid: wire_hub::Address, upto: BlockRef, paid: &Answer<Paid>) {
        let of_woid = self
            .orders
            .iter_mut()
            .filter(|(_, order)| order.kept.ticket.woid == woid);
        for (key, order) in of_woid {
            let is_of_now = order
                .seen
                .as_ref()
                .is_some_and(|(at, _)| at.number >= upto.number);
            if is_of_now && let Answer::Known(paid) = paid {
                order.paid = Some(*paid);
            }
            self.due.insert(*key);
        }
    }

    fn on_placed(
        &mut self,
        now: Instant,
        block: BlockRef,
        is_there: &Answer<bool>,
        effects: &mut Vec<Effect>,
    ) {
        let (Answer::Known(is_there), Some(head)) = (is_there, self.head) else {
            return;
        };
        let since = self
            .orders
            .iter_mut()
            .filter(|(_, order)| order.over_since == Some(block));
        if *is_there {
            let is_final = Some(block.number) <= self.final_;
            let over: Vec<Hash> = since.filter(|_| is_final).map(|(key, _)| *key).collect();
            for key in over {
                self.forget(key, effects);
            }
            return;
        }
        for (_, order) in since {
            order.over_since = Some(head.at);
            order.forget_paid();
        }
        // How far back it went is not known: what is not final is looked for again.
        let beyond = self.final_.unwrap_or(0);
        self.tell(now, lane::Event::Orphaned { beyond }, effects);
    }

    /// It is over for good, if no transaction of it is under way.
    fn forget(&mut self, key: Hash, effects: &mut Vec<Effect>) {
        if self.lane.intents().any(|intent| intent.about == Some(key)) {
            return;
        }
        let Some(order) = self.orders.remove(&key) else {
            return;
        };
        let (ticket, state) = (order.kept.ticket, order.state);
        effects.push(Effect::Over { ticket, state });
        self.note(notes::order_key(&key), None, effects);
    }

    fn on_tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.is_fresh(now) && self.lane.next_deadline().is_some_and(|at| at <= now.instant) {
            self.tell(now.instant, lane::Event::Tick, effects);
        }
        if self.ask_again_at.is_some_and(|at| at <= now.instant) {
            self.ask_again(effects);
        }
    }

    /// Asks again where nobody knew.
    fn ask_again(&mut self, effects: &mut Vec<Effect>) {
        self.ask_again_at = None;
        let Some(Block { at, .. }) = self.head else { return };
        if self.person_at(at).is_none() {
            effects.push(Effect::Meet { at });
        }
        let unknown = |order: &&Order| {
            order.is_noted && order.views_at(at).is_none_or(|views| *views == Answer::Unknown)
        };
        effects.extend(self.orders.values().filter(unknown).map(|order| Effect::See {
            at,
            woid: order.kept.ticket.woid,
        }));
    }

    fn person_at(&self, at: BlockRef) -> Option<Person> {
        let (met_at, person) = self.person.as_ref()?;
        if *met_at != at {
            return None;
        }
        person.known().copied()
    }

    /// Where an order stands by the last block. `None`: that is not read yet.
    pub(super) fn verdict(&self, key: Hash) -> Option<Verdict> {
        let head = self.head.as_ref()?;
        let order = self.orders.get(&key).filter(|order| order.is_noted)?;
        let views = order
            .views_at(head.at)
            .filter(|views| **views != Answer::Unknown)?;
        let mut person = self.person_at(head.at);
        if let Some(person) = &mut person {
            person.balance.stake = person.balance.stake.less(self.reserved(key));
        }
        let case = Case {
            settings: &self.settings,
            order,
            views,
            person,
            head,
        };
        Some(case.judge())
    }

    /// The node was asked about the last block, and did not know.
    pub(super) fn is_unanswered(&self, key: Hash) -> bool {
        let views = self
            .head
            .and_then(|head| self.orders.get(&key)?.views_at(head.at));
        views == Some(&Answer::Unknown)
    }

    /// Does what the last block asks for, as far as it is read.
    fn proceed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(head) = self.head else { return };
        let is_fresh = self.is_fresh(now);
        if let Some(person) = self.person_at(head.at).filter(|_| is_fresh) {
            self.see_membership(now.instant, &person, effects);
        }
        while let Some(key) = self.due.pop_first() {
            let Some(verdict) = self.verdict(key) else {
                continue;
            };
            self.see_state(head, key, &verdict, effects);
            if is_fresh {
                self.withdraw(now.instant, key, &verdict, effects);
                self.intend(now.instant, key, &verdict, effects);
            }
        }
        self.check(now.instant, is_fresh, effects);
    }

    /// Remembers how an order stands, and tells it if that is new.
    fn see_state(&mut self, head: Block, key: Hash, verdict: &Verdict, effects: &mut Vec<Effect>) {
        let Some(order) = self.orders.get_mut(&key) else {
            return;
        };
        #[cfg(debug_assertions)]
        if verdict.state == State::Contributing {
            order.allowed_at.get_or_insert(head.timestamp);
        }
        if order.state != verdict.state {
            order.state = verdict.state;
            order.is_told = false;
        }
        if verdict.is_over {
            order.over_since.get_or_insert(head.at);
        } else {
            order.over_since = None;
        }
        let is_settled = matches!(verdict.state, State::Won { .. } | State::Lost { .. });
        if is_settled && order.paid.is_none() && order.paid_asked < PAID_ASKED_MAX {
            // Its end is told with what it has brought, if that comes soon.
            if order.paid_asked_at != Some(head.at) {
                order.paid_asked += 1;
                order.paid_asked_at = Some(head.at);
                effects.push(Effect::AskPaid {
                    woid: order.kept.ticket.woid,
                    from: order.open_at.saturating_add(1).min(head.at.number),
                    upto: head.at,
                });
            }
            return;
        }
        if !order.is_told {
            order.is_told = true;
            let (ticket, state) = (order.kept.ticket, order.state);
            effects.push(Effect::Told { ticket, state });
        }
    }
}
