//! Topics as the deployed contracts have them, and what cannot be right.

use ethers_core::abi::AbiEncode;
use ethers_core::types::{H160, U256};
use wire_hub::{Address, BlockRef, Place, Rlc};

use super::*;

const POOL: Address = Address([7; 20]);
const HUB: Address = Address([2; 20]);
const MARKETPLACE: Address = Address([3; 20]);

fn hash(digits: &str) -> Hash {
    let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).expect("digits");
    Hash(bytes.try_into().expect("32 bytes"))
}

fn log(address: Address, topics: Vec<Hash>, data: Vec<u8>) -> RawLog {
    RawLog {
        address,
        topics,
        data,
        place: Place {
            block: BlockRef {
                number: 12,
                hash: Hash([1; 32]),
            },
            log_index: 3,
            transaction: Hash([2; 32]),
        },
    }
}

/// An address as a topic.
fn topic(of: u8) -> Hash {
    let mut hash = [0; 32];
    hash[12..].fill(of);
    Hash(hash)
}

/// `poco-v2`, section 2.4: seen on the main network.
#[test]
fn events_have_the_topics_of_the_deployed_contracts() {
    use super::worker_pool as pool;
    let signatures = |all: &[(ethers_core::types::H256, &str)]| {
        for (signature, digits) in all {
            assert_eq!(Hash(signature.0), hash(digits));
        }
    };
    signatures(&[
        (
            pool::WorkOrderActiveFilter::signature(),
            "9c081174ce28e85a62530b1102b0df58428b8da5027e81fbb4984aa1dc033107",
        ),
        (
            pool::WorkOrderClaimedFilter::signature(),
            "8d8d47a5d5034ce9c01a2308543fdaa83d60863e4b735b7d57361987cdc8ed94",
        ),
        (
            pool::AllowWorkerToContributeFilter::signature(),
            "9cade22a92ceb705fefd1c03e9ac4dbbf787cd493ec63a9f2b078cbc859c0629",
        ),
        (
            pool::ContributeFilter::signature(),
            "1593a9a000265660fd299c9f8c9bbacfeb4d428861542e6c44b68615324225d4",
        ),
        (
            pool::RevealConsensusFilter::signature(),
            "a1b9f527f9799a46d54103401c99dc62f3744afe1d095a1c53620758dc38b286",
        ),
        (
            pool::RevealFilter::signature(),
            "4f5df7005a83b6f11e90ead1268eb534656169a5034e8d239c763471294be3d5",
        ),
        (
            pool::ReopenFilter::signature(),
            "631055693b4cbe13143279bc507432c42de858b6d04b3ba4e1ff3d2c88a7e52b",
        ),
        (
            pool::FinalizeWorkFilter::signature(),
            "4bfecaabd22e1b95e9aa9eb161b19f645b3460e7533d5e0f6349faf8dc0a7244",
        ),
        (
            pool::WorkerSubscribeFilter::signature(),
            "67799bb3ec4a3491a0c1c4e6d02ec99927df7ba7fa268c216672c0c5ecc1e8f8",
        ),
        (
            pool::WorkerUnsubscribeFilter::signature(),
            "d08d61a9c25ada3385d23554bae10e5d15c9518d4bfd27571c190558f7030f6e",
        ),
        (
            pool::WorkerEvictionFilter::signature(),
            "b22288215ec8cbd28148d7ffa053c6e6e23c62b58d0eb71a6387b59fad33a019",
        ),
        (
            pool::WorkerPoolPolicyUpdateFilter::signature(),
            "52bb55d3097463659f724f9b420d259719787a8563b48eb82368680999bfea07",
        ),
        (
            iexec_hub::CreateWorkerPoolFilter::signature(),
            "3c29f4ff1e741e465a1ad9cc4c0b8e51c046c021ca9e77172d812ae667f566f8",
        ),
        (
            iexec_hub::RewardFilter::signature(),
            "619caafabdd75649b302ba8419e48cccf64f37f1983ac4727cfb38b57703ffc9",
        ),
        (
            iexec_hub::SeizeFilter::signature(),
            "4051ba94e08bb094159fc38391422b4b8ccfd2b1f8919c0eb37bb042d4b9cd8e",
        ),
        (
            iexec_hub::AccurateContributionFilter::signature(),
            "98b231d22df4a95e9d99b5d3f4d25fab5a821c22d7f517a522731c2892ed4535",
        ),
        (
            iexec_hub::FaultyContributionFilter::signature(),
            "d21e70eb7104cb6f403402b79fe1c088dc56b69ecb7474ae68a3e861a5a6d499",
        ),
        (
            marketplace::MarketOrderCreatedFilter::signature(),
            "b0be9c5566c7b426b2e5378a75c24af27818f33e0b6aa5ea6208562c144c98f1",
        ),
        (
            marketplace::MarketOrderClosedFilter::signature(),
            "9a05087bc2e92d4e31e031af3ffb9da7e4dffd4be5573811330541cc559315fe",
        ),
        (
            marketplace::MarketOrderAskConsumeFilter::signature(),
            "e15b7f1dd90867f2f9084033184322ae15a1572828d3d2a5a2dca5f6038332ba",
        ),
        (
            marketplace::WorkOrderCallbackProofFilter::signature(),
            "faa5bd626c00cd99117399c04259a0d49a005fdde47f67ed013a1f473a495870",
        ),
    ]);
}

#[test]
fn what_others_say_and_what_nobody_listens_to_is_no_event() {
    let active = Hash(worker_pool::WorkOrderActiveFilter::signature().0);
    let known = log(POOL, vec![active, topic(9)], Vec::new());
    let woid = Address([9; 20]);
    assert_eq!(
        decode(&Contracts::numbered(), &known),
        Ok(Some(Event::WorkOrderActive { woid }))
    );
    let others = [
        log(Address([8; 20]), vec![active, topic(9)], Vec::new()),
        log(HUB, vec![active, topic(9)], Vec::new()),
        log(POOL, vec![Hash([5; 32])], Vec::new()),
        log(POOL, Vec::new(), Vec::new()),
    ];
    for other in others {
        assert_eq!(decode(&Contracts::numbered(), &other), Ok(None), "{other:?}");
    }
}

#[test]
fn what_cannot_be_right_is_named_with_its_place() {
    let reward = Hash(iexec_hub::RewardFilter::signature().0);
    let allowed = Hash(worker_pool::AllowWorkerToContributeFilter::signature().0);
    let created = Hash(marketplace::MarketOrderCreatedFilter::signature().0);
    let whom = H160([9; 20]);
    let fine = log(HUB, vec![reward], (whom, U256::from(5)).encode());
    let user = Address([9; 20]);
    assert_eq!(
        decode(&Contracts::numbered(), &fine),
        Ok(Some(Event::Reward { user, amount: Rlc(5) }))
    );
    for (wrong, what) in [
        (
            log(HUB, vec![reward], (whom, U256::MAX).encode()),
            "amount of Reward",
        ),
        (log(HUB, vec![reward], vec![0; 40]), "Reward"),
        (log(HUB, vec![reward, topic(9)], whom.encode()), "Reward"),
        (
            log(MARKETPLACE, vec![created], U256::MAX.encode()),
            "marketorderIdx",
        ),
        (
            log(POOL, vec![allowed, topic(9)], U256::one().encode()),
            "AllowWorkerToContribute",
        ),
        (
            log(POOL, vec![allowed, topic(9), topic(8)], U256::MAX.encode()),
            "workerScore",
        ),
    ] {
        let error = decode(&Contracts::numbered(), &wrong)
            .expect_err(what)
            .to_string();
        assert!(
            error.contains(what) && error.contains("log 3 of block 12"),
            "{error}"
        );
    }
}
