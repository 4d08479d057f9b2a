//! `pool chain txs`: transactions of the pool's wallet.

use serde::Serialize;
use wire_hub::row::{TransactionRow, TransactionState};

use super::books::Books;
use super::money::{time, time_or_none};
use crate::cli::Context;
use crate::cli::args::Transactions;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Show, fields};

#[derive(Serialize)]
pub(crate) struct TransactionJson<'a> {
    nonce: u64,
    call: Option<&'static str>,
    woid: Option<String>,
    state: &'static str,
    is_final: bool,
    block: Option<u64>,
    mined: Option<String>,
    hash: Option<String>,
    gas_used: Option<u64>,
    gas_price_wei: Option<String>,
    why: Option<&'a str>,
    attempts: Vec<AttemptJson>,
    seen: Option<String>,
}

#[derive(Serialize)]
struct AttemptJson {
    hash: String,
    price_max_wei: String,
    is_nothing: bool,
}

impl Show for TransactionRow {
    const KIND: &'static str = "transaction";
    type Json<'a> = TransactionJson<'a>;
    const COLUMNS: &'static [&'static str] = &["nonce", "call", "order", "state", "block", "gas", "hash"];

    fn json(&self) -> TransactionJson<'_> {
        let attempts = self.attempts.iter().map(|attempt| AttemptJson {
            hash: attempt.hash.to_string(),
            price_max_wei: attempt.price_max.0.to_string(),
            is_nothing: attempt.is_nothing,
        });
        TransactionJson {
            nonce: self.nonce.0,
            call: self.call.as_ref().map(|call| call.name()),
            woid: self.woid().map(|woid| woid.to_string()),
            state: self.state.name(),
            is_final: self.is_final,
            block: self.mined.map(|mined| mined.block.number),
            mined: self.mined.and_then(|mined| time_or_none(mined.at)),
            hash: self.hash().map(|hash| hash.to_string()),
            gas_used: self.mined.map(|mined| mined.gas.0),
            gas_price_wei: self.mined.map(|mined| mined.price.0.to_string()),
            why: self.why.as_deref(),
            attempts: attempts.collect(),
            seen: time_or_none(self.at),
        }
    }

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let json = self.json();
        vec![
            self.nonce.0.to_string(),
            call(self).to_owned(),
            json.woid.unwrap_or_else(|| "-".to_owned()),
            json.state.to_owned(),
            number(json.block),
            number(json.gas_used),
            json.hash.unwrap_or_default(),
        ]
    }

    fn text(&self) -> String {
        let hashes = self.attempts.iter().map(|attempt| {
            let what = if attempt.is_nothing { ", does nothing" } else { "" };
            format!("{}, at most {} a unit{what}", attempt.hash, attempt.price_max)
        });
        fields(&[
            ("transaction", format!("{} {}", self.nonce.0, call(self))),
            (
                "order",
                self.woid().map(|woid| woid.to_string()).unwrap_or_default(),
            ),
            ("state", standing(self)),
            ("why", self.why.clone().unwrap_or_default()),
            ("sent", hashes.collect::<Vec<_>>().join("\n")),
            ("seen", time(self.at)),
        ])
    }
}

/// What it does.
pub(super) fn call(row: &TransactionRow) -> &'static str {
    row.call.as_ref().map_or("nothing", |call| call.name())
}

/// Where it is, in words.
pub(super) fn standing(row: &TransactionRow) -> String {
    let place = row.mined.map(|mined| {
        let (block, gas, price) = (mined.block.number, mined.gas.0, mined.price);
        format!(" in block {block} with {gas} gas at {price}")
    });
    let for_good = if row.is_final { ", for good" } else { "" };
    format!("{}{}{for_good}", row.state, place.unwrap_or_default())
}

/// It is in no block, and may get into one.
pub(super) fn is_in_flight(row: &TransactionRow) -> bool {
    matches!(row.state, TransactionState::Signing | TransactionState::Sent)
}

pub(super) fn list(context: &Context, books: &Books, asked: &Transactions) -> Result<(), Failure> {
    let rows = books.transactions.iter();
    if let Some(nonce) = asked.nonce {
        let found = rows.clone().find(|row| row.nonce == nonce);
        let row = found.ok_or_else(|| {
            let message = format!("the books have no transaction with nonce {}", nonce.0);
            Failure::new(Exit::NotFound, message).cure("`pool chain txs` lists those that are kept")
        })?;
        return Ok(context.output.one(row)?);
    }
    let rows = rows.filter(|row| asked.order.is_none() || row.woid() == asked.order);
    let rows: Vec<TransactionRow> = rows.take(asked.limit as usize).cloned().collect();
    Ok(context.output.all(&rows)?)
}
