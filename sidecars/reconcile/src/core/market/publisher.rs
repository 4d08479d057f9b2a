//! Makes offers, and takes them back.

use std::fmt;

use wire_hub::{
    ASK_STAKE_PERCENT, Address, Answer, Balance, Call, Hasher, MarketOrder, MarketStatus, Rlc, Trust,
};

use crate::core::plan::gas_limit;
use wire_lane::{Intent, IntentId};

/// What an operator wants to sell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Of which category (`CATEGORY`).
    pub category: u64,
    /// How sure (`TRUST`).
    pub trust: Trust,
    /// For how much each.
    pub price: Price,
    /// How many at once; at least 1. One offer of many costs as much gas as one of one.
    pub volume: u64,
}

/// What a work costs its requester.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Price {
    /// This much (`PRICE`).
    Fixed(Rlc),
    /// From `min` while nobody works to `max` while everybody does (`PRICEMIN`, `PRICEMAX`).
    ByLoad {
        /// The least.
        min: Rlc,
        /// The most.
        max: Rlc,
        /// An offer stays as long as its price differs by less than so many percent.
        tolerance_percent: u64,
    },
}

/// What there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Market {
    /// All offers of the pool that are not closed and sold out.
    pub offers: Answer<Vec<MarketOrder>>,
    /// What the pool's owner has at the hub.
    pub balance: Answer<Balance>,
    /// Whether the hub has the category.
    pub has_category: Answer<bool>,
    /// Percentage of the pool's slots that are taken.
    pub load_percent: u64,
    /// A transaction about offers is under way.
    pub is_under_way: bool,
}

/// Something to do about offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferStep {
    /// What.
    pub publishing: Publishing,
    /// Why, for people.
    pub reason: String,
}

/// What can be done about offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Publishing {
    /// Make one.
    Create {
        /// See [`Offer`].
        category: u64,
        /// See [`Offer`].
        trust: Trust,
        /// The price.
        value: Rlc,
        /// How many.
        volume: u64,
    },
    /// Take one back.
    Close(u64),
    /// Nothing now.
    Wait,
    /// Nothing, until the operator has done something: said once as an alert.
    Pause,
}

impl OfferStep {
    /// The transaction, if it is one.
    #[must_use]
    pub fn call(&self) -> Option<Call> {
        match self.publishing {
            Publishing::Create {
                category,
                trust,
                value,
                volume,
            } => Some(Call::CreateMarketOrder {
                category,
                trust,
                value,
                volume,
            }),
            Publishing::Close(market_order) => Some(Call::CloseMarketOrder { market_order }),
            Publishing::Wait | Publishing::Pause => None,
        }
    }
}

impl OfferStep {
    /// What the lane is to be asked for. `round` is how many such transactions of the pool were mined: the same offer may
    /// be made again on purpose.
    #[must_use]
    pub fn intent(&self, pool: Address, round: u64) -> Option<Intent> {
        let call = self.call()?;
        let named = Hasher::default().text("offer").bytes(&pool.0).number(round);
        let id = match self.publishing {
            Publishing::Close(market_order) => named.text("close").number(market_order),
            _ => named.text("create"),
        };
        Some(Intent {
            id: IntentId(id.finish()),
            gas_limit: gas_limit(&call),
            call,
            deadline: None,
            about: None,
        })
    }
}

impl fmt::Display for OfferStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.publishing {
            Publishing::Create { value, volume, .. } => write!(f, "offer {volume} works for {value} each"),
            Publishing::Close(id) => write!(f, "take back offer {id}"),
            Publishing::Wait => f.write_str("wait"),
            Publishing::Pause => f.write_str("pause"),
        }?;
        write!(f, ": {}", self.reason)
    }
}

impl Price {
    /// The price at this load.
    #[must_use]
    pub fn at(&self, load_percent: u64) -> Rlc {
        match self {
            Self::Fixed(price) => *price,
            Self::ByLoad { min, max, .. } => min.plus(max.less(*min).percent(load_percent.min(100))),
        }
    }

    /// Whether an offer at `price` may stay at this load.
    fn takes(&self, price: Rlc, load_percent: u64) -> bool {
        let wanted = self.at(load_percent);
        match self {
            Self::Fixed(_) => price == wanted,
            Self::ByLoad {
                tolerance_percent, ..
            } => {
                let difference = Rlc(price.0.abs_diff(wanted.0));
                difference <= wanted.percent(*tolerance_percent)
            }
        }
    }
}

/// What to do about offers now. `None` as `wanted`: nothing is to be offered.
#[must_use]
pub fn publish(wanted: Option<&Offer>, market: &Market) -> Vec<OfferStep> {
    let step = |publishing, reason: String| OfferStep { publishing, reason };
    let Answer::Known(offers) = &market.offers else {
        return vec![step(Publishing::Wait, "the node has not answered".into())];
    };
    if market.is_under_way {
        return vec![step(
            Publishing::Wait,
            "a transaction about offers is under way".into(),
        )];
    }
    let open = offers
        .iter()
        .filter(|offer| offer.status == MarketStatus::Ask && offer.remaining > 0);
    let mut kept = None;
    let mut steps = Vec::new();
    for offer in open {
        match differs(wanted, market, offer).or_else(|| kept.map(|id| format!("offer {id} is the same"))) {
            Some(why) => steps.push(step(Publishing::Close(offer.id), why)),
            None => kept = Some(offer.id),
        }
    }
    match wanted {
        // Stake is free again when the chain shows that the others are closed.
        Some(offer) if steps.is_empty() && kept.is_none() => vec![create(offer, market)],
        _ => steps,
    }
}

/// Why an offer that is there is not the one that is wanted.
fn differs(wanted: Option<&Offer>, market: &Market, offer: &MarketOrder) -> Option<String> {
    let Some(wanted) = wanted else {
        return Some("nothing is to be offered".into());
    };
    if offer.category != wanted.category {
        return Some(format!(
            "it is of category {}, {} is wanted",
            offer.category, wanted.category
        ));
    }
    if offer.trust != wanted.trust {
        return Some(format!(
            "its trust is {}, {} is wanted",
            offer.trust.0, wanted.trust.0
        ));
    }
    let price = wanted.price.at(market.load_percent);
    let may_stay = wanted.price.takes(offer.value, market.load_percent);
    (!may_stay).then(|| format!("it is for {}, the price is {price} now", offer.value))
}

fn create(offer: &Offer, market: &Market) -> OfferStep {
    let step = |publishing, reason: String| OfferStep { publishing, reason };
    let (Answer::Known(balance), Answer::Known(has_category)) = (&market.balance, &market.has_category)
    else {
        return step(Publishing::Wait, "the node has not answered".into());
    };
    if !has_category {
        let reason = format!(
            "the hub has no category {}; choose one that it has",
            offer.category
        );
        return step(Publishing::Pause, reason);
    }
    if offer.volume == 0 {
        return step(
            Publishing::Pause,
            "the volume is 0; offer at least one work".into(),
        );
    }
    let value = offer.price.at(market.load_percent);
    let needs = value.percent(ASK_STAKE_PERCENT).times(u128::from(offer.volume));
    if balance.stake < needs {
        let reason = format!(
            "{ASK_STAKE_PERCENT} % of {value} for {} works are {needs}, and {} of the pool's stake is free; deposit the \
             rest, or offer fewer",
            offer.volume, balance.stake
        );
        return step(Publishing::Pause, reason);
    }
    let publishing = Publishing::Create {
        category: offer.category,
        trust: offer.trust,
        value,
        volume: offer.volume,
    };
    step(publishing, format!("nothing is offered; it binds {needs}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Offer = Offer {
        category: 3,
        trust: Trust(5),
        price: Price::ByLoad {
            min: Rlc(1_000),
            max: Rlc(2_000),
            tolerance_percent: 10,
        },
        volume: 10,
    };

    fn offer(id: u64, value: u128) -> MarketOrder {
        MarketOrder {
            id,
            status: MarketStatus::Ask,
            category: 3,
            trust: Trust(5),
            value: Rlc(value),
            volume: 10,
            remaining: 4,
            workerpool: Address([1; 20]),
            workerpool_owner: Address([2; 20]),
        }
    }

    fn market(offers: &[MarketOrder]) -> Market {
        Market {
            offers: Answer::Known(offers.to_vec()),
            balance: Answer::Known(Balance {
                stake: Rlc(4_500),
                locked: Rlc(0),
            }),
            has_category: Answer::Known(true),
            load_percent: 50,
            is_under_way: false,
        }
    }

    fn text(wanted: Option<&Offer>, market: &Market) -> String {
        let lines: Vec<String> = publish(wanted, market).iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn works_are_offered_in_volume_at_the_price_of_the_load() {
        assert_eq!(
            text(Some(&WANTED), &market(&[])),
            "offer 10 works for 1500 nRLC each: nothing is offered; it binds 4500 nRLC"
        );
        let prices = [0, 33, 100, 900].map(|load| WANTED.price.at(load));
        assert_eq!(prices, [Rlc(1_000), Rlc(1_330), Rlc(2_000), Rlc(2_000)]);
    }

    #[test]
    fn the_same_offer_made_again_is_another_intent() {
        let step = &publish(Some(&WANTED), &market(&[]))[0];
        let id = |round| step.intent(Address([1; 20]), round).expect("a transaction").id;
        assert_eq!(id(3), id(3));
        assert_ne!(id(3), id(4));
    }

    #[test]
    fn an_offer_that_differs_is_taken_back_before_another_is_made() {
        assert_eq!(
            text(Some(&WANTED), &market(&[offer(7, 1_400)])),
            "",
            "within a tenth"
        );
        let changed = [
            (
                offer(7, 1_100),
                "take back offer 7: it is for 1100 nRLC, the price is 1500 nRLC now",
            ),
            (
                MarketOrder {
                    category: 4,
                    ..offer(7, 1_500)
                },
                "take back offer 7: it is of category 4, 3 is wanted",
            ),
            (
                MarketOrder {
                    trust: Trust(0),
                    ..offer(7, 1_500)
                },
                "take back offer 7: its trust is 0, 5 is wanted",
            ),
        ];
        for (offer, expected) in changed {
            assert_eq!(text(Some(&WANTED), &market(&[offer])), expected);
        }
        assert_eq!(
            text(None, &market(&[offer(7, 1_500)])),
            "take back offer 7: nothing is to be offered"
        );
        let twice = [offer(7, 1_500), offer(8, 1_500)];
        assert_eq!(
            text(Some(&WANTED), &market(&twice)),
            "take back offer 8: offer 7 is the same"
        );
    }

    #[test]
    fn a_closed_or_sold_offer_makes_room_for_the_next() {
        let sold = MarketOrder {
            remaining: 0,
            ..offer(7, 1_500)
        };
        let closed = MarketOrder {
            status: MarketStatus::Closed,
            ..offer(8, 1_500)
        };
        assert!(text(Some(&WANTED), &market(&[sold, closed])).starts_with("offer 10 works"));
    }

    /// Scenario S2: a transaction would burn nearly all of its gas.
    #[test]
    fn without_the_stake_nothing_is_sent_until_there_is_a_deposit() {
        let mut market = market(&[]);
        let balance = |stake| {
            Answer::Known(Balance {
                stake: Rlc(stake),
                locked: Rlc(0),
            })
        };
        market.balance = balance(4_499);
        let steps = publish(Some(&WANTED), &market);
        assert_eq!(steps[0].call(), None);
        assert_eq!(
            steps[0].to_string(),
            "pause: 30 % of 1500 nRLC for 10 works are 4500 nRLC, and 4499 nRLC of the pool's stake is free; deposit the \
             rest, or offer fewer"
        );
        market.balance = balance(4_500);
        assert!(publish(Some(&WANTED), &market)[0].call().is_some());
    }

    #[test]
    fn what_is_unknown_or_under_way_is_waited_for() {
        let unknown = [
            Market {
                offers: Answer::Unknown,
                ..market(&[])
            },
            Market {
                balance: Answer::Unknown,
                ..market(&[])
            },
            Market {
                has_category: Answer::Unknown,
                ..market(&[])
            },
            Market {
                is_under_way: true,
                ..market(&[])
            },
        ];
        for market in unknown {
            let steps = publish(Some(&WANTED), &market);
            assert!(
                matches!(
                    steps[..],
                    [OfferStep {
                        publishing: Publishing::Wait,
                        ..
                    }]
                ),
                "{market:?}"
            );
        }
        let no_category = Market {
            has_category: Answer::Known(false),
            ..market(&[])
        };
        assert!(text(Some(&WANTED), &no_category).starts_with("pause: the hub has no category 3"));
    }
}
