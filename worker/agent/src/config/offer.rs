//! What an operator decides of a worker's offer: slots, how they are counted, and counters of the operator's own.

use anyhow::bail;
use wire_protocol::limits::LEASES_PER_WORKER_MAX;
use wire_protocol::resources::Packing;
use wire_protocol::template::Offer;

/// Prefilled works by default are twice the slots, but no more than this.
const PREFILL_DEFAULT_MAX: u32 = 256;

/// Slots for each core of a worker that packs: works that ask for a core each fill the machine long before.
const SLOTS_PER_CORE: u32 = 4;

/// Slots, and works ahead where they are not given. A worker that packs has slots that do not stand in the way; its works
/// all take a core at least, and what is counted is not taken ahead.
pub(super) fn default_slots(offer: &Offer, slots: Option<u32>) -> (u32, u32) {
    let most = u32::try_from(LEASES_PER_WORKER_MAX).expect("a few thousand");
    match offer.packing {
        Packing::Slots => {
            let slots = slots.unwrap_or(offer.cores);
            (slots, slots.saturating_mul(2).min(PREFILL_DEFAULT_MAX))
        }
        Packing::Resources => {
            let packed = offer.cores.saturating_mul(SLOTS_PER_CORE).min(most);
            (slots.unwrap_or(packed), 0)
        }
    }
}

/// Counters as `licence=2`.
pub(super) fn custom(given: &[String]) -> anyhow::Result<Vec<(String, u64)>> {
    let mut custom: Vec<(String, u64)> = Vec::new();
    for text in super::without_empty(given.to_vec()) {
        let parsed = text
            .split_once('=')
            .filter(|(name, _)| !name.trim().is_empty())
            .and_then(|(name, amount)| Some((name.trim().to_owned(), amount.trim().parse().ok()?)));
        let Some((name, amount)) = parsed else {
            bail!("--custom (POOL_WORKER_CUSTOM): `{text}` is no NAME=N, as in licence=2");
        };
        if custom.iter().any(|(other, _)| *other == name) {
            bail!("--custom (POOL_WORKER_CUSTOM) names {name} twice");
        }
        custom.push((name, amount));
    }
    custom.sort();
    Ok(custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_with_how_much_there_is() {
        let given = |texts: &[&str]| custom(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let counters = given(&["seat = 9", "", "licence=2"]).expect("two counters");
        assert_eq!(counters, [("licence".to_owned(), 2), ("seat".to_owned(), 9)]);
        for wrong in [&["licence"][..], &["=2"], &["licence=-1"], &["a=1", "a=2"]] {
            assert!(given(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_worker_that_packs_has_more_slots_than_cores_and_none_ahead() {
        let offer = |packing| Offer {
            cores: 8,
            packing,
            ..Offer::default()
        };
        assert_eq!(default_slots(&offer(Packing::Slots), None), (8, 16));
        assert_eq!(default_slots(&offer(Packing::Slots), Some(200)), (200, 256));
        assert_eq!(default_slots(&offer(Packing::Resources), None), (32, 0));
        assert_eq!(default_slots(&offer(Packing::Resources), Some(3)), (3, 0));
    }
}
