//! An engine for tests: the real link, played answers.
//!
//! It takes submissions as the real one does (keys, gaps, skipped rows), ends every work at once with its own row
//! as the result, and does wrong on purpose where a [`Fault`] says so.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, ClientError, ConnectOptions, Trust};
use wire_link::{Close, Handler, Links, ListenerId, Peer, Server, ServerConfig, ServerIdentity};
use wire_protocol::client_link::*;
use wire_protocol::frame;
use wire_protocol::ids::*;
use wire_protocol::joining::Approval;
use wire_protocol::log::{ClientLog, FollowLogs, LogChunk, LogEnd, LogStream};
use wire_protocol::outcome::{Outcome, Output, Reason};
use wire_protocol::template::{Invalid, Offer, WorkTemplate};
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::view::*;
use wire_protocol::worker_link::{Refused, RefusedCode, push_control};

pub(crate) const LOGIN: &str = "admin";
pub(crate) const PASSWORD: &str = "right";

/// What goes wrong with one request of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The link is closed before the request is looked at.
    LoseBefore,
    /// The link is closed after it was done and before it is answered.
    LoseAfter,
    /// It is answered `Busy`.
    Busy,
}

/// What the engine is to do wrong, and what it has seen. Tests set and read it while it runs.
#[derive(Default)]
pub(crate) struct Script {
    /// For `Open`s in order; `None` from there on. So for the others.
    pub(crate) open_faults: Vec<Fault>,
    pub(crate) rows_faults: Vec<Fault>,
    pub(crate) command_faults: Vec<Fault>,
    /// Outcomes that come live before the engine says `Lagging`, once per follow; `None`: all come.
    pub(crate) lag_after: Option<usize>,
    /// Outcomes that are sent live before the link is closed, once.
    pub(crate) lose_after_outcomes: Option<usize>,
    /// Works (by row) whose result is no longer there when it is asked for.
    pub(crate) forgotten: Vec<u32>,
    /// Works do not end before this is set.
    pub(crate) hold: bool,
    pub(crate) results_per_page: usize,
    /// What is said to those who follow a work, one request after the other; then that it has succeeded.
    pub(crate) logs: VecDeque<Vec<Printed>>,
    pub(crate) bags: Vec<Bag>,
    /// One word per request.
    pub(crate) seen: Vec<&'static str>,
}

/// What is said to somebody who follows a work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Printed {
    /// Attempt, stream, offset, text.
    Piece(u16, LogStream, u64, &'static str),
    AttemptEnded(u16),
    Busy,
    /// The link is closed.
    Lost,
    Ended(u16, WorkState),
}

pub(crate) struct Bag {
    key: IdempotencyKey,
    rows_total: u32,
    template: WorkTemplate,
    pub(crate) rows: Vec<Vec<u8>>,
    /// It takes no more rows.
    pub(crate) sealed: bool,
    /// How many of them ended, from the first on.
    ended: usize,
    follower: Option<(LinkId, RequestId)>,
    followed_from: usize,
}

/// Works of the n-th bag begin here.
pub(crate) fn first_of(bag: usize) -> WorkId {
    WorkId(1 + bag as u64 * 1_000_000)
}

pub(crate) struct Engine {
    pub(crate) addr: std::net::SocketAddr,
    pub(crate) ca: PathBuf,
    pub(crate) script: Arc<Mutex<Script>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _certs: tempfile::TempDir,
}

impl Engine {
    pub(crate) fn start(script: Script) -> Self {
        let certs = tempfile::tempdir().unwrap();
        let identity = ServerIdentity::load_or_create(certs.path(), &wire_link::default_names()).unwrap();
        let mut config = ServerConfig::new(identity);
        config.listen(ListenerId(0), "127.0.0.1:0".parse().unwrap(), &[ALPN]);
        let mut server = Server::bind(config).unwrap();
        let addr = server.local_addr(ListenerId(0));
        let script = Arc::new(Mutex::new(Script {
            results_per_page: if script.results_per_page == 0 {
                100
            } else {
                script.results_per_page
            },
            ..script
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, played) = (Arc::clone(&stop), Arc::clone(&script));
        let thread = std::thread::spawn(move || {
            let mut play = Play {
                script: played,
                submissions: HashMap::new(),
                known: Vec::new(),
            };
            while !stopped.load(Ordering::Relaxed) {
                server.turn(Some(Duration::from_millis(10)), &mut play).unwrap();
            }
        });
        let ca = certs.path().join("ca.pem");
        Self {
            addr,
            ca,
            script,
            stop,
            thread: Some(thread),
            _certs: certs,
        }
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new(self.addr, Trust::Ca(self.ca.clone()), LOGIN, PASSWORD);
        options.timeout = Duration::from_secs(20);
        options.patience = Duration::from_secs(20);
        options
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.options()).await.unwrap()
    }

    pub(crate) async fn refusal(&self, change: impl FnOnce(&mut ConnectOptions)) -> ClientError {
        let mut options = self.options();
        change(&mut options);
        Client::connect(options).await.expect_err("refused")
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the played engine has panicked"
            );
        }
    }
}

struct Play {
    script: Arc<Mutex<Script>>,
    submissions: HashMap<(LinkId, RequestId), usize>,
    known: Vec<LinkId>,
}

impl Handler for Play {
    fn on_open(&mut self, _links: &mut Links, _link: LinkId, _peer: Peer) {}

    fn on_close(&mut self, _links: &mut Links, link: LinkId, _reason: &str) {
        self.known.retain(|known| *known != link);
    }

    fn on_frame(
        &mut self,
        links: &mut Links,
        link: LinkId,
        _listener: ListenerId,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), Close> {
        let said = FromClient::parse(kind, payload).map_err(|error| Close::new(0x100, error.to_string()))?;
        let script = Arc::clone(&self.script);
        let mut script = script.lock().unwrap();
        let mut say = Say {
            links,
            link,
            lost: false,
        };
        self.answer(&mut script, &mut say, said);
        if say.lost {
            return Err(Close::new(0x101, "lost on purpose"));
        }
        Ok(())
    }

    fn after_turn(&mut self, links: &mut Links) {
        let script = Arc::clone(&self.script);
        let mut script = script.lock().unwrap();
        let Script {
            lag_after,
            lose_after_outcomes,
            hold,
            bags,
            ..
        } = &mut *script;
        for (index, bag) in bags.iter_mut().enumerate().filter(|_| !*hold) {
            let from = std::mem::replace(&mut bag.ended, bag.rows.len());
            let Some((link, request)) = bag.follower else {
                continue;
            };
            for (row, content) in bag.rows.iter().enumerate().skip(from.max(bag.followed_from)) {
                if *lose_after_outcomes == Some(row) {
                    *lose_after_outcomes = None;
                    links.close(link, 0x101, "lost on purpose");
                    bag.follower = None;
                    break;
                }
                let mut frame = Vec::new();
                if *lag_after == Some(row) {
                    let lagging = Lagging {
                        request,
                        bag: BagId(index as u64 + 1),
                    };
                    push_control(&mut frame, kind::LAGGING, &lagging);
                    let _ = links.send(link, &frame);
                    bag.follower = None;
                    break;
                }
                push_outcome(&mut frame, request, index, row, content);
                let _ = links.send(link, &frame);
            }
        }
    }
}

fn push_outcome(frame: &mut Vec<u8>, request: RequestId, bag: usize, row: usize, content: &[u8]) {
    frame::push(frame, kind::OUTCOMES, |out| {
        Outcomes::begin(out, request, BagId(bag as u64 + 1));
        put_outcome(out, bag, row, content);
    });
}

/// A row that says `fail` does.
fn put_outcome(out: &mut Vec<u8>, bag: usize, row: usize, content: &[u8]) {
    let failed = content == b"fail";
    let mut result = Vec::new();
    if content.len() < 1000 {
        Output {
            stdout: content,
            ..Output::default()
        }
        .encode(&mut result);
    } else {
        result = content[..content.len().min(60_000)].to_vec();
    }
    let item = OutcomeItem {
        work: first_of(bag).offset(row as u32),
        outcome: if failed {
            Outcome::Failed
        } else {
            Outcome::Succeeded
        },
        reason: if failed { Reason::ExitCode } else { Reason::None },
        attempt: Attempt(1),
        exit_code: i32::from(failed),
        elapsed_us: 10,
        worker: WorkerId(1),
        result: &result,
    };
    item.put(out);
}

struct Say<'a> {
    links: &'a mut Links,
    link: LinkId,
    lost: bool,
}

impl Say<'_> {
    fn control<T: serde::Serialize>(&mut self, kind: u8, message: &T) {
        let mut frame = Vec::new();
        push_control(&mut frame, kind, message);
        self.frame(&frame);
    }

    fn frame(&mut self, frame: &[u8]) {
        let _ = self.links.send(self.link, frame);
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        self.control(kind::REPLY, &Answer { request, reply });
    }

    fn reject(&mut self, request: RequestId, field: &str, problem: &str) {
        let invalid = Invalid {
            field: field.to_owned(),
            problem: problem.to_owned(),
        };
        self.control(kind::REJECTED, &Rejected { request, invalid });
    }

    fn busy(&mut self, request: RequestId, rows: usize) {
        let busy = Busy {
            request,
            limit: "works".into(),
            retry_after: Millis(5),
            rows: rows as u32,
        };
        self.control(kind::BUSY, &busy);
    }

    fn accepted(&mut self, request: RequestId, index: usize, bag: &Bag) {
        let accepted = Accepted {
            request,
            bag: BagId(index as u64 + 1),
            first: first_of(index),
            rows: bag.rows.len() as u32,
            rows_total: bag.rows_total,
            lsn: Lsn(1),
        };
        self.control(kind::ACCEPTED, &accepted);
    }
}

/// Says what was written for the next who follows a work.
fn print(script: &mut Script, say: &mut Say<'_>, asked: FollowLogs) {
    script.seen.push("follow-logs");
    let request = asked.request;
    let end = |attempt, state, goes_on| LogEnd {
        request,
        attempt: Attempt(attempt),
        state,
        goes_on,
    };
    let done = Printed::Ended(1, WorkState::Done(Outcome::Succeeded));
    for printed in script.logs.pop_front().unwrap_or_else(|| vec![done]) {
        match printed {
            Printed::Piece(attempt, stream, offset, text) => {
                let log = ClientLog {
                    request,
                    attempt: Attempt(attempt),
                    worker: WorkerId(1),
                    chunk: LogChunk {
                        stream,
                        offset,
                        bytes: text.as_bytes(),
                    },
                };
                let mut out = Vec::new();
                log.push(&mut out, kind::LOG);
                let _ = say.links.send(say.link, &out);
            }
            Printed::AttemptEnded(attempt) => {
                say.control(kind::LOG_END, &end(attempt, WorkState::Queued, true))
            }
            Printed::Ended(attempt, state) => say.control(kind::LOG_END, &end(attempt, state, false)),
            Printed::Busy => say.busy(request, 0),
            Printed::Lost => say.lost = true,
        }
    }
}

/// The next fault of a list.
fn next(faults: &mut Vec<Fault>) -> Fault {
    if faults.is_empty() {
        Fault::None
    } else {
        faults.remove(0)
    }
}

impl Play {
    fn answer(&mut self, script: &mut Script, say: &mut Say<'_>, said: FromClient<'_>) {
        if let FromClient::Login(login) = &said {
            return self.log_in(say, login);
        }
        assert!(self.known.contains(&say.link), "nobody speaks before the login");
        match said {
            FromClient::Login(_) => {}
            FromClient::Open(open) => self.open(script, say, &open),
            FromClient::Rows(chunk) => self.rows(script, say, chunk),
            FromClient::Command(request) => command(script, say, &request),
            FromClient::Query(request) => query(script, say, &request),
            FromClient::FollowLogs(asked) => print(script, say, asked),
            FromClient::StopLogs(_) => script.seen.push("stop-logs"),
            FromClient::Follow(follow) => {
                script.seen.push("follow");
                let request = follow.request;
                let Some(bag) = script.bags.get_mut(follow.bag.index() - 1) else {
                    return say.reply(
                        request,
                        Reply::NotFound {
                            what: follow.bag.to_string(),
                        },
                    );
                };
                bag.follower = Some((say.link, request));
                bag.followed_from = bag.ended;
                let tally = tally(bag);
                say.reply(request, Reply::Following(tally));
            }
        }
    }

    fn log_in(&mut self, say: &mut Say<'_>, login: &Login) {
        if login.login == LOGIN && login.password == PASSWORD {
            say.links.authenticated(say.link);
            self.known.push(say.link);
            let welcome = Welcome {
                shard: Shard(0),
                epoch: Epoch(1),
                version: "test".into(),
            };
            return say.control(kind::WELCOME, &welcome);
        }
        let refused = Refused {
            code: RefusedCode::Credentials,
            reason: "unknown login or wrong password".into(),
            retry_after: Millis(0),
        };
        say.control(kind::REFUSED, &refused);
        say.links.close(say.link, 0x102, "refused");
    }

    fn open(&mut self, script: &mut Script, say: &mut Say<'_>, open: &Open) {
        script.seen.push("open");
        let fault = next(&mut script.open_faults);
        match fault {
            Fault::LoseBefore => return say.lost = true,
            Fault::Busy => return say.busy(open.request, 0),
            _ => {}
        }
        if open.template.label == "refused" {
            return say.reject(open.request, "label", "is not liked here");
        }
        let index = script
            .bags
            .iter()
            .position(|bag| bag.key == open.key)
            .unwrap_or_else(|| {
                script.bags.push(Bag {
                    key: open.key,
                    rows_total: open.rows_total,
                    template: open.template.clone(),
                    rows: Vec::new(),
                    sealed: false,
                    ended: 0,
                    follower: None,
                    followed_from: 0,
                });
                script.bags.len() - 1
            });
        let bag = &mut script.bags[index];
        assert_eq!(
            (bag.rows_total, &bag.template),
            (open.rows_total, &open.template),
            "the same submission"
        );
        if open.follow {
            bag.follower = Some((say.link, open.request));
            bag.followed_from = bag.ended;
        }
        if fault == Fault::LoseAfter {
            return say.lost = true;
        }
        say.accepted(open.request, index, bag);
        // As the real engine: a submission that has all its rows takes none, not even one to be skipped.
        if bag.rows.len() < bag.rows_total as usize {
            self.submissions.insert((say.link, open.request), index);
        }
    }

    fn rows(&mut self, script: &mut Script, say: &mut Say<'_>, chunk: RowsChunk<'_>) {
        script.seen.push("rows");
        let Some(index) = self.submissions.get(&(say.link, chunk.request)).copied() else {
            return say.reject(
                chunk.request,
                "request",
                "names no submission that is open on this link",
            );
        };
        let fault = next(&mut script.rows_faults);
        let bag = &mut script.bags[index];
        let accepted = bag.rows.len() as u32;
        if fault == Fault::LoseBefore {
            return say.lost = true;
        }
        if bag.sealed {
            return say.reject(chunk.request, "rows", "was sealed");
        }
        if fault == Fault::Busy || chunk.first_row > accepted {
            return say.busy(chunk.request, bag.rows.len());
        }
        bag.rows.extend(
            chunk
                .rows
                .skip(accepted - chunk.first_row)
                .iter()
                .map(<[u8]>::to_vec),
        );
        if fault == Fault::LoseAfter {
            return say.lost = true;
        }
        say.accepted(chunk.request, index, bag);
        if bag.rows.len() == bag.rows_total as usize {
            self.submissions.remove(&(say.link, chunk.request));
        }
    }
}

fn tally(bag: &Bag) -> Tally {
    let failed = bag.rows[..bag.ended].iter().filter(|row| *row == b"fail").count() as u32;
    let ended = bag.ended as u32;
    Tally {
        queued: bag.rows.len() as u32 - ended,
        succeeded: ended - failed,
        failed,
        ..Tally::default()
    }
}

fn command(script: &mut Script, say: &mut Say<'_>, request: &CommandRequest) {
    script.seen.push("command");
    if next(&mut script.command_faults) == Fault::LoseBefore {
        return say.lost = true;
    }
    let reply = match &request.command {
        Command::Cancel(Selector::Work(WorkId(404))) => Reply::NotFound { what: "w404".into() },
        Command::Cancel(Selector::Work(WorkId(409))) => Reply::Conflict(Invalid {
            field: "w409".into(),
            problem: "is of another kind".into(),
        }),
        Command::Seal(bag) => {
            let found = &mut script.bags[bag.index() - 1];
            Reply::Changed(u32::from(!std::mem::replace(&mut found.sealed, true)))
        }
        _ => Reply::Changed(1),
    };
    say.reply(request.request, reply);
}

fn query(script: &mut Script, say: &mut Say<'_>, request: &QueryRequest) {
    let id = request.request;
    let reply = match &request.query {
        Query::Status => Reply::Status(StatusView {
            version: "test".into(),
            ..StatusView::default()
        }),
        Query::Work(work) => {
            script.seen.push("work");
            match work
                .0
                .checked_sub(1)
                .map(|work| (work / 1_000_000, work % 1_000_000))
            {
                Some((bag, row))
                    if script
                        .bags
                        .get(bag as usize)
                        .is_some_and(|bag| row < bag.rows.len() as u64) =>
                {
                    Reply::Work(Box::new(detail(
                        &script.bags[bag as usize],
                        bag as usize,
                        row as usize,
                    )))
                }
                _ => Reply::NotFound {
                    what: work.to_string(),
                },
            }
        }
        Query::Works { after, limit, .. } => {
            // Short pages that are not the last, as a rare filter makes them.
            let bag = &script.bags[0];
            let from = after.0 as usize;
            let upto = (from + (*limit as usize).min(3)).min(bag.rows.len());
            let works = (from..upto)
                .filter(|row| row % 2 == 0)
                .map(|row| detail(bag, 0, row).work)
                .collect();
            Reply::Works {
                works,
                next: (upto < bag.rows.len()).then_some(WorkId(upto as u64)),
            }
        }
        Query::Bag(bag) => match script.bags.get((bag.0 as usize).wrapping_sub(1)) {
            Some(found) => Reply::Bag(view(found, bag.0 as usize - 1)),
            None => Reply::NotFound {
                what: bag.to_string(),
            },
        },
        Query::Bags { after, limit } => {
            let bags = script
                .bags
                .iter()
                .enumerate()
                .skip(after.0 as usize)
                .take(*limit as usize);
            Reply::Bags(bags.map(|(index, bag)| view(bag, index)).collect())
        }
        Query::Results { bag, from_row } => {
            script.seen.push("results");
            let index = bag.index() - 1;
            let found = &script.bags[index];
            let from = *from_row as usize;
            let upto = (from + script.results_per_page).min(found.ended);
            let mut frame = Vec::new();
            frame::push(&mut frame, kind::OUTCOMES, |out| {
                Outcomes::begin(out, id, *bag);
                for row in (from..upto).filter(|row| !script.forgotten.contains(&(*row as u32))) {
                    put_outcome(out, index, row, &found.rows[row]);
                }
            });
            say.frame(&frame);
            let next_row = if upto == found.ended {
                found.rows_total
            } else {
                upto as u32
            };
            Reply::ResultsEnd {
                next_row,
                open: found.rows_total - found.ended as u32,
            }
        }
        Query::Worker(worker) if worker.0 == 1 => Reply::Worker(worker_view()),
        Query::Worker(worker) | Query::ExplainWorker(worker) if worker.0 != 1 => Reply::NotFound {
            what: worker.to_string(),
        },
        Query::Workers { after, .. } if after.0 == 0 => Reply::Workers(vec![worker_view()]),
        Query::Workers { .. } => Reply::Workers(Vec::new()),
        Query::Queues => Reply::Queues(Vec::new()),
        _ => Reply::Explanation(Explanation {
            summary: "so it is".into(),
            facts: vec!["a fact".into()],
        }),
    };
    say.reply(id, reply);
}

fn view(bag: &Bag, index: usize) -> BagView {
    BagView {
        bag: BagId(index as u64 + 1),
        first: first_of(index),
        rows_total: bag.rows_total,
        tally: tally(bag),
        priority: bag.template.priority,
        tenant: LOGIN.into(),
        label: bag.template.label.clone(),
        app: bag.template.app.clone(),
        submitted: Instant(0),
    }
}

fn detail(bag: &Bag, index: usize, row: usize) -> WorkDetail {
    let failed = bag.rows[row] == b"fail";
    let outcome = if failed {
        Outcome::Failed
    } else {
        Outcome::Succeeded
    };
    let state = if row < bag.ended {
        WorkState::Done(outcome)
    } else {
        WorkState::Queued
    };
    let mut result = Vec::new();
    Output {
        stdout: &bag.rows[row],
        stderr: b"told\n",
        ..Output::default()
    }
    .encode(&mut result);
    WorkDetail {
        work: WorkView {
            work: first_of(index).offset(row as u32),
            bag: BagId(index as u64 + 1),
            row: row as u32,
            state,
            attempt: Attempt(1),
            worker: Some(WorkerId(1)),
            reason: if failed { Reason::ExitCode } else { Reason::None },
            label: bag.template.label.clone(),
            app: bag.template.app.clone(),
            parameters: bag
                .template
                .columns
                .iter()
                .map(|column| {
                    (
                        column.clone(),
                        String::from_utf8_lossy(&bag.rows[row]).into_owned(),
                    )
                })
                .collect(),
            submitted: Instant(0),
        },
        template: bag.template.clone(),
        exit_code: i32::from(failed),
        elapsed_us: 10,
        result,
    }
}

fn worker_view() -> WorkerView {
    WorkerView {
        worker: WorkerId(1),
        uid: "uid-1".into(),
        name: "worker-1".into(),
        state: WorkerState::Ready,
        problem: None,
        held: 0,
        finished: 0,
        offer: Offer {
            cores: 1,
            memory: Bytes::from_mib(1),
            slots: 1,
            ..Offer::default()
        },
        silent_for: Millis(1),
        version: "test".into(),
        approval: Approval::Approved,
        certificate: None,
        wallet: None,
    }
}
