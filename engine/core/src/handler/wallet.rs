//! Works for one wallet: they wait for the worker that has proved to hold it, and go to no other.
//!
//! As long as some bag asks for a wallet, its worker has a profile of its own ([`crate::table::profile::Condition`]), by which
//! dispatch finds these works; all other workers and works know nothing of it.

use wire_protocol::ids::WorkerId;
use wire_protocol::joining::Address;

use crate::scheduler::Scheduler;
use crate::table::class::ClassId;

impl Scheduler {
    /// The worker holds this wallet, or none; also in replay.
    pub(crate) fn hold_wallet(&mut self, id: WorkerId, wallet: Option<Address>) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut worker.about.standing.wallet, wallet);
        if before == wallet {
            return;
        }
        if let Some(before) = before
            && let Some(workers) = self.wallets.get_mut(&before)
        {
            workers.remove(&id);
            if workers.is_empty() {
                self.wallets.remove(&before);
            }
        }
        if let Some(wallet) = wallet {
            self.wallets.entry(wallet).or_default().insert(id);
        }
        self.sync_profile(id);
    }

    /// A class has come into use, or has gone out of it.
    pub(crate) fn sync_wallet(&mut self, class: ClassId) {
        let wallet = self.classes.get(class).requirements.wallet;
        let workers = wallet.and_then(|wallet| self.wallets.get(&wallet));
        let workers: Vec<WorkerId> = workers.into_iter().flatten().copied().collect();
        for id in workers {
            self.sync_profile(id);
        }
    }
}
