//! Results that are the same where they should not be.
//!
//! Nothing on chain binds a result to its order: a worker may contribute what somebody else has found for another order
//! of the same app. The contract cannot be told to refuse it, so an operator is told. Orders with the same parameters may
//! well have the same result.

use std::collections::BTreeMap;

use wire_hub::{Address, Hash};

use super::planner::Order;
use crate::core::order::Identity;

/// Two orders of one app, with different parameters or data, for which the same was contributed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replay {
    /// Where it was seen first, in the order of identities.
    pub first: Identity,
    /// Where it was seen again.
    pub again: Identity,
    /// By whom.
    pub worker: Address,
    /// What was contributed.
    pub hash: Hash,
}

/// All of them, one for each worker and order.
#[must_use]
pub fn replays(orders: &[Order]) -> Vec<Replay> {
    let mut sorted: Vec<&Order> = orders.iter().collect();
    sorted.sort_by_key(|order| order.identity);
    let mut first: BTreeMap<(Address, Hash), &Order> = BTreeMap::new();
    let mut found = Vec::new();
    for order in sorted {
        let Some(views) = order.observed.views.known() else {
            continue;
        };
        for (worker, contribution) in &views.contributions {
            let hash = contribution.result_hash;
            if hash == Hash::ZERO {
                continue;
            }
            let seen = *first.entry((views.order.app, hash)).or_insert(order);
            let other = seen.observed.views.known().expect("only such are kept");
            let is_another =
                (&other.order.params, other.order.dataset) != (&views.order.params, views.order.dataset);
            if is_another {
                found.push(Replay {
                    first: seen.identity,
                    again: order.identity,
                    worker: *worker,
                    hash,
                });
            }
        }
    }
    found
}
