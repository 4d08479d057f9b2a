//! Who calls what: mostly what somebody could mean, by who may, now and then what nobody should.

use fastrand::Rng;
use sidecars_reconcile::model::Hub;
use wire_hub::{
    Address, Call, Commitment, ContributionStatus, Hash, MarketStatus, NOBODY, OrderStatus, Policy, Rlc,
    Trust, Views, keccak, result_hash,
};

/// Everybody.
pub(super) struct Cast {
    pub(super) owner: Address,
    pub(super) requesters: [Address; 2],
    pub(super) workers: [Address; 4],
    pub(super) stranger: Address,
    pub(super) app: Address,
    pub(super) callback: Address,
}

impl Cast {
    pub(super) fn people(&self) -> Vec<Address> {
        let some = [self.owner, self.stranger];
        some.into_iter()
            .chain(self.requesters)
            .chain(self.workers)
            .collect()
    }

    /// The next call, and who sends it.
    pub(super) fn call(&self, hub: &Hub, rng: &mut Rng) -> (Address, Call) {
        let (sender, call) = match rng.u8(..100) {
            0..=5 => self.of_money(rng),
            6..=11 => self.of_offers(hub, rng),
            12..=17 => self.of_pool(rng),
            18..=25 => self.purchase(hub, rng),
            _ => self.of_order(hub, rng),
        };
        if rng.u8(..100) < 6 {
            let people = self.people();
            return (people[rng.usize(..people.len())], call);
        }
        (sender, call)
    }

    fn of_money(&self, rng: &mut Rng) -> (Address, Call) {
        let people = self.people();
        let who = people[rng.usize(..people.len())];
        let amount = Rlc(u128::from(rng.u64(..3_000)));
        let call = match rng.u8(..10) {
            0..=3 => Call::Approve { amount },
            4..=7 => Call::Deposit { amount },
            _ => Call::Withdraw { amount },
        };
        (who, call)
    }

    fn of_offers(&self, hub: &Hub, rng: &mut Rng) -> (Address, Call) {
        let call = if rng.u8(..4) == 0 {
            Call::CloseMarketOrder {
                market_order: rng.u64(..hub.offers().len() as u64 + 2),
            }
        } else {
            Call::CreateMarketOrder {
                category: rng.u64(..4),
                trust: Trust(u128::from(rng.u64(..100))),
                value: Rlc(u128::from(rng.u64(..1_500))),
                volume: rng.u64(..5),
            }
        };
        (self.owner, call)
    }

    fn of_pool(&self, rng: &mut Rng) -> (Address, Call) {
        let worker = self.workers[rng.usize(..4)];
        match rng.u8(..10) {
            0..=5 => (worker, Call::SubscribeToPool),
            6 => (worker, Call::UnsubscribeFromPool),
            7 | 8 => (self.owner, Call::EvictWorker { worker }),
            _ => {
                let policy = Policy {
                    stake_ratio: rng.u64(..100),
                    scheduler_reward_ratio: rng.u64(..120),
                    subscription_minimum_stake: Rlc(u128::from(rng.u64(..100))),
                    subscription_minimum_score: rng.u64(..2),
                    // Nobody can change it.
                    subscription_lock_stake: super::LOCK,
                };
                (self.owner, Call::ChangeWorkerPoolPolicy { policy })
            }
        }
    }

    fn purchase(&self, hub: &Hub, rng: &mut Rng) -> (Address, Call) {
        let open = hub
            .offers()
            .iter()
            .filter(|offer| offer.status == MarketStatus::Ask);
        let open: Vec<u64> = open.map(|offer| offer.id).collect();
        let market_order = match open.len() {
            0 => rng.u64(..3),
            count if rng.u8(..8) > 0 => open[rng.usize(..count)],
            _ => rng.u64(..hub.offers().len() as u64 + 2),
        };
        let one_of = |rng: &mut Rng, usual: Address, others: [Address; 2]| match rng.u8(..20) {
            0 => others[0],
            1 => others[1],
            _ => usual,
        };
        let call = Call::BuyForWorkOrder {
            market_order,
            app: one_of(rng, self.app, [self.stranger, NOBODY]),
            dataset: one_of(rng, NOBODY, [self.stranger, self.app]),
            callback: if rng.bool() { NOBODY } else { self.callback },
            beneficiary: one_of(rng, self.stranger, [NOBODY, self.owner]),
            params: "level 3".to_owned(),
        };
        (self.requesters[rng.usize(..2)], call)
    }

    /// About one of the last orders, or one that is none.
    fn of_order(&self, hub: &Hub, rng: &mut Rng) -> (Address, Call) {
        let mut orders: Vec<Address> = hub.orders().collect();
        orders.sort_by_key(|woid| {
            let views = hub.views(*woid);
            views.known().map(|views| views.consensus.consensus_timeout)
        });
        let last = &orders[orders.len().saturating_sub(3)..];
        let woid = match last.len() {
            0 => self.stranger,
            _ if rng.u8(..40) == 0 => self.stranger,
            count => last[rng.usize(..count)],
        };
        let views = hub.views(woid);
        if let (Some(views), true) = (views.known(), rng.u8(..4) == 0) {
            return self.next(hub, views, rng);
        }
        let status = |worker: Address| {
            let views = views.known();
            views.map_or(ContributionStatus::Unset, |views| views.status(worker))
        };
        let worker = self.workers[rng.usize(..4)];
        let of_status = |wanted: ContributionStatus, rng: &mut Rng| {
            let fit: Vec<Address> = self
                .workers
                .into_iter()
                .filter(|who| status(*who) == wanted)
                .collect();
            if fit.is_empty() || rng.u8(..10) == 0 {
                worker
            } else {
                fit[rng.usize(..fit.len())]
            }
        };
        let result = results(rng);
        match rng.u8(..14) {
            0..=2 => {
                let mut workers = vec![of_status(ContributionStatus::Unset, rng)];
                while rng.u8(..3) == 0 {
                    workers.push(self.workers[rng.usize(..4)]);
                }
                if rng.u8(..30) == 0 {
                    workers.clear();
                }
                (self.owner, Call::AllowWorkersToContribute { woid, workers })
            }
            3..=5 => {
                let who = of_status(ContributionStatus::Authorized, rng);
                // Now and then it copies another's.
                let of = if rng.u8(..12) == 0 { worker } else { who };
                let call = match rng.u8(..30) {
                    0 => Call::Contribute {
                        woid,
                        result_hash: Hash::ZERO,
                        result_sign: result,
                    },
                    _ => Commitment::of(result, of).call(woid),
                };
                (who, call)
            }
            6 | 7 => {
                let consensus = result_hash(result);
                (self.owner, Call::RevealConsensus { woid, consensus })
            }
            8 | 9 => {
                let who = of_status(ContributionStatus::Contributed, rng);
                (who, Call::Reveal { woid, result })
            }
            10 => (self.owner, Call::Reopen { woid }),
            11 | 12 if rng.bool() => {
                let requester = views
                    .known()
                    .map_or(self.requesters[0], |views| views.order.requester);
                (requester, Call::ClaimFailedConsensus { woid })
            }
            11 | 12 => {
                let call = Call::FinalizeWork {
                    woid,
                    stdout: "out".to_owned(),
                    stderr: String::new(),
                    uri: "pool://result".to_owned(),
                };
                (self.owner, call)
            }
            _ => {
                let call = Call::WorkOrderCallback {
                    woid,
                    stdout: if rng.u8(..5) == 0 { "other" } else { "out" }.to_owned(),
                    stderr: String::new(),
                    uri: "pool://result".to_owned(),
                };
                (self.stranger, call)
            }
        }
    }

    /// What an order needs next.
    fn next(&self, hub: &Hub, views: &Views, rng: &mut Rng) -> (Address, Call) {
        let woid = views.order.woid;
        let texts = |what: fn(Address, String, String, String) -> Call| {
            what(woid, "out".to_owned(), String::new(), "pool://result".to_owned())
        };
        let with = |status| views.with(status).next();
        match views.order.status {
            OrderStatus::Active => {
                if let Some((worker, _)) = with(ContributionStatus::Authorized) {
                    return (worker, Commitment::of(results(rng), worker).call(woid));
                }
                match with(ContributionStatus::Contributed) {
                    Some((_, part)) if rng.bool() => {
                        let consensus = part.result_hash;
                        (self.owner, Call::RevealConsensus { woid, consensus })
                    }
                    _ => {
                        let may = |who: &Address| {
                            let is_ours = hub.person(*who).affiliation.pool == hub.pool;
                            is_ours && views.status(*who) == ContributionStatus::Unset
                        };
                        let workers = self.workers.into_iter().filter(may).take(2).collect();
                        (self.owner, Call::AllowWorkersToContribute { woid, workers })
                    }
                }
            }
            OrderStatus::Revealing => match views.to_reveal().first() {
                Some(worker) => {
                    let is_it = |result: &Hash| result_hash(*result) == views.consensus.consensus;
                    let result = [RIGHT, OTHER].map(keccak).into_iter().find(is_it);
                    let result = result.unwrap_or(Hash::ZERO);
                    (*worker, Call::Reveal { woid, result })
                }
                None => (
                    self.owner,
                    texts(|woid, stdout, stderr, uri| Call::FinalizeWork {
                        woid,
                        stdout,
                        stderr,
                        uri,
                    }),
                ),
            },
            _ => (
                self.stranger,
                texts(|woid, stdout, stderr, uri| Call::WorkOrderCallback {
                    woid,
                    stdout,
                    stderr,
                    uri,
                }),
            ),
        }
    }
}

const RIGHT: &[u8] = b"right";
const OTHER: &[u8] = b"other";

/// Most have the first.
fn results(rng: &mut Rng) -> Hash {
    keccak(if rng.u8(..4) == 0 { OTHER } else { RIGHT })
}
