//! A worker is never over its offer: what works take together of a counter is never more than it has, neither by the leases
//! that the engine gives nor by what runs there.

use std::collections::BTreeMap;

use wire_protocol::ids::WorkId;
use wire_protocol::record::Attempts;
use wire_protocol::resources::Packing;
use wire_protocol::template::{Offer, WorkTemplate};

use super::ledger::Ledger;
use super::{Violation, check};

const NAME: &str = "offer";

/// What honest workers really have, by uid.
#[derive(Default)]
pub(super) struct Offers(BTreeMap<String, Offer>);

impl Offers {
    pub(super) fn honest(&mut self, uid: &str, offer: &Offer) {
        self.0.insert(uid.to_owned(), offer.clone());
    }

    /// Leases were given and are in the ledger. Those that a worker brings from before may be more.
    pub(super) fn check_engine(&self, ledger: &Ledger, attempts: &Attempts<'_>) -> Result<(), Violation> {
        let worker = &ledger.workers[&attempts.worker];
        let Some(offer) = self.0.get(&worker.uid) else {
            return Ok(());
        };
        let template = |work: WorkId| &ledger.bags[&ledger.works[&work].bag].template;
        let over = over(offer, &worker.held.iter().copied().map(template));
        let mut new = attempts.iter().filter(|token| token.epoch == ledger.epoch);
        // Of what is over its offer already it may be given nothing more.
        let guilty = new.find_map(|token| {
            let took = |(name, ..): &&Over| taken(name, template(token.work)) > 0;
            Some((token.work, over.iter().find(took)?))
        });
        let work = guilty.map(|(work, _)| work);
        check(NAME, work, guilty.is_none(), || {
            let (_, (name, taken, all)) = guilty.expect("just seen");
            format!("{} has works that take {taken} of {all} {name}", worker.uid)
        })
    }
}

/// What runs at a worker, also what was told to stop and has not yet.
pub(super) fn check_worker<'a>(
    uid: &str,
    offer: &Offer,
    running: &(impl Iterator<Item = &'a WorkTemplate> + Clone),
) -> Result<(), Violation> {
    let over = over(offer, running);
    check(NAME, None, over.is_empty(), || {
        let (name, taken, all) = &over[0];
        format!("{uid} runs works that take {taken} of {all} {name}")
    })
}

/// A counter, what is taken of it, and what there is.
type Over = (String, u64, u64);

fn over<'a>(offer: &Offer, works: &(impl Iterator<Item = &'a WorkTemplate> + Clone)) -> Vec<Over> {
    let packs = offer.packing == Packing::Resources;
    let cores = packs.then(|| ("cores".to_owned(), u64::from(offer.cores)));
    let counters = offer.custom.iter().cloned().chain(cores);
    let sums = counters.map(|(name, all)| {
        let sum = works.clone().map(|template| taken(&name, template)).sum();
        (name, sum, all)
    });
    sums.filter(|(_, sum, all)| sum > all).collect()
}

fn taken(name: &str, template: &WorkTemplate) -> u64 {
    let requirements = &template.requirements;
    if name == "cores" {
        return u64::from(requirements.cores.max(1));
    }
    let asked = requirements.custom.iter().find(|(asked, _)| asked == name);
    asked.map_or(0, |(_, amount)| *amount)
}
