//! Which workers of the engine have shown a wallet, and how busy the pool is.

use std::collections::BTreeSet;

use client::{Client, ClientError};
use wire_protocol::ids::WorkerId;
use wire_protocol::joining::Approval;
use wire_protocol::limits::PAGE_LEN_MAX;
use wire_protocol::view::{WorkerState, WorkerView};

use crate::core::reconciler::{Event, Worker};

/// A group that begins so says whose a worker is; without one it is its wallet's. Two of one owner never work on one order.
const OWNER: &str = "owner=";

/// Asks the engine.
pub(super) async fn look(client: &Client) -> Result<Event, ClientError> {
    let mut views: Vec<WorkerView> = Vec::new();
    loop {
        let after = views.last().map_or(WorkerId(0), |view| view.worker);
        let page = client.workers(after, PAGE_LEN_MAX).await?;
        let is_last = page.len() < PAGE_LEN_MAX as usize;
        views.extend(page);
        if is_last {
            return Ok(roll(views));
        }
    }
}

/// What all workers of the engine are to the core.
#[must_use]
pub fn roll(views: Vec<WorkerView>) -> Event {
    Event::Workers {
        load_percent: load_percent(&views),
        workers: workers(views),
    }
}

/// Those with a wallet, of each wallet one, the least busy first.
fn workers(mut views: Vec<WorkerView>) -> Vec<Worker> {
    views.sort_by_key(|view| (!is_free(view), view.held, view.worker));
    let mut workers: Vec<Worker> = Vec::new();
    let mut seen = BTreeSet::new();
    for view in views {
        let Some(wallet) = view.wallet else { continue };
        if !seen.insert(wallet) {
            continue;
        }
        let mut owners: Vec<&str> = view
            .offer
            .groups
            .iter()
            .filter_map(|group| group.strip_prefix(OWNER))
            .collect();
        owners.sort_unstable();
        workers.push(Worker {
            wallet,
            owner: owners
                .first()
                .map_or_else(|| wallet.to_string(), |owner| (*owner).to_owned()),
            is_free: is_free(&view),
        });
    }
    workers
}

fn is_free(view: &WorkerView) -> bool {
    view.state == WorkerState::Ready && view.approval == Approval::Approved && view.problem.is_none()
}

/// Percentage of the slots of all workers that are there which are taken.
fn load_percent(views: &[WorkerView]) -> u64 {
    let there = views.iter().filter(|view| is_free(view));
    let (held, slots) = there.fold((0, 0), |(held, slots), view| {
        let offered = u64::from(view.offer.slots);
        (held + u64::from(view.held).min(offered), slots + offered)
    });
    (held * 100).checked_div(slots).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_hub::Address;
    use wire_protocol::template::Offer;
    use wire_protocol::units::Millis;

    fn view(number: u32, wallet: Option<u8>, held: u32, groups: &[&str]) -> WorkerView {
        WorkerView {
            worker: WorkerId(number),
            uid: format!("uid {number}"),
            name: format!("worker {number}"),
            state: WorkerState::Ready,
            problem: None,
            held,
            finished: 0,
            offer: Offer {
                slots: 4,
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                ..Offer::default()
            },
            silent_for: Millis(0),
            version: String::new(),
            approval: Approval::Approved,
            certificate: None,
            wallet: wallet.map(|byte| Address([byte; 20])),
        }
    }

    #[test]
    fn workers_with_a_wallet_come_least_busy_first_and_each_wallet_once() {
        let views = vec![
            view(1, Some(1), 3, &["gpu", "owner=zoe", "owner=ann"]),
            view(2, None, 0, &[]),
            view(3, Some(2), 1, &[]),
            WorkerView {
                state: WorkerState::Lost,
                ..view(4, Some(3), 0, &[])
            },
            WorkerView {
                approval: Approval::Waiting,
                ..view(5, Some(1), 0, &[])
            },
        ];
        let found = workers(views);
        let found: Vec<(u8, &str, bool)> = found
            .iter()
            .map(|worker| (worker.wallet.0[0], worker.owner.as_str(), worker.is_free))
            .collect();
        let of_two = Address([2; 20]).to_string();
        let of_three = Address([3; 20]).to_string();
        assert_eq!(
            found,
            [
                (2, of_two.as_str(), true),
                (1, "ann", true),
                (3, of_three.as_str(), false)
            ]
        );
    }

    #[test]
    fn the_load_is_that_of_workers_that_are_there() {
        assert_eq!(load_percent(&[]), 0);
        let lost = WorkerView {
            state: WorkerState::Lost,
            ..view(3, None, 4, &[])
        };
        assert_eq!(
            load_percent(&[view(1, None, 2, &[]), view(2, None, 9, &[]), lost]),
            75
        );
    }
}
