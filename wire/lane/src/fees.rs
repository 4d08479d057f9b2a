//! What is offered for gas.

use serde::{Deserialize, Serialize};
use wire_hub::Wei;

/// Nodes take a replacement only if it offers at least so much more, in percent, in each of its prices
/// (geth, `--txpool.pricebump`).
const BUMP_PERCENT_MIN: u128 = 10;

/// Prices of a unit of gas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fees {
    /// Chains from before EIP-1559.
    Legacy {
        /// The price.
        gas_price: Wei,
    },
    /// <https://eips.ethereum.org/EIPS/eip-1559>.
    Dynamic {
        /// At most, with what is burned.
        max_fee: Wei,
        /// Of it at most to whoever makes the block.
        tip: Wei,
    },
}

/// How prices are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeePolicy {
    /// Percentage of the price that the last block asks for: 200 is enough for six full blocks.
    pub multiplier_percent: u64,
    /// What whoever makes the block gets, where that is apart.
    pub tip: Wei,
    /// Never more than this for a unit of gas.
    pub cap: Wei,
    /// How much dearer a replacement is; at least 10, which nodes ask for.
    pub bump_percent: u64,
}

impl Fees {
    /// What it costs at most.
    #[must_use]
    pub fn price_max(&self) -> Wei {
        match self {
            Self::Legacy { gas_price } => *gas_price,
            Self::Dynamic { max_fee, .. } => *max_fee,
        }
    }
}

impl FeePolicy {
    /// What to offer now, where the last block asks for `base_fee`, or the node for `gas_price` on a chain without it.
    /// `None`: the node has not said yet. It may be above the cap.
    #[must_use]
    pub fn quote(&self, base_fee: Option<Wei>, gas_price: Option<Wei>) -> Option<Fees> {
        let multiplied = |price: Wei| price.0.saturating_mul(u128::from(self.multiplier_percent)) / 100;
        match base_fee {
            Some(base_fee) => {
                let max_fee = Wei(multiplied(base_fee).saturating_add(self.tip.0));
                Some(Fees::Dynamic {
                    max_fee,
                    tip: self.tip,
                })
            }
            None => gas_price.map(|price| Fees::Legacy {
                gas_price: Wei(multiplied(price)),
            }),
        }
    }

    /// `fees` under the cap, if a block could take them there: `floor` is what it burns.
    #[must_use]
    pub fn under_cap(&self, fees: Fees, floor: Wei) -> Option<Fees> {
        (floor <= self.cap).then(|| match fees {
            Fees::Legacy { gas_price } => Fees::Legacy {
                gas_price: gas_price.min(self.cap),
            },
            Fees::Dynamic { max_fee, tip } => Fees::Dynamic {
                max_fee: max_fee.min(self.cap),
                tip: tip.min(self.cap),
            },
        })
    }

    /// What replaces `old`: at least the bump dearer in each price, and `wanted` if that is more. `None`: that is above
    /// the cap.
    #[must_use]
    pub fn bumped(&self, old: Fees, wanted: Fees) -> Option<Fees> {
        let percent = u128::from(self.bump_percent).max(BUMP_PERCENT_MIN);
        let dearer =
            |old: Wei, percent: u128| Wei(old.0.saturating_mul(100 + percent).div_ceil(100).max(old.0 + 1));
        let least = |old: Wei| dearer(old, BUMP_PERCENT_MIN);
        let pick = |old: Wei, wanted: Wei| {
            let bumped = dearer(old, percent).max(wanted);
            if bumped <= self.cap {
                Some(bumped)
            } else {
                (least(old) <= self.cap).then_some(self.cap)
            }
        };
        match (old, wanted) {
            (
                Fees::Dynamic { max_fee, tip },
                Fees::Dynamic {
                    max_fee: wanted,
                    tip: wanted_tip,
                },
            ) => {
                let max_fee = pick(max_fee, wanted)?;
                let tip = dearer(tip, percent).max(wanted_tip).min(max_fee).max(least(tip));
                (tip <= max_fee).then_some(Fees::Dynamic { max_fee, tip })
            }
            (old, wanted) => {
                pick(old.price_max(), wanted.price_max()).map(|gas_price| Fees::Legacy { gas_price })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: FeePolicy = FeePolicy {
        multiplier_percent: 200,
        tip: Wei(10),
        cap: Wei(10_000),
        bump_percent: 12,
    };

    fn dynamic(max_fee: u128, tip: u128) -> Fees {
        Fees::Dynamic {
            max_fee: Wei(max_fee),
            tip: Wei(tip),
        }
    }

    #[test]
    fn a_quote_is_twice_what_the_last_block_burns_and_the_tip() {
        assert_eq!(POLICY.quote(Some(Wei(100)), None), Some(dynamic(210, 10)));
        let legacy = Fees::Legacy { gas_price: Wei(60) };
        assert_eq!(POLICY.quote(None, Some(Wei(30))), Some(legacy));
        assert_eq!(POLICY.quote(None, None), None);
    }

    #[test]
    fn the_cap_holds_and_a_block_that_burns_more_is_waited_out() {
        assert_eq!(
            POLICY.under_cap(dynamic(30_000, 10), Wei(9_000)),
            Some(dynamic(10_000, 10))
        );
        assert_eq!(POLICY.under_cap(dynamic(30_000, 10), Wei(10_001)), None);
    }

    #[test]
    fn the_last_bump_goes_to_the_cap_if_nodes_would_take_it() {
        assert_eq!(
            POLICY.bumped(dynamic(1_000, 10), dynamic(0, 0)),
            Some(dynamic(1_120, 12))
        );
        assert_eq!(
            POLICY.bumped(dynamic(9_000, 10), dynamic(0, 0)),
            Some(dynamic(10_000, 12))
        );
        assert_eq!(POLICY.bumped(dynamic(9_091, 10), dynamic(0, 0)), None);
    }

    proptest! {
        #[test]
        fn a_replacement_is_a_tenth_dearer_in_both_prices_and_under_the_cap(max_fee in 1_u128..12_000, tip in 0_u128..12_000, wanted in 0_u128..20_000) {
            let old = dynamic(max_fee, tip.min(max_fee));
            if let Some(Fees::Dynamic { max_fee: new, tip: new_tip }) = POLICY.bumped(old, dynamic(wanted, 10)) {
                prop_assert!(new.0 * 100 >= max_fee * 110 && new <= POLICY.cap);
                prop_assert!(new_tip.0 * 100 >= tip.min(max_fee) * 110 && new_tip <= new);
            }
        }
    }
}
