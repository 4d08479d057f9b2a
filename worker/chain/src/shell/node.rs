//! Questions to the chain, and transactions: effects of the core that a node answers.

use wire_chain::reading::{self, Parts};
use wire_chain::{Answer as Said, At, Chain, Seen, View, lane};
use wire_hub::{Address, Answer, BlockRef, Event as Happened, Rlc};
use wire_wallet::Wallet;

use crate::core::{Effect, Event, Paid};

/// What is new, to be asked every now and then, and why it is not known, if it is not.
pub async fn look<C: Chain>(chain: &C) -> (Vec<Event>, Option<String>) {
    let mut events = Vec::new();
    if let Said::Known(finalized) = chain.finalized().await {
        events.push(Event::Finalized(finalized.at.number));
    }
    let problem = match chain.head().await {
        Said::Known(head) => {
            events.push(Event::Head(head));
            None
        }
        Said::Absent => Some("the node has no block".to_owned()),
        Said::Unknown(why) => Some(why.to_string()),
    };
    (events, problem)
}

/// Does what an effect asks of a node and of the wallet. `None`: it is for somebody else, or will be asked for again.
pub async fn perform<C: Chain>(chain: &C, wallet: &Wallet, effect: &Effect) -> Option<Event> {
    let worker = wallet.address();
    Some(match effect {
        Effect::See { at, woid } => {
            let (at, woid) = (*at, *woid);
            let views = Box::new(reading::views(chain, at, woid, Parts::Of(&[worker])).await);
            Event::Seen { at, woid, views }
        }
        Effect::Meet { at } => Event::Met {
            at: *at,
            person: reading::person(chain, *at, worker).await,
        },
        Effect::AskPolicy { at } => Event::Policy {
            at: *at,
            policy: match chain.look(View::Policy, At::Block(*at)).await {
                Said::Known(Seen::Policy(policy)) => Answer::Known(policy),
                Said::Absent => Answer::Absent,
                _ => Answer::Unknown,
            },
        },
        Effect::AskPaid { woid, from, upto } => Event::Paid {
            woid: *woid,
            upto: *upto,
            paid: paid(chain, worker, *woid, *from, *upto).await,
        },
        Effect::AskPlace(block) => Event::Placed {
            block: *block,
            is_there: match chain.block(block.number).await {
                Said::Known(there) => Answer::Known(there.at == *block),
                Said::Absent => Answer::Known(false),
                Said::Unknown(_) => Answer::Unknown,
            },
        },
        Effect::Lane(effect) => Event::Lane(lane::perform(chain, wallet, effect).await?),
        _ => return None,
    })
}

/// What the transaction that finalized an order has given or taken, as its receipt says.
async fn paid<C: Chain>(
    chain: &C,
    worker: Address,
    woid: Address,
    from: u64,
    upto: BlockRef,
) -> Answer<Paid> {
    let Said::Known(logs) = chain.logs(from..=upto.number).await else {
        return Answer::Unknown;
    };
    let is_end = |event: &Happened| matches!(event, Happened::FinalizeWork { woid: of, .. } if *of == woid);
    let Some(end) = logs.iter().rev().find(|log| is_end(&log.event)) else {
        return Answer::Absent;
    };
    let Said::Known(receipt) = chain.receipt(end.place.transaction).await else {
        return Answer::Unknown;
    };
    let mut paid = Paid::default();
    for log in receipt.logs {
        let (sum, user, amount) = match log.event {
            Happened::Reward { user, amount } => (&mut paid.reward, user, amount),
            Happened::Seize { user, amount } => (&mut paid.seized, user, amount),
            _ => continue,
        };
        *sum = sum.plus(if user == worker { amount } else { Rlc(0) });
    }
    Answer::Known(paid)
}
