//! How orders are dealt with, and what is offered.

use clap::{Args, ValueEnum};
use wire_hub::{Gas, Rlc, Trust};
use wire_protocol::template::Priority;

use super::read;
use crate::core::market::{Offer, Price, Terms};
use crate::core::policy::ConsensusPolicy;

/// A price that moves by less than so many percent with the load moves nothing.
const TOLERANCE_PERCENT: u64 = 10;

/// Options that say it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Orders and offers")]
pub(crate) struct OrdersOptions {
    /// Which result is believed: `poco`, `sarmenta`, `unanimity`, `unanimity:N` or `majority:K/N`
    #[arg(long, env = "POOL_CONSENSUS", default_value = "poco", value_name = "HOW")]
    consensus: ConsensusPolicy,
    /// At the latest time the result of most is taken although it is not believed; else the order is left to expire
    #[arg(long, env = "POOL_CONSENSUS_BEST_EFFORT")]
    best_effort: bool,
    /// Seconds that a worker which was asked is waited for; 0: one period of the order's category
    #[arg(long, env = "POOL_ORDER_PATIENCE_S", default_value_t = 0, value_name = "S")]
    patience_s: u64,
    /// Gas for telling a requester's contract that its result is there; 0: it is not told
    #[arg(long, env = "POOL_CALLBACK_GAS", default_value_t = 0, value_name = "GAS")]
    callback_gas: u64,
    /// A worker is evicted from the pool after it was wrong, or did not reveal, so often; 0: nobody is
    #[arg(long, env = "POOL_EVICT_AFTER", default_value_t = 0, value_name = "N")]
    evict_after: u32,
    /// Priority of works of orders, 0 (last) to 9 (first)
    #[arg(long, env = "POOL_ORDER_PRIORITY", default_value_t = 7, value_name = "N",
          value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: u8,
    /// Where results are, for requesters: {digest} stands for the SHA-256 of the outputs, {work} for the work's number
    #[arg(
        long,
        env = "POOL_RESULT_URI",
        default_value = "pool://{work}/sha256:{digest}",
        value_name = "URI"
    )]
    result_uri: String,

    /// Category of works that are offered; nothing is offered without
    #[arg(long, env = "CATEGORY", value_name = "N")]
    category: Option<String>,
    /// Trust that is promised for them
    #[arg(long, env = "TRUST", default_value_t = 0, value_name = "N")]
    trust: u64,
    /// What a work costs, in nRLC
    #[arg(long, env = "PRICE", value_name = "NRLC")]
    price: Option<String>,
    /// What it costs while nobody works, in nRLC; with PRICEMAX instead of PRICE
    #[arg(long, env = "PRICEMIN", value_name = "NRLC")]
    price_min: Option<String>,
    /// What it costs while everybody does, in nRLC
    #[arg(long, env = "PRICEMAX", value_name = "NRLC")]
    price_max: Option<String>,
    /// How many works are offered at once: as much gas as for one, and 30 % of the price of all as stake
    #[arg(long, env = "POOL_OFFER_VOLUME", default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    volume: u64,

    /// Percentage of an order's value that each of its workers stakes [default: as the pool's contract has it]
    #[arg(long, env = "STAKE_RATIO_POLICY", value_name = "PERCENT")]
    stake_ratio: Option<String>,
    /// Percentage of rewards that the pool keeps [default: as the contract has it]
    #[arg(long, env = "SCHEDULER_REWARD_RATIO_POLICY", value_name = "PERCENT")]
    reward_ratio: Option<String>,
    /// Free stake that a worker needs to subscribe, in nRLC [default: as the contract has it]
    #[arg(long, env = "SUBSCRIPTION_MINIMUM_STAKE_POLICY", value_name = "NRLC")]
    minimum_stake: Option<String>,
    /// The same under the predecessor's name for it
    #[arg(
        long,
        env = "SUBSCRIPTION_MINIMIM_STAKE_POLICY",
        value_name = "NRLC",
        hide = true
    )]
    minimim_stake: Option<String>,
    /// Score that a worker needs to subscribe [default: as the contract has it]
    #[arg(long, env = "SUBSCRIPTION_MINIMUM_SCORE_POLICY", value_name = "N")]
    minimum_score: Option<String>,
    /// Stake that a subscription locks, in nRLC: told apart from the contract's, which keeps its own for good
    #[arg(long, env = "SUBSCRIPTION_LOCK_STAKE_POLICY", value_name = "NRLC")]
    lock_stake: Option<String>,
    /// What is done where these differ from the contract's: `show` what would change, or `apply` it
    #[arg(long, env = "POOL_POLICY", default_value = "show", value_name = "WHAT")]
    policy: PolicyChange,
}

/// What is done where the operator's terms differ from those of the pool's contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum PolicyChange {
    /// Told, and left as it is
    Show,
    /// Told, and sent
    Apply,
}

/// How orders are dealt with.
#[derive(Debug)]
pub(crate) struct OrdersConfig {
    pub(crate) consensus: ConsensusPolicy,
    pub(crate) best_effort: bool,
    pub(crate) patience_s: Option<u64>,
    pub(crate) callback_gas_max: Option<Gas>,
    pub(crate) evict_after: Option<u32>,
    pub(crate) priority: Priority,
    pub(crate) result_uri: String,
    pub(crate) offer: Option<Offer>,
    pub(crate) terms: Terms,
    pub(crate) policy: PolicyChange,
}

impl OrdersOptions {
    pub(crate) fn check(self, problems: &mut Vec<String>) -> Option<OrdersConfig> {
        let mut number = |variable, text: &Option<String>| {
            let text = text.as_ref().filter(|text| !text.is_empty())?;
            read::<u64>(variable, text, problems)
        };
        let category = number("CATEGORY", &self.category);
        let price = [
            number("PRICE", &self.price),
            number("PRICEMIN", &self.price_min),
            number("PRICEMAX", &self.price_max),
        ];
        let minimum_stake = [
            number("SUBSCRIPTION_MINIMUM_STAKE_POLICY", &self.minimum_stake),
            number("SUBSCRIPTION_MINIMIM_STAKE_POLICY", &self.minimim_stake),
        ];
        let nrlc = |amount: Option<u64>| amount.map(|amount| Rlc(u128::from(amount)));
        let terms = Terms {
            stake_ratio: number("STAKE_RATIO_POLICY", &self.stake_ratio),
            scheduler_reward_ratio: number("SCHEDULER_REWARD_RATIO_POLICY", &self.reward_ratio),
            subscription_minimum_stake: nrlc(minimum_stake[0].or(minimum_stake[1])),
            subscription_minimum_score: number("SUBSCRIPTION_MINIMUM_SCORE_POLICY", &self.minimum_score),
            subscription_lock_stake: nrlc(number("SUBSCRIPTION_LOCK_STAKE_POLICY", &self.lock_stake)),
        };
        let offer = self
            .offer(category, price)
            .map_err(|problem| problems.push(problem));
        let offer = offer.ok()?;
        Some(OrdersConfig {
            consensus: self.consensus,
            best_effort: self.best_effort,
            patience_s: Some(self.patience_s).filter(|seconds| *seconds > 0),
            callback_gas_max: Some(Gas(self.callback_gas)).filter(|gas| gas.0 > 0),
            evict_after: Some(self.evict_after).filter(|count| *count > 0),
            priority: Priority(self.priority),
            result_uri: self.result_uri,
            offer,
            terms,
            policy: self.policy,
        })
    }

    fn offer(&self, category: Option<u64>, price: [Option<u64>; 3]) -> Result<Option<Offer>, String> {
        let Some(category) = category else {
            return match price {
                [None, None, None] => Ok(None),
                _ => Err("a price is set and CATEGORY is not; set it to the category of the works that are offered".into()),
            };
        };
        let nrlc = |amount: u64| Rlc(u128::from(amount));
        let price = match price {
            [Some(price), None, None] => Price::Fixed(nrlc(price)),
            [None, Some(min), Some(max)] if min <= max => Price::ByLoad {
                min: nrlc(min),
                max: nrlc(max),
                tolerance_percent: TOLERANCE_PERCENT,
            },
            [None, Some(min), Some(max)] => {
                return Err(format!(
                    "PRICEMIN is {min} and PRICEMAX {max}; the least is more than the most"
                ));
            }
            _ => {
                return Err(format!(
                    "CATEGORY is {category}, so a price is needed: PRICE alone, or PRICEMIN and PRICEMAX"
                ));
            }
        };
        Ok(Some(Offer {
            category,
            trust: Trust(u128::from(self.trust)),
            price,
            volume: self.volume,
        }))
    }
}
