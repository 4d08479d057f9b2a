//! Journal records: what happened, in the engine's own order. The journal keeps them, the feed carries them,
//! sidecars build their tables from them, and a start of the engine replays them.
//!
//! A record is a fact. Records that end works and give leases hold many items, because an fsync, a checksum
//! and a header per work would cost more than the work itself.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::client_link::IdempotencyKey;
use crate::codec::{self, DecodeError, Reader};
use crate::ids::{Attempt, BagId, Epoch, LeaseToken, Lsn, Shard, TenantId, TokenId, WorkId, WorkerId};
use crate::joining::{Address, Approval, Digest};
use crate::limits::RESULT_BYTES_MAX;
use crate::note::{NotebookTaken, NotesWritten};
use crate::outcome::{Outcome, Reason};
use crate::template::{Offer, Priority, Rows, WorkTemplate};
use crate::units::Instant;
use crate::view::WorkerState;

/// Kind bytes of records; never reused for something else.
pub mod kind {
    #![expect(missing_docs, reason = "each is documented at the record that it announces")]
    pub const EPOCH_STARTED: u8 = 1;
    pub const TENANT_ADDED: u8 = 2;
    pub const BAG_OPENED: u8 = 3;
    pub const ROWS_ADDED: u8 = 4;
    pub const BAG_PRIORITISED: u8 = 5;
    pub const BAG_FORGOTTEN: u8 = 6;
    pub const WORKER_JOINED: u8 = 7;
    pub const WORKER_CHANGED: u8 = 8;
    pub const LEASED: u8 = 9;
    pub const STARTED: u8 = 10;
    pub const RELEASED: u8 = 11;
    pub const SETTLED: u8 = 12;
    pub const ENDED: u8 = 13;
    pub const REVIVED: u8 = 14;
    pub const WORKER_FORGOTTEN: u8 = 15;
    pub const BAG_SEALED: u8 = 16;
    pub const TOKEN_CREATED: u8 = 17;
    pub const TOKEN_REVOKED: u8 = 18;
    pub const WORKER_ENROLLED: u8 = 19;
    pub const WORKER_STANDING: u8 = 20;
    pub const NOTEBOOK_TAKEN: u8 = 21;
    pub const NOTES_WRITTEN: u8 = 22;
}

/// An engine took up the shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochStarted {
    /// The shard.
    pub shard: Shard,
    /// Its new epoch.
    pub epoch: Epoch,
    /// When.
    pub at: Instant,
    /// Version of the engine.
    pub version: String,
}

/// A tenant was seen for the first time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TenantAdded {
    /// Its number.
    pub tenant: TenantId,
    /// Its login.
    pub name: String,
    /// Its share relative to others.
    pub weight: u32,
}

/// A submission was opened; its works get ids `first … first + rows_total - 1` as their rows come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BagOpened {
    /// The bag.
    pub bag: BagId,
    /// Id of row 0.
    pub first: WorkId,
    /// Rows announced.
    pub rows_total: u32,
    /// Whose it is.
    pub tenant: TenantId,
    /// The submitter's key, zeros if none.
    pub key: IdempotencyKey,
    /// When.
    pub at: Instant,
    /// What the works have in common.
    pub template: WorkTemplate,
}

/// The works of a bag go with another priority from here on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BagPrioritised {
    /// The bag.
    pub bag: BagId,
    /// Its new priority.
    pub priority: Priority,
    /// When.
    pub at: Instant,
}

/// The bag takes no more rows from here on, although it announced more; its works go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BagSealed {
    /// The bag.
    pub bag: BagId,
    /// When.
    pub at: Instant,
}

/// A worker joined, or joined again with another offer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerJoined {
    /// Its number.
    pub worker: WorkerId,
    /// Its identity across restarts.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Version of its program.
    pub version: String,
    /// What it has.
    pub offer: Offer,
    /// When.
    pub at: Instant,
}

/// A worker's state changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerChanged {
    /// The worker.
    pub worker: WorkerId,
    /// Its new state.
    pub state: WorkerState,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Instant,
}

/// An enrolment token was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenCreated {
    /// Its number.
    pub token: TokenId,
    /// SHA-256 of its text.
    pub digest: Digest,
    /// Until when it is good.
    pub expires: Instant,
    /// Workers that it enrols.
    pub uses: u32,
    /// What it is for.
    pub label: String,
    /// Groups that its workers are in.
    pub groups: Vec<String>,
    /// When.
    pub at: Instant,
}

/// A token enrols nobody any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenRevoked {
    /// The token.
    pub token: TokenId,
    /// When.
    pub at: Instant,
}

/// A worker got a certificate. One record says so and spends the token's use, so that neither is without the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerEnrolled {
    /// The worker.
    pub worker: WorkerId,
    /// The token that a use of was spent; `None`: it renewed the certificate that it had.
    pub token: Option<TokenId>,
    /// Number of the certificate.
    pub serial: u64,
    /// SHA-256 of its public key.
    pub key: Digest,
    /// When it ends.
    pub not_after: Instant,
    /// When.
    pub at: Instant,
}

/// What is known of a worker beside what it offers: it is said anew when any of it changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerStanding {
    /// The worker.
    pub worker: WorkerId,
    /// Whether it may work. Whoever is revoked has no certificate any more.
    pub approval: Approval,
    /// The wallet that it has proved to hold.
    pub wallet: Option<Address>,
    /// When.
    pub at: Instant,
}

/// The outcome of one work with its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SettledItem<'a> {
    /// The work.
    pub work: WorkId,
    /// The attempt that decided it.
    pub attempt: Attempt,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// Exit code, or minus the signal.
    pub exit_code: i32,
    /// Time that the attempt ran, in microseconds.
    pub elapsed_us: u32,
    /// The result.
    pub result: &'a [u8],
}

impl SettledItem<'_> {
    /// Appends the item to a record begun with [`begin_settled`].
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) {
        // One append instead of six: the vector checks its room once.
        let mut fixed = [0; 20];
        fixed[0..8].copy_from_slice(&self.work.0.to_le_bytes());
        fixed[8..10].copy_from_slice(&self.attempt.0.to_le_bytes());
        fixed[10] = self.outcome as u8;
        fixed[11] = self.reason as u8;
        fixed[12..16].copy_from_slice(&self.exit_code.to_le_bytes());
        fixed[16..20].copy_from_slice(&self.elapsed_us.to_le_bytes());
        out.extend_from_slice(&fixed);
        codec::put_bytes(out, self.result);
    }
}

/// Attempts of one worker decided these works. `at: u64`, `worker: u32`, then the items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled<'a> {
    /// When.
    pub at: Instant,
    /// The worker.
    pub worker: WorkerId,
    items: &'a [u8],
}

/// Appends what stands before the items of a `Settled` record.
pub fn begin_settled(out: &mut Vec<u8>, at: Instant, worker: WorkerId) {
    out.extend_from_slice(&at.0.to_le_bytes());
    out.extend_from_slice(&worker.0.to_le_bytes());
}

impl<'a> Settled<'a> {
    fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let at = Instant(reader.u64("at")?);
        let worker = WorkerId(reader.u32("worker")?);
        let items = reader.rest();
        while !reader.is_empty() {
            Self::next(&mut reader)?;
        }
        Ok(Self { at, worker, items })
    }

    #[inline]
    fn next(reader: &mut Reader<'a>) -> Result<SettledItem<'a>, DecodeError> {
        Ok(SettledItem {
            work: WorkId(reader.u64("work")?),
            attempt: Attempt(reader.u16("attempt")?),
            outcome: Outcome::from_wire(reader.u8("outcome")?)?,
            reason: Reason::from_wire(reader.u8("reason")?)?,
            exit_code: reader.i32("exit code")?,
            elapsed_us: reader.u32("elapsed")?,
            result: reader.bytes("result", RESULT_BYTES_MAX)?,
        })
    }

    /// The outcomes in order.
    pub fn iter(&self) -> impl Iterator<Item = SettledItem<'a>> + use<'a> {
        let mut reader = Reader::new(self.items);
        core::iter::from_fn(move || {
            (!reader.is_empty()).then(|| Self::next(&mut reader).expect("checked by parse"))
        })
    }
}

/// A run of consecutive works that all changed in the same way: `at`, `first`, `count`, and what they became.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Instant,
    /// The first work.
    pub first: WorkId,
    /// How many works from there on; those among them that are done already keep their outcome.
    pub count: u32,
    /// How they ended.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// The bag that takes no more rows from here on, where the run is a whole bag.
    pub closes: Option<BagId>,
}

/// Works that had ended without success are queued again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revived {
    /// When.
    pub at: Instant,
    /// The first work.
    pub first: WorkId,
    /// How many works from there on; only those that failed, were cancelled or expired.
    pub count: u32,
}

/// Attempts of one worker, listed by token: `at: u64`, `worker: u32`, `reason: u8`, then the tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempts<'a> {
    /// When.
    pub at: Instant,
    /// The worker.
    pub worker: WorkerId,
    /// Why (for leases that were released).
    pub reason: Reason,
    tokens: &'a [[u8; LeaseToken::ENCODED_BYTES]],
}

/// Appends what stands before the tokens of a `Leased`, `Started` or `Released` record.
pub fn begin_attempts(out: &mut Vec<u8>, at: Instant, worker: WorkerId, reason: Reason) {
    out.extend_from_slice(&at.0.to_le_bytes());
    out.extend_from_slice(&worker.0.to_le_bytes());
    out.push(reason as u8);
}

impl<'a> Attempts<'a> {
    fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let at = Instant(reader.u64("at")?);
        let worker = WorkerId(reader.u32("worker")?);
        let reason = Reason::from_wire(reader.u8("reason")?)?;
        let (tokens, rest) = reader.rest().as_chunks();
        if !rest.is_empty() {
            return Err(DecodeError::Truncated { field: "token" });
        }
        Ok(Self {
            at,
            worker,
            reason,
            tokens,
        })
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens in order.
    pub fn iter(&self) -> impl Iterator<Item = LeaseToken> + use<'a> {
        self.tokens.iter().map(LeaseToken::from_bytes)
    }
}

/// Rows of a bag were accepted: `at: u64`, `bag: u64`, `first_row: u32`, `count: u32`, then the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowsAdded<'a> {
    /// When.
    pub at: Instant,
    /// The bag.
    pub bag: BagId,
    /// Index of the first of them.
    pub first_row: u32,
    /// The rows.
    pub rows: Rows<'a>,
}

impl RowsAdded<'_> {
    /// Bytes before the rows.
    pub const HEADER_BYTES: usize = 8 + 8 + 4 + 4;

    /// Appends the payload.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.0.to_le_bytes());
        out.extend_from_slice(&self.bag.0.to_le_bytes());
        out.extend_from_slice(&self.first_row.to_le_bytes());
        out.extend_from_slice(&self.rows.len().to_le_bytes());
        out.extend_from_slice(self.rows.encoded());
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// An engine took up the shard.
    EpochStarted(EpochStarted),
    /// A new tenant.
    TenantAdded(TenantAdded),
    /// A submission was opened.
    BagOpened(Box<BagOpened>),
    /// It got rows.
    RowsAdded(RowsAdded<'a>),
    /// Its priority changed.
    BagPrioritised(BagPrioritised),
    /// All its works are done and it is no longer remembered.
    BagForgotten(BagId),
    /// A worker joined.
    WorkerJoined(Box<WorkerJoined>),
    /// A worker's state changed.
    WorkerChanged(WorkerChanged),
    /// A worker that was gone for long is no longer remembered.
    WorkerForgotten(WorkerId),
    /// A worker got leases.
    Leased(Attempts<'a>),
    /// A worker said that these run.
    Started(Attempts<'a>),
    /// Leases ended without an outcome; the works are queued again.
    Released(Attempts<'a>),
    /// Attempts decided works.
    Settled(Settled<'a>),
    /// Works ended without an attempt deciding it.
    Ended(Ended),
    /// Works that had ended are queued again.
    Revived(Revived),
    /// A submission has no more rows.
    BagSealed(BagSealed),
    /// An enrolment token was made.
    TokenCreated(Box<TokenCreated>),
    /// It enrols nobody any more.
    TokenRevoked(TokenRevoked),
    /// A worker got a certificate.
    WorkerEnrolled(WorkerEnrolled),
    /// A worker was approved or revoked, waits for approval, or has another wallet.
    WorkerStanding(WorkerStanding),
    /// A sidecar took a notebook.
    NotebookTaken(NotebookTaken),
    /// It wrote into it.
    NotesWritten(Box<NotesWritten>),
}

/// Why a record cannot follow those before it. Nothing behind it can.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum NotNext {
    /// It is not the next one.
    #[error("record {found} follows record {last}; one is missing or repeated")]
    Gap {
        /// The last one taken.
        last: Lsn,
        /// The one at hand.
        found: Lsn,
    },
    /// Its bytes are not a record of this version.
    #[error("record {lsn} cannot be read; was it written by a later version?")]
    Malformed {
        /// Its position.
        lsn: Lsn,
        /// What is wrong with it.
        source: DecodeError,
    },
}

impl<'a> Record<'a> {
    /// Reads the record at `lsn` for whoever took all up to `last`.
    ///
    /// # Errors
    /// See [`NotNext`].
    pub fn parse_next(last: Lsn, lsn: Lsn, kind: u8, payload: &'a [u8]) -> Result<Self, NotNext> {
        if lsn != last.next() {
            return Err(NotNext::Gap { last, found: lsn });
        }
        Self::parse(kind, payload).map_err(|source| NotNext::Malformed { lsn, source })
    }

    /// Reads one record.
    ///
    /// # Errors
    /// The record is malformed, or of a kind that a later version writes.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match kind {
            kind::EPOCH_STARTED => Self::EpochStarted(codec::read_control("epoch started", payload)?),
            kind::TENANT_ADDED => Self::TenantAdded(codec::read_control("tenant added", payload)?),
            kind::BAG_OPENED => Self::BagOpened(Box::new(codec::read_control("bag opened", payload)?)),
            kind::ROWS_ADDED => {
                let mut reader = Reader::new(payload);
                let at = Instant(reader.u64("at")?);
                let bag = BagId(reader.u64("bag")?);
                let first_row = reader.u32("first row")?;
                let count = reader.u32("count")?;
                Self::RowsAdded(RowsAdded {
                    at,
                    bag,
                    first_row,
                    rows: Rows::parse(count, reader.rest())?,
                })
            }
            kind::BAG_PRIORITISED => Self::BagPrioritised(codec::read_control("bag prioritised", payload)?),
            kind::BAG_FORGOTTEN => Self::BagForgotten(codec::read_control("bag forgotten", payload)?),
            kind::WORKER_JOINED => {
                Self::WorkerJoined(Box::new(codec::read_control("worker joined", payload)?))
            }
            kind::WORKER_CHANGED => Self::WorkerChanged(codec::read_control("worker changed", payload)?),
            kind::WORKER_FORGOTTEN => {
                Self::WorkerForgotten(codec::read_control("worker forgotten", payload)?)
            }
            kind::LEASED => Self::Leased(Attempts::parse(payload)?),
            kind::STARTED => Self::Started(Attempts::parse(payload)?),
            kind::RELEASED => Self::Released(Attempts::parse(payload)?),
            kind::SETTLED => Self::Settled(Settled::parse(payload)?),
            kind::ENDED => Self::Ended(codec::read_control("ended", payload)?),
            kind::REVIVED => Self::Revived(codec::read_control("revived", payload)?),
            kind::BAG_SEALED => Self::BagSealed(codec::read_control("bag sealed", payload)?),
            kind::TOKEN_CREATED => {
                Self::TokenCreated(Box::new(codec::read_control("token created", payload)?))
            }
            kind::TOKEN_REVOKED => Self::TokenRevoked(codec::read_control("token revoked", payload)?),
            kind::WORKER_ENROLLED => Self::WorkerEnrolled(codec::read_control("worker enrolled", payload)?),
            kind::WORKER_STANDING => Self::WorkerStanding(codec::read_control("worker standing", payload)?),
            kind::NOTEBOOK_TAKEN => Self::NotebookTaken(codec::read_control("notebook taken", payload)?),
            kind::NOTES_WRITTEN => {
                Self::NotesWritten(Box::new(codec::read_control("notes written", payload)?))
            }
            _ => return Err(DecodeError::UnknownKind { kind }),
        })
    }
}
