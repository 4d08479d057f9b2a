//! What the contracts have, and what the model has.

use devnet::Devnet;
use sidecars_reconcile::model::Hub;
use wire_chain::reading::{self, Parts};
use wire_chain::{At, Chain, Seen, View};
use wire_hub::{Address, Answer, BlockRef, Call, Contribution, ContributionStatus, Views};

use super::calls::Cast;
use super::names::Names;

/// Everybody, and the order that a call was about.
pub(super) async fn all(devnet: &Devnet, hub: &Hub, names: &Names, cast: &Cast, call: &Call) {
    let at = head(devnet).await;
    people(devnet, hub, names, cast, at).await;
    if let Some(offer) = hub.offers().last() {
        offers(devnet, hub, names, at, offer.id..=offer.id).await;
    }
    match call {
        Call::AllowWorkersToContribute { woid, .. }
        | Call::RevealConsensus { woid, .. }
        | Call::Reopen { woid }
        | Call::FinalizeWork { woid, .. }
        | Call::WorkOrderCallback { woid, .. }
        | Call::Contribute { woid, .. }
        | Call::Reveal { woid, .. }
        | Call::ClaimFailedConsensus { woid } => order(devnet, hub, names, cast, at, *woid).await,
        Call::BuyForWorkOrder { market_order, .. } | Call::CloseMarketOrder { market_order } => {
            offers(devnet, hub, names, at, *market_order..=*market_order).await;
        }
        _ => {}
    }
}

/// All there is.
pub(super) async fn everything(devnet: &Devnet, hub: &Hub, names: &Names, cast: &Cast) {
    let at = head(devnet).await;
    people(devnet, hub, names, cast, at).await;
    for woid in hub.orders() {
        order(devnet, hub, names, cast, at, woid).await;
    }
    offers(devnet, hub, names, at, 1..=hub.offers().len() as u64).await;
}

async fn head(devnet: &Devnet) -> BlockRef {
    let head = devnet.node().head().await.found();
    head.expect("an answer").expect("a block").at
}

async fn people(devnet: &Devnet, hub: &Hub, names: &Names, cast: &Cast, at: BlockRef) {
    let node = devnet.node();
    let owner = devnet.owner().address();
    for who in cast.people().into_iter().chain([hub.address, owner]) {
        let there = reading::person(node, at, names.chain(who)).await;
        let there = names.person(*there.known().expect("an answer"));
        assert_eq!(
            there,
            hub.person(who),
            "{who}: what the hub has of it, and the model"
        );
    }
    for who in cast.people() {
        let there = node.rlc(who, At::Block(at)).await;
        assert_eq!(there.found(), Ok(Some(hub.rlc(who))), "{who}: its RLC");
    }
    let policy = node.look(View::Policy, At::Block(at)).await;
    assert_eq!(policy.found(), Ok(Some(Seen::Policy(hub.policy))));
}

async fn order(devnet: &Devnet, hub: &Hub, names: &Names, cast: &Cast, at: BlockRef, woid: Address) {
    let there = reading::views(devnet.node(), at, names.chain(woid), Parts::AllAnd(&cast.workers)).await;
    let sorted = |answer: Answer<Views>| match answer {
        Answer::Known(mut views) => {
            // Those who contributed stand in the order of the chain, who was only allowed in none.
            let is_allowed =
                |(_, part): &(Address, Contribution)| part.status == ContributionStatus::Authorized;
            let first = views.contributions.iter().position(is_allowed);
            let first = first.unwrap_or(views.contributions.len());
            views.contributions[first..].sort_by_key(|(who, _)| *who);
            Answer::Known(views)
        }
        other => other,
    };
    let there = match there {
        Answer::Known(views) => Answer::Known(names.views(views)),
        other => other,
    };
    assert_eq!(
        sorted(there),
        sorted(hub.views(woid)),
        "{woid}: what the contracts have, and the model"
    );
}

async fn offers(devnet: &Devnet, hub: &Hub, names: &Names, at: BlockRef, ids: std::ops::RangeInclusive<u64>) {
    for id in ids {
        let there = devnet.node().look(View::MarketOrder { id }, At::Block(at)).await;
        let there = match there.found().expect("an answer") {
            Some(Seen::MarketOrder(offer)) => Some(names.offer(offer)),
            _ => None,
        };
        let here = id
            .checked_sub(1)
            .and_then(|index| hub.offers().get(index as usize).copied());
        assert_eq!(there, here, "offer {id}");
    }
}
