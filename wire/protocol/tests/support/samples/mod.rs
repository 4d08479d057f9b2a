//! One sample or more of every message. Change a value only together with its golden file; add freely.

mod clients;
mod records;
mod workers;

use wire_protocol::category::Category;
use wire_protocol::client_link::{self, Command, Query, Selector};
use wire_protocol::feed;
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, Lsn, Shard, TokenId, WorkId, WorkerId};
use wire_protocol::joining::{self, Address, Approval, CertificateView, TokenState, TokenView};
use wire_protocol::log::{FollowLog, FollowLogs, LogEnd, LogStream, LogWish, StopLogs};
use wire_protocol::note::{Note, NoteChange, WriteNotes};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record;
use wire_protocol::resources::Packing;
use wire_protocol::template::{
    Input, InputFile, Invalid, Limits, Offer, Outputs, Priority, Requirements, Retry, WorkTemplate,
};
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::view::{
    BagView, Explanation, Filter, QueueView, Reply, StatusView, SubscriberView, Tally, WorkDetail, WorkState,
    WorkView, WorkerState, WorkerView,
};
use wire_protocol::worker_link::{self, GrantAnswer, Granted, IdleCause, Notice, RefusedCode};

use crate::support::{AChunk, AReport, AnOutcome, Blob, Link, Message};

use clients::{client_to_engine, engine_to_client, outcomes};
use workers::{engine_to_worker, worker_to_engine};

/// A message, where it is said, and its file: `name` is the kind's constant in small letters, then a dot and
/// what sets this sample apart where there are several.
pub(crate) struct Sample {
    pub(crate) link: Link,
    pub(crate) name: &'static str,
    pub(crate) message: Message,
}

const AT: Instant = Instant(1_790_000_000_123_456_789);

const ADDRESS: Address = Address([0xa5; 20]);

const KEY: [u8; 16] = [0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xaf];

fn text(text: &str) -> String {
    text.to_owned()
}

fn blob(bytes: &[u8]) -> Blob {
    Blob(bytes.to_vec())
}

fn token(work: u64, attempt: u16) -> LeaseToken {
    LeaseToken {
        work: WorkId(work),
        epoch: Epoch(3),
        attempt: Attempt(attempt),
        shard: Shard(1),
    }
}

fn tokens() -> Vec<LeaseToken> {
    vec![token(0x0102_0304_0506_0708, 1), token(300, 2)]
}

/// One note is there from now on, another goes.
fn notes() -> WriteNotes {
    let change = |key: &str, value: Option<&[u8]>| NoteChange {
        key: text(key),
        value: value.map(<[u8]>::to_vec),
    };
    WriteNotes {
        notebook: text("chain"),
        holder: 3,
        changes: vec![change("order/4", Some(b"waits")), change("order/3", None)],
    }
}

fn offer() -> Offer {
    Offer {
        executors: vec![text("process"), text("null")],
        os: text("linux"),
        arch: text("x86_64"),
        cores: 16,
        memory: Bytes::from_mib(65_536),
        disk: Bytes::from_mib(1_000_000),
        gpus: 1,
        tags: vec![text("fast-disk")],
        groups: vec![text("lab")],
        custom: vec![(text("licence"), 5)],
        slots: 16,
        prefill: 32,
        packing: Packing::Resources,
    }
}

/// Every field differs from its default.
fn template() -> WorkTemplate {
    WorkTemplate {
        app: text("process"),
        command: vec![text("render"), text("--tile={x},{y}")],
        env: vec![(text("SEED"), text("{seed}"))],
        input: Input::Inline(b"scene".to_vec()),
        files: vec![
            InputFile {
                path: text("tile.bin"),
                source: text("tiles/{x}/{y}.bin"),
                unpack: false,
            },
            InputFile {
                path: text("assets"),
                source: text("https://example.org/assets.tar"),
                unpack: true,
            },
        ],
        outputs: Outputs {
            collect: vec![text("out/**")],
            consensus: Some(text("out/digest.txt")),
        },
        columns: vec![text("x"), text("y"), text("seed")],
        requirements: Requirements {
            os: Some(text("linux")),
            arch: Some(text("x86_64")),
            cores: 2,
            memory: Bytes::from_mib(512),
            disk: Bytes::from_mib(100),
            gpus: 1,
            tags: vec![text("fast-disk")],
            group: Some(text("lab")),
            custom: vec![(text("licence"), 1)],
            wallet: Some(ADDRESS),
        },
        priority: Priority(7),
        limits: Limits {
            wall_clock: Millis::from_secs(90),
            output: Bytes(4_096),
            memory: Bytes::from_mib(256),
            processes: 8,
            disk: Bytes::from_mib(64),
            files: Bytes::from_mib(16),
        },
        retry: Retry {
            attempts_max: 5,
            backoff_min: Millis(100),
            backoff_max: Millis(30_000),
        },
        time_to_live: Some(Millis::from_secs(3_600)),
        label: text("fractal"),
        category: Some(text("M")),
        ticket: vec![7; 3],
    }
}

fn template_with(input: Input) -> WorkTemplate {
    WorkTemplate {
        app: text("null"),
        input,
        ..WorkTemplate::default()
    }
}

fn refused(code: RefusedCode) -> worker_link::Refused {
    worker_link::Refused {
        code,
        reason: text("wait a little"),
        retry_after: Millis(1_500),
    }
}

fn chunk() -> AChunk {
    AChunk {
        stream: LogStream::Stderr,
        offset: 65_536,
        bytes: blob(b"step 2 of 7\n"),
    }
}

fn subscriber_to_engine() -> Vec<(&'static str, Message)> {
    let subscribe = feed::Subscribe {
        version: feed::VERSION,
        name: text("persist"),
        after: Lsn(41),
    };
    vec![
        ("subscribe", Message::Subscribe(subscribe)),
        ("acknowledge", Message::Acknowledge(Lsn(300))),
    ]
}

fn engine_to_subscriber() -> Vec<(&'static str, Message)> {
    let feeding = feed::Feeding {
        version: feed::VERSION,
        shard: Shard(1),
        durable: Lsn(300),
    };
    let refused = feed::FeedRefused {
        reason: text("removed by retention"),
        first: Lsn(100),
    };
    let fed = Message::FedRecord {
        lsn: Lsn(42),
        epoch: Epoch(3),
        wall_us: 1_790_000_000_123_456,
        kind: record::kind::BAG_FORGOTTEN,
        payload: blob(&[9]),
    };
    vec![
        ("feeding", Message::Feeding(feeding)),
        ("records", fed),
        ("feed-refused", Message::FeedRefused(refused)),
    ]
}

/// All samples, link by link.
pub(crate) fn all() -> Vec<Sample> {
    Link::ALL
        .into_iter()
        .flat_map(|link| {
            let messages = match link {
                Link::WorkerToEngine => worker_to_engine(),
                Link::EngineToWorker => engine_to_worker(),
                Link::ClientToEngine => client_to_engine(),
                Link::EngineToClient => engine_to_client(),
                Link::SubscriberToEngine => subscriber_to_engine(),
                Link::EngineToSubscriber => engine_to_subscriber(),
                Link::Record => records::records(),
            };
            messages
                .into_iter()
                .map(move |(name, message)| Sample { link, name, message })
        })
        .collect()
}
