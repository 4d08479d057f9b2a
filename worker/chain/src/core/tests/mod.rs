//! The core in a world where everything goes wrong: see [`world`].

mod world;

use proptest::prelude::*;
use wire_hub::{ContributionStatus, OrderStatus};

use world::{Faults, World};

const WON: (OrderStatus, ContributionStatus) = (OrderStatus::Completed, ContributionStatus::Proved);

#[test]
fn without_faults_all_orders_are_won() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3, 3, Faults::default());
        world.finish();
        world.check();
        assert_eq!(world.ends(), [WON; 3], "seed {seed}");
    }
}

/// With a stake for one of three at a time each has its turn, as far as there is time.
#[test]
fn stake_for_one_is_never_promised_to_two() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3, 1, Faults::default());
        world.finish();
        world.check();
        assert!(world.ends().contains(&WON), "seed {seed}: {:?}", world.ends());
    }
}

/// Who reveals in time is paid: short troubles are outlived.
#[test]
fn kills_and_lost_transactions_lose_no_order() {
    let faults = Faults {
        lost: 20,
        kill: 20,
        away: 10,
        ..Faults::default()
    };
    for seed in 0..40 {
        let mut world = World::new(seed, 3, 3, faults);
        for _ in 0..60 {
            world.round();
        }
        world.finish();
        world.check();
        assert_eq!(world.ends(), [WON; 3], "seed {seed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_nothing_takes_effect_twice_or_is_sent_too_late(
        seed: u64,
        orders in 1_u8..6,
        stakes in 1_u128..6,
        lost in 0_u8..60,
        reorg in 0_u8..25,
        kill in 0_u8..40,
        away in 0_u8..50,
        still in 0_u8..20,
        outvoted in 0_u8..60,
    ) {
        let faults = Faults { lost, reorg, kill, away, still, outvoted };
        let mut world = World::new(seed, orders, stakes, faults);
        for _ in 0..120 {
            world.round();
        }
        world.finish();
        world.check();
    }
}
