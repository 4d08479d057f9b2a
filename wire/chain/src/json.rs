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
