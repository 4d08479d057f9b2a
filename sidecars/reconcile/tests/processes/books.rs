//! What the pool says of itself in the engine's notebook, and what an operator may ask for there.

use std::time::{Duration, Instant};

use client::{Client, ConnectOptions, Trust};
use devnet::Options;
use testkit::processes::PASSWORD;
use wire_hub::request::{self, Asked, Request};
use wire_hub::row::{self, OrderRow, OrderState, PoolRow, Row, TransactionRow, TransactionState};
use wire_hub::{Address, OrderStatus};
use wire_protocol::note::{NoteChange, WriteNotes};

use crate::market::{Market, PRICE};

/// What an operator sees and writes.
struct Operator(Client);

impl Operator {
    async fn of(market: &Market) -> Self {
        let trust = Trust::Ca(market.engine.ca());
        let options = ConnectOptions::new(market.engine.clients(), trust, "admin", PASSWORD);
        Self(Client::connect(options).await.expect("the engine answers"))
    }

    async fn rows(&self) -> Vec<Row> {
        let notes = self.0.notes(row::NOTEBOOK).await.expect("notes");
        let rows = notes.iter().filter(|note| Row::is_key(&note.key));
        rows.map(|note| Row::read(&note.key, &note.value).expect("a row"))
            .collect()
    }

    async fn pool(&self) -> Option<PoolRow> {
        let mut rows = self.rows().await.into_iter();
        rows.find_map(|row| match row {
            Row::Pool(row) => Some(row),
            _ => None,
        })
    }

    async fn order(&self, woid: Address) -> Option<OrderRow> {
        let mut rows = self.rows().await.into_iter();
        rows.find_map(|row| match row {
            Row::Order(row) if row.identity.woid == woid => Some(*row),
            _ => None,
        })
    }

    async fn transactions(&self) -> Vec<TransactionRow> {
        let rows = self.rows().await.into_iter();
        let transactions = rows.filter_map(|row| match row {
            Row::Transaction(row) => Some(*row),
            _ => None,
        });
        transactions.collect()
    }

    async fn money(&self, who: Address) -> row::Totals {
        let mut rows = self.rows().await.into_iter();
        let found = rows.find_map(|row| match row {
            Row::Party(party, money) if party == who => Some(money.totals()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// Asks the sidecar for something; the request's number.
    async fn ask(&self, request: Request) -> u64 {
        let pool = self.pool().await.expect("the pool's row");
        let holder = self.0.take_notebook(request::NOTEBOOK).await.expect("taken");
        let notes = self.0.notes(request::NOTEBOOK).await.expect("notes");
        let number = Asked::next(notes.iter().map(|note| note.key.as_str()), pool.handled);
        let place = pool.place;
        let (key, value) = Asked { place, request }.note(number);
        let changes = vec![NoteChange {
            key,
            value: Some(value),
        }];
        let notebook = request::NOTEBOOK.to_owned();
        let written = self.0.write_notes(WriteNotes {
            notebook,
            holder,
            changes,
        });
        written.await.expect("written");
        number
    }
}

/// Waits until this gives something.
async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    market: &Market,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "never: {what}\n{}",
            market.sidecar.log()
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_tell_a_whole_order_and_requests_are_done_once() {
    let mut market = Market::open(1, 2, Options::default()).await;
    market.sidecar.start();
    market.sidecar.ready();
    let operator = Operator::of(&market).await;
    let offer = market.sell(0, 1).await;
    // From here on no block comes by itself: what is sent waits.
    let hour = Duration::from_secs(3_600);
    let woid = market.buy(offer, "hello").await;
    market.devnet.set_block_time(hour).await.expect("no blocks");
    let stuck = loop {
        let sent = operator.transactions().await;
        if let Some(row) = sent.into_iter().find(|row| row.state == TransactionState::Sent) {
            break row;
        }
        market.devnet.mine(1).await.expect("a block");
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    assert_eq!(
        (stuck.woid(), stuck.attempts.len(), stuck.is_final),
        (Some(woid), 1, false)
    );
    let request = Request::Unstick {
        nonce: Some(stuck.nonce),
        as_nothing: false,
    };
    let number = operator.ask(request).await;
    let again = until("it is offered anew", &market, || async {
        let rows = operator.transactions().await;
        rows.into_iter()
            .find(|row| row.nonce == stuck.nonce && row.attempts.len() > 1)
    })
    .await;
    assert!(again.attempts[1].price_max > again.attempts[0].price_max);
    until("it is done", &market, || async {
        operator.pool().await.filter(|row| row.handled == number)
    })
    .await;
    market
        .devnet
        .set_block_time(Duration::from_secs(1))
        .await
        .expect("blocks");
    market.until(woid, OrderStatus::Completed).await;
    let order = until("the order is over", &market, || async {
        operator.order(woid).await.filter(|row| row.is_over)
    })
    .await;
    let money = order.money.totals();
    assert_eq!(order.state, OrderState::Final);
    assert_eq!(money.rewarded.0, PRICE);
    assert_eq!((money.bound().0, money.seized.0), (0, PRICE));
    assert!(money.gas.0 > 0 && order.result.is_some() && order.workers.len() == 1);
    assert!(
        order
            .reasons
            .iter()
            .any(|reason| reason.text.contains("finalize"))
    );
    let pool = operator.pool().await.expect("the pool's row");
    assert_eq!(pool.place.pool, market.devnet.contracts().pool);
    assert!(pool.balance.is_some() && pool.coins.is_some() && pool.followed > 0);
    let owner = market.devnet.scheduler().address();
    let before = operator.money(owner).await;
    assert_eq!(before.gas, money.gas);
    // All of it is followed again, and comes to the same; also by the process after it.
    let number = operator.ask(Request::Replay { from: 0 }).await;
    for is_next in [false, true] {
        if is_next {
            assert!(market.sidecar.stop().success(), "{}", market.sidecar.log());
            market.sidecar.start();
            market.sidecar.ready();
        }
        until("it is followed again", &market, || async {
            let row = operator
                .pool()
                .await
                .filter(|row| row.handled == number && row.followed > 0)?;
            (operator.money(owner).await == before && row.since == 0).then_some(())
        })
        .await;
    }
    assert_eq!(
        operator.order(woid).await.map(|row| row.money.totals()),
        Some(money)
    );
    assert_eq!(market.sidecar.log().matches("follow the chain again").count(), 1);
}
