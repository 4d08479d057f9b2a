//! The scheduler and the model, side by side through random histories: they agree on every state, every outcome
//! and every acknowledgement, and the model finds no fault with a lease.

use std::collections::BTreeSet;

use engine_core::{Config, Event, Pressure};
use proptest::prelude::*;
use wire_protocol::client_link::{Command, Query, Selector};
use wire_protocol::ids::{BagId, LeaseToken, LinkId, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::template::Priority;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::view::{Filter, Reply};
use wire_protocol::worker_link::Join;

use crate::kit::{ClientHeard, Pool, WorkerHeard, rows};
use crate::model::{Expected, Model};
use crate::random::{Act, act, offer_of, template};

#[derive(Default)]
struct Hand {
    id: Option<WorkerId>,
    link: Option<LinkId>,
    held: Vec<LeaseToken>,
    running: Vec<LeaseToken>,
    past: Vec<LeaseToken>,
    cordoned: bool,
    leaving: bool,
}

/// Both, and the peers that they share.
struct Both {
    pool: Pool,
    model: Model,
    hands: [Hand; 4],
    clients: [Option<LinkId>; 3],
    operator: LinkId,
    /// Bag, request and client of each submission.
    submissions: Vec<(BagId, u32, LinkId)>,
    told: BTreeSet<Expected>,
    /// As it was last: until the next change submissions wait.
    pressure: Pressure,
}

const TENANTS: [&str; 3] = ["alice", "bob", "carol"];

impl Both {
    fn new(seed: u64) -> Self {
        let config = Config {
            seed,
            worker_retention: Millis::from_secs(30 * 24 * 3_600),
            ..Config::default()
        };
        let mut pool = Pool::with(config);
        let operator = pool.operator();
        Self {
            pool,
            model: Model::default(),
            hands: Default::default(),
            clients: [None; 3],
            operator,
            submissions: Vec::new(),
            told: BTreeSet::new(),
            pressure: Pressure::None,
        }
    }

    /// One thing happens to both, a moment after what was before; then they are compared.
    fn event<T>(&mut self, happen: impl FnOnce(&mut Pool, &mut Model) -> T) -> T {
        self.pool.now = self.pool.now + Millis(1);
        self.happen(happen)
    }

    fn happen<T>(&mut self, happen: impl FnOnce(&mut Pool, &mut Model) -> T) -> T {
        self.model.before(self.pool.now);
        let result = happen(&mut self.pool, &mut self.model);
        self.model.time();
        self.compare();
        result
    }

    fn compare(&mut self) {
        for hand in &mut self.hands {
            let Some((link, id)) = hand.link.zip(hand.id) else {
                continue;
            };
            for heard in self.pool.worker_heard(link) {
                match heard {
                    WorkerHeard::Assigned(lease) => {
                        self.model.leased(id, &lease);
                        hand.held.push(lease.token);
                    }
                    WorkerHeard::Cancel(_, tokens) => {
                        hand.held.retain(|token| !tokens.contains(token));
                        hand.running.retain(|token| !tokens.contains(token));
                    }
                    WorkerHeard::Recorded(upto) => {
                        assert_eq!(upto, self.pool.workers[&link].reports, "reports are acknowledged");
                    }
                    WorkerHeard::Retract(..) | WorkerHeard::Notice(_) | WorkerHeard::Drain(_) => {}
                    other => panic!("unexpected: {other:?}"),
                }
            }
        }
        for (link, _) in std::mem::take(&mut self.pool.closed) {
            self.pool.close(link);
            for hand in self.hands.iter_mut().filter(|hand| hand.link == Some(link)) {
                hand.link = None;
            }
        }
        for link in self.clients.iter().flatten() {
            for told in self.pool.told(*link) {
                let told = (*link, told.request, told.work, told.outcome, told.reason);
                assert!(self.told.insert(told), "told twice: {told:?}");
            }
        }
        assert_eq!(
            self.told, self.model.to_tell,
            "followers are told what they must be"
        );
        self.told.clear();
        self.model.to_tell.clear();
        let dispatching = self.pool.status(self.operator).rejoin_wait == Millis(0);
        self.model.after(dispatching);
        assert_eq!(
            self.listing(),
            self.model.listing(),
            "every work is where it must be"
        );
    }

    fn listing(&mut self) -> Vec<(WorkId, wire_protocol::view::WorkState, u16)> {
        let query = Query::Works {
            filter: Filter::default(),
            after: WorkId(0),
            limit: 1_000,
        };
        match self.pool.query(self.operator, query) {
            Reply::Works { works, next: None } => works
                .into_iter()
                .map(|work| (work.work, work.state, work.attempt.0))
                .collect(),
            other => panic!("asked for all works, got {other:?}"),
        }
    }

    fn client(&mut self, client: usize) -> (usize, LinkId) {
        let client = client % TENANTS.len();
        let link = match self.clients[client] {
            Some(link) => link,
            None => self.event(|pool, _| pool.client(TENANTS[client])),
        };
        self.clients[client] = Some(link);
        (client, link)
    }

    fn act(&mut self, act: &Act) {
        match *act {
            // Random histories and scenarios cover what is refused and why.
            Act::Submit { .. } | Act::MoreRows { .. } if self.pressure != Pressure::None => {}
            Act::Submit {
                client,
                template: which,
                rows: count,
                sent,
            } => {
                let (client, link) = self.client(client);
                let request = self.pool.new_request();
                let follow = which % 2 == 0;
                let open = wire_protocol::client_link::Open {
                    request,
                    key: [0; 16],
                    rows_total: count,
                    follow,
                    template: template(which),
                };
                let tenant = TenantId(client as u32 + 1);
                let bag = self.event(|pool, model| {
                    pool.open(link, &open);
                    let accepted = pool.accepted(link).expect("there is room");
                    let bag = Model::bag(tenant, open.template.clone(), accepted.first, count);
                    model.opened(accepted.bag, bag, follow.then_some((link, request)));
                    accepted.bag
                });
                self.submissions.push((bag, request, link));
                self.more_rows(self.submissions.len() - 1, sent);
            }
            Act::MoreRows {
                submission,
                rows: count,
                ..
            } if !self.submissions.is_empty() => {
                self.more_rows(submission % self.submissions.len(), count);
            }
            Act::Join { worker, forgetful } => self.join(worker, forgetful),
            Act::Report {
                worker,
                count,
                reason,
            } => {
                let hand = &mut self.hands[worker];
                let Some((link, id)) = hand.link.zip(hand.id) else {
                    return;
                };
                let tokens: Vec<LeaseToken> = hand.held.drain(..count.min(hand.held.len())).collect();
                hand.running.retain(|token| !tokens.contains(token));
                hand.past.extend(&tokens);
                let reason = match reason {
                    0 | 1 => Reason::ExitCode,
                    2 => Reason::NoRoom,
                    _ => Reason::None,
                };
                self.event(|pool, model| {
                    model.workers.get_mut(&id).expect("it joined").last_seen = pool.now;
                    model.reported(id, &tokens, reason);
                    pool.report(link, &tokens, reason);
                });
            }
            Act::ReportStale { worker, which } => {
                let hand = &self.hands[worker];
                let Some((link, id)) = hand.link.zip(hand.id) else {
                    return;
                };
                if !hand.past.is_empty() {
                    let token = hand.past[which % hand.past.len()];
                    self.event(|pool, model| {
                        model.workers.get_mut(&id).expect("it joined").last_seen = pool.now;
                        model.reported(id, &[token], Reason::None);
                        pool.report(link, &[token], Reason::None);
                    });
                }
            }
            Act::Start { worker, count } => {
                let hand = &mut self.hands[worker];
                let Some((link, id)) = hand.link.zip(hand.id) else {
                    return;
                };
                let tokens: Vec<LeaseToken> = hand.held.iter().take(count).copied().collect();
                hand.running.extend(&tokens);
                self.event(|pool, model| {
                    model.workers.get_mut(&id).expect("it joined").last_seen = pool.now;
                    model.started(id, &tokens);
                    pool.started(link, &tokens);
                });
            }
            Act::GiveBack {
                worker,
                count,
                reason,
            } => {
                let hand = &mut self.hands[worker];
                let Some((link, id)) = hand.link.zip(hand.id) else {
                    return;
                };
                let tokens = hand.held.split_off(hand.held.len().saturating_sub(count));
                hand.running.retain(|token| !tokens.contains(token));
                hand.past.extend(&tokens);
                let reason = [
                    Reason::Retracted,
                    Reason::NoRoom,
                    Reason::WorkerDraining,
                    Reason::ExitCode,
                ][reason];
                self.event(|pool, model| {
                    model.workers.get_mut(&id).expect("it joined").last_seen = pool.now;
                    model.returned(id, &tokens, reason);
                    pool.retracted(link, &tokens, reason);
                });
            }
            Act::Drain { worker } => {
                let hand = &mut self.hands[worker];
                let Some((link, id)) = hand.link.zip(hand.id) else {
                    return;
                };
                hand.leaving = true;
                self.event(|pool, model| {
                    let worker = model.workers.get_mut(&id).expect("it joined");
                    (worker.last_seen, worker.takes) = (pool.now, false);
                    pool.draining(link);
                });
            }
            Act::Holding { worker, holds } => {
                let hand = &self.hands[worker];
                let Some((link, id)) = hand.link.zip(hand.id) else {
                    return;
                };
                self.event(|pool, model| {
                    let worker = model.workers.get_mut(&id).expect("it joined");
                    (worker.last_seen, worker.holding) = (pool.now, holds);
                    pool.holding(link, holds.then_some("the disk is full"));
                });
            }
            Act::Leave { worker } => {
                if let Some(link) = self.hands[worker].link.take() {
                    let id = self.hands[worker].id.expect("it joined");
                    self.event(|pool, model| {
                        model.left(id);
                        pool.close(link);
                    });
                }
            }
            Act::ClientLeaves { client } => {
                if let Some(link) = self.clients[client % TENANTS.len()].take() {
                    self.submissions.retain(|(_, _, client)| *client != link);
                    self.event(|pool, model| {
                        model.unfollowed(link);
                        pool.close(link);
                    });
                }
            }
            Act::Follow { client, bag } => {
                let (client, link) = self.client(client);
                let tenant = TenantId(client as u32 + 1);
                let bags: Vec<BagId> = self.model.bags.keys().copied().collect();
                let Some(bag) = bags.get(bag % bags.len().max(1)).copied() else {
                    return;
                };
                self.event(|pool, model| {
                    // The kit numbers the request of the next question.
                    let request = pool.new_request() + 1;
                    let reply = pool.follow(link, bag);
                    let own = model.bags[&bag].tenant == tenant;
                    assert_eq!(matches!(reply, Reply::Following(_)), own);
                    if own {
                        model.followed(bag, link, request);
                    }
                });
            }
            Act::Command { command, which, .. } => self.command(command, which),
            Act::Operate { command, worker } => self.operate(command % 3, worker),
            Act::Time { ms, alive } => self.time(Millis(ms), alive),
            Act::Pressure(which) => {
                self.press([Pressure::None, Pressure::Behind, Pressure::DiskFull][which]);
            }
            Act::Crash { .. } => self.restart(),
            Act::Admit { .. }
            | Act::MoreRows { .. }
            | Act::Full { .. }
            | Act::FollowLogs { .. }
            | Act::Print { .. }
            | Act::Stall { .. }
            | Act::Durable
            | Act::Hold => {}
        }
    }

    fn more_rows(&mut self, submission: usize, count: u32) {
        let (id, request, link) = self.submissions[submission];
        let bag = &self.model.bags[&id];
        let accepted = self.model.works.values().filter(|work| work.bag == id).count() as u32;
        let end = (accepted + count).min(bag.rows_total);
        let ends_now = self.model.past_deadline(id);
        if bag.closed || ends_now || accepted == bag.rows_total {
            return;
        }
        let rows = rows(accepted..end);
        self.event(|pool, model| {
            pool.rows(link, request, accepted, &rows);
            match &pool.accepted(link) {
                Some(answer) => assert_eq!(answer.rows, end),
                None => panic!("rows {accepted}..{end} of {id} were not accepted"),
            }
            model.rows(id, &rows);
        });
    }

    fn join(&mut self, worker: usize, forgetful: bool) {
        if forgetful {
            self.hands[worker].held.clear();
            self.hands[worker].running.clear();
        }
        let known = self.model.workers.len() as u32;
        let hand = &self.hands[worker];
        let (held, running) = (hand.held.clone(), hand.running.clone());
        let (id, takes) = (hand.id.unwrap_or(WorkerId(known + 1)), !hand.cordoned);
        let join = Join {
            held: held.clone(),
            running: running.clone(),
            ..offer_of(worker)
        };
        let hands = &mut self.hands;
        self.pool.now = self.pool.now + Millis(1);
        self.model.before(self.pool.now);
        let wallet = join.wallet.map(|proof| proof.address);
        let link = self.pool.join(join.clone());
        let (welcomed, adopted) = self.pool.welcome(link);
        assert_eq!(welcomed, id, "workers are known by their uid");
        assert_eq!(
            self.model.joined(id, (join.offer, wallet), &held, takes),
            adopted,
            "what both know goes on"
        );
        self.model.started(id, &running);
        let hand = &mut hands[worker];
        hand.held.retain(|token| adopted.contains(token));
        hand.running.retain(|token| adopted.contains(token));
        (hand.id, hand.link, hand.leaving) = (Some(id), Some(link), false);
        self.model.time();
        self.compare();
    }

    fn command(&mut self, command: usize, which: usize) {
        let bags: Vec<BagId> = self.model.bags.keys().copied().collect();
        let Some(id) = bags.get(which % bags.len().max(1)).copied() else {
            return;
        };
        let operator = self.operator;
        self.event(|pool, model| {
            let bag = model.bags[&id].clone();
            let work = bag.first.offset(which as u32 % bag.rows_total);
            let known = model.works.contains_key(&work);
            let all = (0..bag.rows_total).map(|row| bag.first.offset(row));
            let late = model.past_deadline(id);
            let (command, expected) = match command {
                0 => {
                    let changed = model.end_bag(id, Outcome::Cancelled, Reason::ByUser);
                    (Command::Cancel(Selector::Bag(id)), Some(changed))
                }
                1 => (
                    Command::Cancel(Selector::Work(work)),
                    known.then(|| model.cancelled(work)),
                ),
                2 => (
                    Command::Retry(Selector::Bag(id)),
                    (!late).then(|| model.revived(all)),
                ),
                3 => {
                    let revived = (known && !late).then(|| model.revived([work].into_iter()));
                    (Command::Retry(Selector::Work(work)), revived)
                }
                4 => (Command::Seal(id), Some(model.sealed(id))),
                _ => {
                    let priority = Priority((which % 11) as u8);
                    let changed = if bag.priority == priority {
                        0
                    } else {
                        model.open_works(id)
                    };
                    if priority <= Priority::MAX {
                        model.bags.get_mut(&id).expect("listed").priority = priority;
                    }
                    let command = Command::Prioritise(id, priority);
                    (command, (priority <= Priority::MAX).then_some(changed))
                }
            };
            match (pool.command(operator, command.clone()), expected) {
                (Reply::Changed(changed), Some(expected)) => assert_eq!(changed, expected, "{command:?}"),
                (Reply::NotFound { .. } | Reply::Conflict(_), None) => {}
                (reply, expected) => panic!("{command:?}: {reply:?}, expected {expected:?}"),
            }
        });
    }

    fn operate(&mut self, command: usize, worker: usize) {
        let hand = &mut self.hands[worker];
        let Some(id) = hand.id else { return };
        let connected = hand.link.is_some();
        let operator = self.operator;
        let commands = [Command::Cordon(id), Command::Uncordon(id), Command::Drain(id)];
        let (mut cordoned, mut leaving) = (hand.cordoned, hand.leaving);
        self.event(|pool, model| {
            if let Reply::Changed(_) = pool.command(operator, commands[command].clone()) {
                match command {
                    0 => cordoned = true,
                    1 => cordoned = false,
                    _ => leaving |= connected,
                }
            }
            model.workers.get_mut(&id).expect("it joined").takes = connected && !cordoned && !leaving;
        });
        let hand = &mut self.hands[worker];
        (hand.cordoned, hand.leaving) = (cordoned, leaving);
    }

    fn time(&mut self, time: Millis, alive: bool) {
        let end = self.pool.now + time;
        loop {
            let step = if alive {
                (self.pool.now + Millis(3_000)).min(end)
            } else {
                end
            };
            while let Some(due) = self.pool.scheduler.next_deadline()
                && due <= step
            {
                self.pool.now = self.pool.now.max(due);
                self.happen(|pool, _| pool.handle(Event::Tick));
            }
            self.pool.now = self.pool.now.max(step);
            for worker in 0..self.hands.len() {
                let hand = &self.hands[worker];
                if let (true, Some((link, id))) = (alive, hand.link.zip(hand.id)) {
                    self.event(|pool, model| {
                        model.workers.get_mut(&id).expect("it joined").last_seen = pool.now;
                        pool.handle(Event::LinkAlive { link });
                    });
                }
            }
            if self.pool.now >= end {
                break;
            }
        }
    }

    fn press(&mut self, pressure: Pressure) {
        self.pressure = pressure;
        self.event(|pool, model| {
            model.disk_full = pressure == Pressure::DiskFull;
            pool.handle(Event::JournalPressure(pressure));
        });
    }

    fn restart(&mut self) {
        self.pool.restart();
        (self.pressure, self.model.disk_full) = (Pressure::None, false);
        self.model.restarted(self.pool.now);
        for hand in &mut self.hands {
            hand.link = None;
        }
        self.clients = [None; 3];
        self.submissions.clear();
        self.operator = self.pool.operator();
        self.happen(|_, _| {});
    }

    /// After all faults: everyone works, and everything comes to an end.
    fn finish(&mut self) {
        self.press(Pressure::None);
        for worker in 0..self.hands.len() {
            self.operate(1, worker);
            self.join(worker, true);
        }
        for _ in 0..200 {
            if self.model.bags.keys().all(|bag| self.model.open_works(*bag) == 0) {
                return;
            }
            for worker in 0..self.hands.len() {
                let count = self.hands[worker].held.len();
                self.act(&Act::Report {
                    worker,
                    count,
                    reason: 9,
                });
            }
            self.time(Millis(700), true);
        }
        panic!("works are left: {:?}", self.model.listing());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn the_scheduler_does_what_the_model_expects(
        seed in any::<u64>(),
        acts in prop::collection::vec(act(), 1..50),
    ) {
        let mut both = Both::new(seed);
        acts.iter().for_each(|act| both.act(act));
        both.finish();
        for link in both.clients.iter().flatten() {
            let heard = both.pool.client_heard(*link);
            prop_assert!(heard.is_empty() || matches!(heard[..], [ClientHeard::Welcome(_)]), "{heard:?}");
        }
        prop_assert!(both.pool.now > Instant(0));
    }
}
