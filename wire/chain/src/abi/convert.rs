//! Numbers and addresses of contracts, checked where they come in.

use ethers_contract::EthEvent;
use ethers_core::abi::{AbiDecode, RawLog as EthersLog};
use ethers_core::types::{H160, U256};
use wire_hub::{Address, Gas, Hash, Rlc, Timestamp, Trust};

use crate::BadData;

pub(super) const fn h160(address: Address) -> H160 {
    H160(address.0)
}

pub(super) const fn address(address: H160) -> Address {
    Address(address.0)
}

pub(super) fn u256(amount: Rlc) -> U256 {
    amount.0.into()
}

/// An amount of money: what is beyond 2¹²⁸ is none.
pub(super) fn rlc(value: U256, what: &'static str) -> Result<Rlc, BadData> {
    u128::try_from(value)
        .map(Rlc)
        .map_err(|_| BadData::new(what, format!("{value} is no amount of money")))
}

/// A count, an index, a percentage, a score.
pub(super) fn number(value: U256, what: &'static str) -> Result<u64, BadData> {
    u64::try_from(value).map_err(|_| BadData::new(what, format!("{value} is beyond 2^64")))
}

pub(super) fn time(value: U256, what: &'static str) -> Result<Timestamp, BadData> {
    number(value, what).map(Timestamp)
}

/// The contract does not bound it: what is beyond 2¹²⁸ is as good as that.
pub(super) fn trust(value: U256) -> Trust {
    Trust(u128::try_from(value).unwrap_or(u128::MAX))
}

/// The values that a function returned.
pub(super) fn returned<T: AbiDecode>(bytes: &[u8], what: &'static str) -> Result<T, BadData> {
    T::decode(bytes).map_err(|error| BadData::new(what, format!("{} bytes: {error}", bytes.len())))
}

/// The fields of an event.
pub(super) fn said<T: EthEvent>(topics: &[Hash], data: &[u8], what: &'static str) -> Result<T, BadData> {
    let log = EthersLog {
        topics: topics.iter().map(|topic| topic.0.into()).collect(),
        data: data.to_vec(),
    };
    T::decode_log(&log).map_err(|error| {
        BadData::new(
            what,
            format!("{} topics, {} bytes: {error}", topics.len(), data.len()),
        )
    })
}

pub(super) fn gas(gas: Gas) -> U256 {
    gas.0.into()
}
