//! Transactions as bytes: RLP, and what of it is signed.

use ethers_core::types::transaction::eip2718::TypedTransaction;
use ethers_core::types::{Eip1559TransactionRequest, NameOrAddress, Signature, TransactionRequest, U256};

use super::convert::{gas, h160};
use crate::{Price, Unsigned};

/// The bytes that are hashed and signed, or, with the signature, sent.
pub(crate) fn rlp(transaction: &Unsigned, signature: Option<wire_wallet::Signature>) -> Vec<u8> {
    let typed = typed(transaction);
    let Some(wire_wallet::Signature { r, s, parity }) = signature else {
        return typed.rlp().to_vec();
    };
    let parity = u64::from(parity);
    let signature = Signature {
        r: U256::from_big_endian(&r),
        s: U256::from_big_endian(&s),
        v: match transaction.price {
            Price::Market { .. } => parity,
            // With the chain's number: <https://eips.ethereum.org/EIPS/eip-155>.
            Price::Legacy { .. } => transaction.chain_id * 2 + 35 + parity,
        },
    };
    typed.rlp_signed(&signature).to_vec()
}

fn typed(transaction: &Unsigned) -> TypedTransaction {
    let to = transaction.to.map(|to| NameOrAddress::Address(h160(to)));
    let value = Some(transaction.value.0.into());
    let data = Some(transaction.data.clone().into());
    let (nonce, limit) = (Some(transaction.nonce.0.into()), Some(gas(transaction.gas)));
    let chain_id = Some(transaction.chain_id.into());
    match transaction.price {
        Price::Market {
            max_fee,
            priority_fee,
        } => Eip1559TransactionRequest {
            from: None,
            to,
            gas: limit,
            value,
            data,
            nonce,
            access_list: Vec::new().into(),
            max_priority_fee_per_gas: Some(priority_fee.0.into()),
            max_fee_per_gas: Some(max_fee.0.into()),
            chain_id,
        }
        .into(),
        Price::Legacy { gas_price } => TransactionRequest {
            from: None,
            to,
            gas: limit,
            gas_price: Some(gas_price.0.into()),
            value,
            data,
            nonce,
            chain_id,
        }
        .into(),
    }
}
