//! What the engine's threads know of each other: a few marks and flags, no table.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use engine_journal::{Headroom, JournalError};
use engine_queue::doorbell::Doorbell;
use engine_queue::mailbox::{Refused, Sender};
use engine_queue::published::Watermark;
use wire_protocol::ids::{LinkId, Lsn};
use wire_protocol::view::SubscriberView;

/// Shared by all threads of the engine.
pub(crate) struct Shared {
    /// The newest durable record. The journal thread raises it.
    pub(crate) durable: Watermark,
    /// The oldest record that the core may still ask for. The core's thread raises it.
    pub(crate) needed: Watermark,
    /// Records behind this one are wanted by a sidecar; `u64::MAX`: by none. The feed thread sets it.
    pub(crate) feed_floor: AtomicU64,
    /// Who follows the feed and how far it is. The feed thread sets it about once a second.
    subscribers: Mutex<Vec<SubscriberView>>,
    /// Whether the journal takes submissions, see [`DiskState`].
    disk: AtomicU8,
    /// Why the journal cannot go on. Set once, then the process ends.
    pub(crate) failed: OnceLock<JournalError>,
    /// Somebody asked the engine to stop.
    pub(crate) stopping: AtomicBool,
    /// The engine is recovered, bound and not stopping.
    pub(crate) ready: AtomicBool,
    /// Milliseconds since the start at which the main loop was last seen alive.
    pub(crate) heartbeat_ms: AtomicU64,
    /// Wakes the main thread.
    pub(crate) bell: Doorbell,
}

/// What the disk has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum DiskState {
    Roomy = 0,
    Full = 1,
}

impl DiskState {
    pub(crate) fn of(headroom: Headroom) -> Self {
        if headroom.intake_ok {
            Self::Roomy
        } else {
            Self::Full
        }
    }
}

impl Shared {
    pub(crate) fn new(durable: Lsn, bell: Doorbell) -> Self {
        Self {
            durable: Watermark::new(durable.0),
            needed: Watermark::new(0),
            feed_floor: AtomicU64::new(u64::MAX),
            subscribers: Mutex::default(),
            disk: AtomicU8::new(DiskState::Roomy as u8),
            failed: OnceLock::new(),
            stopping: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            heartbeat_ms: AtomicU64::new(0),
            bell,
        }
    }

    pub(crate) fn subscribers(&self) -> MutexGuard<'_, Vec<SubscriberView>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.get())
    }

    /// Relaxed, as all flags here: each is looked at again and again, and guards no other memory.
    pub(crate) fn disk(&self) -> DiskState {
        if self.disk.load(Ordering::Relaxed) == DiskState::Full as u8 {
            DiskState::Full
        } else {
            DiskState::Roomy
        }
    }

    /// Says what the disk has room for; wakes the main thread if that is news.
    pub(crate) fn set_disk(&self, state: DiskState) {
        if self.disk.swap(state as u8, Ordering::Relaxed) != state as u8 {
            self.bell.ring();
        }
    }

    /// The journal cannot go on; the first reason counts.
    pub(crate) fn fail(&self, error: JournalError) {
        drop(self.failed.set(error));
        self.bell.ring();
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.bell.ring();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// What other threads have for the main thread.
pub(crate) enum Mail {
    /// Frames with results for a link.
    Fetched {
        /// Where to.
        link: LinkId,
        /// Whole frames.
        frames: Vec<u8>,
    },
    /// [`Shared::subscribers`] are others than before.
    Subscribers,
    /// A snapshot is durable, or could not be made.
    SnapshotDone {
        /// What it was written from, for the next one.
        buffer: Vec<u8>,
    },
}

impl Mail {
    /// Puts it into the main thread's box, waiting for room. What the engine is stopped on is given up.
    pub(crate) fn deliver(self, mailbox: &Sender<Mail>, shared: &Shared) {
        let mut mail = self;
        while let Err(Refused::Full(back)) = mailbox.try_send(mail) {
            if shared.is_stopping() {
                return;
            }
            mail = back;
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use engine_queue::mailbox::mailbox;

    use super::*;

    fn done(size: usize) -> Mail {
        Mail::SnapshotDone {
            buffer: vec![0; size],
        }
    }

    #[test]
    fn mail_waits_for_room_and_is_given_up_only_when_the_engine_stops() {
        let bell = Doorbell::new(|| {});
        let shared = Shared::new(Lsn(0), bell.clone());
        let (sender, mut mail) = mailbox(1, bell);
        done(1).deliver(&sender, &shared);
        thread::scope(|scope| {
            let second = scope.spawn(|| done(2).deliver(&sender, &shared));
            thread::yield_now();
            assert!(!second.is_finished(), "there is no room");
            for size in [1, 2] {
                let buffer = loop {
                    match mail.take() {
                        Some(Mail::SnapshotDone { buffer }) => break buffer,
                        Some(_) => panic!("nobody sent anything else"),
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(buffer.len(), size);
            }
        });
        done(3).deliver(&sender, &shared);
        shared.stop();
        done(4).deliver(&sender, &shared);
    }
}
