//! What happens to the scheduler.

use wire_protocol::client_link::FromClient;
use wire_protocol::ids::LinkId;
use wire_protocol::joining::Digest;
use wire_protocol::units::Instant;
use wire_protocol::view::SubscriberView;
use wire_protocol::worker_link::{FromWorker, Join};

/// One thing that happened. The shell has checked frames for form and logins for truth; everything else about
/// them is the scheduler's to judge.
#[derive(Debug)]
pub enum Event<'a> {
    /// A worker asks to join on this link. A link that has a peer already is closed. Its wallet proof, if it shows one,
    /// was checked.
    WorkerJoined {
        /// Its link.
        link: LinkId,
        /// What it says of itself.
        join: &'a Join,
        /// How it proved who it is.
        proof: Proof<'a>,
    },
    /// A worker that has a certificate wants one that lasts longer. On a link of another: the link is closed.
    WorkerRenews {
        /// Its link.
        link: LinkId,
        /// SHA-256 of the public key that its request is for.
        key: Digest,
        /// The request.
        request: &'a [u8],
    },
    /// A worker said something. On a link that is no worker's: the link is closed.
    WorkerSaid {
        /// Its link.
        link: LinkId,
        /// What it said.
        message: FromWorker<'a>,
    },
    /// A client with a valid login came. A link that has a peer already is closed.
    ClientJoined {
        /// Its link.
        link: LinkId,
        /// Whose works it submits: its login.
        tenant: &'a str,
        /// It may see and change what others submitted, and workers.
        operator: bool,
    },
    /// A client said something. On a link that is no client's: the link is closed.
    ClientSaid {
        /// Its link.
        link: LinkId,
        /// What it said.
        message: FromClient<'a>,
    },
    /// Something arrived on the link, whatever it was: a sign of life.
    LinkAlive {
        /// The link.
        link: LinkId,
    },
    /// The link takes no more outcomes for now: what was sent to it has not been read. Repeats change nothing.
    LinkFull {
        /// The link.
        link: LinkId,
    },
    /// The link is gone. Repeats and unknown links change nothing.
    LinkClosed {
        /// The link.
        link: LinkId,
    },
    /// What the journal can take has changed.
    JournalPressure(Pressure),
    /// A snapshot that was asked for is durable, or could not be made.
    SnapshotDone,
    /// Who follows the feed and how far it is, as of now. The core only tells it on.
    Subscribers(&'a [SubscriberView]),
    /// Time passed: [`crate::Scheduler::next_deadline`] is due. Early ticks change nothing.
    Tick,
}

/// How a worker proved who it is, as far as that takes cryptography; whether it may join is the scheduler's to judge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof<'a> {
    /// By the password of all workers.
    Password,
    /// By a certificate of the engine's CA for workers.
    Certificate {
        /// The worker that it was given to.
        uid: &'a str,
        /// SHA-256 of its public key.
        key: Digest,
        /// When it ends, which may have been long ago.
        not_after: Instant,
    },
    /// By an enrolment token, for which it asks a certificate.
    Token {
        /// SHA-256 of the token's text.
        digest: Digest,
        /// SHA-256 of the public key that the request is for.
        key: Digest,
        /// The request, which is signed with that key.
        request: &'a [u8],
    },
}

/// What the journal can take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pressure {
    /// Everything.
    #[default]
    None,
    /// Its buffer is half full: submissions wait, everything else goes on.
    Behind,
    /// The disk is full but for the reserve, which is kept for works that are under way: submissions wait, and no work
    /// is leased, because leases are records too.
    DiskFull,
}
