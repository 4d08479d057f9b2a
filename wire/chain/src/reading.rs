//! All that the contracts have of an order, or of somebody, at one block.

use std::collections::BTreeSet;

use wire_hub::{Address, Answer, BlockRef, ContributionStatus, Person, Views};

use crate::{Answer as Said, At, Chain, Seen, View};

/// Whose parts in an order are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parts<'a> {
    /// Of all who have contributed, and of these, who may have been allowed and have not.
    AllAnd(&'a [Address]),
    /// Of these alone; what the order has of others is left out.
    Of(&'a [Address]),
}

/// All that the contracts have of an order at one block.
pub async fn views<C: Chain>(chain: &C, at: BlockRef, woid: Address, parts: Parts<'_>) -> Answer<Views> {
    let asked = [
        View::WorkOrder { woid },
        View::Consensus { woid },
        View::CallbackDone { woid },
    ];
    let seen = chain.see(&asked, At::Block(at)).await;
    let (order, consensus, is_callback_done) = match &seen[..] {
        [
            Said::Known(Seen::WorkOrder(order)),
            Said::Known(Seen::Consensus(consensus)),
            Said::Known(Seen::Yes(is_callback_done)),
        ] => (order.as_ref().clone(), *consensus, *is_callback_done),
        [Said::Absent, ..] | [_, Said::Absent, ..] => return Answer::Absent,
        _ => return Answer::Unknown,
    };
    let market = View::MarketOrder {
        id: order.market_order,
    };
    let Said::Known(Seen::MarketOrder(market)) = chain.look(market, At::Block(at)).await else {
        return Answer::Unknown;
    };
    let category = View::Category { id: market.category };
    let Said::Known(Seen::Category(category)) = chain.look(category, At::Block(at)).await else {
        return Answer::Unknown;
    };
    let parties = match parts {
        Parts::Of(these) => these.to_vec(),
        Parts::AllAnd(these) => {
            let Said::Known(mut parties) = chain.contributors(woid, at).await else {
                return Answer::Unknown;
            };
            let have: BTreeSet<Address> = parties.iter().copied().collect();
            parties.extend(these.iter().filter(|worker| !have.contains(worker)));
            parties
        }
    };
    let mut contributions = Vec::with_capacity(parties.len());
    let read = chain.contributions(woid, &parties, At::Block(at)).await;
    for (who, part) in parties.into_iter().zip(read) {
        let Said::Known(part) = part else {
            return Answer::Unknown;
        };
        if part.status != ContributionStatus::Unset {
            contributions.push((who, part));
        }
    }
    Answer::Known(Views {
        order,
        market,
        category,
        consensus,
        contributions,
        is_callback_done,
    })
}

/// What the hub has of somebody at one block.
pub async fn person<C: Chain>(chain: &C, at: BlockRef, who: Address) -> Answer<Person> {
    let asked = [View::Affiliation { worker: who }, View::Balance { who }];
    match chain.see(&asked, At::Block(at)).await[..] {
        [
            Said::Known(Seen::Affiliation(affiliation)),
            Said::Known(Seen::Balance(balance)),
        ] => Answer::Known(Person { affiliation, balance }),
        _ => Answer::Unknown,
    }
}
