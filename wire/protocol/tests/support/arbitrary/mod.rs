//! Arbitrary messages, within the bounds that a writer keeps.

mod clients;
mod enrolment;
mod records;
mod templates;
mod workers;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use wire_protocol::client_link::{self, Command, Query, Selector};
use wire_protocol::feed;
use wire_protocol::ids::{
    Attempt, BagId, Epoch, LeaseToken, Lsn, Shard, TenantId, TokenId, WorkId, WorkerId,
};
use wire_protocol::joining::{self, Address, Approval, CertificateView, TokenState, TokenView, WalletProof};
use wire_protocol::log;
use wire_protocol::note::{Note, NoteChange, NotebookTaken, NotesWritten, WriteNotes};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record;
use wire_protocol::resources::Packing;
use wire_protocol::template::{
    Input, InputFile, Invalid, Limits, Offer, Outputs, Priority, Requirements, Retry, WorkTemplate,
};
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::view::{
    Explanation, Filter, Reply, StatusView, Tally, WorkState, WorkerState, WorkerView,
};
use wire_protocol::worker_link::{self, GrantAnswer, Notice, RefusedCode};

use crate::support::{AChunk, AReport, AnOutcome, Blob, Link, Message, SomeAttempts};

use clients::{from_client, to_client};
use enrolment::{a_token, address, approval, join, token_view, worker_view};
use records::{from_subscriber, record, to_subscriber};
use templates::template;
pub(crate) use templates::{offer, requirements};
use workers::{from_worker, to_worker};

fn text() -> impl Strategy<Value = String> + Clone {
    "\\PC{0,12}"
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..4)
}

/// Mostly short; now and then around the places where a length needs another byte.
fn blob() -> impl Strategy<Value = Blob> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..40),
        1 => vec(any::<u8>(), 126..130),
        1 => (16_382_usize..16_386).prop_map(|len| vec![0x5a; len]),
    ]
    .prop_map(Blob)
}

fn token() -> impl Strategy<Value = LeaseToken> {
    any::<(u64, u32, u16, u16)>().prop_map(|(work, epoch, attempt, shard)| LeaseToken {
        work: WorkId(work),
        epoch: Epoch(epoch),
        attempt: Attempt(attempt),
        shard: Shard(shard),
    })
}

fn tokens() -> impl Strategy<Value = Vec<LeaseToken>> {
    vec(token(), 0..20)
}

fn reason() -> impl Strategy<Value = Reason> {
    select(Reason::ALL)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    select(&Outcome::ALL[..])
}

fn an_outcome(worker: WorkerId) -> impl Strategy<Value = AnOutcome> {
    (any::<(u64, u16, i32, u32)>(), outcome(), reason(), blob()).prop_map(
        move |((work, attempt, exit_code, elapsed_us), outcome, reason, result)| AnOutcome {
            work: WorkId(work),
            outcome,
            reason,
            attempt: Attempt(attempt),
            exit_code,
            elapsed_us,
            worker,
            result,
        },
    )
}

fn refused() -> impl Strategy<Value = worker_link::Refused> {
    use RefusedCode::{Busy, Credentials, Invalid, ShuttingDown};
    (
        select(vec![Credentials, Busy, Invalid, ShuttingDown]),
        text(),
        any::<u64>(),
    )
        .prop_map(|(code, reason, ms)| worker_link::Refused {
            code,
            reason,
            retry_after: Millis(ms),
        })
}

fn chunk() -> impl Strategy<Value = AChunk> {
    (select(log::LogStream::ALL.to_vec()), any::<u64>(), blob()).prop_map(|(stream, offset, mut bytes)| {
        bytes.0.truncate(log::LOG_CHUNK_BYTES_MAX);
        AChunk {
            stream,
            offset,
            bytes,
        }
    })
}

fn work() -> impl Strategy<Value = WorkId> {
    any::<u64>().prop_map(WorkId)
}

fn bag() -> impl Strategy<Value = BagId> {
    any::<u64>().prop_map(BagId)
}

fn worker() -> impl Strategy<Value = WorkerId> {
    any::<u32>().prop_map(WorkerId)
}

fn at() -> impl Strategy<Value = Instant> {
    any::<u64>().prop_map(Instant)
}

fn rows() -> impl Strategy<Value = Vec<Blob>> {
    vec(blob(), 0..12)
}

fn invalid() -> impl Strategy<Value = Invalid> {
    (text(), text()).prop_map(|(field, problem)| Invalid { field, problem })
}

fn lsn() -> impl Strategy<Value = Lsn> {
    any::<u64>().prop_map(Lsn)
}

/// Any message of any link.
pub(crate) fn message() -> impl Strategy<Value = (Link, Message)> {
    select(&Link::ALL[..]).prop_flat_map(|link| {
        let message = match link {
            Link::WorkerToEngine => from_worker(),
            Link::EngineToWorker => to_worker(),
            Link::ClientToEngine => from_client(),
            Link::EngineToClient => to_client(),
            Link::SubscriberToEngine => from_subscriber(),
            Link::EngineToSubscriber => to_subscriber(),
            Link::Record => record(),
        };
        message.prop_map(move |message| (link, message))
    })
}
