//! The chain: what stands in a block, and what workers and requesters send.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{
    Address, Answer, Block, BlockRef, Call, Commitment, ContributionStatus, Gas, Hash, Log, NOBODY, Nonce,
    Obstacle, OrderStatus, Person, Place, Receipt, Scene, Timestamp, Wei, keccak, obstacle, result_hash,
};

use super::super::Hub;
use super::world::*;
use crate::core::order::Outcome;
use wire_lane::Payload;

impl World {
    pub(super) fn mine(&mut self) {
        self.made += 1;
        let last = self.head();
        let timestamp = Timestamp(last.timestamp.0 + BLOCK_S);
        let hash = keccak(&[&last.at.hash.0[..], &self.made.to_be_bytes()].concat());
        let number = last.at.number + 1;
        let block = Block {
            at: BlockRef { number, hash },
            parent: last.at.hash,
            timestamp,
            base_fee: Some(Wei(10)),
        };
        let mut mined = Mined {
            block,
            hub: self.hub().clone(),
            logs: Vec::new(),
            receipts: Vec::new(),
        };
        let mut others = self.others(timestamp);
        let mut next = self.nonce_at(self.blocks.len() - 1);
        while let Some(hash) = self.best(next) {
            // Others come before or behind, by chance: nobody decides the order in a block.
            while !others.is_empty() && self.rng.bool() {
                let (sender, call) = others.swap_remove(self.rng.usize(..others.len()));
                self.include(&mut mined, sender, &call, keccak(&self.made.to_be_bytes()), false);
            }
            match self.signed[&hash].payload.clone() {
                Payload::Call { call, .. } => self.include(&mut mined, OWNER, &call, hash, true),
                Payload::Nothing => mined.receipts.push(receipt(hash, &mined, true)),
            }
            next.0 += 1;
        }
        self.rng.shuffle(&mut others);
        for (sender, call) in others {
            self.include(&mut mined, sender, &call, keccak(&self.made.to_be_bytes()), false);
        }
        mined.hub.sanity_check();
        let signed = &self.signed;
        self.pool.retain(|hash| signed[hash].nonce >= next);
        self.blocks.push(mined);
        self.longest = self.longest.max(self.blocks.len());
        self.assert_each_intent_once();
    }

    /// A transaction takes effect exactly if nothing that is known stands in its way.
    pub(super) fn include(
        &mut self,
        mined: &mut Mined,
        sender: Address,
        call: &Call,
        hash: Hash,
        is_ours: bool,
    ) {
        let at = mined.block.timestamp;
        let expected = self.obstacle(&mined.hub, sender, call, at);
        let done = mined.hub.call(sender, call, at);
        let is_known = !matches!(
            call,
            Call::BuyForWorkOrder { .. } | Call::ClaimFailedConsensus { .. }
        );
        if is_known {
            assert_eq!(
                done.is_err(),
                expected.is_some(),
                "{call:?}: {done:?}, but {expected:?}"
            );
        }
        if is_ours {
            mined.receipts.push(receipt(hash, mined, done.is_ok()));
        }
        let block = mined.block.at;
        for event in done.unwrap_or_default() {
            let place = Place {
                block,
                log_index: mined.logs.len() as u32,
                transaction: hash,
            };
            mined.logs.push(Log { place, event });
        }
    }

    pub(super) fn obstacle(
        &self,
        hub: &Hub,
        sender: Address,
        call: &Call,
        at: Timestamp,
    ) -> Option<Obstacle> {
        let (views, people) = (views_of(hub, call), self.people(hub));
        obstacle(call, &scene(hub, sender, &views, &people, at))
    }

    pub(super) fn people(&self, hub: &Hub) -> BTreeMap<Address, Person> {
        let all = (1..=self.agents.len()).map(worker).chain([OWNER]);
        all.map(|who| (who, hub.person(who))).collect()
    }

    /// What workers and requesters send, from what they see in the last block.
    pub(super) fn others(&mut self, next: Timestamp) -> Vec<(Address, Call)> {
        let hub = self.hub().clone();
        let mut calls = Vec::new();
        let buyers: BTreeSet<Address> = hub
            .orders()
            .filter_map(|woid| hub.views(woid).known().map(|views| views.order.requester))
            .collect();
        for (index, request) in self.requests.clone().into_iter().enumerate() {
            let who = requester(index);
            if !buyers.contains(&who) && self.rng.bool() {
                calls.push((who, self.purchase(index)));
            }
            for woid in hub.orders() {
                let Answer::Known(views) = hub.views(woid) else {
                    continue;
                };
                let is_late = next > views.consensus.consensus_timeout;
                let is_open = matches!(views.order.status, OrderStatus::Active | OrderStatus::Revealing);
                if request.claims && views.order.requester == who && is_late && is_open {
                    calls.push((who, Call::ClaimFailedConsensus { woid }));
                }
            }
        }
        for woid in hub.orders() {
            let Answer::Known(views) = hub.views(woid) else {
                continue;
            };
            for (index, agent) in self.agents.clone().into_iter().enumerate() {
                let who = worker(index + 1);
                if self.rng.u8(..4) == 0 {
                    continue;
                }
                let contribution = views.contribution(who);
                let result = result(agent.letter);
                if contribution.status == ContributionStatus::Authorized && self.has_result(woid, who) {
                    let call = Call::Contribute {
                        woid,
                        result_hash: result_hash(result),
                        result_sign: Commitment::of(result, who).sign,
                    };
                    calls.push((who, call));
                }
                if views.order.status == OrderStatus::Revealing
                    && views.to_reveal().contains(&who)
                    && !agent.is_silent
                {
                    calls.push((who, Call::Reveal { woid, result }));
                }
            }
        }
        calls
    }

    pub(super) fn purchase(&self, index: usize) -> Call {
        Call::BuyForWorkOrder {
            market_order: index as u64 + 1,
            app: APP,
            dataset: NOBODY,
            params: if self.are_bags {
                "bag".to_owned()
            } else {
                format!("echo {index}")
            },
            callback: NOBODY,
            beneficiary: NOBODY,
        }
    }

    pub(super) fn has_result(&self, woid: Address, who: Address) -> bool {
        let of_it = self
            .brain()
            .book()
            .iter()
            .filter(|(identity, _)| identity.woid == woid);
        let mut asked = of_it.filter_map(|(_, entry)| entry.intended.asked.get(&who));
        asked.any(|asked| matches!(asked.outcome, Some(Outcome::Done(_))))
    }

    pub(super) fn best(&self, nonce: Nonce) -> Option<Hash> {
        let of_it = self.pool.iter().filter(|hash| self.signed[*hash].nonce == nonce);
        of_it.max_by_key(|hash| self.signed[*hash].price).copied()
    }

    pub(super) fn nonce_at(&self, index: usize) -> Nonce {
        Nonce(
            self.blocks[..=index]
                .iter()
                .map(|mined| mined.receipts.len() as u64)
                .sum(),
        )
    }

    /// I4: no intent takes effect twice.
    pub(super) fn assert_each_intent_once(&self) {
        let mut seen = BTreeSet::new();
        for receipt in self
            .blocks
            .iter()
            .flat_map(|mined| &mined.receipts)
            .filter(|receipt| receipt.succeeded)
        {
            if let Payload::Call { call, .. } = &self.signed[&receipt.transaction].payload {
                let text = format!("{call:?}");
                let may_repeat = matches!(call, Call::RevealConsensus { .. } | Call::Reopen { .. });
                assert!(seen.insert(text) || may_repeat, "{call:?} took effect twice");
            }
        }
    }
}

pub(super) fn receipt(transaction: Hash, mined: &Mined, succeeded: bool) -> Receipt {
    Receipt {
        transaction,
        block: mined.block.at,
        index: mined.receipts.len() as u32,
        succeeded,
        gas_used: Gas(50_000),
        gas_price: Wei(10),
        logs: Vec::new(),
    }
}

pub(super) fn scene<'a>(
    hub: &Hub,
    sender: Address,
    views: &'a Answer<wire_hub::Views>,
    people: &'a BTreeMap<Address, Person>,
    at: Timestamp,
) -> Scene<'a> {
    Scene {
        sender,
        pool: hub.pool,
        pool_owner: hub.pool_owner,
        views,
        people,
        at,
    }
}

pub(super) fn views_of(hub: &Hub, call: &Call) -> Answer<wire_hub::Views> {
    match call {
        Call::AllowWorkersToContribute { woid, .. }
        | Call::RevealConsensus { woid, .. }
        | Call::Reopen { woid }
        | Call::FinalizeWork { woid, .. }
        | Call::WorkOrderCallback { woid, .. }
        | Call::Contribute { woid, .. }
        | Call::Reveal { woid, .. } => hub.views(*woid),
        _ => Answer::Unknown,
    }
}
