//! `pool chain status`: the pool on its chain, at a glance.

use std::collections::BTreeMap;

use serde::Serialize;
use wire_hub::Rlc;
use wire_hub::row::{PoolRow, Stranded, Totals};

use super::books::Books;
use super::money::{TotalsJson, nrlc, sentence, time, time_or_none};
use super::transactions::is_in_flight;
use crate::cli::output::{Show, fields};

/// What the books say of the whole.
pub(super) struct Status<'a> {
    pool: &'a PoolRow,
    /// How many are in each state, by its name.
    orders: BTreeMap<&'static str, usize>,
    /// Nonces of transactions that are in no block, the lowest first.
    in_flight: Vec<u64>,
    /// The pool's own.
    money: Totals,
    stranded: Sums,
}

/// What is bound until requesters claim.
#[derive(Default)]
struct Sums {
    orders: usize,
    pool: Rlc,
    workers: Rlc,
    requesters: Rlc,
}

impl Sums {
    fn add(&mut self, stranded: &Stranded) {
        self.orders += 1;
        self.pool = self.pool.plus(stranded.pool);
        self.workers = self.workers.plus(stranded.of_workers());
        self.requesters = self.requesters.plus(stranded.requester);
    }
}

impl<'a> Status<'a> {
    pub(super) fn of(books: &'a Books) -> Self {
        let mut orders: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut stranded = Sums::default();
        for order in &books.orders {
            *orders.entry(order.state.name()).or_default() += 1;
            order.stranded.iter().for_each(|of_it| stranded.add(of_it));
        }
        let in_flight = books.transactions.iter().filter(|row| is_in_flight(row));
        let owner = books.pool.place.owner;
        let own = books.parties.iter().find(|(party, _)| *party == owner);
        Self {
            pool: &books.pool,
            orders,
            in_flight: in_flight.rev().map(|row| row.nonce.0).collect(),
            money: own.map(|(_, money)| money.totals()).unwrap_or_default(),
            stranded,
        }
    }
}

#[derive(Serialize)]
pub(super) struct StatusJson<'a> {
    chain_id: u64,
    hub: String,
    pool: String,
    owner: String,
    head: u64,
    followed: u64,
    followed_at: Option<String>,
    #[serde(rename = "final")]
    final_: u64,
    books_since: u64,
    stake_free_nrlc: Option<String>,
    stake_locked_nrlc: Option<String>,
    coins_wei: Option<String>,
    orders: &'a BTreeMap<&'static str, usize>,
    transactions_in_flight: &'a [u64],
    money: TotalsJson,
    stranded: StrandedJson,
    requests_done: u64,
    alerts: &'a [String],
}

#[derive(Serialize)]
struct StrandedJson {
    orders: usize,
    pool_nrlc: String,
    workers_nrlc: String,
    requesters_nrlc: String,
}

impl Show for Status<'_> {
    const KIND: &'static str = "chain-status";
    type Json<'b>
        = StatusJson<'b>
    where
        Self: 'b;
    const COLUMNS: &'static [&'static str] = &["pool", "head", "followed", "final", "orders"];

    fn json(&self) -> StatusJson<'_> {
        let pool = self.pool;
        StatusJson {
            chain_id: pool.place.chain_id,
            hub: pool.place.hub.to_string(),
            pool: pool.place.pool.to_string(),
            owner: pool.place.owner.to_string(),
            head: pool.head,
            followed: pool.followed,
            followed_at: time_or_none(pool.followed_at),
            final_: pool.final_,
            books_since: pool.since,
            stake_free_nrlc: pool.balance.map(|balance| nrlc(balance.stake)),
            stake_locked_nrlc: pool.balance.map(|balance| nrlc(balance.locked)),
            coins_wei: pool.coins.map(|coins| coins.0.to_string()),
            orders: &self.orders,
            transactions_in_flight: &self.in_flight,
            money: self.money.into(),
            stranded: StrandedJson {
                orders: self.stranded.orders,
                pool_nrlc: nrlc(self.stranded.pool),
                workers_nrlc: nrlc(self.stranded.workers),
                requesters_nrlc: nrlc(self.stranded.requesters),
            },
            requests_done: pool.handled,
            alerts: &pool.alerts,
        }
    }

    fn cells(&self) -> Vec<String> {
        let pool = self.pool;
        vec![
            pool.place.pool.to_string(),
            pool.head.to_string(),
            pool.followed.to_string(),
            pool.final_.to_string(),
            self.orders.values().sum::<usize>().to_string(),
        ]
    }

    fn text(&self) -> String {
        let pool = self.pool;
        let place = pool.place;
        fields(&[
            ("pool", format!("{} of the wallet {}", place.pool, place.owner)),
            ("chain", format!("{}, hub {}", place.chain_id, place.hub)),
            (
                "blocks",
                format!(
                    "{} of {} followed ({}), {} final; books since {}",
                    pool.followed,
                    pool.head,
                    time(pool.followed_at),
                    pool.final_,
                    pool.since
                ),
            ),
            (
                "stake",
                pool.balance.map_or_else(String::new, |balance| {
                    format!("{} free, {} locked", balance.stake, balance.locked)
                }),
            ),
            (
                "for gas",
                pool.coins.map_or_else(String::new, |coins| coins.to_string()),
            ),
            ("orders", counted(&self.orders)),
            ("transactions", in_flight(&self.in_flight)),
            ("money", sentence(&self.money)),
            ("stranded", self.stranded.sentence()),
            ("alerts", pool.alerts.join("\n")),
        ])
    }
}

impl Sums {
    fn sentence(&self) -> String {
        if self.orders == 0 {
            return String::new();
        }
        format!(
            "by {}: {} of the pool, {} of workers, {} of requesters; `pool chain claims` has what to send them",
            plural(self.orders, "order"),
            self.pool,
            self.workers,
            self.requesters
        )
    }
}

fn counted(orders: &BTreeMap<&'static str, usize>) -> String {
    let states: Vec<_> = orders
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    match &states[..] {
        [] => "none".to_owned(),
        states => states.join(", "),
    }
}

fn in_flight(nonces: &[u64]) -> String {
    /// More numbers help nobody.
    const SHOWN_MAX: usize = 8;
    let shown: Vec<_> = nonces.iter().take(SHOWN_MAX).map(u64::to_string).collect();
    let more = if nonces.len() > SHOWN_MAX { ", …" } else { "" };
    match nonces {
        [] => "none is under way".to_owned(),
        _ => format!("{} in no block: {}{more}", nonces.len(), shown.join(", ")),
    }
}

/// `1 order`, `2 orders`.
pub(super) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
