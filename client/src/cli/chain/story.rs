//! `pool chain order`: the whole story of an order.

use serde::Serialize;
use wire_hub::row::{Content, OrderRow, OrderState, Outcome, TransactionRow, WorkerRow};
use wire_hub::{Address, Rlc};

use super::books::Books;
use super::claims::Claim;
use super::money::{sentence, somebody, time, time_or_none};
use super::orders::{OrderJson, until};
use super::status::plural;
use super::transactions::{TransactionJson, call, is_in_flight, standing};
use crate::cli::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Show, fields};

/// An order with all that is known about it.
pub(super) struct Story<'a> {
    order: &'a OrderRow,
    /// Those about it, the first first.
    transactions: Vec<&'a TransactionRow>,
    /// Others that were at its address before a reorganisation, or are now.
    others: Vec<&'a OrderRow>,
}

impl<'a> Story<'a> {
    /// `None`: no such order is kept. Of several at an address that which the chain has now is told.
    pub(super) fn of(books: &'a Books, woid: Address) -> Option<Self> {
        let mut at_address: Vec<_> = books
            .orders
            .iter()
            .filter(|order| order.identity.woid == woid)
            .collect();
        let was_taken_back =
            |order: &&OrderRow| matches!(order.state, OrderState::Cancelled | OrderState::Replaced);
        at_address.sort_by_key(was_taken_back);
        let order = *at_address.first()?;
        let key = order.identity.key();
        let about = books.transactions.iter().rev();
        Some(Self {
            order,
            transactions: about.filter(|row| row.about == Some(key)).collect(),
            others: at_address.split_off(1),
        })
    }

    /// What an operator may do, if anything.
    fn advice(&self) -> Vec<String> {
        let order = self.order;
        let mut advice = Vec::new();
        let stuck = self.transactions.iter().filter(|row| is_in_flight(row));
        advice.extend(stuck.map(|row| {
            let nonce = row.nonce.0;
            format!(
                "if transaction {nonce} stays out of blocks, offer it dearer: `pool chain unstick {nonce}`"
            )
        }));
        if let Some(claim) = Claim::of(order) {
            let requester = order
                .content
                .as_ref()
                .map(|content| content.requester.to_string());
            advice.push(format!(
                "ask its requester{} to send this to {}: {}",
                requester
                    .map(|requester| format!(", {requester},"))
                    .unwrap_or_default(),
                claim.to(),
                claim.data()
            ));
        }
        if order.state == OrderState::Unread {
            advice.push("if it stays so, look at the nodes of ETHNODE".to_owned());
        }
        if order.state == OrderState::Seen {
            advice.push(
                "if it stays so, look for workers that are subscribed, connected and have stake: `pool worker list`, \
                 `pool worker explain`"
                    .to_owned(),
            );
        }
        advice
    }
}

/// What an order waits for, or that it waits for nothing.
fn waits_for(state: OrderState) -> &'static str {
    match state {
        OrderState::Unread => "the nodes have not said yet where it is",
        OrderState::Seen => "it was bought, and waits for workers that may do it",
        OrderState::Asked => "workers were chosen, and wait to be allowed on chain",
        OrderState::Allowed => "workers compute, and contribute what they have",
        OrderState::Contributed => "there are contributions; it waits for enough of them that agree",
        OrderState::Agreed => {
            "a result is believed; it waits for the pool to say so on chain (revealConsensus)"
        }
        OrderState::Revealing => "it waits for those who have contributed the result to reveal it",
        OrderState::Unrevealed => "nobody has revealed in time; it waits to be opened again (reopen)",
        OrderState::Finalizing => "it waits to be finalized, which pays everybody",
        OrderState::Completed => "everybody was paid; the block that says so may still be orphaned",
        OrderState::Final => "everybody was paid, for good",
        OrderState::Expired => {
            "its time has passed, and nothing can be sent for it; that may still be orphaned"
        }
        OrderState::Stranded => {
            "its time has passed for good; its money is locked until its requester claims"
        }
        OrderState::Claimed => "its requester has its money back, and the pool has lost its stake",
        OrderState::Cancelled => "a reorganisation of the chain took it back",
        OrderState::Replaced => "a reorganisation of the chain gave its address to another order",
    }
}

#[derive(Serialize)]
pub(super) struct StoryJson<'a> {
    #[serde(flatten)]
    order: OrderJson<'a>,
    waits_for: &'static str,
    until: Option<String>,
    advice: Vec<String>,
    transactions: Vec<TransactionJson<'a>>,
    others: Vec<OtherJson>,
}

#[derive(Serialize)]
struct OtherJson {
    key: String,
    state: &'static str,
}

impl Show for Story<'_> {
    const KIND: &'static str = "order-story";
    type Json<'b>
        = StoryJson<'b>
    where
        Self: 'b;
    const COLUMNS: &'static [&'static str] = OrderRow::COLUMNS;

    fn json(&self) -> StoryJson<'_> {
        let others = self.others.iter().map(|other| OtherJson {
            key: other.identity.key().to_string(),
            state: other.state.name(),
        });
        StoryJson {
            order: self.order.json(),
            waits_for: waits_for(self.order.state),
            until: time_or_none(until(self.order)),
            advice: self.advice(),
            transactions: self.transactions.iter().map(|row| row.json()).collect(),
            others: others.collect(),
        }
    }

    fn cells(&self) -> Vec<String> {
        self.order.cells()
    }

    fn text(&self) -> String {
        let order = self.order;
        let identity = &order.identity;
        let until = time_or_none(until(order)).map(|until| format!(", until {until}"));
        let mut lines = vec![
            (
                "order",
                format!("{} on chain {}", identity.woid, identity.chain_id),
            ),
            (
                "state",
                format!(
                    "{}: {}{}",
                    order.state.name(),
                    waits_for(order.state),
                    until.unwrap_or_default()
                ),
            ),
            ("seen", time(order.at)),
        ];
        lines.extend(order.content.iter().flat_map(|content| bought(order, content)));
        lines.extend([
            (
                "ended",
                order
                    .ended
                    .map(|block| format!("in block {block}"))
                    .unwrap_or_default(),
            ),
            ("workers", joined(order.workers.iter().map(worker))),
            ("result", result(order)),
            ("money", sentence(&order.money.totals())),
            ("stranded", stranded(order)),
            (
                "transactions",
                joined(self.transactions.iter().map(|row| {
                    let why = row.why.as_ref().map(|why| format!(": {why}"));
                    format!(
                        "{} {}, {}{}",
                        row.nonce.0,
                        call(row),
                        standing(row),
                        why.unwrap_or_default()
                    )
                })),
            ),
            (
                "history",
                joined(
                    order
                        .reasons
                        .iter()
                        .map(|reason| format!("{}  {}", time(reason.at), reason.text)),
                ),
            ),
            (
                "others",
                joined(self.others.iter().map(|other| {
                    format!(
                        "at this address was also {}: {}",
                        other.identity.key(),
                        other.state
                    )
                })),
            ),
            ("to do", joined(self.advice())),
        ]);
        fields(&lines)
    }
}

fn joined(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

/// What was bought, by whom, and on what terms.
fn bought(order: &OrderRow, content: &Content) -> [(&'static str, String); 9] {
    let block = order.bought.map(|block| format!(", in block {block}"));
    let of = |amount: Rlc, what: &str| format!("{amount} {what}");
    [
        (
            "bought",
            format!("{}{}", time(content.at), block.unwrap_or_default()),
        ),
        ("by", content.requester.to_string()),
        ("for", somebody(content.beneficiary).unwrap_or_default()),
        ("app", content.app.to_string()),
        ("dataset", somebody(content.dataset).unwrap_or_default()),
        ("tells", somebody(content.callback).unwrap_or_default()),
        ("params", content.params.clone()),
        (
            "offer",
            format!(
                "{} of category {}, whose period is {} s; trust {}",
                content.market_order, content.category, content.period_s, content.trust.0
            ),
        ),
        (
            "price",
            [
                of(content.value, "for workers and pool"),
                of(content.emitcost, "for app and dataset"),
                of(content.stake, "of stake from each worker"),
            ]
            .join(", "),
        ),
    ]
}

fn worker(row: &WorkerRow) -> String {
    let asked = row.asked.map(|asked| format!(", asked {}", time(asked)));
    let ended = row.outcome.map(|how| format!(", its work is {}", how.name()));
    let digest = row.outcome.and_then(Outcome::digest);
    let digest = digest.map(|digest| format!(" with {digest}"));
    format!(
        "{} {}{}{}{}",
        row.wallet,
        row.status.name(),
        asked.unwrap_or_default(),
        ended.unwrap_or_default(),
        digest.unwrap_or_default()
    )
}

fn result(order: &OrderRow) -> String {
    let Some(texts) = &order.result else {
        return String::new();
    };
    let texts = [
        (&texts.uri, "uri"),
        (&texts.stdout, "stdout"),
        (&texts.stderr, "stderr"),
    ];
    joined(
        texts
            .into_iter()
            .filter(|(text, _)| !text.is_empty())
            .map(|(text, name)| format!("{name} {text}")),
    )
}

fn stranded(order: &OrderRow) -> String {
    let Some(stranded) = &order.stranded else {
        return String::new();
    };
    format!(
        "{} of the pool, {} of {}, {} of the requester",
        stranded.pool,
        stranded.of_workers(),
        plural(stranded.workers.len(), "worker"),
        stranded.requester
    )
}

pub(super) fn tell(context: &Context, books: &Books, woid: Address) -> Result<(), Failure> {
    let story = Story::of(books, woid).ok_or_else(|| {
        let message = format!("the books have no order {woid}");
        Failure::new(Exit::NotFound, message).cure(
            "`pool chain orders` lists those that are kept; the table pool_chain_orders has older ones, and `pool chain replay` \
             finds what was missed",
        )
    })?;
    Ok(context.output.one(&story)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_says_for_people_what_it_means() {
        let table: String = OrderState::ALL
            .into_iter()
            .map(|state| format!("{:<11} {}\n", state.name(), waits_for(state)))
            .collect();
        insta::assert_snapshot!("states", table);
    }
}
