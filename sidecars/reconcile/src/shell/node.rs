//! Questions to the chain, and transactions: effects of the core that a node answers.
//!
//! Each answer is of the very block that was asked about. What cannot be known is [`Answer::Unknown`], and the core asks
//! again.

use std::sync::Mutex;

use wire_chain::reading::{self, Parts};
use wire_chain::{Answer as Said, App, At, Chain, Seen, View, Why, lane};
use wire_hub::{Address, Answer};
use wire_wallet::Wallet;

use super::offers::Shelf;
use crate::core::observe::{Question, Reply};
use crate::core::reconciler::{Effect, Event, LaneEvent};

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
            events.push(Event::Finalized(finalized.at));
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
                let (at, woid) = (*at, *woid);
                let views = reading::views(&self.chain, at, woid, Parts::AllAnd(workers)).await;
                let views = Box::new(views);
                Event::Seen { at, woid, views }
            }
            Effect::Meet { at, who } => {
                let (at, who) = (*at, *who);
                let person = reading::person(&self.chain, at, who).await;
                Event::Met { at, who, person }
            }
            Effect::SeeReceipt { at, hash } => {
                let (at, hash) = (*at, *hash);
                let answer = Box::new(self.chain.receipt(hash).await.into());
                Event::ReceiptSeen { at, hash, answer }
            }
            Effect::SeeOffers { at, category } => {
                let (at, offers) = (*at, self.offers(*at, *category).await);
                Event::Offers { at, offers }
            }
            _ => {
                let event = lane::perform(&self.chain, &self.wallet, &effect.of_lane()?).await?;
                Event::Lane(LaneEvent::of(event)?)
            }
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
            Question::Block(number) => Reply::Block(self.chain.block(number).await.into()),
            Question::LogsOf(at) => Reply::Logs(match self.chain.logs_of(at).await {
                Said::Unknown(Why::Gone(_)) => Answer::Absent,
                logs => logs.into(),
            }),
            Question::LogsIn { from, to } => Reply::Logs(self.chain.logs(from..=to).await.into()),
        }
    }
}
