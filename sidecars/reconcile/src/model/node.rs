//! A node of the model chain: it answers what cores ask, each of the very block that was asked about.

use wire_hub::{Address, Answer, BlockRef, Hash, MarketOrder, MarketStatus, Person, Receipt, Views, Wei};
use wire_lane as lane;
use wire_lane::Sending;

use super::chain::{Chain, Mined};
use super::hub::Hub;
use crate::core::observe::{Question, Reply};
use crate::core::reconciler::{Effect, Event, LaneEvent, Offers};

/// A node, as it is for one question.
#[derive(Debug)]
pub struct Node<'a> {
    /// Its chain.
    pub chain: &'a mut Chain,
    /// It is there: otherwise nothing is known.
    pub answers: bool,
    /// It says that it has taken a transaction, and forgets it.
    pub loses: bool,
}

impl Node<'_> {
    /// Answers the pool's reconciler, whose wallet is `owner`. `None`: it is for somebody else, or will be asked for again.
    pub fn answer(&mut self, owner: Address, effect: &Effect) -> Option<Event> {
        Some(match effect {
            Effect::Ask { ask, question } => Event::Answered {
                ask: *ask,
                reply: self.reply(*question),
            },
            Effect::SeeBought { woid, at } => {
                let order = match self.see(*at, |mined| mined.hub.views(*woid)) {
                    Answer::Known(Answer::Known(views)) => Answer::Known(views.order),
                    Answer::Known(Answer::Absent) | Answer::Absent => Answer::Absent,
                    Answer::Known(Answer::Unknown) | Answer::Unknown => Answer::Unknown,
                };
                let (woid, at, order) = (*woid, *at, Box::new(order));
                Event::Bought { woid, at, order }
            }
            Effect::See { at, woid, .. } => {
                let (at, woid) = (*at, *woid);
                let views = Box::new(self.views(at, woid));
                Event::Seen { at, woid, views }
            }
            Effect::Meet { at, who } => {
                let (at, who) = (*at, *who);
                let person = self.person(at, who);
                Event::Met { at, who, person }
            }
            Effect::SeeReceipt { at, hash } => {
                let (at, hash) = (*at, *hash);
                let answer = Box::new(self.receipt(hash));
                Event::ReceiptSeen { at, hash, answer }
            }
            Effect::SeeOffers { at, category } => {
                let offers = self.see(*at, |mined| offers(&mined.hub, *category));
                let (at, offers) = (*at, or_unknown(offers));
                Event::Offers { at, offers }
            }
            _ => Event::Lane(LaneEvent::of(self.lane(owner, &effect.of_lane()?)?)?),
        })
    }

    /// Answers a lane, whose wallet is `sender`. `None`: it is for somebody else, or will be asked for again.
    pub fn lane(&mut self, sender: Address, effect: &lane::Effect) -> Option<lane::Event> {
        Some(match effect {
            lane::Effect::AskAccount(at) => {
                let nonce = self.see(*at, |mined| mined.nonce(sender)).known().copied()?;
                let (at, balance) = (*at, Wei(u128::MAX));
                lane::Event::Account(lane::Account { at, nonce, balance })
            }
            lane::Effect::AskReceipt { round, hash } => {
                let (round, hash, answer) = (*round, *hash, self.receipt(*hash));
                lane::Event::Receipt { round, hash, answer }
            }
            lane::Effect::Sign { nonce, payload, fees } => {
                let hash = self.chain.sign(sender, *nonce, payload.clone(), fees.price_max());
                let (nonce, raw) = (*nonce, hash.0.to_vec());
                lane::Event::Signed { nonce, hash, raw }
            }
            lane::Effect::Send { hash, .. } => {
                let (hash, sending) = (*hash, self.send(*hash));
                lane::Event::Sent { hash, sending }
            }
            _ => return None,
        })
    }

    /// What there is of an order.
    #[must_use]
    pub fn views(&self, at: BlockRef, woid: Address) -> Answer<Views> {
        match self.see(at, |mined| mined.hub.views(woid)) {
            Answer::Known(views) => views,
            Answer::Absent | Answer::Unknown => Answer::Unknown,
        }
    }

    /// What the hub has of somebody.
    #[must_use]
    pub fn person(&self, at: BlockRef, who: Address) -> Answer<Person> {
        or_unknown(self.see(at, |mined| mined.hub.person(who)))
    }

    /// What a block has; absent where the chain has no such block any more.
    pub fn see<T>(&self, at: BlockRef, look: impl FnOnce(&Mined) -> T) -> Answer<T> {
        match self.chain.at(at) {
            _ if !self.answers => Answer::Unknown,
            Some(mined) => Answer::Known(look(mined)),
            None => Answer::Absent,
        }
    }

    fn receipt(&self, hash: Hash) -> Answer<Receipt> {
        let found = self.chain.receipt(hash).cloned();
        if self.answers {
            found.map_or(Answer::Absent, Answer::Known)
        } else {
            Answer::Unknown
        }
    }

    fn send(&mut self, hash: Hash) -> Sending {
        match () {
            () if !self.answers => Sending::Unknown,
            () if self.loses || self.chain.send(hash) => Sending::Taken,
            () => Sending::NonceUsed,
        }
    }

    fn reply(&self, question: Question) -> Reply {
        match question {
            Question::Block(_) if !self.answers => Reply::Block(Answer::Unknown),
            _ if !self.answers => Reply::Logs(Answer::Unknown),
            Question::Block(number) => {
                let found = self.chain.block(number);
                Reply::Block(found.map_or(Answer::Absent, |mined| Answer::Known(mined.block)))
            }
            Question::LogsOf(at) => {
                let logs = self.chain.logs(at);
                Reply::Logs(logs.map_or(Answer::Absent, |logs| Answer::Known(logs.to_vec())))
            }
            Question::LogsIn { from, to } => {
                let blocks = (from..=to).filter_map(|number| self.chain.block(number));
                Reply::Logs(Answer::Known(
                    blocks.flat_map(|mined| mined.logs.clone()).collect(),
                ))
            }
        }
    }
}

/// Of a block that is gone nothing is known.
fn or_unknown<T>(seen: Answer<T>) -> Answer<T> {
    match seen {
        Answer::Absent => Answer::Unknown,
        seen => seen,
    }
}

fn offers(hub: &Hub, category: u64) -> Offers {
    let is_open = |offer: &&MarketOrder| offer.status == MarketStatus::Ask && offer.remaining > 0;
    Offers {
        ever: hub.offers().len() as u64,
        open: hub.offers().iter().filter(is_open).copied().collect(),
        has_category: hub.categories.contains_key(&category),
    }
}
