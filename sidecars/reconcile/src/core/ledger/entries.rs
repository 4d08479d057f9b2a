//! Which money moves when the chain says something.
//!
//! What is locked and set free follows from the pool's own events and the views of their block. What is paid and seized
//! when an order is finalized stands in the receipt of our own transaction, since the hub's events name nobody that one
//! could filter by. When a requester claims, which is not ours, it follows from the event again.

use wire_hub::{ASK_STAKE_PERCENT, Address, ContributionStatus, Event, Log, Receipt, Timestamp, Views};

use super::{Entry, Ledger, Movement};

/// Entries that one log may make: 60 workers, a requester and a pool fit.
const ENTRIES_PER_LOG: u32 = 256;

/// Gas is posted behind all logs of a block.
const GAS: u32 = 1 << 31;

impl Ledger {
    /// An event of an order, with the views of its block and the block's time. Events that move nothing are passed over.
    pub fn on_log(&mut self, log: &Log, at: Timestamp, views: &Views, pool_owner: Address) {
        let entries = movements(&log.event, views, pool_owner);
        let first = log.place.log_index.saturating_mul(ENTRIES_PER_LOG);
        for (index, (party, movement)) in (first..).zip(entries) {
            let order = log.event.woid();
            let entry = Entry {
                at,
                order,
                party,
                movement,
            };
            self.post(log.place.block, index, entry);
        }
    }

    /// A transaction of ours was mined: its gas, and what the hub has paid and seized in it.
    pub fn on_receipt(&mut self, receipt: &Receipt, at: Timestamp, sender: Address, order: Option<Address>) {
        let entry = |party, movement| Entry {
            at,
            order,
            party,
            movement,
        };
        let burned = Movement::Burned {
            gas: receipt.gas_used,
            price: receipt.gas_price,
        };
        self.post(receipt.block, GAS | receipt.index, entry(sender, burned));
        for log in &receipt.logs {
            let (party, movement) = match log.event {
                Event::Reward { user, amount } => (user, Movement::Rewarded(amount)),
                Event::Seize { user, amount } => (user, Movement::Seized(amount)),
                _ => continue,
            };
            let last = log.place.log_index.saturating_mul(ENTRIES_PER_LOG) + ENTRIES_PER_LOG - 1;
            self.post(receipt.block, last, entry(party, movement));
        }
    }
}

fn movements(event: &Event, views: &Views, pool_owner: Address) -> Vec<(Address, Movement)> {
    let value = views.consensus.pool_reward;
    let of_pool = value.percent(ASK_STAKE_PERCENT);
    let of_worker = views.consensus.stake_amount;
    let of_requester = value.plus(views.order.emitcost);
    let requester = views.order.requester;
    match event {
        Event::WorkOrderActive { .. } => vec![
            (requester, Movement::Locked(of_requester)),
            (pool_owner, Movement::Locked(of_pool)),
        ],
        Event::Contribute { worker, .. } => vec![(*worker, Movement::Locked(of_worker))],
        Event::FinalizeWork { .. } => {
            let proved = views.with(ContributionStatus::Proved);
            let workers = proved.map(|(worker, _)| (worker, Movement::Unlocked(of_worker)));
            workers
                .chain([(pool_owner, Movement::Unlocked(of_pool))])
                .collect()
        }
        Event::WorkOrderClaimed { .. } => {
            let has_locked = |status| status > ContributionStatus::Authorized;
            let workers = views.contributions.iter();
            let workers = workers.filter(|(_, contribution)| has_locked(contribution.status));
            workers
                .map(|(worker, _)| (*worker, Movement::Unlocked(of_worker)))
                .chain([
                    (requester, Movement::Unlocked(of_requester)),
                    (pool_owner, Movement::Seized(of_pool)),
                ])
                .collect()
        }
        _ => Vec::new(),
    }
}
