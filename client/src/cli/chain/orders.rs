//! `pool chain orders`: orders in a table, and how one looks in JSON.

use serde::Serialize;
use wire_hub::Timestamp;
use wire_hub::row::{Content, OrderRow, OrderState, Outcome, Stranded, Texts, WorkerRow};

use super::books::Books;
use super::money::{TotalsJson, nrlc, somebody, time, time_or_none};
use crate::cli::Context;
use crate::cli::args::Orders;
use crate::cli::exit::Failure;
use crate::cli::output::{Show, fields};

#[derive(Serialize)]
pub(crate) struct OrderJson<'a> {
    woid: String,
    /// What tells it from others at the same address.
    key: String,
    chain_id: u64,
    state: &'static str,
    is_over: bool,
    #[serde(flatten)]
    content: Option<ContentJson<'a>>,
    bought_block: Option<u64>,
    ended_block: Option<u64>,
    reveal_until: Option<String>,
    timeout: Option<String>,
    workers: Vec<WorkerJson>,
    reasons: Vec<ReasonJson<'a>>,
    result: Option<TextsJson<'a>>,
    money: TotalsJson,
    stranded: Option<StrandedJson>,
    seen: Option<String>,
}

#[derive(Serialize)]
struct ContentJson<'a> {
    requester: String,
    app: String,
    dataset: Option<String>,
    beneficiary: Option<String>,
    callback: Option<String>,
    market_order: u64,
    category: u64,
    period_s: u64,
    trust: String,
    value_nrlc: String,
    stake_nrlc: String,
    emitcost_nrlc: String,
    params: &'a str,
    bought: Option<String>,
}

impl<'a> From<&'a Content> for ContentJson<'a> {
    fn from(content: &'a Content) -> Self {
        Self {
            requester: content.requester.to_string(),
            app: content.app.to_string(),
            dataset: somebody(content.dataset),
            beneficiary: somebody(content.beneficiary),
            callback: somebody(content.callback),
            market_order: content.market_order,
            category: content.category,
            period_s: content.period_s,
            trust: content.trust.0.to_string(),
            value_nrlc: nrlc(content.value),
            stake_nrlc: nrlc(content.stake),
            emitcost_nrlc: nrlc(content.emitcost),
            params: &content.params,
            bought: time_or_none(content.at),
        }
    }
}

#[derive(Serialize)]
struct WorkerJson {
    wallet: String,
    status: &'static str,
    asked: Option<String>,
    outcome: Option<&'static str>,
    digest: Option<String>,
}

impl From<&WorkerRow> for WorkerJson {
    fn from(worker: &WorkerRow) -> Self {
        let digest = worker.outcome.and_then(Outcome::digest);
        Self {
            wallet: worker.wallet.to_string(),
            status: worker.status.name(),
            asked: worker.asked.and_then(time_or_none),
            outcome: worker.outcome.map(Outcome::name),
            digest: digest.map(|digest| digest.to_string()),
        }
    }
}

#[derive(Serialize)]
struct ReasonJson<'a> {
    at: Option<String>,
    text: &'a str,
}

#[derive(Serialize)]
struct TextsJson<'a> {
    stdout: &'a str,
    stderr: &'a str,
    uri: &'a str,
}

impl<'a> From<&'a Texts> for TextsJson<'a> {
    fn from(Texts { stdout, stderr, uri }: &'a Texts) -> Self {
        Self { stdout, stderr, uri }
    }
}

#[derive(Serialize)]
struct StrandedJson {
    pool_nrlc: String,
    workers: Vec<StakeJson>,
    requester_nrlc: String,
}

#[derive(Serialize)]
struct StakeJson {
    wallet: String,
    stake_nrlc: String,
}

impl From<&Stranded> for StrandedJson {
    fn from(stranded: &Stranded) -> Self {
        let stakes = stranded.workers.iter().map(|(wallet, stake)| StakeJson {
            wallet: wallet.to_string(),
            stake_nrlc: nrlc(*stake),
        });
        Self {
            pool_nrlc: nrlc(stranded.pool),
            workers: stakes.collect(),
            requester_nrlc: nrlc(stranded.requester),
        }
    }
}

impl Show for OrderRow {
    const KIND: &'static str = "order";
    type Json<'a> = OrderJson<'a>;
    const COLUMNS: &'static [&'static str] = &[
        "order", "state", "bought", "value", "workers", "bound", "stranded", "until",
    ];

    fn json(&self) -> OrderJson<'_> {
        let reasons = self.reasons.iter().map(|reason| ReasonJson {
            at: time_or_none(reason.at),
            text: &reason.text,
        });
        OrderJson {
            woid: self.identity.woid.to_string(),
            key: self.identity.key().to_string(),
            chain_id: self.identity.chain_id,
            state: self.state.name(),
            is_over: self.is_over,
            content: self.content.as_ref().map(ContentJson::from),
            bought_block: self.bought,
            ended_block: self.ended,
            reveal_until: time_or_none(self.reveal_date),
            timeout: time_or_none(self.consensus_timeout),
            workers: self.workers.iter().map(WorkerJson::from).collect(),
            reasons: reasons.collect(),
            result: self.result.as_ref().map(TextsJson::from),
            money: self.money.totals().into(),
            stranded: self.stranded.as_ref().map(StrandedJson::from),
            seen: time_or_none(self.at),
        }
    }

    fn cells(&self) -> Vec<String> {
        let content = self.content.as_ref();
        vec![
            self.identity.woid.to_string(),
            self.state.name().to_owned(),
            content.map(|content| time(content.at)).unwrap_or_default(),
            content
                .map(|content| content.value.to_string())
                .unwrap_or_default(),
            self.workers.len().to_string(),
            self.money.totals().bound().to_string(),
            self.stranded
                .as_ref()
                .map_or_else(|| "-".to_owned(), |stranded| stranded.total().to_string()),
            time(until(self)),
        ]
    }

    fn text(&self) -> String {
        let lines: Vec<_> = Self::COLUMNS.iter().copied().zip(self.cells()).collect();
        fields(&lines)
    }
}

/// Until when what it waits for may happen; 0: it waits for nothing that has a time.
pub(super) fn until(order: &OrderRow) -> Timestamp {
    match order.state {
        OrderState::Revealing => order.reveal_date,
        state if state.is_over() => Timestamp(0),
        _ => order.consensus_timeout,
    }
}

pub(super) fn list(context: &Context, books: &Books, asked: &Orders) -> Result<(), Failure> {
    let is_asked = |order: &&OrderRow| asked.state.is_empty() || asked.state.contains(&order.state);
    let orders = books.orders.iter().filter(is_asked);
    let orders: Vec<OrderRow> = orders.take(asked.limit as usize).cloned().collect();
    Ok(context.output.all(&orders)?)
}
