//! The worker link: what a worker and the engine say to each other, in frames of one QUIC stream.
//!
//! The worker opens with `Join`, the engine answers `Welcome` or `Refused`. Then the engine sends templates
//! and assignments, the worker reports; both sides batch. The order of frames in one direction is the order
//! in which they were said, so `Recorded { upto }` acknowledges every report up to that number.
//!
//! A worker keeps each report until it is acknowledged, and presents the leases it still holds when it joins
//! again: reports may therefore arrive twice, and the token decides what they mean.

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError, Reader};
use crate::frame;
use crate::ids::{Epoch, LeaseToken, Shard, WorkerId};
use crate::joining::{Certified, Enrol, Renew, WalletProof};
use crate::limits::{LEASES_PER_WORKER_MAX, PROBLEM_BYTES_MAX, RESULT_BYTES_MAX, ROW_BYTES_MAX};
use crate::log::{FollowLog, WorkerLog};
use crate::outcome::Reason;
use crate::template::{Offer, WorkTemplate};
use crate::units::Millis;
use crate::view::Explanation;

/// Names this version of the link in the TLS handshake; an incompatible change gets a new name, and a server
/// offers old and new side by side for as long as it understands both.
pub const ALPN: &[u8] = b"pool-worker/1";

/// Kind bytes. 0x01–0x3f: engine to worker; 0x41–0x7f: worker to engine.
pub mod kind {
    #![expect(missing_docs, reason = "each is documented at the message that it announces")]
    pub const WELCOME: u8 = 0x01;
    pub const REFUSED: u8 = 0x02;
    pub const TEMPLATE: u8 = 0x03;
    pub const ASSIGN: u8 = 0x04;
    pub const RECORDED: u8 = 0x05;
    pub const RETRACT: u8 = 0x06;
    pub const CANCEL: u8 = 0x07;
    pub const NOTICE: u8 = 0x08;
    pub const PONG: u8 = 0x09;
    pub const GRANTED: u8 = 0x0a;
    pub const CERTIFICATE: u8 = 0x0b;
    pub const FOLLOW_LOG: u8 = 0x0c;
    pub const IDLE: u8 = 0x0d;
    pub const DRAIN: u8 = 0x0e;
    pub const JOIN: u8 = 0x41;
    pub const FINISHED: u8 = 0x42;
    pub const STARTED: u8 = 0x43;
    pub const RETRACTED: u8 = 0x44;
    pub const PING: u8 = 0x45;
    pub const DRAINING: u8 = 0x46;
    pub const HOLDING: u8 = 0x47;
    pub const GRANT_ASKED: u8 = 0x48;
    pub const RENEW: u8 = 0x49;
    pub const LOG: u8 = 0x4a;
    pub const WHY_IDLE: u8 = 0x4b;
    pub const LOG_TOLD: u8 = 0x4c;
}

/// First message of a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Join {
    /// Account of the pool's operator for workers (`WORKERLOGIN`). Empty, as the password is, where the certificate of
    /// the connection or an enrolment token says who it is.
    pub login: String,
    /// Its password (`WORKERPASSWORD`).
    pub password: String,
    /// Asks for a certificate, and shows the token that is good for one.
    pub enrol: Option<Enrol>,
    /// Proves whose wallet it works for.
    pub wallet: Option<WalletProof>,
    /// Identity of this worker, the same across its restarts (`WORKERUID`); unique in the pool.
    pub uid: String,
    /// Name for people.
    pub name: String,
    /// Version of the worker's program.
    pub version: String,
    /// What it has.
    pub offer: Offer,
    /// Leases that it still holds: works that wait or run there.
    pub held: Vec<LeaseToken>,
    /// Which of the held ones run.
    pub running: Vec<LeaseToken>,
    /// Works whose outcome it will report again, because no acknowledgement came.
    pub unacknowledged: Vec<LeaseToken>,
    /// Keys of what it has already of images and files, see [`crate::warm`]; what was used last comes first.
    pub warm: Vec<u64>,
}

impl Join {
    /// Checks the lengths of all lists and names.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub fn validate(&self) -> Result<(), DecodeError> {
        use crate::limits::{LIST_LEN_MAX, NAME_BYTES_MAX, WARM_KEYS_MAX};
        let offer = &self.offer;
        let names = [
            &self.login,
            &self.password,
            &self.uid,
            &self.name,
            &self.version,
            &offer.os,
            &offer.arch,
        ];
        let lists = [&offer.executors, &offer.tags, &offer.groups];
        let bounds = names
            .into_iter()
            .chain(lists.into_iter().flatten())
            .chain(offer.custom.iter().map(|(name, _)| name))
            .map(|name| ("join: name", name.len(), NAME_BYTES_MAX))
            .chain(
                lists
                    .into_iter()
                    .map(|list| ("join: list", list.len(), LIST_LEN_MAX)),
            )
            .chain([("join: custom", offer.custom.len(), LIST_LEN_MAX)])
            .chain(
                [&self.held, &self.running, &self.unacknowledged]
                    .map(|t| ("join: leases", t.len(), LEASES_PER_WORKER_MAX)),
            )
            .chain([("join: warm", self.warm.len(), WARM_KEYS_MAX)])
            .chain([(
                "join: slots",
                (offer.slots as usize).saturating_add(offer.prefill as usize),
                LEASES_PER_WORKER_MAX,
            )]);
        for (field, len, max) in bounds {
            if len > max {
                return Err(DecodeError::OutOfRange {
                    field,
                    value: len as u64,
                });
            }
        }
        self.enrol.as_ref().map_or(Ok(()), Enrol::validate)?;
        if self.uid.is_empty() || offer.slots == 0 {
            return Err(DecodeError::OutOfRange {
                field: "join: uid or slots",
                value: 0,
            });
        }
        Ok(())
    }
}

/// Whether a worker takes work, said when that changes and after each `Welcome` that finds it holding: the engine
/// forgets it with the connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Holding {
    /// Why it takes none, for people, at most [`PROBLEM_BYTES_MAX`] bytes. `None`: work is welcome again.
    pub problem: Option<String>,
}

impl Holding {
    /// Checks the length of the sentence.
    ///
    /// # Errors
    /// It is longer than [`PROBLEM_BYTES_MAX`].
    pub fn validate(&self) -> Result<(), DecodeError> {
        let bytes = self.problem.as_ref().map_or(0, String::len);
        if bytes > PROBLEM_BYTES_MAX {
            return Err(DecodeError::OutOfRange {
                field: "holding: problem",
                value: bytes as u64,
            });
        }
        Ok(())
    }
}

/// The engine's answer to a worker that may join.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The worker's number in this engine.
    pub worker: WorkerId,
    /// The shard it serves.
    pub shard: Shard,
    /// The engine's epoch; a worker refuses a lower one than it has seen for the shard.
    pub epoch: Epoch,
    /// Without a sign of life for this long, the worker is lost and its leases are given to others.
    pub lease_timeout: Millis,
    /// The worker says `Ping` when it has said nothing else for this long.
    pub heartbeat: Millis,
    /// Those of the presented leases that go on. The others are stale: stop them, say nothing more of them.
    pub adopted: Vec<LeaseToken>,
}

/// Why a join or a login is refused; the connection is closed after it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// What a program does about it.
    pub code: RefusedCode,
    /// What a person reads.
    pub reason: String,
    /// Come back after this time; zero where waiting does not help.
    pub retry_after: Millis,
}

/// What a program does about a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RefusedCode {
    /// Wrong login or password: stop and tell the operator.
    Credentials,
    /// Too many attempts or too many connections: wait.
    Busy,
    /// A bound or a field is wrong: stop and tell the operator.
    Invalid,
    /// The engine is shutting down: wait and reconnect.
    ShuttingDown,
}

/// A notice that changes what the worker may expect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Notice {
    /// No further work will come; what it holds goes on.
    Cordoned {
        /// Why, for people.
        reason: String,
    },
    /// Work will come again.
    Uncordoned,
    /// A report named a lease that is not the recorded one; this is what is recorded.
    Stale {
        /// The token of the report.
        token: LeaseToken,
        /// What is recorded of the work, for people.
        recorded: String,
    },
    /// The engine is shutting down; keep what you hold and come back.
    ShuttingDown,
}

/// Finish what runs, return the rest, then leave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drain {
    /// Why, for people.
    pub reason: String,
    /// Stop what still runs after this time and return it, too. `None`: wait for as long as it takes, or as an earlier
    /// one said.
    pub within: Option<Millis>,
}

/// The worker wants to leave: send nothing more. Said again after each `Welcome` that finds it draining, and when the
/// deadline changes: the engine forgets it with the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Draining {
    /// It stops and returns what still runs after this time; `None`: it waits for as long as it takes.
    pub within: Option<Millis>,
}

/// Why a worker has nothing to do: the answer to [`FromWorker::WhyIdle`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Idle {
    /// What a program does with it, and what tells one reason from another: numbers in the sentences change all the time.
    pub cause: IdleCause,
    /// What a person reads.
    pub explanation: Explanation,
}

/// What keeps works from a worker, most telling first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdleCause {
    /// It is leaving, or has left.
    Draining,
    /// An operator wants it to get nothing.
    Cordoned,
    /// It takes no work itself, see [`Holding`].
    Holding,
    /// The engine gives nothing to anybody for now.
    Paused,
    /// No works wait.
    NothingQueued,
    /// Works wait for a backoff to pass, and no others.
    Backoff,
    /// Works wait, and it meets the requirements of none.
    NoMatch,
    /// Works that it could run wait; it gets them next, or its slots are taken by now.
    Next,
    /// Works that it could run wait, and what it has of a counted resource is taken or held for others.
    NoRoom,
}

/// The answer to [`FromWorker::GrantAsked`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Granted {
    /// The lease that was asked for.
    pub token: LeaseToken,
    /// What the worker may do with the files of this attempt.
    pub answer: GrantAnswer,
}

/// What a worker may do with the files of one attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum GrantAnswer {
    /// This.
    Granted {
        /// Where the file store is.
        url: String,
        /// What to show there; signed [`crate::file::Claims`] as text.
        grant: String,
    },
    /// Nothing.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

/// A template and the number that assignments of this connection call it by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TemplateDefined {
    /// Number, for this connection only.
    pub template: u32,
    /// The template. A definition of a known number replaces it for later assignments.
    pub definition: WorkTemplate,
}

/// Lists of tokens: `Retract`, `Cancel` (with a reason), `Started`, `Retracted`, `GrantAsked`, `LogTold`, all laid out alike.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    reason: Reason,
    bytes: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// Appends a frame of this kind: one byte of reason, then the tokens.
    pub fn push(out: &mut Vec<u8>, kind: u8, reason: Reason, tokens: impl IntoIterator<Item = LeaseToken>) {
        frame::push(out, kind, |out| {
            out.push(reason as u8);
            for token in tokens {
                out.extend_from_slice(&token.to_bytes());
            }
        });
    }

    /// Checks and opens the payload.
    ///
    /// # Errors
    /// No reason, more tokens than a worker may hold, or half a token at the end.
    pub fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let reason = Reason::from_wire(reader.u8("reason")?)?;
        let bytes = reader.rest();
        if !bytes.len().is_multiple_of(LeaseToken::ENCODED_BYTES) {
            return Err(DecodeError::Truncated { field: "token" });
        }
        if bytes.len() / LeaseToken::ENCODED_BYTES > LEASES_PER_WORKER_MAX {
            return Err(DecodeError::OutOfRange {
                field: "tokens",
                value: bytes.len() as u64,
            });
        }
        Ok(Self { reason, bytes })
    }

    /// Why they are listed.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The tokens in order.
    pub fn iter(&self) -> impl Iterator<Item = LeaseToken> + use<'a> {
        let (tokens, _) = self.bytes.as_chunks::<{ LeaseToken::ENCODED_BYTES }>();
        tokens.iter().map(LeaseToken::from_bytes)
    }
}

/// One work for a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assignment<'a> {
    /// The lease.
    pub token: LeaseToken,
    /// Its row of parameters.
    pub row: &'a [u8],
}

/// Assignments of one template: `template: u32`, then for each its token, the length of its row, the row.
#[derive(Clone, Copy, Debug)]
pub struct Assignments<'a> {
    template: u32,
    items: &'a [u8],
}

impl<'a> Assignments<'a> {
    /// Appends one item to the payload of an `ASSIGN` frame that was begun with the template's number.
    #[inline]
    pub fn put(out: &mut Vec<u8>, token: LeaseToken, row: &[u8]) {
        out.extend_from_slice(&token.to_bytes());
        codec::put_bytes(out, row);
    }

    /// Checks the whole payload, so that iteration cannot fail and a bad frame changes nothing.
    ///
    /// # Errors
    /// The first malformed item.
    pub fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let template = reader.u32("template")?;
        let items = reader.rest();
        while !reader.is_empty() {
            Self::next(&mut reader)?;
        }
        Ok(Self { template, items })
    }

    #[inline]
    fn next(reader: &mut Reader<'a>) -> Result<Assignment<'a>, DecodeError> {
        let token = LeaseToken::from_bytes(reader.array("token")?);
        Ok(Assignment {
            token,
            row: reader.bytes("row", ROW_BYTES_MAX)?,
        })
    }

    /// The template they share.
    #[must_use]
    pub fn template(&self) -> u32 {
        self.template
    }

    /// The assignments in order.
    pub fn iter(&self) -> impl Iterator<Item = Assignment<'a>> + use<'a> {
        let mut reader = Reader::new(self.items);
        core::iter::from_fn(move || {
            (!reader.is_empty()).then(|| Self::next(&mut reader).expect("checked by parse"))
        })
    }
}

/// How one attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report<'a> {
    /// The lease under which it ran.
    pub token: LeaseToken,
    /// [`Reason::None`]: it succeeded.
    pub reason: Reason,
    /// Exit code of the command, or minus the signal that ended it; 0 where there was neither.
    pub exit_code: i32,
    /// Time it ran, in microseconds, saturating (71 minutes and more).
    pub elapsed_us: u32,
    /// Its result, at most [`RESULT_BYTES_MAX`]; for commands an [`crate::outcome::Output`].
    pub result: &'a [u8],
}

impl Report<'_> {
    /// Appends the report as an item of a `FINISHED` frame.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) {
        // One append instead of four: the vector checks its room once.
        let mut fixed = [0; 25];
        fixed[0..16].copy_from_slice(&self.token.to_bytes());
        fixed[16] = self.reason as u8;
        fixed[17..21].copy_from_slice(&self.exit_code.to_le_bytes());
        fixed[21..25].copy_from_slice(&self.elapsed_us.to_le_bytes());
        out.extend_from_slice(&fixed);
        codec::put_bytes(out, self.result);
    }
}

/// Reports of a worker: `first: u64`, the number of the first in this connection (they count from 1), then the items.
#[derive(Clone, Copy, Debug)]
pub struct Reports<'a> {
    first: u64,
    items: &'a [u8],
}

impl<'a> Reports<'a> {
    /// Checks the whole payload, so that iteration cannot fail and a bad frame changes nothing.
    ///
    /// # Errors
    /// The first malformed item.
    pub fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let first = reader.u64("first")?;
        let items = reader.rest();
        while !reader.is_empty() {
            Self::next(&mut reader)?;
        }
        Ok(Self { first, items })
    }

    #[inline]
    fn next(reader: &mut Reader<'a>) -> Result<Report<'a>, DecodeError> {
        Ok(Report {
            token: LeaseToken::from_bytes(reader.array("token")?),
            reason: Reason::from_wire(reader.u8("reason")?)?,
            exit_code: reader.i32("exit code")?,
            elapsed_us: reader.u32("elapsed")?,
            result: reader.bytes("result", RESULT_BYTES_MAX)?,
        })
    }

    /// Number of the first report of this frame within the connection.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The reports in order.
    pub fn iter(&self) -> impl Iterator<Item = Report<'a>> + use<'a> {
        let mut reader = Reader::new(self.items);
        core::iter::from_fn(move || {
            (!reader.is_empty()).then(|| Self::next(&mut reader).expect("checked by parse"))
        })
    }
}

/// Appends `Recorded`: every report up to number `upto` of this connection is durable, or was stale; forget them.
pub fn push_recorded(out: &mut Vec<u8>, upto: u64) {
    frame::push(out, kind::RECORDED, |out| {
        out.extend_from_slice(&upto.to_le_bytes())
    });
}

/// What the engine says to a worker.
#[derive(Clone, Debug)]
pub enum ToWorker<'a> {
    /// It may work.
    Welcome(Welcome),
    /// It may not.
    Refused(Refused),
    /// A template for later assignments.
    Template(Box<TemplateDefined>),
    /// Works to run.
    Assign(Assignments<'a>),
    /// All reports up to this number are recorded.
    Recorded(u64),
    /// Give back those that have not started (and say which).
    Retract(Tokens<'a>),
    /// Stop these and report nothing more of them.
    Cancel(Tokens<'a>),
    /// Something to know.
    Notice(Notice),
    /// Answer to a ping.
    Pong,
    /// Answer to [`FromWorker::GrantAsked`], for one token.
    Granted(Granted),
    /// Its certificate, durable.
    Certificate(Box<Certified>),
    /// Leave.
    Drain(Drain),
    /// Tell what an attempt prints.
    FollowLog(FollowLog),
    /// Answer to [`FromWorker::WhyIdle`].
    Idle(Idle),
}

impl<'a> ToWorker<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// The message is malformed or of a kind that the engine does not say.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match kind {
            kind::WELCOME => Self::Welcome(codec::read_control("welcome", payload)?),
            kind::REFUSED => Self::Refused(codec::read_control("refused", payload)?),
            kind::TEMPLATE => Self::Template(Box::new(codec::read_control("template", payload)?)),
            kind::ASSIGN => Self::Assign(Assignments::parse(payload)?),
            kind::RECORDED => {
                let mut reader = Reader::new(payload);
                let upto = reader.u64("upto")?;
                reader.finish()?;
                Self::Recorded(upto)
            }
            kind::RETRACT => Self::Retract(Tokens::parse(payload)?),
            kind::CANCEL => Self::Cancel(Tokens::parse(payload)?),
            kind::NOTICE => Self::Notice(codec::read_control("notice", payload)?),
            kind::PONG if payload.is_empty() => Self::Pong,
            kind::PONG => {
                return Err(DecodeError::Trailing { bytes: payload.len() });
            }
            kind::GRANTED => Self::Granted(codec::read_control("granted", payload)?),
            kind::CERTIFICATE => Self::Certificate(Box::new(codec::read_control("certificate", payload)?)),
            kind::DRAIN => Self::Drain(codec::read_control("drain", payload)?),
            kind::FOLLOW_LOG => Self::FollowLog(codec::read_control("follow log", payload)?),
            kind::IDLE => Self::Idle(codec::read_control("idle", payload)?),
            _ => return Err(DecodeError::UnknownKind { kind }),
        })
    }
}

/// What a worker says to the engine.
#[derive(Clone, Debug)]
pub enum FromWorker<'a> {
    /// First of all.
    Join(Box<Join>),
    /// Attempts that ended.
    Finished(Reports<'a>),
    /// Attempts that run, said only of those that last; a short work is first heard of when it ends.
    Started(Tokens<'a>),
    /// Attempts that it gives back, with the reason.
    Retracted(Tokens<'a>),
    /// A sign of life.
    Ping,
    /// It wants to leave: send nothing more.
    Draining(Draining),
    /// What may it do with the files of these attempts? Answered one by one; asked again, answered again.
    GrantAsked(Tokens<'a>),
    /// It takes no work for a while, or takes work again.
    Holding(Holding),
    /// Its certificate ends soon: it wants another.
    Renew(Box<Renew>),
    /// A piece of what an attempt prints that somebody follows. Nothing waits for it, and it may be left out.
    Log(WorkerLog<'a>),
    /// All that these attempts had printed when somebody asked has been said, as far as it was kept and there was room.
    LogTold(Tokens<'a>),
    /// It has had nothing to do for a while: why? Answered at most every other second.
    WhyIdle,
}

impl<'a> FromWorker<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// The message is malformed or of a kind that a worker does not say.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, DecodeError> {
        let empty = |message| {
            if payload.is_empty() {
                Ok(message)
            } else {
                Err(DecodeError::Trailing { bytes: payload.len() })
            }
        };
        Ok(match kind {
            kind::JOIN => {
                let join: Join = codec::read_control("join", payload)?;
                join.validate()?;
                Self::Join(Box::new(join))
            }
            kind::FINISHED => Self::Finished(Reports::parse(payload)?),
            kind::STARTED => Self::Started(Tokens::parse(payload)?),
            kind::RETRACTED => Self::Retracted(Tokens::parse(payload)?),
            kind::PING => empty(Self::Ping)?,
            kind::DRAINING => Self::Draining(codec::read_control("draining", payload)?),
            kind::GRANT_ASKED => Self::GrantAsked(Tokens::parse(payload)?),
            kind::HOLDING => {
                let holding: Holding = codec::read_control("holding", payload)?;
                holding.validate()?;
                Self::Holding(holding)
            }
            kind::RENEW => {
                let renew: Renew = codec::read_control("renew", payload)?;
                renew.validate()?;
                Self::Renew(Box::new(renew))
            }
            kind::LOG => Self::Log(WorkerLog::parse(payload)?),
            kind::LOG_TOLD => Self::LogTold(Tokens::parse(payload)?),
            kind::WHY_IDLE => empty(Self::WhyIdle)?,
            _ => return Err(DecodeError::UnknownKind { kind }),
        })
    }
}

/// Appends a control message of this link.
pub fn push_control<T: Serialize>(out: &mut Vec<u8>, kind: u8, message: &T) {
    frame::push(out, kind, |out| codec::put_control(out, message));
}

/// Appends a message that has no body.
pub fn push_empty(out: &mut Vec<u8>, kind: u8) {
    frame::push(out, kind, |_| {});
}
