//! What a lane asks for, done by a chain and a wallet: it decides nothing.
//!
//! Each answer is of the very block that was asked about. What cannot be known is no answer, or
//! [`Answer::Unknown`](wire_hub::Answer::Unknown), and the lane asks again.

use wire_hub::{BlockRef, Gas, Nonce, Wei};
use wire_lane::{Account, Effect, Event, Fees, Payload, Sending};
use wire_wallet::Wallet;

use crate::{Answer, At, Chain, Contracts, Counted, Price, Sent, Signed, Unsigned};

/// Gas of a transaction that does nothing.
const NOTHING_GAS: Gas = Gas(21_000);

/// Does what an effect asks for. `None`: it is not for a chain, or will be asked for again.
pub async fn perform<C: Chain>(chain: &C, wallet: &Wallet, effect: &Effect) -> Option<Event> {
    Some(match effect {
        Effect::AskAccount(at) => Event::Account(account(chain, wallet, *at).await?),
        Effect::AskGasPrice => match chain.fees().await {
            Answer::Known(crate::Fees::Legacy { gas_price }) => Event::GasPrice(gas_price),
            _ => return None,
        },
        Effect::AskReceipt { round, hash } => Event::Receipt {
            round: *round,
            hash: *hash,
            answer: chain.receipt(*hash).await.into(),
        },
        Effect::Sign { nonce, payload, fees } => {
            let Signed { raw, hash, nonce } = sign(chain.contracts(), wallet, *nonce, payload, fees);
            Event::Signed { nonce, hash, raw }
        }
        Effect::Send { nonce, hash, raw } => {
            let (nonce, hash, raw) = (*nonce, *hash, raw.clone());
            let sending = sending(chain.send(&Signed { raw, hash, nonce }).await);
            Event::Sent { hash, sending }
        }
        Effect::Check(_)
        | Effect::Note { .. }
        | Effect::Mined { .. }
        | Effect::Unmined(_)
        | Effect::Report { .. }
        | Effect::Alert(_) => return None,
    })
}

/// The wallet's account at this block. Of "the newest" a node that is behind counts fewer transactions, and a nonce would
/// be used again that is used.
async fn account<C: Chain>(chain: &C, wallet: &Wallet, at: BlockRef) -> Option<Account> {
    let wallet = wallet.address();
    let nonce = chain.nonce(wallet, Counted::At(at)).await.found().ok()??;
    let balance = chain.ether(wallet, At::Block(at)).await.found().ok()??;
    Some(Account { at, nonce, balance })
}

/// What a lane wants signed, with this nonce.
#[must_use]
pub fn sign(contracts: &Contracts, wallet: &Wallet, nonce: Nonce, payload: &Payload, fees: &Fees) -> Signed {
    let (to, data, gas) = match payload {
        Payload::Call { call, gas_limit } => {
            let input = contracts.encode(call);
            (input.to, input.data, *gas_limit)
        }
        Payload::Nothing => (wallet.address(), Vec::new(), NOTHING_GAS),
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
    unsigned.sign(wallet)
}

fn sending(said: Answer<Sent>) -> Sending {
    match said {
        Answer::Known(Sent::Accepted | Sent::AlreadyKnown) => Sending::Taken,
        Answer::Known(Sent::NonceTooLow) => Sending::NonceUsed,
        Answer::Known(Sent::ReplacementUnderpriced | Sent::FeeTooLow) => Sending::TooCheap,
        Answer::Known(Sent::InsufficientFunds) => Sending::NoFunds,
        Answer::Known(Sent::Refused(why)) => Sending::Refused(why),
        Answer::Known(Sent::PoolFull) | Answer::Absent | Answer::Unknown(_) => Sending::Unknown,
    }
}
