//! Values of the JSON that nodes speak: <https://ethereum.org/en/developers/docs/apis/json-rpc/#conventions>.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde_json::{Value, json};
use wire_hub::{Address, Block, BlockRef, Gas, Hash, Nonce, Place, Timestamp, Wei};

use crate::{BadData, Contracts, RawLog, Transaction, abi};

type Read<T> = Result<T, BadData>;

/// A field that has to be there.
fn field<'a>(of: &'a Value, name: &'static str) -> Read<&'a Value> {
    optional(of, name).ok_or_else(|| BadData::new(name, "it is missing"))
}

fn optional<'a>(of: &'a Value, name: &'static str) -> Option<&'a Value> {
    of.get(name).filter(|value| !value.is_null())
}

fn digits<'a>(value: &'a Value, what: &'static str) -> Read<&'a str> {
    let text = value.as_str().and_then(|text| text.strip_prefix("0x"));
    text.ok_or_else(|| BadData::new(what, format!("{} is not hexadecimal", short(value))))
}

/// As much of a value as a person wants to see.
fn short(value: &Value) -> String {
    let text = value.to_string();
    let mut cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

pub(crate) fn u128_of(value: &Value, what: &'static str) -> Read<u128> {
    u128::from_str_radix(digits(value, what)?, 16)
        .map_err(|_| BadData::new(what, format!("{} is no number, or beyond 2^128", short(value))))
}

pub(crate) fn u64_of(value: &Value, what: &'static str) -> Read<u64> {
    let number = u128_of(value, what)?;
    u64::try_from(number).map_err(|_| BadData::new(what, format!("{number} is beyond 2^64")))
}

pub(crate) fn bytes_of(value: &Value, what: &'static str) -> Read<Vec<u8>> {
    HEXLOWER_PERMISSIVE
        .decode(digits(value, what)?.as_bytes())
        .map_err(|_| BadData::new(what, format!("{} is not hexadecimal", short(value))))
}

fn array_of<const N: usize>(value: &Value, what: &'static str) -> Read<[u8; N]> {
    let bytes = bytes_of(value, what)?;
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| BadData::new(what, format!("it has {length} bytes, not {N}")))
}

pub(crate) fn hash_of(value: &Value, what: &'static str) -> Read<Hash> {
    array_of(value, what).map(Hash)
}

pub(crate) fn address_of(value: &Value, what: &'static str) -> Read<Address> {
    array_of(value, what).map(Address)
}

pub(crate) fn hex(bytes: &[u8]) -> Value {
    Value::String(format!("0x{}", HEXLOWER.encode(bytes)))
}

pub(crate) fn quantity(number: u128) -> Value {
    Value::String(format!("{number:#x}"))
}

pub(crate) fn block(value: &Value) -> Read<Block> {
    Ok(Block {
        at: BlockRef {
            number: u64_of(field(value, "number")?, "number of a block")?,
            hash: hash_of(field(value, "hash")?, "hash of a block")?,
        },
        parent: hash_of(field(value, "parentHash")?, "parentHash")?,
        timestamp: Timestamp(u64_of(field(value, "timestamp")?, "timestamp")?),
        base_fee: optional(value, "baseFeePerGas")
            .map(|fee| u128_of(fee, "baseFeePerGas").map(Wei))
            .transpose()?,
    })
}

/// The block that a log, receipt or transaction says it is in; `None` for one that is in none yet.
fn block_ref(value: &Value) -> Read<Option<BlockRef>> {
    let (number, hash) = (optional(value, "blockNumber"), optional(value, "blockHash"));
    let (Some(number), Some(hash)) = (number, hash) else {
        return Ok(None);
    };
    Ok(Some(BlockRef {
        number: u64_of(number, "blockNumber")?,
        hash: hash_of(hash, "blockHash")?,
    }))
}

/// A log; `None` for one that is of no block, or of none any more.
pub(crate) fn raw_log(value: &Value) -> Read<Option<RawLog>> {
    let removed = optional(value, "removed").and_then(Value::as_bool);
    let Some(block) = block_ref(value)?.filter(|_| removed != Some(true)) else {
        return Ok(None);
    };
    let topics = field(value, "topics")?.as_array();
    let topics = topics.ok_or_else(|| BadData::new("topics", "they are no list"))?;
    Ok(Some(RawLog {
        address: address_of(field(value, "address")?, "address of a log")?,
        topics: topics
            .iter()
            .map(|topic| hash_of(topic, "topic"))
            .collect::<Read<_>>()?,
        data: bytes_of(field(value, "data")?, "data of a log")?,
        place: Place {
            block,
            log_index: index(field(value, "logIndex")?, "logIndex")?,
            transaction: hash_of(field(value, "transactionHash")?, "transactionHash")?,
        },
    }))
}

fn index(value: &Value, what: &'static str) -> Read<u32> {
    let number = u64_of(value, what)?;
    u32::try_from(number).map_err(|_| BadData::new(what, format!("{number} is beyond 2^32")))
}

/// The events of these contracts in a list of logs, in their order in the chain.
pub(crate) fn logs(value: &Value, contracts: &Contracts) -> Read<Vec<wire_hub::Log>> {
    let all = value.as_array();
    let all = all.ok_or_else(|| BadData::new("logs", format!("{} is no list", short(value))))?;
    let mut logs = Vec::with_capacity(all.len());
    for value in all {
        let Some(raw) = raw_log(value)? else {
            continue;
        };
        if let Some(event) = abi::decode(contracts, &raw)? {
            logs.push(wire_hub::Log {
                place: raw.place,
                event,
            });
        }
    }
    logs.sort_by_key(|log| (log.place.block.number, log.place.log_index));
    Ok(logs)
}

/// A receipt, without the gas price where the node does not say it; `None` for one that is of no block yet.
pub(crate) fn receipt(value: &Value, contracts: &Contracts) -> Read<Option<(wire_hub::Receipt, bool)>> {
    let Some(block) = block_ref(value)? else {
        return Ok(None);
    };
    let gas_price = optional(value, "effectiveGasPrice")
        .map(|price| u128_of(price, "effectiveGasPrice"))
        .transpose()?;
    let receipt = wire_hub::Receipt {
        transaction: hash_of(field(value, "transactionHash")?, "transactionHash")?,
        block,
        index: index(field(value, "transactionIndex")?, "transactionIndex")?,
        succeeded: match u64_of(field(value, "status")?, "status of a receipt")? {
            0 => false,
            1 => true,
            other => {
                return Err(BadData::new(
                    "status of a receipt",
                    format!("{other} is neither 0 nor 1"),
                ));
            }
        },
        gas_used: Gas(u64_of(field(value, "gasUsed")?, "gasUsed")?),
        gas_price: Wei(gas_price.unwrap_or_default()),
        logs: logs(field(value, "logs")?, contracts)?,
    };
    Ok(Some((receipt, gas_price.is_some())))
}

pub(crate) fn transaction(value: &Value) -> Read<Transaction> {
    let to = optional(value, "to").map(|to| address_of(to, "to")).transpose()?;
    let gas_price = optional(value, "gasPrice").or_else(|| optional(value, "maxFeePerGas"));
    Ok(Transaction {
        hash: hash_of(field(value, "hash")?, "hash of a transaction")?,
        block: block_ref(value)?,
        from: address_of(field(value, "from")?, "from")?,
        to,
        nonce: Nonce(u64_of(field(value, "nonce")?, "nonce")?),
        gas_price: Wei(gas_price.map_or(Ok(0), |price| u128_of(price, "gasPrice"))?),
        input: bytes_of(field(value, "input")?, "input")?,
    })
}

/// What a contract is asked, as `eth_call` has it.
pub(crate) fn call(to: Address, data: &[u8], from: Option<Address>) -> Value {
    let mut call = json!({ "to": hex(&to.0), "data": hex(data) });
    if let Some(from) = from {
        call["from"] = hex(&from.0);
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";
    const ADDRESS: &str = "0x2222222222222222222222222222222222222222";

    type Reader = fn(&Value) -> Read<()>;

    fn log() -> Value {
        json!({
            "address": ADDRESS, "topics": [HASH], "data": "0x", "blockNumber": "0x5", "blockHash": HASH,
            "logIndex": "0x1", "transactionHash": HASH, "removed": false,
        })
    }

    fn receipt_of(log: &Value) -> Value {
        json!({
            "transactionHash": HASH, "blockNumber": "0x5", "blockHash": HASH, "transactionIndex": "0x0",
            "status": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x1", "logs": [log],
        })
    }

    fn block_of() -> Value {
        json!({ "number": "0x5", "hash": HASH, "parentHash": HASH, "timestamp": "0x10", "baseFeePerGas": "0x7" })
    }

    fn sent() -> Value {
        json!({ "hash": HASH, "from": ADDRESS, "to": null, "nonce": "0x0", "gasPrice": "0x1", "input": "0x" })
    }

    /// Every field of all that nodes say, made wrong in each way: an error names it, and nobody panics.
    #[test]
    fn a_field_that_cannot_be_right_is_named() {
        let readers: [(Value, Reader); 4] = [
            (log(), |value| raw_log(value).map(drop)),
            (receipt_of(&log()), |value| {
                receipt(value, &Contracts::numbered()).map(drop)
            }),
            (block_of(), |value| block(value).map(drop)),
            (sent(), |value| transaction(value).map(drop)),
        ];
        let wrongs = [
            json!(5),
            json!("5"),
            json!("0xzz"),
            json!("0x"),
            json!([1]),
            json!({}),
            json!("0x123"),
        ];
        let huge = json!(format!("0x1{}", "0".repeat(40)));
        for (right, read) in readers {
            read(&right).expect("as nodes say it");
            for name in right.as_object().expect("fields").keys() {
                let mut refused = 0;
                for wrong in wrongs.iter().chain([&huge]) {
                    let mut value = right.clone();
                    value[name] = wrong.clone();
                    if let Err(error) = read(&value) {
                        refused += 1;
                        let text = error.to_string();
                        assert!(text.contains(name.trim_end_matches('s')), "{name}: {text}");
                    }
                }
                // Whether a log was removed is true, or it was not.
                assert!(refused >= 3 || name == "removed", "{name}: {refused}");
            }
        }
    }

    #[test]
    fn what_is_of_no_block_is_not_there() {
        let contracts = Contracts::numbered();
        let mut waits = log();
        waits["blockHash"] = Value::Null;
        assert_eq!(raw_log(&waits), Ok(None));
        let mut removed = log();
        removed["removed"] = json!(true);
        assert_eq!(raw_log(&removed), Ok(None));
        let mut value = receipt_of(&log());
        value["blockNumber"] = Value::Null;
        assert_eq!(receipt(&value, &contracts), Ok(None));
        assert_eq!(
            logs(&json!([waits, removed, log()]), &contracts),
            Ok(Vec::new()),
            "of another contract"
        );
    }
}
