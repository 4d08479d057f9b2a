//! The engine's one clock: pool time, see [`Instant`].

use std::time::{SystemTime, UNIX_EPOCH};

use wire_protocol::units::Instant;

/// Anchored to the wall clock once, monotonic from then on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    anchor: Instant,
    started: std::time::Instant,
}

impl Clock {
    /// Starts at the wall clock, but not before `floor`: pool time does not go back across restarts, even if the
    /// wall clock did.
    pub(crate) fn start(floor: Instant) -> Self {
        Self {
            anchor: Instant(wall_us().saturating_mul(1_000)).max(floor),
            started: std::time::Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        let elapsed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant(self.anchor.0.saturating_add(elapsed))
    }
}

/// Microseconds since 1970, for people who read the journal.
pub(crate) fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
