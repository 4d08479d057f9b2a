//! What happens to the scheduler.

use wire_protocol::client_link::FromClient;
use wire_protocol::ids::LinkId;
use wire_protocol::view::SubscriberView;
use wire_protocol::worker_link::{FromWorker, Join};

/// One thing that happened. The shell has checked frames for form and logins for truth; everything else about
/// them is the scheduler's to judge.
#[derive(Debug)]
pub enum Event<'a> {
    /// A worker with a valid login asks to join on this link. A link that has a peer already is closed.
    WorkerJoined {
        /// Its link.
        link: LinkId,
        /// What it says of itself.
        join: &'a Join,
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
