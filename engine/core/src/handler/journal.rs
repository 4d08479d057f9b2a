//! What the journal says of itself: how much it can take, and that a snapshot is done.

use crate::effect::Effects;
use crate::event::Pressure;
use crate::scheduler::Scheduler;

impl Scheduler {
    /// While the disk is full nothing is leased (see [`Scheduler::pause`]), so what waited and who had room come
    /// together when there is room again.
    pub(crate) fn on_journal_pressure(&mut self, pressure: Pressure, effects: &mut Effects) {
        let before = std::mem::replace(&mut self.pressure, pressure);
        if before == Pressure::DiskFull && pressure != Pressure::DiskFull {
            self.dispatch_all(effects);
        }
    }

    /// The snapshot that was asked for is durable, or could not be made: the next one may be asked for.
    pub(crate) fn on_snapshot_done(&mut self) {
        self.snapshot_wanted = false;
    }
}
