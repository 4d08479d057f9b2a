//! The pool's process: the real reconciler, and a shell that speaks to the engine as any client does.

use std::collections::BTreeMap;

use sidecars_reconcile::core::order::{Bag, Job, State};
use sidecars_reconcile::core::reconciler::{
    Effect, Event as PoolEvent, NOTEBOOK, Reconciler, Restored, Settings, Share,
};
use sidecars_reconcile::shell::roster;
use wire_lane::Progress;
use wire_protocol::client_link::{
    Command, CommandRequest, Login, Open, Query, QueryRequest, RequestId, RowsChunk, Selector, ToClient, kind,
};
use wire_protocol::codec;
use wire_protocol::frame;
use wire_protocol::ids::{LinkId, WorkerId};
use wire_protocol::note::Note;
use wire_protocol::template::Rows;
use wire_protocol::units::Instant;
use wire_protocol::view::{Reply, WorkerView};
use wire_protocol::worker_link::push_control;

use super::errand::Errand;
use super::keeper::Keeper;
use super::{FINAL_AFTER, Market, OWNER, SWEEP, pool_settings};
use crate::clock::{MS, SEC, Time};
use crate::faults::{MarketOptions, Options, Sabotage};
use crate::net::End;
use crate::oracle::Violation;
use crate::world::{Ctx, Event, PeerId};

/// Its login at the engine, an operator's.
pub(crate) const LOGIN: &str = "pool";

/// How often it looks at what it waits for.
const TICK: Time = 100 * MS;
/// How often it asks for a new block, and for the engine's workers.
const LOOKS_EVERY: Time = SEC;
/// How often it asks how works stand.
const ASKS_EVERY: Time = 300 * MS;
/// How long it waits for the engine before it takes the connection for lost.
const PATIENCE: Time = 8 * SEC;
const PAGE: u32 = 100;

pub(crate) struct Pool {
    pub(crate) id: PeerId,
    /// Counts processes: what was planned for an earlier one is void.
    pub(crate) lives: u64,
    settings: Settings,
    /// Sabotaged so.
    sends_before_noted: bool,
    process: Option<Box<Process>>,
    rng: fastrand::Rng,
}

struct Process {
    link: Option<LinkId>,
    welcomed: bool,
    dial_at: Time,
    asked: BTreeMap<RequestId, Asked>,
    last_request: RequestId,
    /// The number under which it writes.
    holder: Option<u64>,
    /// What it has read of the notebook, before it works.
    notes: Vec<Note>,
    brain: Option<Reconciler>,
    keeper: Keeper,
    errands: Vec<Errand>,
    roster: Vec<WorkerView>,
    roster_at: Time,
    look_at: Time,
}

struct Asked {
    what: What,
    at: Time,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Login,
    Take,
    Read,
    Write,
    Roster,
    Submit(usize),
    Work(usize),
    Scan(usize),
    Cancel(usize),
}

impl Pool {
    pub(crate) fn new(id: PeerId, options: &Options, market: &MarketOptions, seed: u64) -> Self {
        Self {
            id,
            lives: 0,
            sends_before_noted: options.sabotage == Some(Sabotage::SendsBeforeNoted),
            settings: pool_settings(market),
            process: None,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn start(&mut self, ctx: &mut Ctx) {
        if self.process.is_some() {
            return;
        }
        self.lives += 1;
        let now = ctx.clock.now();
        ctx.trace.note(now, &[40, self.lives], || {
            format!("!! the pool's process starts, life {}", self.lives)
        });
        self.process = Some(Box::new(Process {
            link: None,
            welcomed: false,
            dial_at: now + self.rng.u64(0..500 * MS),
            asked: BTreeMap::new(),
            last_request: 0,
            holder: None,
            notes: Vec::new(),
            brain: None,
            keeper: Keeper::default(),
            errands: Vec::new(),
            roster: Vec::new(),
            roster_at: 0,
            look_at: 0,
        }));
        self.plan_tick(ctx);
    }

    /// The process dies and everything that it held. It is started again after a while.
    pub(crate) fn crash(&mut self, ctx: &mut Ctx) {
        let Some(process) = self.process.take() else {
            return;
        };
        ctx.trace.reach("the pool's process killed");
        let now = ctx.clock.now();
        ctx.trace
            .note(now, &[41, self.lives], || "!! the pool's process dies".to_owned());
        if let Some(link) = process.link {
            ctx.net.vanish(&mut ctx.clock, link, End::Peer);
        }
        let away = self.rng.u64(10 * MS..8 * SEC);
        ctx.clock.after(away, Event::PoolStart { peer: self.id });
    }

    /// Nothing is left to do, but for orders whose requesters do not take their money back.
    pub(crate) fn is_quiet(&self, market: &Market) -> bool {
        let Some(process) = &self.process else {
            return false;
        };
        process.brain.as_ref().is_some_and(|brain| {
            let mut orders = brain.book().iter().map(|(identity, _)| identity.woid);
            process.keeper.is_idle() && brain.lane().is_idle() && orders.all(|woid| market.is_stranded(woid))
        })
    }

    pub(crate) fn describe(&self) -> String {
        let Some(process) = &self.process else {
            return "the pool's process is not there".to_owned();
        };
        let brain = process
            .brain
            .as_ref()
            .map(|brain| format!("{:?}; {:?}", brain.book(), brain.lane()));
        format!(
            "the pool: welcomed {}, holder {:?}, notes written {}, {}",
            process.welcomed,
            process.holder,
            process.keeper.is_idle(),
            brain.unwrap_or_default()
        )
    }

    fn plan_tick(&self, ctx: &mut Ctx) {
        let (peer, life) = (self.id, self.lives);
        ctx.clock.after(TICK, Event::PeerTick { peer, life });
    }

    pub(crate) fn on_connected(&mut self, ctx: &mut Ctx, link: LinkId) {
        let Some(process) = &mut self.process else { return };
        if process.link != Some(link) {
            return;
        }
        let login = Login {
            login: LOGIN.to_owned(),
            password: "secret".to_owned(),
            agent: "sim".to_owned(),
        };
        process.say(ctx, |out| push_control(out, kind::LOGIN, &login));
    }

    pub(crate) fn on_closed(&mut self, ctx: &mut Ctx, link: LinkId) {
        if let Some(process) = &mut self.process
            && process.link == Some(link)
        {
            process.link = None;
            process.lost(ctx.clock.now() + self.rng.u64(10 * MS..2 * SEC));
        }
    }

    pub(crate) fn on_tick(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        self.plan_tick(ctx);
        let now = ctx.clock.now();
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if process.asked.values().any(|asked| asked.at + PATIENCE < now) {
            process.hang_up(ctx);
        }
        if process.link.is_none() && now >= process.dial_at {
            process.link = Some(ctx.net.connect(&mut ctx.clock, self.id));
            process.ask(now, What::Login);
        }
        if process.welcomed {
            process.go_on(ctx);
        }
        let is_due = |brain: &Reconciler| brain.next_deadline().is_some_and(|at| at.0 <= now);
        if process.brain.as_ref().is_some_and(is_due) {
            self.tell(ctx, PoolEvent::Tick)?;
        }
        let process = self.process.as_mut().expect("telling ends no process");
        if process.brain.is_some() && process.look_at <= now {
            process.look_at = now + LOOKS_EVERY;
            self.look(ctx);
        }
        Ok(())
    }

    /// Asks a node for its last block.
    fn look(&mut self, ctx: &mut Ctx) {
        let now = ctx.clock.now();
        let market = ctx.market.as_mut().expect("who has a pool has a market");
        let node = market.node(now);
        if !node.answers {
            return;
        }
        let head = node.chain.last().block;
        let finalized = head.at.number.saturating_sub(FINAL_AFTER);
        let finalized = node.chain.block(finalized).expect("it is before the last");
        let finalized = finalized.block.at;
        let delay = market.delay();
        for event in [PoolEvent::Finalized(finalized), PoolEvent::Head(head)] {
            self.tell_later(ctx, delay, event);
        }
    }

    fn tell_later(&self, ctx: &mut Ctx, delay: Time, event: PoolEvent) {
        let (peer, life) = (self.id, self.lives);
        let event = Box::new(event);
        ctx.clock.after(delay, Event::PoolTold { peer, life, event });
    }

    /// Something has happened; all that follows at once is done.
    pub(crate) fn tell(&mut self, ctx: &mut Ctx, event: PoolEvent) -> Result<(), Violation> {
        let brain = self.process.as_mut().and_then(|process| process.brain.as_mut());
        let Some(brain) = brain else { return Ok(()) };
        let mut effects = Vec::new();
        brain.handle(Instant(ctx.clock.now()), event, &mut effects);
        effects
            .into_iter()
            .try_for_each(|effect| self.perform(ctx, effect))
    }

    fn perform(&mut self, ctx: &mut Ctx, effect: Effect) -> Result<(), Violation> {
        let now = ctx.clock.now();
        let process = self.process.as_mut().expect("only a process has effects");
        match effect {
            Effect::Note { number, .. } if self.sends_before_noted && number > 0 => {
                self.tell_later(ctx, 0, PoolEvent::Noted(number));
            }
            Effect::Note { number, key, value } => process.keeper.note(number, key, value),
            Effect::Submit { .. } | Effect::Cancel { .. } => process.keeper.after(effect),
            Effect::Understand { order, content } => {
                let job = match content.params.as_str() {
                    SWEEP => Job::Bag(Bag::Wanted),
                    _ => Job::Work,
                };
                self.tell_later(ctx, MS, PoolEvent::Understood { order, job });
            }
            Effect::Say(step) => {
                ctx.trace.note(now, &[42], || format!("pool: {step}"));
            }
            Effect::SayOffer(step) => ctx.trace.tell(now, &format!("pool: offers {step}")),
            Effect::Report { intent, progress } => {
                match &progress {
                    Progress::Mined(receipt) if !receipt.succeeded => {
                        ctx.trace.reach("a transaction of the pool that fails");
                    }
                    Progress::Sent(hash) => {
                        let market = ctx.market.as_mut().expect("who has a pool has a market");
                        market.intents.insert(*hash, intent.id);
                    }
                    _ => {}
                }
                ctx.trace
                    .tell(now, &format!("pool: {:?} {progress:?}", intent.call));
            }
            Effect::Over { order, state } => {
                ctx.trace.reach(match state {
                    State::Final => "an order completed",
                    State::Claimed => "an order claimed",
                    _ => "an order over otherwise",
                });
                ctx.trace
                    .note(now, &[43], || format!("pool: {} is {state}", order.woid));
            }
            Effect::Undone(block) => {
                ctx.trace.reach("a reorganisation followed");
                ctx.trace
                    .tell(now, &format!("pool: block {} is orphaned", block.number));
            }
            Effect::Alert(_)
            | Effect::Followed { .. }
            | Effect::Final(_)
            | Effect::Requested { .. }
            | Effect::Explained { .. } => {}
            Effect::TooDeep(too_deep) => panic!("{too_deep}"),
            asks => {
                if let Effect::Send { nonce, raw, .. } = &asks {
                    ctx.oracles.sends(*nonce, raw)?;
                }
                let market = ctx.market.as_mut().expect("who has a pool has a market");
                let answer = market.node(now).answer(OWNER, &asks);
                let delay = market.delay();
                if let Some(event) = answer {
                    self.tell_later(ctx, delay, event);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn on_arrived(
        &mut self,
        ctx: &mut Ctx,
        link: LinkId,
        mut bytes: &[u8],
    ) -> Result<(), Violation> {
        while let Ok(Some((kind, payload, used))) = frame::split_first(bytes) {
            bytes = &bytes[used..];
            if self
                .process
                .as_ref()
                .is_none_or(|process| process.link != Some(link))
            {
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
        let process = self.process.as_mut().expect("it has a link");
        match message {
            ToClient::Welcome(_) => {
                process.welcomed = true;
                process.asked.clear();
            }
            ToClient::Refused(_) => process.hang_up(ctx),
            ToClient::Accepted(accepted) => {
                if let Some(errand) = process.submission(accepted.request) {
                    ctx.oracles.promised(LOGIN, errand.key, &accepted, &errand.rows)?;
                    errand.bag = Some((accepted.bag, accepted.first));
                    errand.accepted = errand.accepted.max(accepted.rows);
                    process.asked.remove(&accepted.request);
                }
            }
            ToClient::Busy(busy) => {
                let wait_until = now + busy.retry_after.0 * MS;
                match process.asked.remove(&busy.request).map(|asked| asked.what) {
                    Some(What::Write) => process.keeper.again(),
                    Some(What::Submit(nth)) => {
                        let errand = &mut process.errands[nth];
                        errand.request = None;
                        errand.wait_until = wait_until;
                    }
                    _ => {}
                }
            }
            ToClient::Rejected(rejected) => {
                let asked = process.asked.remove(&rejected.request);
                if let Some(What::Submit(nth)) = asked.map(|asked| asked.what) {
                    let errand = &mut process.errands[nth];
                    errand.request = None;
                    // Otherwise the engine does not know the submission on this link, and it is opened again.
                    if rejected.invalid.field != "request" {
                        let event = errand.gone();
                        return self.tell_if(ctx, event);
                    }
                }
            }
            ToClient::Outcomes(outcomes) => {
                if let Some(Asked {
                    what: What::Scan(nth),
                    ..
                }) = process.asked.get(&outcomes.request)
                {
                    process.errands[*nth].results_seen(&outcomes);
                }
            }
            ToClient::Reply(answer) => {
                if let Some(asked) = process.asked.remove(&answer.request) {
                    return self.on_reply(ctx, asked.what, answer.reply);
                }
            }
            ToClient::Lagging(_) | ToClient::Log(_) | ToClient::LogEnd(_) => {}
        }
        Ok(())
    }

    fn on_reply(&mut self, ctx: &mut Ctx, what: What, reply: Reply) -> Result<(), Violation> {
        let process = self.process.as_mut().expect("it has a link");
        match (what, reply) {
            (What::Take, Reply::Notebook { holder }) => process.holder = Some(holder),
            (What::Read, Reply::Notes { notes, more }) => {
                process.notes.extend(notes);
                if !more {
                    self.take_up(ctx);
                }
            }
            (What::Write, Reply::Changed(_)) => {
                let gathered = process.keeper.written();
                for effect in gathered.after {
                    process.order(effect);
                }
                for number in gathered.numbers {
                    self.tell(ctx, PoolEvent::Noted(number))?;
                }
            }
            (What::Write, Reply::Conflict(_)) => unreachable!("only the last process has a link"),
            (What::Roster, Reply::Workers(page)) => {
                let is_last = page.len() < PAGE as usize;
                process.roster.extend(page);
                if !is_last {
                    process.roster_at = 0;
                } else {
                    let event = roster::roll(std::mem::take(&mut process.roster));
                    self.tell(ctx, event)?;
                }
            }
            (What::Work(nth), reply) => {
                let errand = &mut process.errands[nth];
                errand.is_asked = false;
                let event = match reply {
                    Reply::Work(detail) => errand.work_seen(&detail),
                    _ => errand.gone(),
                };
                self.tell_if(ctx, event)?;
            }
            (What::Scan(nth), reply) => {
                let errand = &mut process.errands[nth];
                errand.is_asked = false;
                let event = match reply {
                    Reply::ResultsEnd { open, .. } => errand.sweep_seen(open),
                    _ => errand.gone(),
                };
                self.tell_if(ctx, event)?;
            }
            (What::Cancel(nth), _) => process.errands[nth].is_over = true,
            _ => {}
        }
        Ok(())
    }

    /// Works from what an earlier process has left.
    fn take_up(&mut self, ctx: &mut Ctx) {
        let process = self.process.as_mut().expect("it has read");
        let notes = std::mem::take(&mut process.notes);
        let notes = notes
            .iter()
            .map(|note| (note.key.as_str(), note.value.as_slice()));
        let restored = Restored::read(notes).expect("notes of its own");
        let now = Instant(ctx.clock.now());
        process.brain = Some(Reconciler::restore(self.settings, restored, 0, now));
    }

    fn tell_if(&mut self, ctx: &mut Ctx, event: Option<PoolEvent>) -> Result<(), Violation> {
        event.map_or(Ok(()), |event| self.tell(ctx, event))
    }
}

impl Process {
    /// Says all that is to be said to the engine now.
    fn go_on(&mut self, ctx: &mut Ctx) {
        let now = ctx.clock.now();
        let Some(holder) = self.holder else {
            if !self.is_asking(What::Take) {
                let request = self.ask(now, What::Take);
                self.command(ctx, request, Command::TakeNotebook(NOTEBOOK.to_owned()));
            }
            return;
        };
        if self.brain.is_none() {
            if !self.is_asking(What::Read) {
                let after = self
                    .notes
                    .last()
                    .map_or_else(String::new, |note| note.key.clone());
                let notebook = NOTEBOOK.to_owned();
                let request = self.ask(now, What::Read);
                self.query(ctx, request, Query::Notes { notebook, after });
            }
            return;
        }
        if let Some(written) = self.keeper.write(holder, self.last_request + 1) {
            let request = self.ask(now, What::Write);
            self.command(ctx, request, Command::WriteNotes(written));
        }
        if !self.is_asking(What::Roster) && self.roster_at <= now {
            if self.roster.is_empty() {
                self.roster_at = now + LOOKS_EVERY;
            }
            let after = self.roster.last().map_or(WorkerId(0), |view| view.worker);
            let request = self.ask(now, What::Roster);
            self.query(ctx, request, Query::Workers { after, limit: PAGE });
        }
        for nth in 0..self.errands.len() {
            self.go_on_with(ctx, nth);
        }
    }

    fn go_on_with(&mut self, ctx: &mut Ctx, nth: usize) {
        let now = ctx.clock.now();
        let errand = &mut self.errands[nth];
        if errand.is_over || errand.wait_until > now {
            return;
        }
        match errand.bag {
            Some((bag, first)) if errand.is_accepted() => {
                if errand.is_asked {
                    return;
                }
                errand.is_asked = true;
                errand.wait_until = now + ASKS_EVERY;
                let (is_cancelled, share) = (errand.is_cancelled, errand.share);
                if is_cancelled {
                    let request = self.ask(now, What::Cancel(nth));
                    self.command(ctx, request, Command::Cancel(Selector::Bag(bag)));
                } else if share == Share::Bag {
                    let request = self.ask(now, What::Scan(nth));
                    self.query(ctx, request, Query::Results { bag, from_row: 0 });
                } else {
                    let request = self.ask(now, What::Work(nth));
                    self.query(ctx, request, Query::Work(first));
                }
            }
            _ if errand.request.is_none() => {
                let (key, template) = (errand.key, errand.template.clone());
                let rows = errand.rows.clone();
                let request = self.ask(now, What::Submit(nth));
                self.errands[nth].request = Some(request);
                let open = Open {
                    request,
                    key,
                    rows_total: rows.len() as u32,
                    follow: false,
                    template,
                };
                self.say(ctx, |out| push_control(out, kind::OPEN, &open));
                let mut bytes = Vec::new();
                for row in &rows {
                    codec::put_bytes(&mut bytes, row);
                }
                let rows = Rows::parse(rows.len() as u32, &bytes).expect("just written");
                self.say(ctx, |out| RowsChunk::push(out, request, 0, rows));
            }
            _ => {}
        }
    }

    /// What had to wait for notes.
    fn order(&mut self, effect: Effect) {
        match effect {
            Effect::Submit {
                key, order, share, ..
            } => {
                let is_it =
                    |errand: &Errand| (errand.order, errand.share) == (order, share) && !errand.is_over;
                if !self.errands.iter().any(is_it) {
                    self.errands.push(Errand::new(key, order, share));
                }
            }
            Effect::Cancel { order, share } => {
                for errand in &mut self.errands {
                    if (errand.order, errand.share) == (order, share) {
                        errand.is_cancelled = true;
                    }
                }
            }
            other => unreachable!("nothing else waits for notes: {other:?}"),
        }
    }

    fn submission(&mut self, request: RequestId) -> Option<&mut Errand> {
        self.errands
            .iter_mut()
            .find(|errand| errand.request == Some(request))
    }

    fn is_asking(&self, what: What) -> bool {
        self.asked.values().any(|asked| asked.what == what)
    }

    fn ask(&mut self, at: Time, what: What) -> RequestId {
        self.last_request += 1;
        self.asked.insert(self.last_request, Asked { what, at });
        self.last_request
    }

    fn command(&self, ctx: &mut Ctx, request: RequestId, command: Command) {
        let command = CommandRequest { request, command };
        self.say(ctx, |out| push_control(out, kind::COMMAND, &command));
    }

    fn query(&self, ctx: &mut Ctx, request: RequestId, query: Query) {
        let query = QueryRequest { request, query };
        self.say(ctx, |out| push_control(out, kind::QUERY, &query));
    }

    fn say(&self, ctx: &mut Ctx, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        if let Some(link) = self.link {
            ctx.net.send(&mut ctx.clock, link, End::Engine, &out);
        }
    }

    fn hang_up(&mut self, ctx: &mut Ctx) {
        if let Some(link) = self.link.take() {
            ctx.net.close(&mut ctx.clock, link, End::Peer);
        }
        self.lost(ctx.clock.now() + SEC);
    }

    fn lost(&mut self, dial_at: Time) {
        self.welcomed = false;
        self.dial_at = dial_at;
        self.asked.clear();
        self.roster.clear();
        self.keeper.again();
        self.errands.iter_mut().for_each(Errand::lost);
    }
}
