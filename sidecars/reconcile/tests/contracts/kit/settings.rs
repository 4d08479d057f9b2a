//! How the pool behaves here: blocks are a second apart, and what is final is near.

use sidecars_reconcile::core::observe;
use sidecars_reconcile::core::plan;
use sidecars_reconcile::core::policy::ConsensusPolicy;
use sidecars_reconcile::core::reconciler::Settings;
use wire_chain::Contracts;
use wire_hub::{Address, Gas, Wei};
use wire_lane as lane;
use wire_lane::FeePolicy;
use wire_protocol::units::Millis;

pub(super) fn settings(contracts: &Contracts, owner: Address) -> Settings {
    Settings {
        chain_id: contracts.chain_id,
        hub: contracts.hub,
        pool: contracts.pool,
        owner,
        observe: observe::Settings {
            ring_len: 64,
            confirmations: 1,
            final_after: Some(4),
            range_len: 1_000,
            patience: Millis(10_000),
            pause: Millis(100),
        },
        lane: lane::Settings {
            in_flight_max: 16,
            fees: FeePolicy {
                multiplier_percent: 200,
                tip: Wei(1_000_000_000),
                cap: Wei(1_000_000_000_000),
                bump_percent: 12,
            },
            spend_per_hour_max: None,
            resend_after: Millis(4_000),
            replace_after: Millis(6_000),
            urgent_s: 60,
            poll: Millis(2_000),
        },
        plan: plan::Settings {
            consensus: ConsensusPolicy::Poco,
            best_effort: false,
            confirmations: 1,
            block_s: 1,
            inclusion_s: 1,
            margin_blocks: 3,
            patience_s: None,
            callback_gas_max: Some(Gas(300_000)),
            evict_after: None,
        },
        offer: None,
        pause: Millis(100),
    }
}
