//! A client: submits bags in chunks, follows them, asks for results, cancels and retries, and tries everything
//! again that was not answered.
//!
//! It goes by what a careful client knows: what was `Accepted` is accepted, what was not is said again with the
//! same key; outcomes that did not come are asked for. It is done when it has read the outcomes of all its works.

use std::collections::BTreeMap;

use wire_protocol::client_link::{
    Command, CommandRequest, Follow, FromClient, IdempotencyKey, Login, Open, Query, QueryRequest, RequestId,
    RowsChunk, Selector, ToClient, kind,
};
use wire_protocol::codec;
use wire_protocol::frame;
use wire_protocol::ids::{BagId, LeaseToken, LinkId, WorkId, WorkerId};
use wire_protocol::log::{ClientLog, FollowLogs};
use wire_protocol::outcome::Outcome;
use wire_protocol::template::{Priority, Requirements, Retry, Rows, WorkTemplate};
use wire_protocol::units::Millis;
use wire_protocol::view::{Filter, Reply};
use wire_protocol::worker_link::push_control;

use crate::clock::{MS, SEC, Time};
use crate::faults::Options;
use crate::hostile::LIES;
use crate::net::End;
use crate::oracle::Violation;
use crate::worker::POISON;
use crate::world::{Ctx, Event, PeerId};

/// The login that may change workers.
pub(crate) const OPERATOR: &str = "client-0";

/// How often a client looks at what it waits for.
const TICK: Time = 100 * MS;

/// How long it waits for an answer before it takes the connection for lost.
const PATIENCE: Time = 8 * SEC;

/// Rows said ahead of what is acknowledged.
const WINDOW_ROWS: u32 = 16;

pub(crate) struct Client {
    pub(crate) id: PeerId,
    pub(crate) login: String,
    link: Option<LinkId>,
    welcomed: bool,
    dial_at: Time,
    bags: Vec<Submission>,
    asked: BTreeMap<RequestId, Asked>,
    last_request: RequestId,
    /// Works of which it asked what they print.
    logs: BTreeMap<RequestId, WorkId>,
    commands: bool,
    /// Cordons are to be taken back, next at this time: again and again, because an earlier command may arrive
    /// late.
    uncordon_at: Option<Time>,
    workers: u32,
    rng: fastrand::Rng,
}

struct Asked {
    what: What,
    at: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Submit(usize),
    Follow(usize),
    Scan(usize),
    Retry(usize),
    Other,
}

/// One bag, from the client's side.
struct Submission {
    key: IdempotencyKey,
    template: WorkTemplate,
    rows: Vec<Vec<u8>>,
    begins: Time,
    follow: bool,
    request: Option<RequestId>,
    bag: Option<(BagId, WorkId)>,
    /// Rows acknowledged, and rows said on this connection.
    accepted: u32,
    said: u32,
    wait_until: Time,
    /// It takes no more rows.
    closed: bool,
    forgotten: bool,
    following: bool,
    scan: Option<Scan>,
    scan_at: Time,
    /// Outcomes by row, once a whole scan found all of them.
    known: Option<BTreeMap<u32, Outcome>>,
}

struct Scan {
    from_row: u32,
    found: BTreeMap<u32, Outcome>,
}

impl Client {
    pub(crate) fn new(id: PeerId, index: usize, options: &Options, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let bags = (0..options.bags)
            .map(|nth| Submission::new(options, index, nth, &mut rng))
            .collect();
        Self {
            id,
            login: format!("client-{index}"),
            link: None,
            welcomed: false,
            dial_at: rng.u64(0..500 * MS),
            bags,
            asked: BTreeMap::new(),
            last_request: 0,
            logs: BTreeMap::new(),
            commands: true,
            uncordon_at: None,
            workers: u32::try_from(options.workers).expect("few workers") + 1,
            rng,
        }
    }

    pub(crate) fn start(&self, ctx: &mut Ctx) {
        let peer = self.id;
        ctx.clock.after(0, Event::PeerTick { peer, life: 0 });
    }

    /// The faults are over: it begins nothing more but to finish, and the operator takes cordons back.
    pub(crate) fn calm_down(&mut self) {
        self.commands = false;
        self.uncordon_at = (self.login == OPERATOR).then_some(0);
    }

    /// Reads all outcomes once more.
    pub(crate) fn read_again(&mut self) {
        for bag in &mut self.bags {
            bag.known = None;
            bag.scan = None;
            bag.scan_at = 0;
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.bags
            .iter()
            .all(|bag| bag.known.is_some() || bag.forgotten || (bag.closed && bag.accepted == 0))
    }

    /// All that it has learned, by work.
    pub(crate) fn learned(&self) -> impl Iterator<Item = (WorkId, Outcome)> {
        self.bags.iter().flat_map(|bag| {
            let first = bag.bag.map_or(WorkId(0), |(_, first)| first);
            let known = bag.known.iter().flatten();
            known.map(move |(row, outcome)| (first.offset(*row), *outcome))
        })
    }

    pub(crate) fn describe(&self) -> String {
        let bags: Vec<String> = self
            .bags
            .iter()
            .map(|bag| {
                format!(
                    "{:?}: {} of {} rows accepted, closed {}, forgotten {}, known {:?}",
                    bag.bag.map(|(bag, _)| bag),
                    bag.accepted,
                    bag.rows.len(),
                    bag.closed,
                    bag.forgotten,
                    bag.known.as_ref().map(BTreeMap::len)
                )
            })
            .collect();
        format!("{} welcomed {}: {}", self.login, self.welcomed, bags.join("; "))
    }

    pub(crate) fn on_connected(&mut self, ctx: &mut Ctx, link: LinkId) {
        if self.link != Some(link) {
            return;
        }
        let login = Login {
            login: self.login.clone(),
            password: "secret".to_owned(),
            agent: "sim".to_owned(),
        };
        self.say(ctx, |out| push_control(out, kind::LOGIN, &login));
        self.ask(ctx.clock.now(), What::Other);
    }

    pub(crate) fn on_closed(&mut self, ctx: &mut Ctx, link: LinkId) {
        if self.link == Some(link) {
            self.link = None;
            self.lost(ctx);
        }
    }

    fn lost(&mut self, ctx: &mut Ctx) {
        self.welcomed = false;
        self.asked.clear();
        self.dial_at = ctx.clock.now() + self.rng.u64(10 * MS..2 * SEC);
        for bag in &mut self.bags {
            bag.request = None;
            bag.following = false;
            bag.scan = None;
            bag.said = bag.accepted;
        }
    }

    fn hang_up(&mut self, ctx: &mut Ctx) {
        if let Some(link) = self.link.take() {
            ctx.net.close(&mut ctx.clock, link, End::Peer);
        }
        self.lost(ctx);
    }

    pub(crate) fn on_tick(&mut self, ctx: &mut Ctx) {
        let now = ctx.clock.now();
        let peer = self.id;
        ctx.clock.after(TICK, Event::PeerTick { peer, life: 0 });
        if self.link.is_none() {
            if now >= self.dial_at {
                self.link = Some(ctx.net.connect(&mut ctx.clock, peer));
                self.ask(now, What::Other);
            }
            return;
        }
        if self.asked.values().any(|asked| asked.at + PATIENCE < now) {
            return self.hang_up(ctx);
        }
        if !self.welcomed {
            return;
        }
        for nth in 0..self.bags.len() {
            self.go_on(ctx, nth);
        }
        if self.uncordon_at.is_some_and(|at| at <= now) {
            self.uncordon_at = Some(now + 2 * SEC);
            for worker in 1..=self.workers {
                let request = self.ask(now, What::Other);
                self.command(ctx, request, Command::Uncordon(WorkerId(worker)));
            }
        }
        if self.commands && self.rng.u8(0..10) == 0 {
            self.do_something(ctx);
        }
    }

    /// Does what is next for a submission.
    fn go_on(&mut self, ctx: &mut Ctx, nth: usize) {
        let now = ctx.clock.now();
        let bag = &self.bags[nth];
        if now < bag.begins || bag.forgotten || now < bag.wait_until {
            return;
        }
        let total = bag.rows.len() as u32;
        if !bag.closed && bag.accepted < total {
            if bag.request.is_none() {
                let request = self.ask(now, What::Submit(nth));
                let bag = &mut self.bags[nth];
                bag.request = Some(request);
                bag.said = bag.accepted;
                let open = Open {
                    request,
                    key: bag.key,
                    rows_total: total,
                    follow: bag.follow,
                    template: bag.template.clone(),
                };
                self.say(ctx, |out| push_control(out, kind::OPEN, &open));
            }
            return self.say_rows(ctx, nth);
        }
        let bag = &self.bags[nth];
        let Some((id, _)) = bag.bag else { return };
        if bag.follow && !bag.following && bag.known.is_none() {
            self.bags[nth].following = true;
            let request = self.ask(now, What::Follow(nth));
            let follow = Follow { request, bag: id };
            self.say(ctx, |out| push_control(out, kind::FOLLOW, &follow));
        }
        let bag = &mut self.bags[nth];
        if bag.known.is_none() && bag.scan.is_none() && bag.scan_at <= now {
            bag.scan = Some(Scan {
                from_row: 0,
                found: BTreeMap::new(),
            });
            self.scan(ctx, nth);
        }
    }

    fn say_rows(&mut self, ctx: &mut Ctx, nth: usize) {
        let bag = &mut self.bags[nth];
        let Some(request) = bag.request else { return };
        while bag.said < bag.rows.len() as u32 && bag.said < bag.accepted + WINDOW_ROWS {
            let first = bag.said as usize;
            let count = self.rng.usize(1..=8).min(bag.rows.len() - first);
            let mut bytes = Vec::new();
            for row in &bag.rows[first..first + count] {
                codec::put_bytes(&mut bytes, row);
            }
            bag.said += count as u32;
            let rows = Rows::parse(count as u32, &bytes).expect("just written");
            let mut out = Vec::new();
            RowsChunk::push(&mut out, request, first as u32, rows);
            if let Some(link) = self.link {
                ctx.net.send(&mut ctx.clock, link, End::Engine, &out);
            }
        }
    }

    fn scan(&mut self, ctx: &mut Ctx, nth: usize) {
        let request = self.ask(ctx.clock.now(), What::Scan(nth));
        let bag = &self.bags[nth];
        let (Some((id, _)), Some(scan)) = (bag.bag, &bag.scan) else {
            return;
        };
        let query = Query::Results {
            bag: id,
            from_row: scan.from_row,
        };
        self.query(ctx, request, query);
    }

    /// Something that users do.
    fn do_something(&mut self, ctx: &mut Ctx) {
        let now = ctx.clock.now();
        let nth = self.rng.usize(0..self.bags.len());
        let mine = self.bags[nth].bag;
        let rows = self.bags[nth].rows.len() as u32;
        let worker = WorkerId(self.rng.u32(1..=self.workers));
        let operator = self.login == OPERATOR;
        let selector = mine.map(|(bag, first)| match self.rng.u8(0..3) {
            0 => Selector::Bag(bag),
            _ => Selector::Work(first.offset(self.rng.u32(0..rows))),
        });
        match (self.rng.u8(0..16), selector) {
            (0, Some(selector)) if self.rng.bool() => {
                let request = self.ask(now, What::Other);
                self.command(ctx, request, Command::Cancel(selector));
            }
            (1, Some(selector)) => {
                let request = self.ask(now, What::Retry(nth));
                self.command(ctx, request, Command::Retry(selector));
            }
            (2, Some(_)) => {
                let request = self.ask(now, What::Other);
                let bag = mine.map_or(BagId(0), |(bag, _)| bag);
                let priority = Priority(self.rng.u8(0..=10));
                self.command(ctx, request, Command::Prioritise(bag, priority));
            }
            (3, _) if operator => {
                let request = self.ask(now, What::Other);
                self.command(ctx, request, Command::Cordon(worker));
            }
            (4 | 5, _) if operator => {
                let request = self.ask(now, What::Other);
                self.command(ctx, request, Command::Uncordon(worker));
            }
            (6, _) if operator && self.rng.u8(0..4) == 0 => {
                let request = self.ask(now, What::Other);
                let command = match self.rng.bool() {
                    true => Command::DrainWithin(worker, Millis(self.rng.u64(0..4_000))),
                    false => Command::Drain(worker),
                };
                self.command(ctx, request, command);
            }
            (7, _) => {
                let request = self.ask(now, What::Other);
                self.command(ctx, request, Command::Snapshot);
            }
            (8, Some(_)) => {
                let first = mine.map_or(WorkId(0), |(_, first)| first);
                let work = first.offset(self.rng.u32(0..rows));
                for query in [Query::Work(work), Query::ExplainWork(work)] {
                    let request = self.ask(now, What::Other);
                    self.query(ctx, request, query);
                }
            }
            (9, _) => {
                let queries = [
                    Query::Status,
                    Query::Queues,
                    Query::Worker(worker),
                    Query::ExplainWorker(worker),
                    Query::Works {
                        filter: Filter::default(),
                        after: WorkId(0),
                        limit: 10,
                    },
                    Query::Bags {
                        after: BagId(0),
                        limit: 10,
                    },
                    Query::Workers {
                        after: WorkerId(0),
                        limit: 10,
                    },
                ];
                for query in queries {
                    let request = self.ask(now, What::Other);
                    self.query(ctx, request, query);
                }
            }
            (10, _) if self.rng.u8(0..4) == 0 => self.hang_up(ctx),
            (11, Some(_)) => {
                let request = self.ask(now, What::Other);
                let bag = mine.map_or(BagId(0), |(bag, _)| bag);
                self.command(ctx, request, Command::Seal(bag));
            }
            (12, Some(_)) => {
                let first = mine.map_or(WorkId(0), |(_, first)| first);
                let work = first.offset(self.rng.u32(0..rows));
                self.follow_logs(ctx, work);
            }
            _ => {}
        }
    }

    /// Answered by as much as the work prints, when it prints it: nobody waits for that.
    fn follow_logs(&mut self, ctx: &mut Ctx, work: WorkId) {
        self.last_request += 1;
        let asked = FollowLogs {
            request: self.last_request,
            work,
            follow: self.rng.bool(),
            stdout: true,
            stderr: self.rng.bool(),
        };
        self.logs.insert(asked.request, work);
        self.say(ctx, |out| push_control(out, kind::FOLLOW_LOGS, &asked));
    }

    /// What a work prints is its lease.
    fn on_log(&self, ctx: &mut Ctx, log: &ClientLog<'_>) -> Result<(), Violation> {
        ctx.trace.reach("output of a work that runs");
        let Some(work) = self.logs.get(&log.request) else {
            return Ok(());
        };
        let said = log.chunk.bytes.first_chunk().map(LeaseToken::from_bytes);
        match said {
            _ if log.chunk.bytes == LIES => Ok(()),
            Some(token) if token.work == *work && token.attempt == log.attempt => Ok(()),
            said => Err(Violation::new(
                "result",
                Some(*work),
                format!("attempt {} of {work} printed {said:?}", log.attempt.0),
            )),
        }
    }

    pub(crate) fn on_arrived(
        &mut self,
        ctx: &mut Ctx,
        link: LinkId,
        mut bytes: &[u8],
    ) -> Result<(), Violation> {
        while let Ok(Some((kind, payload, used))) = frame::split_first(bytes) {
            bytes = &bytes[used..];
            if self.link != Some(link) {
                break;
            }
            let message = ToClient::parse(kind, payload).map_err(|error| {
                Violation::new("states", None, format!("the engine says nonsense: {error}"))
            })?;
            self.on_message(ctx, message)?;
        }
        Ok(())
    }

    fn on_message(&mut self, ctx: &mut Ctx, message: ToClient<'_>) -> Result<(), Violation> {
        let now = ctx.clock.now();
        match message {
            ToClient::Welcome(_) => {
                self.welcomed = true;
                self.asked.clear();
            }
            ToClient::Refused(_) => self.hang_up(ctx),
            ToClient::Accepted(accepted) => {
                let Some(nth) = self.submission(accepted.request) else {
                    return Ok(());
                };
                let key = self.bags[nth].key;
                ctx.oracles
                    .promised(&self.login, key, &accepted, &self.bags[nth].rows)?;
                let bag = &mut self.bags[nth];
                bag.bag = Some((accepted.bag, accepted.first));
                bag.accepted = bag.accepted.max(accepted.rows);
                bag.following = bag.follow;
                if bag.accepted == bag.rows.len() as u32 {
                    self.asked.remove(&accepted.request);
                } else {
                    self.renew(accepted.request, now);
                    self.say_rows(ctx, nth);
                }
            }
            ToClient::Busy(busy) => {
                if let Some(nth) = self.submission(busy.request) {
                    let bag = &mut self.bags[nth];
                    bag.wait_until = now + busy.retry_after.0 * MS;
                    bag.said = busy.rows;
                    if bag.bag.is_none() {
                        bag.request = None;
                        self.asked.remove(&busy.request);
                    } else {
                        self.renew(busy.request, now);
                    }
                }
            }
            ToClient::Rejected(rejected) => {
                if let Some(nth) = self.submission(rejected.request) {
                    let bag = &mut self.bags[nth];
                    if rejected.invalid.field == "request" {
                        // The engine does not know the submission on this link: open it again.
                        bag.request = None;
                    } else {
                        bag.closed = true;
                    }
                    self.asked.remove(&rejected.request);
                }
            }
            ToClient::Outcomes(outcomes) => {
                let scan = match self.asked.get(&outcomes.request) {
                    Some(Asked {
                        what: What::Scan(nth),
                        ..
                    }) => Some(*nth),
                    _ => None,
                };
                if let Some(nth) = scan {
                    let bag = &mut self.bags[nth];
                    if let (Some((_, first)), Some(scan)) = (bag.bag, &mut bag.scan) {
                        for item in outcomes.iter() {
                            let row = u32::try_from(item.work.0 - first.0).expect("few rows");
                            scan.found.insert(row, item.outcome);
                        }
                    }
                }
            }
            ToClient::Lagging(lagging) => {
                ctx.trace.reach("a follower lags");
                for bag in &mut self.bags {
                    if bag.bag.is_some_and(|(id, _)| id == lagging.bag) {
                        bag.following = false;
                    }
                }
            }
            ToClient::Log(log) => self.on_log(ctx, &log)?,
            ToClient::LogEnd(_) => ctx.trace.reach("the end of a work's output"),
            ToClient::Reply(answer) => {
                if let Some(asked) = self.asked.remove(&answer.request) {
                    self.on_reply(ctx, asked.what, &answer.reply);
                }
            }
        }
        Ok(())
    }

    fn on_reply(&mut self, ctx: &mut Ctx, what: What, reply: &Reply) {
        let now = ctx.clock.now();
        match (what, reply) {
            (What::Scan(nth), Reply::ResultsEnd { next_row, open }) => {
                let bag = &mut self.bags[nth];
                let Some(scan) = &mut bag.scan else { return };
                let gone_on = *next_row > scan.from_row;
                scan.from_row = *next_row;
                if *next_row < bag.accepted && gone_on {
                    return self.scan(ctx, nth);
                }
                // More may have been accepted than it was told before the bag was closed.
                if *open == 0 && scan.found.len() >= bag.accepted as usize {
                    bag.known = bag.scan.take().map(|scan| scan.found);
                } else {
                    bag.scan = None;
                    bag.scan_at = now + SEC / 2;
                }
            }
            (What::Scan(nth) | What::Follow(nth), Reply::NotFound { .. }) => {
                ctx.trace.reach("a client finds its bag forgotten");
                self.bags[nth].forgotten = true;
                self.bags[nth].scan = None;
            }
            (What::Retry(nth), Reply::Changed(changed)) if *changed > 0 => {
                let bag = &mut self.bags[nth];
                bag.known = None;
                bag.scan = None;
            }
            _ => {}
        }
    }

    fn submission(&self, request: RequestId) -> Option<usize> {
        self.bags.iter().position(|bag| bag.request == Some(request))
    }

    fn ask(&mut self, at: Time, what: What) -> RequestId {
        self.last_request += 1;
        self.asked.insert(self.last_request, Asked { what, at });
        self.last_request
    }

    fn renew(&mut self, request: RequestId, now: Time) {
        if let Some(asked) = self.asked.get_mut(&request) {
            asked.at = now;
        }
    }

    fn command(&mut self, ctx: &mut Ctx, request: RequestId, command: Command) {
        let command = CommandRequest { request, command };
        self.say(ctx, |out| push_control(out, kind::COMMAND, &command));
    }

    fn query(&mut self, ctx: &mut Ctx, request: RequestId, query: Query) {
        let query = QueryRequest { request, query };
        self.say(ctx, |out| push_control(out, kind::QUERY, &query));
    }

    fn say(&mut self, ctx: &mut Ctx, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        debug_assert!(frame::split_first(&out).is_ok_and(|first| {
            first.is_some_and(|(kind, payload, _)| FromClient::parse(kind, payload).is_ok())
        }));
        if let Some(link) = self.link {
            ctx.net.send(&mut ctx.clock, link, End::Engine, &out);
        }
    }
}

impl Submission {
    fn new(options: &Options, client: usize, nth: usize, rng: &mut fastrand::Rng) -> Self {
        let rows = (0..rng.u32(1..=options.rows_max))
            .map(|row| {
                let poison = options.poison_one_in > 0 && rng.u32(0..options.poison_one_in) == 0;
                let mut text = vec![if poison { POISON } else { b'r' }];
                text.extend_from_slice(format!("{client}.{nth}.{row}").as_bytes());
                text.resize(text.len() + rng.usize(0..40), b'.');
                text
            })
            .collect();
        let mut key = [0; 16];
        rng.fill(&mut key);
        let tags = if rng.u8(0..4) == 0 {
            vec!["big".to_owned()]
        } else {
            Vec::new()
        };
        // Of their own, so that everything else follows from the seed whatever is counted.
        let mut counted = fastrand::Rng::with_seed(options.seed ^ (client as u64) << 32 ^ nth as u64);
        let template = WorkTemplate {
            app: ["sim", "sim", "sim", "null:16"][rng.usize(0..4)].to_owned(),
            columns: vec!["row".to_owned()],
            priority: Priority(rng.u8(0..10)),
            requirements: Requirements {
                tags,
                cores: [0, 0, 2, 3][counted.usize(0..4)],
                custom: (counted.u8(0..3) == 0)
                    .then(|| ("licence".to_owned(), counted.u64(1..=2)))
                    .into_iter()
                    .collect(),
                ..Requirements::default()
            },
            retry: Retry {
                attempts_max: rng.u16(1..=4),
                backoff_min: Millis([0, 20, 200][rng.usize(0..3)]),
                backoff_max: Millis(1_000),
            },
            time_to_live: (rng.u8(0..5) == 0).then(|| Millis(rng.u64(500..20_000))),
            label: format!("{client}.{nth}"),
            ..WorkTemplate::default()
        };
        Self {
            key,
            template,
            rows,
            begins: rng.u64(0..=options.faults_for / 2),
            follow: rng.bool(),
            request: None,
            bag: None,
            accepted: 0,
            said: 0,
            wait_until: 0,
            closed: false,
            forgotten: false,
            following: false,
            scan: None,
            scan_at: 0,
            known: None,
        }
    }
}
