//! Random histories. After every event the kit checks the invariants and compares the snapshot with that of a
//! replay; here come the events: peers that work, dawdle, lie, leave and return, clocks that jump, and crashes
//! that lose any part of what was not durable.

use engine_core::{Config, Event, Pressure, Proof, Scheduler};
use proptest::prelude::*;
use wire_protocol::client_link::{Command, Selector};
use wire_protocol::ids::{BagId, LeaseToken, LinkId, Lsn, TokenId, WorkId, WorkerId};
use wire_protocol::joining::{Address, NewToken, WalletProof};
use wire_protocol::outcome::Reason;
use wire_protocol::resources::Packing;
use wire_protocol::template::{Priority, WorkTemplate};
use wire_protocol::units::{Bytes, Millis};
use wire_protocol::worker_link::{Join, Notice};

use crate::kit::{ClientHeard, Pool, WorkerHeard, join, null, rows, snapshot};

/// Something that somebody does. Numbers choose among what there is, modulo its number.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Submit {
        client: usize,
        template: usize,
        rows: u32,
        sent: u32,
    },
    MoreRows {
        client: usize,
        submission: usize,
        from: u32,
        rows: u32,
    },
    Join {
        worker: usize,
        forgetful: bool,
    },
    Report {
        worker: usize,
        count: usize,
        reason: usize,
    },
    ReportStale {
        worker: usize,
        which: usize,
    },
    Start {
        worker: usize,
        count: usize,
    },
    GiveBack {
        worker: usize,
        count: usize,
        reason: usize,
    },
    Drain {
        worker: usize,
    },
    Holding {
        worker: usize,
        holds: bool,
    },
    Leave {
        worker: usize,
    },
    ClientLeaves {
        client: usize,
    },
    Follow {
        client: usize,
        bag: usize,
    },
    FollowLogs {
        client: usize,
        which: usize,
        follow: bool,
    },
    Print {
        worker: usize,
        told: bool,
    },
    Full {
        client: usize,
    },
    Command {
        client: usize,
        command: usize,
        which: usize,
    },
    Operate {
        command: usize,
        worker: usize,
    },
    /// A command about who may join.
    Admit {
        command: usize,
        worker: usize,
    },
    Time {
        ms: u64,
        alive: bool,
    },
    Stall {
        ms: u64,
    },
    Pressure(usize),
    Durable,
    Hold,
    Crash {
        lost: u64,
        from_snapshot: bool,
    },
}

pub(crate) fn act() -> impl Strategy<Value = Act> {
    let n = 0..4_usize;
    let jump = prop::sample::select(vec![0, 1, 25, 110, 300, 2_500, 11_000, 70_000]);
    prop_oneof![
        6 => (n.clone(), 0..8_usize, 1..12_u32, 0..14_u32)
            .prop_map(|(client, template, rows, sent)| Act::Submit { client, template, rows, sent }),
        2 => (n.clone(), n.clone(), 0..12_u32, 0..6_u32)
            .prop_map(|(client, submission, from, rows)| Act::MoreRows { client, submission, from, rows }),
        6 => (n.clone(), any::<bool>()).prop_map(|(worker, forgetful)| Act::Join { worker, forgetful }),
        9 => (n.clone(), 1..6_usize, 0..12_usize)
            .prop_map(|(worker, count, reason)| Act::Report { worker, count, reason }),
        1 => (n.clone(), any::<usize>()).prop_map(|(worker, which)| Act::ReportStale { worker, which }),
        3 => (n.clone(), 1..4_usize).prop_map(|(worker, count)| Act::Start { worker, count }),
        2 => (n.clone(), 0..4_usize, 0..4_usize)
            .prop_map(|(worker, count, reason)| Act::GiveBack { worker, count, reason }),
        1 => n.clone().prop_map(|worker| Act::Drain { worker }),
        2 => (n.clone(), any::<bool>()).prop_map(|(worker, holds)| Act::Holding { worker, holds }),
        2 => n.clone().prop_map(|worker| Act::Leave { worker }),
        1 => n.clone().prop_map(|client| Act::ClientLeaves { client }),
        1 => (n.clone(), any::<usize>()).prop_map(|(client, bag)| Act::Follow { client, bag }),
        1 => (n.clone(), any::<usize>(), any::<bool>())
            .prop_map(|(client, which, follow)| Act::FollowLogs { client, which, follow }),
        1 => (n.clone(), any::<bool>()).prop_map(|(worker, told)| Act::Print { worker, told }),
        1 => n.clone().prop_map(|client| Act::Full { client }),
        3 => (n.clone(), 0..6_usize, any::<usize>())
            .prop_map(|(client, command, which)| Act::Command { client, command, which }),
        1 => (0..4_usize, n.clone()).prop_map(|(command, worker)| Act::Operate { command, worker }),
        2 => (0..5_usize, n).prop_map(|(command, worker)| Act::Admit { command, worker }),
        5 => (jump.clone(), prop::bool::weighted(0.7)).prop_map(|(ms, alive)| Act::Time { ms, alive }),
        1 => jump.prop_map(|ms| Act::Stall { ms }),
        2 => prop::sample::select(vec![0_usize, 0, 1, 2]).prop_map(Act::Pressure),
        1 => Just(Act::Durable),
        1 => Just(Act::Hold),
        1 => (0..40_u64, any::<bool>())
            .prop_map(|(lost, from_snapshot)| Act::Crash { lost, from_snapshot }),
    ]
}

/// A worker's program: what it believes to hold, whatever became of its links.
#[derive(Default)]
struct Hand {
    link: Option<LinkId>,
    held: Vec<LeaseToken>,
    running: Vec<LeaseToken>,
    /// Reports of this connection that were not acknowledged, with their numbers.
    unacknowledged: Vec<(u64, LeaseToken)>,
    past: Vec<LeaseToken>,
}

#[derive(Default)]
struct User {
    link: Option<LinkId>,
    submissions: Vec<(u32, BagId, u32)>,
}

struct World {
    pool: Pool,
    hands: [Hand; 4],
    users: [User; 3],
    operator: Option<LinkId>,
    bags: Vec<(BagId, WorkId, u32)>,
    image: Option<Vec<u8>>,
}

const TENANTS: [&str; 3] = ["alice", "bob", "carol"];

pub(crate) fn template(which: usize) -> WorkTemplate {
    let mut template = null();
    template.retry.attempts_max = [1, 2, 3, 1_000][which % 4];
    template.retry.backoff_min = Millis([0, 100][which % 2]);
    template.priority = Priority([4, 7][which / 4 % 2]);
    template.requirements.gpus = u32::from(which % 3 == 2);
    match which {
        1 => template.requirements.wallet = Some(Address([3; 20])),
        3 => template.requirements.custom = vec![("licence".to_owned(), 1)],
        4 => template.requirements.cores = 3,
        6 => {
            template.requirements.custom = vec![("licence".to_owned(), 2)];
            template.limits.memory = Bytes::from_mib(600);
        }
        7 => template.requirements.memory = Bytes::from_mib(400),
        _ => {}
    }
    template.time_to_live = (which == 5).then_some(Millis(30_000));
    template
}

pub(crate) fn offer_of(worker: usize) -> Join {
    let mut join = join(
        &format!("hand {worker}"),
        [1, 2, 3, 1][worker],
        [0, 1, 4, 2][worker],
    );
    join.offer.gpus = [0, 1, 0, 2][worker];
    join.offer.custom = [None, Some(2), Some(3), None][worker]
        .map(|licences| ("licence".to_owned(), licences))
        .into_iter()
        .collect();
    if worker >= 2 {
        join.offer.packing = Packing::Resources;
        join.offer.slots *= 2;
    }
    join.wallet = (worker % 2 == 1).then_some(WalletProof {
        address: Address([worker as u8; 20]),
        r: [1; 32],
        s: [1; 32],
        parity: 0,
    });
    join
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            pool: Pool::with(Config {
                seed,
                ..Config::default()
            }),
            hands: Default::default(),
            users: Default::default(),
            operator: None,
            bags: Vec::new(),
            image: None,
        }
    }

    fn user(&mut self, client: usize) -> (usize, LinkId) {
        let client = client % TENANTS.len();
        if self.users[client].link.is_none() {
            self.users[client].link = Some(self.pool.client(TENANTS[client]));
        }
        (client, self.users[client].link.expect("just made"))
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Submit {
                client,
                template: which,
                rows: count,
                sent,
            } => {
                let (client, link) = self.user(client);
                let request = self.pool.new_request();
                let open = wire_protocol::client_link::Open {
                    request,
                    key: [which as u8 % 3; 16],
                    rows_total: count,
                    follow: which % 2 == 0,
                    template: template(which),
                };
                let before = self.pool.lsn();
                self.pool.open(link, &open);
                let new = &self.pool.journal[before.index()..];
                let opened = |(kind, _): &&(u8, Vec<u8>)| *kind == wire_protocol::record::kind::BAG_OPENED;
                if let Some((_, payload)) = new.iter().find(opened) {
                    let opened: wire_protocol::record::BagOpened =
                        wire_protocol::codec::read_control("opened", payload).expect("a record");
                    self.users[client].submissions.push((request, opened.bag, count));
                    self.bags.push((opened.bag, opened.first, count));
                    self.pool.rows(link, request, 0, &rows(0..sent));
                }
            }
            Act::MoreRows {
                client,
                submission,
                from,
                rows: count,
            } => {
                let (client, link) = self.user(client);
                let submissions = &self.users[client].submissions;
                if !submissions.is_empty() {
                    let (request, _, _) = submissions[submission % submissions.len()];
                    self.pool.rows(link, request, from, &rows(from..from + count));
                }
            }
            Act::Join { worker, forgetful } => self.join(worker, forgetful),
            Act::Report {
                worker,
                count,
                reason,
            } => {
                let hand = &mut self.hands[worker];
                let Some(link) = hand.link else { return };
                let count = count.min(hand.held.len());
                let tokens: Vec<LeaseToken> = hand.held.drain(..count).collect();
                hand.running.retain(|token| !tokens.contains(token));
                hand.past.extend(&tokens);
                let first = self.pool.workers[&link].reports + 1;
                hand.unacknowledged.extend((first..).zip(tokens.iter().copied()));
                let reason = [
                    Reason::None,
                    Reason::None,
                    Reason::None,
                    Reason::ExitCode,
                    Reason::NoRoom,
                ]
                .get(reason)
                .copied()
                .unwrap_or(Reason::None);
                self.pool.report(link, &tokens, reason);
            }
            Act::ReportStale { worker, which } => {
                let hand = &self.hands[worker];
                if let Some(link) = hand.link
                    && !hand.past.is_empty()
                {
                    let token = hand.past[which % hand.past.len()];
                    self.pool.report(link, &[token, token], Reason::None);
                }
            }
            Act::Start { worker, count } => {
                let hand = &mut self.hands[worker];
                let Some(link) = hand.link else { return };
                let tokens: Vec<LeaseToken> = hand.held.iter().take(count).copied().collect();
                hand.running.extend(&tokens);
                self.pool.started(link, &tokens);
            }
            Act::GiveBack {
                worker,
                count,
                reason,
            } => {
                let hand = &mut self.hands[worker];
                let Some(link) = hand.link else { return };
                let kept = hand.held.len().saturating_sub(count);
                let tokens = hand.held.split_off(kept);
                hand.running.retain(|token| !tokens.contains(token));
                hand.past.extend(&tokens);
                let reason = [
                    Reason::Retracted,
                    Reason::NoRoom,
                    Reason::WorkerDraining,
                    Reason::ExitCode,
                ][reason];
                self.pool.retracted(link, &tokens, reason);
            }
            Act::Drain { worker } => {
                if let Some(link) = self.hands[worker].link {
                    self.pool.draining(link);
                }
            }
            Act::Holding { worker, holds } => {
                if let Some(link) = self.hands[worker].link {
                    self.pool.holding(link, holds.then_some("the disk is full"));
                }
            }
            Act::Leave { worker } => {
                if let Some(link) = self.hands[worker].link.take() {
                    self.pool.close(link);
                }
            }
            Act::ClientLeaves { client } => {
                let user = &mut self.users[client % TENANTS.len()];
                user.submissions.clear();
                if let Some(link) = user.link.take() {
                    self.pool.close(link);
                }
            }
            Act::Follow { client, bag } => {
                let (_, link) = self.user(client);
                if let Some((bag, _, _)) = self.bags.get(bag % self.bags.len().max(1)) {
                    let request = self.pool.new_request();
                    let follow = wire_protocol::client_link::Follow { request, bag: *bag };
                    self.pool.client_says(link, |out| {
                        let kind = wire_protocol::client_link::kind::FOLLOW;
                        wire_protocol::worker_link::push_control(out, kind, &follow);
                    });
                }
            }
            Act::FollowLogs {
                client,
                which,
                follow,
            } => {
                let (_, link) = self.user(client);
                if let Some((_, first, count)) = self.bags.get(which % self.bags.len().max(1)).copied() {
                    let work = first.offset(which as u32 % count);
                    self.pool.follow_logs(link, work, follow);
                }
            }
            Act::Print { worker, told } => {
                let hand = &self.hands[worker];
                let (Some(link), Some(token)) = (hand.link, hand.held.first().copied()) else {
                    return;
                };
                self.pool.prints(link, token, 0, b"output");
                if told {
                    self.pool.log_told(link, token);
                }
            }
            Act::Full { client } => {
                let (_, link) = self.user(client);
                self.pool.handle(Event::LinkFull { link });
            }
            Act::Command {
                client,
                command,
                which,
            } => {
                let (_, link) = self.user(client);
                if let Some((bag, first, count)) = self.bags.get(which % self.bags.len().max(1)).copied() {
                    let work = first.offset(which as u32 % count);
                    let command = match command {
                        0 => Command::Cancel(Selector::Bag(bag)),
                        1 => Command::Cancel(Selector::Work(work)),
                        2 => Command::Retry(Selector::Bag(bag)),
                        3 => Command::Retry(Selector::Work(work)),
                        4 => Command::Seal(bag),
                        _ => Command::Prioritise(bag, Priority((which % 11) as u8)),
                    };
                    self.command(link, command);
                }
            }
            Act::Operate { command, worker } => {
                if self.operator.is_none() {
                    self.operator = Some(self.pool.operator());
                }
                let link = self.operator.expect("just made");
                let worker = WorkerId(worker as u32 + 1);
                let commands = [
                    Command::Cordon(worker),
                    Command::Uncordon(worker),
                    Command::Drain(worker),
                    Command::DrainWithin(worker, Millis::from_secs(2)),
                ];
                self.command(link, commands[command].clone());
            }
            Act::Admit { command, worker } => {
                if self.operator.is_none() {
                    self.operator = Some(self.pool.operator());
                }
                let link = self.operator.expect("just made");
                let new = NewToken {
                    digest: [worker as u8 % 2; 32],
                    expires_in: Millis::from_secs(60),
                    uses: worker as u32 + 1,
                    label: String::new(),
                    groups: vec!["enrolled".to_owned(); worker % 2],
                };
                let commands = [
                    Command::CreateToken(new.clone()),
                    Command::CreateToken(new),
                    Command::RevokeToken(TokenId(1)),
                    Command::Revoke(WorkerId(worker as u32 + 1)),
                    Command::Approve(WorkerId(worker as u32 + 1)),
                ];
                self.command(link, commands[command].clone());
            }
            Act::Time { ms, alive: true } => self.pool.advance(Millis(ms)),
            Act::Time { ms, alive: false } => self.pool.silence(Millis(ms)),
            Act::Stall { ms } => self.pool.stall(Millis(ms)),
            Act::Pressure(which) => {
                let pressure = [Pressure::None, Pressure::Behind, Pressure::DiskFull][which];
                self.pool.handle(Event::JournalPressure(pressure));
            }
            Act::Durable => self.pool.all_durable(),
            Act::Hold => self.pool.hold_durability(),
            Act::Crash { lost, from_snapshot } => self.crash(lost, from_snapshot),
        }
    }

    fn command(&mut self, link: LinkId, command: Command) {
        let request = self.pool.new_request();
        let command = wire_protocol::client_link::CommandRequest { request, command };
        self.pool.client_says(link, |out| {
            let kind = wire_protocol::client_link::kind::COMMAND;
            wire_protocol::worker_link::push_control(out, kind, &command);
        });
    }

    fn join(&mut self, worker: usize, forgetful: bool) {
        let hand = &mut self.hands[worker];
        if forgetful {
            hand.held.clear();
            hand.running.clear();
            hand.unacknowledged.clear();
        }
        let unacknowledged = std::mem::take(&mut hand.unacknowledged);
        let unacknowledged: Vec<LeaseToken> = unacknowledged.into_iter().map(|(_, token)| token).collect();
        let join = Join {
            held: hand.held.clone(),
            running: hand.running.clone(),
            unacknowledged: unacknowledged.clone(),
            ..offer_of(worker)
        };
        // Who forgot all enrols where it can, and is refused where its uid has a certificate.
        let enrolled = Proof::Token {
            digest: [worker as u8 % 2; 32],
            key: [worker as u8; 32],
            request: b"request",
        };
        let known = self.pool.scheduler.knows_token(&[worker as u8 % 2; 32]);
        let proof = if forgetful && known {
            enrolled
        } else {
            Proof::Password
        };
        let link = self.pool.prove(&join, proof);
        let refused = |heard: &WorkerHeard| matches!(heard, WorkerHeard::Refused(_));
        if self.pool.workers[&link].heard.first().is_some_and(refused) {
            self.pool.worker_heard(link);
            self.hands[worker].unacknowledged = (1..).zip(unacknowledged).collect();
            return;
        }
        // An older connection of the same worker is closed by the scheduler; the new one is the worker's now.
        let (_, adopted) = self.pool.welcome(link);
        let hand = &mut self.hands[worker];
        hand.link = Some(link);
        hand.held.retain(|token| adopted.contains(token));
        hand.running.retain(|token| adopted.contains(token));
        // What had been reported is reported again at once.
        let again: Vec<LeaseToken> = unacknowledged
            .into_iter()
            .filter(|t| adopted.contains(t))
            .collect();
        hand.unacknowledged = (1..).zip(again.iter().copied()).collect();
        self.pool.report(link, &again, Reason::None);
    }

    fn crash(&mut self, lost: u64, from_snapshot: bool) {
        let kept = Lsn(self.pool.lsn().0.saturating_sub(lost));
        let image = self.image.take().filter(|_| from_snapshot);
        // A snapshot is made durable only after the records that it stands for.
        let image = image.filter(|image| {
            let mut restored = Scheduler::new(self.pool.config.clone());
            restored.restore(image).expect("a good snapshot");
            restored.last_lsn() <= kept.max(self.pool.durable_lsn())
        });
        self.pool.crash(kept, Millis(lost * 40), image.as_deref());
        for hand in &mut self.hands {
            hand.link = None;
        }
        for user in &mut self.users {
            *user = User::default();
        }
        self.operator = None;
        // What was submitted after the last durable record never was.
        let last = self.pool.scheduler.counters().bags;
        self.bags.truncate(usize::try_from(last).expect("few"));
    }

    /// Peers read what they were sent, and what was closed is gone.
    fn listen(&mut self) {
        for (worker, hand) in self.hands.iter_mut().enumerate() {
            let Some(link) = hand.link.filter(|link| self.pool.workers.contains_key(link)) else {
                continue;
            };
            for heard in self.pool.worker_heard(link) {
                match heard {
                    WorkerHeard::Assigned(lease) => hand.held.push(lease.token),
                    WorkerHeard::Recorded(upto) => hand.unacknowledged.retain(|(number, _)| *number > upto),
                    WorkerHeard::Cancel(_, tokens) => {
                        hand.held.retain(|token| !tokens.contains(token));
                        hand.running.retain(|token| !tokens.contains(token));
                    }
                    WorkerHeard::Retract(..)
                    | WorkerHeard::Pong
                    | WorkerHeard::Certificate(_)
                    | WorkerHeard::Refused(_)
                    | WorkerHeard::Drain(_)
                    | WorkerHeard::FollowLog(_) => {}
                    WorkerHeard::Notice(notice) => {
                        assert!(!matches!(notice, Notice::ShuttingDown), "nobody shuts it down");
                    }
                    other => panic!("a worker at work heard {other:?}"),
                }
            }
            let offer = offer_of(worker).offer;
            let credit = (offer.slots + offer.prefill) as usize;
            assert!(hand.held.len() <= credit, "hand {worker} holds {:?}", hand.held);
        }
        for (link, _) in std::mem::take(&mut self.pool.closed) {
            self.pool.close(link);
            for hand in self.hands.iter_mut().filter(|hand| hand.link == Some(link)) {
                hand.link = None;
            }
        }
        let links: Vec<LinkId> = self.pool.clients.keys().copied().collect();
        for link in links {
            for heard in self.pool.client_heard(link) {
                assert!(!matches!(heard, ClientHeard::Refused(_)), "{heard:?}");
            }
        }
        self.pool.snapshots_asked = 0;
    }

    /// A snapshot can be taken at any moment and leads back to itself.
    fn check_image(&mut self) {
        let image = self.pool.snapshot();
        let mut restored = Scheduler::new(self.pool.config.clone());
        restored.restore(&image).expect("a good snapshot");
        restored.check();
        assert!(
            snapshot(&restored) == image,
            "a restored snapshot has other bytes"
        );
        self.image = Some(image);
    }
}

fn live(seed: u64, acts: &[Act]) -> Vec<u8> {
    let mut world = World::new(seed);
    world.pool.transcript = Some(Vec::new());
    for act in acts {
        world.act(act);
        world.listen();
        world.check_image();
    }
    let transcript = world.pool.transcript.take().expect("asked for");
    world.pool.ignore_all();
    transcript
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    /// Invariants, replays and snapshots hold through any history (the kit checks them after each event).
    #[test]
    fn any_history_can_be_replayed(seed in any::<u64>(), acts in prop::collection::vec(act(), 1..60)) {
        live(seed, &acts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// The same history has the same effects, byte for byte.
    #[test]
    fn the_same_history_has_the_same_effects(seed in any::<u64>(), acts in prop::collection::vec(act(), 1..60)) {
        prop_assert!(live(seed, &acts) == live(seed, &acts));
    }
}
