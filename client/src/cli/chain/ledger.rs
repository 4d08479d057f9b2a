//! `pool chain ledger`: sums of money, by order, party or day.

use std::collections::BTreeMap;

use serde::Serialize;
use wire_hub::row::{MoneyRow, OrderRow, Stranded, Totals};
use wire_hub::{Address, Rlc};
use wire_protocol::units::date;

use super::books::Books;
use super::money::{TotalsJson, nrlc};
use crate::cli::Context;
use crate::cli::args::By;
use crate::cli::exit::Failure;
use crate::cli::output::{Show, fields};

/// Sums of somebody or something.
pub(super) struct Account {
    /// An address, or a day.
    pub(super) of: String,
    /// It is the pool's own wallet.
    pub(super) is_pool: bool,
    pub(super) totals: Totals,
    /// What is bound until requesters claim; `None`: that is not of a day.
    pub(super) stranded: Option<Rlc>,
}

#[derive(Serialize)]
pub(super) struct AccountJson<'a> {
    of: &'a str,
    is_pool: bool,
    stranded_nrlc: Option<String>,
    #[serde(flatten)]
    totals: TotalsJson,
}

impl Show for Account {
    const KIND: &'static str = "account";
    type Json<'a> = AccountJson<'a>;
    const COLUMNS: &'static [&'static str] = &[
        "of",
        "locked nrlc",
        "bound nrlc",
        "stranded nrlc",
        "rewarded nrlc",
        "seized nrlc",
        "gas",
        "burned wei",
        "faults",
    ];

    fn json(&self) -> AccountJson<'_> {
        AccountJson {
            of: &self.of,
            is_pool: self.is_pool,
            stranded_nrlc: self.stranded.map(nrlc),
            totals: self.totals.into(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let whose = if self.is_pool { " (the pool)" } else { "" };
        vec![
            format!("{}{whose}", self.of),
            nrlc(self.totals.locked),
            nrlc(self.totals.bound()),
            self.stranded.map_or_else(|| "-".to_owned(), nrlc),
            nrlc(self.totals.rewarded),
            nrlc(self.totals.seized),
            self.totals.gas.0.to_string(),
            self.totals.burned.0.to_string(),
            self.totals.faults.to_string(),
        ]
    }

    fn text(&self) -> String {
        let cells = self.cells();
        let lines: Vec<_> = Self::COLUMNS.iter().copied().zip(cells).collect();
        fields(&lines)
    }
}

pub(super) fn list(context: &Context, books: &Books, by: By) -> Result<(), Failure> {
    Ok(context.output.all(&accounts(books, by))?)
}

pub(super) fn accounts(books: &Books, by: By) -> Vec<Account> {
    match by {
        By::Order => of_orders(books),
        By::Party => of_parties(books),
        By::Day => of_days(books),
    }
}

fn of_orders(books: &Books) -> Vec<Account> {
    let account = |order: &OrderRow| Account {
        of: order.identity.woid.to_string(),
        is_pool: false,
        totals: order.money.totals(),
        stranded: Some(order.stranded.as_ref().map(Stranded::total).unwrap_or_default()),
    };
    books.orders.iter().map(account).collect()
}

/// The pool first, then who has the most bound.
fn of_parties(books: &Books) -> Vec<Account> {
    let owner = books.pool.place.owner;
    let stranded = stranded(books);
    let mut accounts: Vec<Account> = books
        .parties
        .iter()
        .map(|(party, money)| Account {
            of: party.to_string(),
            is_pool: *party == owner,
            totals: money.totals(),
            stranded: Some(stranded.get(party).copied().unwrap_or_default()),
        })
        .collect();
    accounts.sort_by_key(|account| {
        let bound = std::cmp::Reverse(account.totals.bound());
        (!account.is_pool, bound, account.of.clone())
    });
    accounts
}

/// What each has bound until requesters claim.
fn stranded(books: &Books) -> BTreeMap<Address, Rlc> {
    let mut sums: BTreeMap<Address, Rlc> = BTreeMap::new();
    let mut add = |party, amount| {
        let sum = sums.entry(party).or_default();
        *sum = sum.plus(amount);
    };
    for order in &books.orders {
        let Some(stranded) = &order.stranded else {
            continue;
        };
        add(books.pool.place.owner, stranded.pool);
        if let Some(content) = &order.content {
            add(content.requester, stranded.requester);
        }
        stranded
            .workers
            .iter()
            .for_each(|(worker, stake)| add(*worker, *stake));
    }
    sums
}

fn of_days(books: &Books) -> Vec<Account> {
    let account = |(day, money): &(u64, MoneyRow)| Account {
        of: date(*day),
        is_pool: false,
        totals: money.totals(),
        stranded: None,
    };
    books.days.iter().map(account).collect()
}
