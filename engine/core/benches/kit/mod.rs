//! What the benches of single events share: a scheduler, peers that speak in frames, and nothing of a shell.

#[path = "../peers/mod.rs"]
mod peers;

use engine_core::{Config, Effect, Effects, Event, Proof, Scheduler};
use wire_protocol::client_link::{FromClient, RowsChunk};
use wire_protocol::frame;
use wire_protocol::ids::{LeaseToken, LinkId};
use wire_protocol::outcome::Reason;
use wire_protocol::template::Rows;
use wire_protocol::units::Instant;
use wire_protocol::worker_link::{FromWorker, Join, Report, ToWorker, kind};

pub(crate) use peers::{encoded_rows, join};

pub(crate) const CLIENT: LinkId = LinkId(1);

/// A scheduler on a clock that goes on by a microsecond an event.
pub(crate) struct Driver {
    pub(crate) scheduler: Scheduler,
    pub(crate) effects: Effects,
    now: Instant,
    frame: Vec<u8>,
    requests: u32,
}

impl Driver {
    pub(crate) fn new() -> Self {
        let mut driver = Self {
            scheduler: Scheduler::new(Config::default()),
            effects: Effects::default(),
            now: Instant(1),
            frame: Vec::new(),
            requests: 0,
        };
        driver.scheduler.start(driver.now, &mut driver.effects);
        driver.handle(Event::ClientJoined {
            link: CLIENT,
            tenant: "bench",
            operator: true,
        });
        driver
    }

    pub(crate) fn handle(&mut self, event: Event<'_>) {
        self.now = Instant(self.now.0 + 1_000);
        self.effects.clear();
        self.scheduler.handle(self.now, event, &mut self.effects);
    }

    pub(crate) fn client_says(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        write(&mut frame);
        let (kind, payload, _) = frame::split_first(&frame).expect("short").expect("whole");
        let message = FromClient::parse(kind, payload).expect("well-formed");
        let link = CLIENT;
        self.handle(Event::ClientSaid { link, message });
        self.frame = frame;
    }

    /// Opens a bag of works of this class.
    pub(crate) fn open(&mut self, cores: u32, rows_total: u32) -> u32 {
        self.requests += 1;
        let open = peers::open(self.requests, cores, rows_total);
        self.handle(Event::ClientSaid {
            link: CLIENT,
            message: FromClient::Open(Box::new(open)),
        });
        self.requests
    }

    pub(crate) fn rows(&mut self, request: u32, first: u32, rows: Rows<'_>) {
        self.client_says(|out| RowsChunk::push(out, request, first, rows));
    }

    pub(crate) fn join(&mut self, join: &Join) -> LinkId {
        let link = LinkId(join.uid.parse::<u64>().expect("benches number workers") + 10);
        self.handle(Event::WorkerJoined {
            link,
            join,
            proof: Proof::Password,
        });
        link
    }

    /// The worker reports that these have succeeded.
    pub(crate) fn finished(&mut self, link: LinkId, first: u64, tokens: &[LeaseToken]) {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame::push(&mut frame, kind::FINISHED, |out| {
            out.extend_from_slice(&first.to_le_bytes());
            for token in tokens {
                let report = Report {
                    token: *token,
                    reason: Reason::None,
                    exit_code: 0,
                    elapsed_us: 1,
                    result: &[7; 8],
                };
                report.put(out);
            }
        });
        let (kind, payload, _) = frame::split_first(&frame).expect("short").expect("whole");
        let message = FromWorker::parse(kind, payload).expect("well-formed");
        self.handle(Event::WorkerSaid { link, message });
        self.frame = frame;
    }

    /// What the last event assigned.
    pub(crate) fn assigned(&self, mut assigned: impl FnMut(LinkId, LeaseToken)) {
        for effect in &self.effects.list {
            let Effect::Send { link, frames, .. } = effect else {
                continue;
            };
            let mut rest = &self.effects.frames[frames.clone()];
            while let Some((kind, payload, used)) = frame::split_first(rest).expect("bounded") {
                if *link != CLIENT
                    && let ToWorker::Assign(works) = ToWorker::parse(kind, payload).expect("well-formed")
                {
                    works.iter().for_each(|work| assigned(*link, work.token));
                }
                rest = &rest[used..];
            }
        }
    }
}
