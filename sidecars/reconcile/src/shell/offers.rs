//! Which offers of the marketplace are the pool's: the contract has no list of them, so all are looked at, each once.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use wire_chain::{Answer as Said, At, Chain, Seen, View};
use wire_hub::{Answer, BlockRef, MarketOrder, MarketStatus};

use super::node::NodeShell;
use crate::core::reconciler::Offers;

/// Offers that are asked for at once.
const ASKED_MAX: u64 = 500;

/// The newest offers are looked at again each time: a reorganisation may have made them others.
const UNSURE: u64 = 64;

/// What is known already.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    /// Offers up to this number were looked at, and stay what they are.
    looked_upto: u64,
    /// How many of them are the pool's.
    ever: u64,
    /// Those of them that may still be open.
    open: BTreeSet<u64>,
}

impl Shelf {
    pub(super) const fn new() -> Self {
        Self {
            looked_upto: 0,
            ever: 0,
            open: BTreeSet::new(),
        }
    }
}

impl<C: Chain> NodeShell<C> {
    pub(super) async fn offers(&self, at: BlockRef, category: u64) -> Answer<Offers> {
        self.try_offers(at, category).await.unwrap_or(Answer::Unknown)
    }

    async fn try_offers(&self, at: BlockRef, category: u64) -> Option<Answer<Offers>> {
        let Said::Known(Seen::Count(count)) = self.chain.look(View::MarketOrdersCount, At::Block(at)).await
        else {
            return None;
        };
        let has_category = match self
            .chain
            .look(View::Category { id: category }, At::Block(at))
            .await
        {
            Said::Known(_) => true,
            Said::Absent => false,
            Said::Unknown(_) => return None,
        };
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known: Vec<u64> = shelf.open.iter().copied().collect();
        let is_open = |offer: &MarketOrder| offer.status == MarketStatus::Ask && offer.remaining > 0;
        let mut open: Vec<MarketOrder> = self.market_orders(&known, at).await?;
        open.retain(is_open);
        shelf.open = open.iter().map(|offer| offer.id).collect();
        let mut ever = shelf.ever;
        let pool = self.chain.contracts().pool;
        let mut from = shelf.looked_upto + 1;
        while from <= count {
            let to = count.min(from + ASKED_MAX - 1);
            let ids: Vec<u64> = (from..=to).collect();
            for offer in self.market_orders(&ids, at).await? {
                if offer.workerpool != pool {
                    continue;
                }
                ever += 1;
                let is_sure = offer.id + UNSURE <= count;
                shelf.ever += u64::from(is_sure);
                if is_open(&offer) {
                    if is_sure {
                        shelf.open.insert(offer.id);
                    }
                    open.push(offer);
                }
            }
            from = to + 1;
        }
        shelf.looked_upto = shelf.looked_upto.max(count.saturating_sub(UNSURE));
        *self.shelf.lock().unwrap_or_else(PoisonError::into_inner) = shelf;
        Some(Answer::Known(Offers {
            ever,
            open,
            has_category,
        }))
    }

    async fn market_orders(&self, ids: &[u64], at: BlockRef) -> Option<Vec<MarketOrder>> {
        if ids.is_empty() {
            return Some(Vec::new());
        }
        let views: Vec<View> = ids.iter().map(|id| View::MarketOrder { id: *id }).collect();
        let mut all = Vec::with_capacity(ids.len());
        for seen in self.chain.see(&views, At::Block(at)).await {
            match seen {
                Said::Known(Seen::MarketOrder(offer)) => all.push(offer),
                Said::Absent => {}
                _ => return None,
            }
        }
        Some(all)
    }
}
