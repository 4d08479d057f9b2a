//! An engine for tests: the real link, played answers.
//!
//! It takes submissions as the real one does (keys, gaps, skipped rows), ends every work at once with its own row
//! as the result, and does wrong on purpose where a [`Fault`] says so.

mod answers;
mod notebooks;
mod say;
mod script;

use std::collections::{BTreeMap, HashMap, VecDeque};
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
use wire_protocol::note::{Note, WriteNotes};
use wire_protocol::outcome::{Outcome, Output, Reason};
use wire_protocol::template::{Invalid, Offer, WorkTemplate};
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::view::*;
use wire_protocol::worker_link::{Refused, RefusedCode, push_control};

use answers::{command, query, tally};
use say::{Say, print, push_outcome, put_outcome};
use script::next;
pub(crate) use script::{Bag, Fault, Notebook, Printed, Script};

pub(crate) const LOGIN: &str = "admin";

pub(crate) const PASSWORD: &str = "right";

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
