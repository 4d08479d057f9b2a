//! What tests say and ask again and again, in few words.

use engine_core::{Event, Proof};
use wire_protocol::client_link::{
    Accepted, Command, CommandRequest, Follow, Open, Query, QueryRequest, RowsChunk, kind as client_kind,
};
use wire_protocol::codec::put_bytes;
use wire_protocol::ids::{BagId, LeaseToken, LinkId, WorkId, WorkerId};
use wire_protocol::log::{FollowLogs, LogChunk, LogStream, WorkerLog};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::template::{Offer, Rows, WorkTemplate};
use wire_protocol::units::{Bytes, Millis};
use wire_protocol::view::{Filter, Reply, StatusView, WorkState, WorkView};
use wire_protocol::worker_link::{Draining, Holding, Join, Report, Tokens, kind, push_control, push_empty};

use super::{ClientHeard, FakeClient, FakeWorker, Lease, Pool, Told, WorkerHeard};

/// A submission that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Submitted {
    pub(crate) request: u32,
    pub(crate) bag: BagId,
    pub(crate) first: WorkId,
}

/// A template whose works any worker can run.
pub(crate) fn null() -> WorkTemplate {
    WorkTemplate {
        app: "null".to_owned(),
        columns: vec!["n".to_owned()],
        ..WorkTemplate::default()
    }
}

/// A worker that presents nothing.
pub(crate) fn join(uid: &str, slots: u32, prefill: u32) -> Join {
    Join {
        login: "w".to_owned(),
        password: "p".to_owned(),
        enrol: None,
        wallet: None,
        uid: uid.to_owned(),
        name: uid.to_owned(),
        version: "1".to_owned(),
        offer: Offer {
            executors: vec!["null".to_owned()],
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            cores: 4,
            memory: Bytes::from_mib(1024),
            disk: Bytes::from_mib(1024),
            slots,
            prefill,
            ..Offer::default()
        },
        held: Vec::new(),
        running: Vec::new(),
        unacknowledged: Vec::new(),
        warm: Vec::new(),
    }
}

/// Rows that hold their numbers in decimal.
pub(crate) fn rows(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    range.map(|row| row.to_string().into_bytes()).collect()
}

impl Pool {
    /// A worker joins on a link of its own; what it hears is the caller's to look at.
    #[expect(clippy::needless_pass_by_value, reason = "a test makes it in place")]
    pub(crate) fn join(&mut self, join: Join) -> LinkId {
        let link = self.new_link();
        self.join_on(link, &join);
        link
    }

    pub(crate) fn join_on(&mut self, link: LinkId, join: &Join) {
        self.prove_on(link, join, Proof::Password);
    }

    /// A worker that proves who it is in this way joins on a link of its own.
    pub(crate) fn prove(&mut self, join: &Join, proof: Proof<'_>) -> LinkId {
        let link = self.new_link();
        self.prove_on(link, join, proof);
        link
    }

    fn prove_on(&mut self, link: LinkId, join: &Join, proof: Proof<'_>) {
        let worker = FakeWorker {
            templates: std::collections::BTreeMap::new(),
            heard: Vec::new(),
            reports: 0,
        };
        self.workers.insert(link, worker);
        self.handle(Event::WorkerJoined { link, join, proof });
    }

    /// A worker joins and is welcome.
    pub(crate) fn worker(&mut self, uid: &str, slots: u32, prefill: u32) -> LinkId {
        let link = self.join(join(uid, slots, prefill));
        assert_eq!(
            self.welcome(link).1,
            Vec::<LeaseToken>::new(),
            "nothing was presented"
        );
        link
    }

    /// The welcome of a worker: its number and the leases that go on.
    pub(crate) fn welcome(&mut self, link: LinkId) -> (WorkerId, Vec<LeaseToken>) {
        let worker = self.workers.get_mut(&link).expect("a worker");
        match worker.heard.remove(0) {
            WorkerHeard::Welcome(welcome) => (welcome.worker, welcome.adopted),
            other => panic!("a worker is welcomed first, and this one heard {other:?}"),
        }
    }

    pub(crate) fn client(&mut self, tenant: &str) -> LinkId {
        self.log_in(tenant, false)
    }

    pub(crate) fn operator(&mut self) -> LinkId {
        self.log_in("admin", true)
    }

    fn log_in(&mut self, tenant: &str, operator: bool) -> LinkId {
        let link = self.new_link();
        self.clients.insert(link, FakeClient::default());
        self.handle(Event::ClientJoined {
            link,
            tenant,
            operator,
        });
        let heard = self.client_heard(link);
        assert!(matches!(heard[..], [ClientHeard::Welcome(_)]), "{heard:?}");
        link
    }

    pub(crate) fn open(&mut self, link: LinkId, open: &Open) {
        self.client_says(link, |out| push_control(out, client_kind::OPEN, open));
    }

    pub(crate) fn rows(&mut self, link: LinkId, request: u32, first_row: u32, rows: &[Vec<u8>]) {
        let mut encoded = Vec::new();
        rows.iter().for_each(|row| put_bytes(&mut encoded, row));
        let rows = Rows::parse(rows.len() as u32, &encoded).expect("well-formed rows");
        self.client_says(link, |out| RowsChunk::push(out, request, first_row, rows));
    }

    /// Submits a bag whose outcomes the client follows, and takes the acknowledgements.
    pub(crate) fn submit(&mut self, link: LinkId, template: WorkTemplate, count: u32) -> Submitted {
        let submitted = self.open_bag(link, template, count);
        self.rows(link, submitted.request, 0, &rows(0..count));
        assert_eq!(self.accepted(link).expect("room").rows, count);
        submitted
    }

    /// Opens a bag, without rows.
    pub(crate) fn open_bag(&mut self, link: LinkId, template: WorkTemplate, count: u32) -> Submitted {
        let request = self.new_request();
        let open = Open {
            request,
            key: [0; 16],
            rows_total: count,
            follow: true,
            template,
        };
        self.open(link, &open);
        let Accepted { bag, first, .. } = self.accepted(link).expect("a good submission");
        Submitted { request, bag, first }
    }

    /// Submits a bag that is durable, while what it leads to (leases) is not.
    pub(crate) fn open_and_keep(&mut self, link: LinkId, template: WorkTemplate, count: u32) -> Submitted {
        let request = self.new_request();
        let open = Open {
            request,
            key: [0; 16],
            rows_total: count,
            follow: false,
            template,
        };
        self.open(link, &open);
        let opened = self.lsn();
        self.rows(link, request, 0, &rows(0..count));
        self.durable(opened.next());
        let Accepted { bag, first, rows, .. } = self.accepted(link).expect("durable");
        assert_eq!(rows, count);
        Submitted { request, bag, first }
    }

    /// Everything that the worker heard.
    pub(crate) fn worker_heard(&mut self, link: LinkId) -> Vec<WorkerHeard> {
        std::mem::take(&mut self.workers.get_mut(&link).expect("a worker").heard)
    }

    /// Everything that the client heard.
    pub(crate) fn client_heard(&mut self, link: LinkId) -> Vec<ClientHeard> {
        std::mem::take(&mut self.clients.get_mut(&link).expect("a client").heard)
    }

    /// The works that the worker was given since it was last asked.
    pub(crate) fn leases(&mut self, link: LinkId) -> Vec<Lease> {
        let worker = self.workers.get_mut(&link).expect("a worker");
        let assigned = |heard: &mut WorkerHeard| matches!(heard, WorkerHeard::Assigned(_));
        let taken = worker.heard.extract_if(.., assigned);
        taken
            .map(|heard| match heard {
                WorkerHeard::Assigned(lease) => *lease,
                _ => unreachable!("filtered"),
            })
            .collect()
    }

    /// The ids of the works that the worker was given since it was last asked.
    pub(crate) fn leased(&mut self, link: LinkId) -> Vec<WorkId> {
        self.leases(link).iter().map(|lease| lease.token.work).collect()
    }

    /// The last acknowledgement of reports.
    pub(crate) fn recorded(&mut self, link: LinkId) -> Option<u64> {
        let worker = self.workers.get_mut(&link).expect("a worker");
        let recorded = |heard: &mut WorkerHeard| matches!(heard, WorkerHeard::Recorded(_));
        worker
            .heard
            .extract_if(.., recorded)
            .map(|heard| match heard {
                WorkerHeard::Recorded(upto) => upto,
                _ => unreachable!("filtered"),
            })
            .last()
    }

    /// The last acknowledgement of a submission.
    pub(crate) fn accepted(&mut self, link: LinkId) -> Option<Accepted> {
        let client = self.clients.get_mut(&link).expect("a client");
        let accepted = |heard: &mut ClientHeard| matches!(heard, ClientHeard::Accepted(_));
        client
            .heard
            .extract_if(.., accepted)
            .map(|heard| match heard {
                ClientHeard::Accepted(accepted) => accepted,
                _ => unreachable!("filtered"),
            })
            .last()
    }

    /// The outcomes that the client was told.
    pub(crate) fn told(&mut self, link: LinkId) -> Vec<Told> {
        let client = self.clients.get_mut(&link).expect("a client");
        let told = |heard: &mut ClientHeard| matches!(heard, ClientHeard::Outcome(_));
        client
            .heard
            .extract_if(.., told)
            .map(|heard| match heard {
                ClientHeard::Outcome(told) => told,
                _ => unreachable!("filtered"),
            })
            .collect()
    }

    /// The outcomes that the client was told, in short.
    pub(crate) fn outcomes(&mut self, link: LinkId) -> Vec<(WorkId, Outcome, Reason)> {
        let told = self.told(link);
        told.iter()
            .map(|told| (told.work, told.outcome, told.reason))
            .collect()
    }

    /// Reports attempts, all with this reason, in one frame.
    pub(crate) fn report(&mut self, link: LinkId, tokens: &[LeaseToken], reason: Reason) {
        let first = self.workers[&link].reports + 1;
        self.report_from(link, first, tokens, reason);
    }

    pub(crate) fn report_from(&mut self, link: LinkId, first: u64, tokens: &[LeaseToken], reason: Reason) {
        self.worker_says(link, |out| {
            wire_protocol::frame::push(out, kind::FINISHED, |out| {
                out.extend_from_slice(&first.to_le_bytes());
                for token in tokens {
                    let result = token.work.0.to_le_bytes();
                    Report {
                        token: *token,
                        reason,
                        exit_code: i32::from(reason != Reason::None),
                        elapsed_us: 7,
                        result: &result,
                    }
                    .put(out);
                }
            });
        });
        if let Some(worker) = self.workers.get_mut(&link) {
            worker.reports = first.wrapping_sub(1).wrapping_add(tokens.len() as u64);
        }
    }

    /// Reports success and takes the acknowledgement.
    pub(crate) fn finish(&mut self, link: LinkId, tokens: &[LeaseToken]) {
        self.report(link, tokens, Reason::None);
        let reports = self.workers[&link].reports;
        assert_eq!(self.recorded(link), Some(reports), "reports are acknowledged");
    }

    pub(crate) fn started(&mut self, link: LinkId, tokens: &[LeaseToken]) {
        let tokens = tokens.iter().copied();
        self.worker_says(link, |out| Tokens::push(out, kind::STARTED, Reason::None, tokens));
    }

    pub(crate) fn retracted(&mut self, link: LinkId, tokens: &[LeaseToken], reason: Reason) {
        let tokens = tokens.iter().copied();
        self.worker_says(link, |out| Tokens::push(out, kind::RETRACTED, reason, tokens));
    }

    pub(crate) fn ask_grants(&mut self, link: LinkId, tokens: &[LeaseToken]) {
        let tokens = tokens.iter().copied();
        self.worker_says(link, |out| {
            Tokens::push(out, kind::GRANT_ASKED, Reason::None, tokens)
        });
    }

    pub(crate) fn draining(&mut self, link: LinkId) {
        self.draining_within(link, None);
    }

    pub(crate) fn draining_within(&mut self, link: LinkId, within: Option<Millis>) {
        self.worker_says(link, |out| {
            push_control(out, kind::DRAINING, &Draining { within })
        });
    }

    pub(crate) fn asks_why_idle(&mut self, link: LinkId) {
        self.worker_says(link, |out| push_empty(out, kind::WHY_IDLE));
    }

    /// Says that an attempt has printed this to standard output.
    pub(crate) fn prints(&mut self, link: LinkId, token: LeaseToken, offset: u64, bytes: &[u8]) {
        let chunk = LogChunk {
            stream: LogStream::Stdout,
            offset,
            bytes,
        };
        self.worker_says(link, |out| WorkerLog { token, chunk }.push(out, kind::LOG));
    }

    pub(crate) fn log_told(&mut self, link: LinkId, token: LeaseToken) {
        self.worker_says(link, |out| {
            Tokens::push(out, kind::LOG_TOLD, Reason::None, [token])
        });
    }

    /// Asks for what a work prints; the number of the request.
    pub(crate) fn follow_logs(&mut self, link: LinkId, work: WorkId, follow: bool) -> u32 {
        let request = self.new_request();
        let asked = FollowLogs {
            request,
            work,
            follow,
            stdout: true,
            stderr: false,
        };
        self.client_says(link, |out| push_control(out, client_kind::FOLLOW_LOGS, &asked));
        request
    }

    pub(crate) fn holding(&mut self, link: LinkId, problem: Option<&str>) {
        let problem = problem.map(str::to_owned);
        self.worker_says(link, |out| push_control(out, kind::HOLDING, &Holding { problem }));
    }

    /// Sends a command and takes the answer.
    pub(crate) fn command(&mut self, link: LinkId, command: Command) -> Reply {
        let request = self.new_request();
        let command = CommandRequest { request, command };
        self.client_says(link, |out| push_control(out, client_kind::COMMAND, &command));
        self.reply(link, request)
    }

    /// Sends a query and takes the answer.
    pub(crate) fn query(&mut self, link: LinkId, query: Query) -> Reply {
        let request = self.new_request();
        let query = QueryRequest { request, query };
        self.client_says(link, |out| push_control(out, client_kind::QUERY, &query));
        self.reply(link, request)
    }

    pub(crate) fn follow(&mut self, link: LinkId, bag: BagId) -> Reply {
        let request = self.new_request();
        let follow = Follow { request, bag };
        self.client_says(link, |out| push_control(out, client_kind::FOLLOW, &follow));
        self.reply(link, request)
    }

    /// Takes the answer to a request.
    pub(crate) fn reply(&mut self, link: LinkId, request: u32) -> Reply {
        let client = self.clients.get_mut(&link).expect("a client");
        let answers =
            |heard: &ClientHeard| matches!(heard, ClientHeard::Reply(answer) if answer.request == request);
        let at = client.heard.iter().position(answers);
        match client
            .heard
            .remove(at.unwrap_or_else(|| panic!("no answer among {:?}", client.heard)))
        {
            ClientHeard::Reply(answer) => answer.reply,
            _ => unreachable!("filtered"),
        }
    }

    pub(crate) fn status(&mut self, link: LinkId) -> StatusView {
        match self.query(link, Query::Status) {
            Reply::Status(status) => status,
            other => panic!("asked for the status, got {other:?}"),
        }
    }

    /// One work as an operator sees it.
    pub(crate) fn view(&mut self, link: LinkId, work: WorkId) -> WorkView {
        let filter = Filter::default();
        let after = WorkId(work.0 - 1);
        match self.query(
            link,
            Query::Works {
                filter,
                after,
                limit: 1,
            },
        ) {
            Reply::Works { mut works, .. } if works.len() == 1 => works.remove(0),
            other => panic!("asked for a work, got {other:?}"),
        }
    }

    pub(crate) fn state(&mut self, link: LinkId, work: WorkId) -> WorkState {
        self.view(link, work).state
    }

    /// The summary of why a work is where it is, and all facts.
    pub(crate) fn explain(&mut self, link: LinkId, query: Query) -> String {
        match self.query(link, query) {
            Reply::Explanation(explanation) => {
                format!("{}\n{}", explanation.summary, explanation.facts.join("\n"))
            }
            other => panic!("asked for an explanation, got {other:?}"),
        }
    }
}

/// The tokens of leases.
pub(crate) fn tokens(leases: &[Lease]) -> Vec<LeaseToken> {
    leases.iter().map(|lease| lease.token).collect()
}
