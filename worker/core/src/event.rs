//! What a shell tells the core.

use wire_protocol::ids::LeaseToken;
use wire_protocol::joining::WalletProof;
use wire_protocol::log::LogChunk;
use wire_protocol::units::Millis;
use wire_protocol::worker_link::Report;

/// Something that happened. Any event may come at any time; the comments say what an unexpected one does.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The link that [`crate::Effect::Connect`] asked for is up. Ignored in any other phase than connecting.
    Connected {
        /// Proves on this very link whose wallet the worker works for, if that is to be said.
        wallet: Option<WalletProof>,
    },
    /// A frame of the engine came, as it stood on the link. A malformed one, or one that has no place in this
    /// phase, closes the link and changes nothing else. Ignored without a link.
    Frame {
        /// Its kind byte.
        kind: u8,
        /// Its payload.
        payload: &'a [u8],
    },
    /// The link is gone, or could not be made. Ignored without a link: after [`crate::Effect::Disconnect`] the
    /// core needs no confirmation.
    Disconnected {
        /// Why, for people.
        reason: &'a str,
    },
    /// An executor is done with an attempt, also with one that it was told to kill. A repeat, or a token that
    /// does not run here, is ignored.
    Ended(Report<'a>),
    /// An executor needs to know what it may do with the files of this attempt. Answered by
    /// [`crate::Effect::Granted`] once the engine has said it, however long there is no link; not answered if the
    /// attempt does not run, or is stopped meanwhile.
    GrantAsked(LeaseToken),
    /// Whoever runs the worker wants it to leave: finish what runs, return the rest, exit. A repeat changes the deadline,
    /// if it has one.
    Drain {
        /// Return after this time what still runs, too. `None`: wait for as long as it takes.
        within: Option<Millis>,
    },
    /// Something keeps the worker from taking work, and this is what, or work is welcome again (`None`). What runs goes
    /// on, what waits goes back. It holds until it is said otherwise, over all connections; a sentence longer than
    /// [`wire_protocol::limits::PROBLEM_BYTES_MAX`] is cut. A repeat is ignored.
    Hold(Option<&'a str>),
    /// An attempt that [`crate::Effect::FollowLog`] names has printed this. What there is no room for is dropped, as is what
    /// nobody follows.
    Log {
        /// Its lease.
        token: LeaseToken,
        /// A piece of any length; an empty one says how long the stream is.
        chunk: LogChunk<'a>,
    },
    /// All that an attempt had printed when [`crate::Effect::FollowLog`] came has been handed over. Ignored if nobody follows.
    LogTold(LeaseToken),
    /// Everything that is there was handed over: say what has ended. A shell that never says so gets the same
    /// from the next [`Event::Tick`].
    Flush,
    /// The instant of [`crate::Agent::next_deadline`] has come. Too early is harmless.
    Tick,
}
