//! The state machines of works and workers: which transition each event makes, and nothing else.
//!
//! `src/snapshots` holds the whole tables, so that a changed transition is a visible difference.

use wire_protocol::outcome::Outcome;
use wire_protocol::view::{WorkState, WorkerState};

/// Where a work is.
///
/// ```text
///             rows accepted            leased              started
///   Void ───────────────────► Queued ─────────► Leased ─────────────► Running
///                              ▲ ▲ │               │                     │
///              backoff is over │ │ │               │ settled             │ settled
///                              │ │ │ ended         ├──────────► Done ◄───┤
///                              │ │ └──────────────►│ ended       │       │ ended
///                              │ │                 │             │       │
///                           Delayed ◄──────────────┴─────────────│───────┘ released, with a backoff
///                                ▲                               │
///                                └───────────────────────────────┘ revived (not from Succeeded)
/// ```
///
/// `released` without a backoff leads straight to `Queued`. A late or repeated event finds no transition and
/// changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Its id is reserved, its row has not come.
    Void,
    /// It waits for a worker.
    Queued,
    /// It waits for its backoff to pass, then for a worker.
    Delayed,
    /// A worker has it and has not said that it started.
    Leased,
    /// A worker runs it.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// Its time to live ran out.
    Expired,
}

/// What may happen to a work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WorkEvent {
    /// Its row was accepted.
    Accepted,
    /// A worker got a lease for it.
    Leased,
    /// The worker says that it runs.
    Started,
    /// The lease ended without an outcome; it may be leased again at once.
    Released,
    /// The lease ended without an outcome; it may be leased again after a backoff.
    Delayed,
    /// Its backoff is over.
    Due,
    /// An attempt decided it.
    Settled(Outcome),
    /// It ended without an attempt deciding it.
    Ended(Outcome),
    /// It is to be tried again.
    Revived,
    /// A worker came back with a lease for it that a crash had forgotten.
    Adopted,
}

impl Phase {
    pub(crate) const ALL: [Self; 9] = [
        Self::Void,
        Self::Queued,
        Self::Delayed,
        Self::Leased,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The phase that follows, `None` where the event means nothing.
    pub(crate) fn next(self, event: WorkEvent) -> Option<Self> {
        use WorkEvent as E;
        match (self, event) {
            (Self::Void, E::Accepted) => Some(Self::Queued),
            (Self::Queued, E::Leased) => Some(Self::Leased),
            (Self::Queued | Self::Delayed, E::Adopted) => Some(Self::Leased),
            (Self::Leased | Self::Running, E::Started) => Some(Self::Running),
            (Self::Leased | Self::Running, E::Released) => Some(Self::Queued),
            (Self::Leased | Self::Running, E::Delayed) => Some(Self::Delayed),
            (Self::Delayed, E::Due) => Some(Self::Queued),
            (Self::Leased | Self::Running, E::Settled(outcome)) => Some(Self::done(outcome)),
            (Self::Queued | Self::Delayed | Self::Leased | Self::Running, E::Ended(outcome)) => {
                Some(Self::done(outcome))
            }
            (Self::Failed | Self::Cancelled | Self::Expired, E::Revived) => Some(Self::Queued),
            _ => None,
        }
    }

    fn done(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Expired => Self::Expired,
        }
    }

    pub(crate) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Succeeded => Some(Outcome::Succeeded),
            Self::Failed => Some(Outcome::Failed),
            Self::Cancelled => Some(Outcome::Cancelled),
            Self::Expired => Some(Outcome::Expired),
            _ => None,
        }
    }

    pub(crate) fn is_held(self) -> bool {
        matches!(self, Self::Leased | Self::Running)
    }

    /// The state as users know it; `None`: there is no such work for them.
    pub(crate) fn view(self) -> Option<WorkState> {
        match self {
            Self::Void => None,
            Self::Queued | Self::Delayed => Some(WorkState::Queued),
            Self::Leased => Some(WorkState::Leased),
            Self::Running => Some(WorkState::Running),
            done => done.outcome().map(WorkState::Done),
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// What may happen to a worker.
///
/// ```text
///                joined                    cordoned
///   (unknown) ──────────► Ready ─────────────────────────► Cordoned
///                         │ ▲ ▲ ◄───────────────────────── │ │ ▲
///              link closed│ │ │        uncordoned          │ │ │ joined, if it was cordoned
///                         ▼ │ │ joined                     │ │ │
///                        Lost ◄────────────────────────────┘ │ │
///                         │ ▲────────────────────────────────│─┘
///        remembered long  │ │ link closed                    │ drained
///        enough           │ │                                ▼
///                         │ └─────────────────────────── Draining ◄── drained (Ready)
///                         ▼                                  │ nothing left
///                     (forgotten) ◄──────────────────────  Gone ──► Ready: joined
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WorkerEvent {
    /// It joined, and no cordon is on it.
    Joined,
    /// It joined, and an operator's cordon is on it.
    JoinedCordoned,
    /// An operator wants it to get nothing more.
    Cordoned,
    /// An operator wants it to get works again.
    Uncordoned,
    /// It, or an operator, wants it to finish and leave.
    Drained,
    /// It holds nothing any more.
    Emptied,
    /// Its link is gone.
    LinkClosed,
}

/// The state that follows, `None` where the event means nothing.
pub(crate) fn next_worker_state(state: WorkerState, event: WorkerEvent) -> Option<WorkerState> {
    use {WorkerEvent as E, WorkerState as S};
    match (state, event) {
        (_, E::Joined) => Some(S::Ready),
        (_, E::JoinedCordoned) => Some(S::Cordoned),
        (S::Ready, E::Cordoned) => Some(S::Cordoned),
        (S::Cordoned, E::Uncordoned) => Some(S::Ready),
        (S::Ready | S::Cordoned, E::Drained) => Some(S::Draining),
        (S::Draining, E::Emptied) => Some(S::Gone),
        (S::Ready | S::Cordoned | S::Draining, E::LinkClosed) => Some(S::Lost),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn the_table_of_works_is_as_printed() {
        use WorkEvent as E;
        let events = [
            E::Accepted,
            E::Leased,
            E::Adopted,
            E::Started,
            E::Released,
            E::Delayed,
            E::Due,
            E::Settled(Outcome::Succeeded),
            E::Settled(Outcome::Failed),
            E::Ended(Outcome::Cancelled),
            E::Ended(Outcome::Expired),
            E::Revived,
        ];
        let mut table = String::new();
        for phase in Phase::ALL {
            for event in events {
                let next = phase
                    .next(event)
                    .map_or("-".to_owned(), |next| format!("{next:?}"));
                writeln!(
                    table,
                    "{:<10} {:<20} {next}",
                    format!("{phase:?}"),
                    format!("{event:?}")
                )
                .expect("a string");
            }
        }
        insta::assert_snapshot!("works", table);
    }

    #[test]
    fn the_table_of_workers_is_as_printed() {
        use {WorkerEvent as E, WorkerState as S};
        let mut table = String::new();
        for state in [S::Ready, S::Cordoned, S::Draining, S::Lost, S::Gone] {
            for event in [
                E::Joined,
                E::JoinedCordoned,
                E::Cordoned,
                E::Uncordoned,
                E::Drained,
                E::Emptied,
                E::LinkClosed,
            ] {
                let next = next_worker_state(state, event).map_or("-".to_owned(), |next| format!("{next:?}"));
                writeln!(
                    table,
                    "{:<10} {:<16} {next}",
                    format!("{state:?}"),
                    format!("{event:?}")
                )
                .expect("a string");
            }
        }
        insta::assert_snapshot!("workers", table);
    }

    #[test]
    fn a_final_outcome_is_left_only_by_revival_and_success_never() {
        for phase in Phase::ALL.into_iter().filter(|phase| phase.outcome().is_some()) {
            for event in [
                WorkEvent::Leased,
                WorkEvent::Started,
                WorkEvent::Settled(Outcome::Failed),
                WorkEvent::Ended(Outcome::Cancelled),
            ] {
                assert_eq!(phase.next(event), None, "{phase:?} {event:?}");
            }
        }
        assert_eq!(Phase::Succeeded.next(WorkEvent::Revived), None);
    }
}
