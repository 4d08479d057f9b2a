//! Questions to the chain, and transactions: effects of the core that a node answers.
//!
//! Each answer is of the very block that was asked about. What cannot be known is [`Answer::Unknown`], and the core asks
//! again.

use std::collections::BTreeSet;
use std::sync::Mutex;

use wire_chain::{Answer as Said, App, At, Chain, Counted, Price, Seen, Sent, Signed, Unsigned, View, Why};
use wire_hub::{Address, Answer, BlockRef, ContributionStatus, Gas, Nonce, Person, Views, Wei};
use wire_wallet::Wallet;

use super::offers::Shelf;
use crate::core::observe::{Question, Reply};
use crate::core::reconciler::{Effect, Event, LaneEvent};
use wire_lane as lane;
use wire_lane::{Fees, Payload, Sending};

/// Gas of a transaction that does nothing.
const NOTHING_GAS: Gas = Gas(21_000);

/// Asks a chain, and signs for it.
#[derive(Debug)]
pub struct NodeShell<C> {
    pub(super) chain: C,
    wallet: Wallet,
    pub(super) shelf: Mutex<Shelf>,
}

impl<C: Chain> NodeShell<C> {
    /// Asks this chain, and signs with this wallet.
    pub fn new(chain: C, wallet: Wallet) -> Self {
        Self {
            chain,
            wallet,
            shelf: Mutex::new(Shelf::new()),
        }
    }

    /// What is new, to be asked every now and then.
    pub async fn look(&self) -> Vec<Event> {
        let mut events = Vec::new();
        if let Said::Known(finalized) = self.chain.finalized().await {
            events.push(Event::Finalized(finalized.at.number));
        }
        if let Said::Known(head) = self.chain.head().await {
            events.push(Event::Head(head));
        }
        events
    }

    /// Does what an effect asks for. `None`: it is for somebody else, or will be asked for again.
    pub async fn perform(&self, effect: &Effect) -> Option<Event> {
        Some(match effect {
            Effect::Ask { ask, question } => {
                let reply = self.reply(*question).await;
                Event::Answered { ask: *ask, reply }
            }
            Effect::SeeBought { woid, at } => {
                let seen = self
                    .chain
                    .look(View::WorkOrder { woid: *woid }, At::Block(*at))
                    .await;
                let order = match seen {
                    Said::Known(Seen::WorkOrder(order)) => Answer::Known(*order),
                    Said::Absent => Answer::Absent,
                    Said::Known(_) | Said::Unknown(_) => Answer::Unknown,
                };
                let (woid, at, order) = (*woid, *at, Box::new(order));
                Event::Bought { woid, at, order }
            }
            Effect::See { at, woid, workers } => {
                let views = Box::new(self.views(*at, *woid, workers).await);
                let (at, woid) = (*at, *woid);
                Event::Seen { at, woid, views }
            }
            Effect::Meet { at, who } => {
                let person = self.person(*at, *who).await;
                let (at, who) = (*at, *who);
                Event::Met { at, who, person }
            }
            Effect::SeeOffers { at, category } => {
                let (at, offers) = (*at, self.offers(*at, *category).await);
                Event::Offers { at, offers }
            }
            Effect::AskAccount(at) => Event::Lane(LaneEvent::Account(self.account(*at).await?)),
            Effect::AskGasPrice => match self.chain.fees().await {
                Said::Known(wire_chain::Fees::Legacy { gas_price }) => {
                    Event::Lane(LaneEvent::GasPrice(gas_price))
                }
                _ => return None,
            },
            Effect::AskReceipt { round, hash } => {
                let answer = answer(self.chain.receipt(*hash).await);
                let (round, hash) = (*round, *hash);
                Event::Lane(LaneEvent::Receipt { round, hash, answer })
            }
            Effect::Sign { nonce, payload, fees } => {
                let Signed { raw, hash, nonce } = self.sign(*nonce, payload, fees);
                Event::Lane(LaneEvent::Signed { nonce, hash, raw })
            }
            Effect::Send { nonce, hash, raw } => {
                let (nonce, hash, raw) = (*nonce, *hash, raw.clone());
                let sending = sending(self.chain.send(&Signed { raw, hash, nonce }).await);
                Event::Lane(LaneEvent::Sent { hash, sending })
            }
            _ => return None,
        })
    }

    /// How an app is run. Nothing of an app ever changes, so it is asked of the newest block.
    pub async fn app(&self, app: Address) -> Answer<App> {
        match self.chain.look(View::App { app }, At::Latest).await {
            Said::Known(Seen::App(app)) => Answer::Known(app),
            Said::Absent => Answer::Absent,
            Said::Known(_) | Said::Unknown(_) => Answer::Unknown,
        }
    }

    /// The chain that is asked.
    pub const fn chain(&self) -> &C {
        &self.chain
    }

    async fn reply(&self, question: Question) -> Reply {
        match question {
            Question::Block(number) => Reply::Block(answer(self.chain.block(number).await)),
            Question::LogsOf(at) => Reply::Logs(match self.chain.logs_of(at).await {
                Said::Unknown(Why::Gone(_)) => Answer::Absent,
                logs => answer(logs),
            }),
            Question::LogsIn { from, to } => Reply::Logs(answer(self.chain.logs(from..=to).await)),
        }
    }

    /// All that the contracts have of an order at one block.
    async fn views(&self, at: BlockRef, woid: Address, workers: &[Address]) -> Answer<Views> {
        let asked = [
            View::WorkOrder { woid },
            View::Consensus { woid },
            View::CallbackDone { woid },
        ];
        let seen = self.chain.see(&asked, At::Block(at)).await;
        let (order, consensus, is_callback_done) = match &seen[..] {
            [
                Said::Known(Seen::WorkOrder(order)),
                Said::Known(Seen::Consensus(consensus)),
                Said::Known(Seen::Yes(is_callback_done)),
            ] => (order.as_ref().clone(), *consensus, *is_callback_done),
            [Said::Absent, ..] | [_, Said::Absent, ..] => return Answer::Absent,
            _ => return Answer::Unknown,
        };
        let market = View::MarketOrder {
            id: order.market_order,
        };
        let Said::Known(Seen::MarketOrder(market)) = self.chain.look(market, At::Block(at)).await else {
            return Answer::Unknown;
        };
        let category = View::Category { id: market.category };
        let Said::Known(Seen::Category(category)) = self.chain.look(category, At::Block(at)).await else {
            return Answer::Unknown;
        };
        let Said::Known(mut parties) = self.chain.contributors(woid, at).await else {
            return Answer::Unknown;
        };
        let have: BTreeSet<Address> = parties.iter().copied().collect();
        parties.extend(workers.iter().filter(|worker| !have.contains(worker)));
        let mut contributions = Vec::with_capacity(parties.len());
        let parts = self.chain.contributions(woid, &parties, At::Block(at)).await;
        for (who, part) in parties.into_iter().zip(parts) {
            let Said::Known(part) = part else {
                return Answer::Unknown;
            };
            if part.status != ContributionStatus::Unset {
                contributions.push((who, part));
            }
        }
        Answer::Known(Views {
            order,
            market,
            category,
            consensus,
            contributions,
            is_callback_done,
        })
    }

    async fn person(&self, at: BlockRef, who: Address) -> Answer<Person> {
        let asked = [View::Affiliation { worker: who }, View::Balance { who }];
        match self.chain.see(&asked, At::Block(at)).await[..] {
            [
                Said::Known(Seen::Affiliation(affiliation)),
                Said::Known(Seen::Balance(balance)),
            ] => Answer::Known(Person { affiliation, balance }),
            _ => Answer::Unknown,
        }
    }

    /// The wallet's account, if the newest block is still this one: nodes count transactions of the newest alone.
    async fn account(&self, at: BlockRef) -> Option<lane::Account> {
        let wallet = self.wallet.address();
        let nonce = self.chain.nonce(wallet, Counted::Mined).await.found().ok()??;
        let balance = self.chain.ether(wallet, At::Block(at)).await.found().ok()??;
        let head = self.chain.head().await.found().ok()??;
        (head.at == at).then_some(lane::Account { at, nonce, balance })
    }

    fn sign(&self, nonce: Nonce, payload: &Payload, fees: &Fees) -> Signed {
        let contracts = self.chain.contracts();
        let (to, data, gas) = match payload {
            Payload::Call { call, gas_limit } => {
                let input = contracts.encode(call);
                (input.to, input.data, *gas_limit)
            }
            Payload::Nothing => (self.wallet.address(), Vec::new(), NOTHING_GAS),
        };
        let price = match *fees {
            Fees::Legacy { gas_price } => Price::Legacy { gas_price },
            Fees::Dynamic { max_fee, tip } => Price::Market {
                max_fee,
                priority_fee: tip,
            },
        };
        let unsigned = Unsigned {
            chain_id: contracts.chain_id,
            nonce,
            to: Some(to),
            value: Wei(0),
            gas,
            price,
            data,
        };
        unsigned.sign(&self.wallet)
    }
}

fn answer<T>(said: Said<T>) -> Answer<T> {
    match said {
        Said::Known(known) => Answer::Known(known),
        Said::Absent => Answer::Absent,
        Said::Unknown(_) => Answer::Unknown,
    }
}

fn sending(said: Said<Sent>) -> Sending {
    match said {
        Said::Known(Sent::Accepted | Sent::AlreadyKnown) => Sending::Taken,
        Said::Known(Sent::NonceTooLow) => Sending::NonceUsed,
        Said::Known(Sent::ReplacementUnderpriced | Sent::FeeTooLow) => Sending::TooCheap,
        Said::Known(Sent::InsufficientFunds) => Sending::NoFunds,
        Said::Known(Sent::Refused(why)) => Sending::Refused(why),
        Said::Known(Sent::PoolFull) | Said::Absent | Said::Unknown(_) => Sending::Unknown,
    }
}
