//! The model's contracts have addresses of their own; people and apps have the same.

use wire_chain::Contracts;
use wire_hub::{Address, Call, Event, Receipt};
use wire_hub::{MarketOrder, Person, Views};

use sidecars_reconcile::model::Hub;

/// Pairs of addresses: the model's, the chain's.
pub(super) struct Names(Vec<(Address, Address)>);

impl Names {
    pub(super) fn new(hub: &Hub, contracts: &Contracts) -> Self {
        Self(vec![(hub.address, contracts.hub), (hub.pool, contracts.pool)])
    }

    /// An order that both have just made.
    pub(super) fn learn(&mut self, said: &[Event], receipt: &Receipt) {
        let active = |event: &Event| match event {
            Event::WorkOrderActive { woid } => Some(*woid),
            _ => None,
        };
        let here = said.iter().find_map(active);
        let there = receipt.logs.iter().find_map(|log| active(&log.event));
        if let (Some(here), Some(there)) = (here, there) {
            self.0.push((here, there));
        }
    }

    pub(super) fn chain(&self, model: Address) -> Address {
        let pair = self.0.iter().find(|(here, _)| *here == model);
        pair.map_or(model, |(_, there)| *there)
    }

    fn model(&self, chain: Address) -> Address {
        let pair = self.0.iter().find(|(_, there)| *there == chain);
        pair.map_or(chain, |(here, _)| *here)
    }

    /// The call as the chain takes it.
    pub(super) fn call(&self, call: &Call) -> Call {
        let mut call = call.clone();
        match &mut call {
            Call::AllowWorkersToContribute { woid, .. }
            | Call::RevealConsensus { woid, .. }
            | Call::Reopen { woid }
            | Call::FinalizeWork { woid, .. }
            | Call::WorkOrderCallback { woid, .. }
            | Call::Contribute { woid, .. }
            | Call::Reveal { woid, .. }
            | Call::ClaimFailedConsensus { woid } => *woid = self.chain(*woid),
            _ => {}
        }
        call
    }

    /// What the chain has said, as the model says it.
    pub(super) fn event(&self, event: &Event) -> Event {
        let mut event = event.clone();
        match &mut event {
            Event::WorkOrderActive { woid }
            | Event::WorkOrderClaimed { woid }
            | Event::AllowWorkerToContribute { woid, .. }
            | Event::Contribute { woid, .. }
            | Event::RevealConsensus { woid, .. }
            | Event::Reveal { woid, .. }
            | Event::Reopen { woid }
            | Event::FinalizeWork { woid, .. }
            | Event::AccurateContribution { woid, .. }
            | Event::FaultyContribution { woid, .. }
            | Event::WorkOrderCallbackProof { woid } => *woid = self.model(*woid),
            Event::Reward { user, .. } | Event::Seize { user, .. } => *user = self.model(*user),
            _ => {}
        }
        event
    }

    pub(super) fn offer(&self, offer: MarketOrder) -> MarketOrder {
        MarketOrder {
            workerpool: self.model(offer.workerpool),
            ..offer
        }
    }

    pub(super) fn person(&self, mut person: Person) -> Person {
        person.affiliation.pool = self.model(person.affiliation.pool);
        person
    }

    pub(super) fn views(&self, mut views: Views) -> Views {
        views.market = self.offer(views.market);
        views.order.woid = self.model(views.order.woid);
        views.order.workerpool = self.model(views.order.workerpool);
        views
    }
}
