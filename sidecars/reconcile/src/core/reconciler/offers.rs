//! What is offered on the marketplace: seen at the plan's block, compared with what the operator wants.

use wire_hub::{Address, Answer, BlockRef, Call, MarketOrder};
use wire_lane as lane;
use wire_lane::IntentId;
use wire_protocol::units::Instant;

use super::brain::{OFFERS, Reconciler};
use super::event::Effect;
use super::reading::Reading;
use crate::core::market::{Market, OfferStep, Publishing, publish};

/// The pool's offers at one block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offers {
    /// How many it ever made.
    pub ever: u64,
    /// Those that are not closed and not sold out.
    pub open: Vec<MarketOrder>,
    /// The hub has the category that is to be offered.
    pub has_category: bool,
}

/// What was last seen, and said.
#[derive(Clone, Debug, Default)]
pub(super) struct Shop {
    /// The block that was asked about.
    asked: Option<BlockRef>,
    seen: Option<(BlockRef, Answer<Offers>)>,
    /// The last block that has a transaction about offers: what was seen before it is not what there is.
    touched: u64,
    said: Vec<OfferStep>,
}

impl Reconciler {
    /// Asks for the offers at this block, if anything is to be offered.
    pub(super) fn see_offers(&mut self, at: BlockRef, effects: &mut Vec<Effect>) {
        let Some(offer) = self.settings.offer else { return };
        if self.shop.asked != Some(at) {
            self.shop.asked = Some(at);
            let category = offer.category;
            effects.push(Effect::SeeOffers { at, category });
        }
    }

    pub(super) fn on_offers(&mut self, at: BlockRef, offers: Answer<Offers>) {
        if self.shop.asked == Some(at) {
            self.shop.seen = Some((at, offers));
            self.is_due = true;
        }
    }

    /// This block has a transaction about offers.
    pub(super) fn touch_offers(&mut self, number: u64) {
        self.shop.touched = self.shop.touched.max(number);
    }

    /// What to do about offers now: the transactions that are wanted, by their names.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        reading: &Reading,
        effects: &mut Vec<Effect>,
    ) -> Vec<IntentId> {
        let Some(wanted) = self.settings.offer else {
            return Vec::new();
        };
        // One that waits is wanted as long as nothing shows that it is not.
        let pending: Vec<IntentId> = self
            .lane
            .under_way()
            .filter(|intent| is_about_offers(&intent.call))
            .map(|intent| intent.id)
            .collect();
        let seen = match &self.shop.seen {
            Some((at, offers)) if *at == reading.at() && at.number >= self.shop.touched => offers.clone(),
            _ => return pending,
        };
        let owner = reading.person(self.settings.owner);
        let (offers, ever, has_category) = match seen {
            Answer::Known(offers) => (
                Answer::Known(offers.open),
                offers.ever,
                Answer::Known(offers.has_category),
            ),
            _ => (Answer::Unknown, 0, Answer::Unknown),
        };
        let market = Market {
            offers,
            balance: match owner {
                Answer::Known(person) => Answer::Known(person.balance),
                _ => Answer::Unknown,
            },
            has_category,
            load_percent: self.load_percent,
            is_under_way: !pending.is_empty(),
        };
        let steps = publish(Some(&wanted), &market);
        let mut names = pending;
        for step in &steps {
            self.alerts.remove(OFFERS);
            if step.publishing == Publishing::Pause {
                self.alerts.insert(OFFERS, step.reason.clone());
            }
            if !self.shop.said.contains(step) {
                effects.push(Effect::SayOffer(step.clone()));
            }
            let pool: Address = self.settings.pool;
            if let Some(intent) = step.intent(pool, ever) {
                names.push(intent.id);
                if !self.lane.has(intent.id) {
                    self.tell(now, lane::Event::Intend(intent), effects);
                }
            }
        }
        self.shop.said = steps;
        names
    }
}

pub(super) const fn is_about_offers(call: &Call) -> bool {
    matches!(
        call,
        Call::CreateMarketOrder { .. } | Call::CloseMarketOrder { .. }
    )
}
