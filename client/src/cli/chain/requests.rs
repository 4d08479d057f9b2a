//! `pool chain unstick` and `replay`: requests to the running `pool-reconcile`, by way of a notebook.
//!
//! Two operators may ask at once. Whoever takes the notebook last writes, and the other takes it again.

use std::time::Duration;

use client::{Client, ClientError};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use wire_hub::request::{Asked, NOTEBOOK, Request};
use wire_hub::row::PoolRow;
use wire_protocol::note::{NoteChange, WriteNotes};

use super::books::{self, Books};
use super::transactions::{is_in_flight, standing};
use crate::cli::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Show, fields};

/// Times that the notebook is taken again from others who ask at the same time.
const TRIES: usize = 8;

/// Between two looks whether the process has taken the request up: it reads requests every few seconds.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A request that the process has taken up.
struct TakenUp {
    number: u64,
    request: Request,
}

#[derive(Serialize)]
struct TakenUpJson {
    request: u64,
    what: String,
}

impl Show for TakenUp {
    const KIND: &'static str = "chain-request";
    type Json<'a> = TakenUpJson;
    const COLUMNS: &'static [&'static str] = &["request", "what"];

    fn json(&self) -> TakenUpJson {
        TakenUpJson {
            request: self.number,
            what: self.request.to_string(),
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![self.number.to_string(), self.request.to_string()]
    }

    fn text(&self) -> String {
        fields(&[("taken up", format!("request {}: {}", self.number, self.request))])
    }
}

pub(super) async fn ask(context: &Context, request: Request) -> Result<(), Failure> {
    let client = context.connect().await?;
    check(&Books::read(&client).await?, &request)?;
    let number = write(&client, request).await?;
    let deadline = Instant::now() + context.global.timeout;
    while books::pool(&client).await?.handled < number {
        if Instant::now() >= deadline {
            let message = format!(
                "request {number} ({request}) is kept, and pool-reconcile has not taken it up within {} s",
                context.global.timeout.as_secs_f64()
            );
            return Err(Failure::new(Exit::Unavailable, message).cure(
                "look whether it runs (its /healthz is on port 4326); it does what is kept as soon as it is there, so ask once",
            ));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(context.output.one(&TakenUp { number, request })?)
}

/// What can be seen from here to make no sense is not asked for.
fn check(books: &Books, request: &Request) -> Result<(), Failure> {
    let not_found = |message: String| {
        let failure = Failure::new(Exit::NotFound, message);
        Err(failure.cure("`pool chain txs` lists transactions and where they are"))
    };
    match request {
        Request::Unstick { nonce: None, .. } => {
            if books.transactions.iter().any(is_in_flight) {
                return Ok(());
            }
            not_found("no transaction waits for a block".to_owned())
        }
        Request::Unstick {
            nonce: Some(nonce), ..
        } => {
            let known = books.transactions.iter().find(|row| row.nonce == *nonce);
            match known {
                None => not_found(format!("the books have no transaction with nonce {}", nonce.0)),
                Some(row) if is_in_flight(row) => Ok(()),
                Some(row) => {
                    let message = format!("transaction {} waits for no block: {}", nonce.0, standing(row));
                    Err(Failure::new(Exit::Conflict, message))
                }
            }
        }
        Request::Replay { from } if *from > books.pool.followed => {
            let followed = books.pool.followed;
            let message = format!("block {from} was not followed yet; the last one is {followed}");
            Err(Failure::new(Exit::Conflict, message))
        }
        Request::Replay { .. } => Ok(()),
    }
}

/// Writes the request under the next number.
async fn write(client: &Client, request: Request) -> Result<u64, Failure> {
    let mut conflict = None;
    for _ in 0..TRIES {
        let holder = client.take_notebook(NOTEBOOK).await?;
        let pool = books::pool(client).await?;
        let notes = client.notes(NOTEBOOK).await?;
        let keys: Vec<&str> = notes.iter().map(|note| note.key.as_str()).collect();
        let number = Asked::next(keys.iter().copied(), pool.handled);
        let written = WriteNotes {
            notebook: NOTEBOOK.to_owned(),
            holder,
            changes: changes(&keys, &pool, number, request),
        };
        match client.write_notes(written).await {
            Ok(()) => return Ok(number),
            Err(error @ ClientError::Conflict(_)) => conflict = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(conflict.expect("the loop is entered").into())
}

/// The request, and those that were done go.
fn changes(keys: &[&str], pool: &PoolRow, number: u64, request: Request) -> Vec<NoteChange> {
    let is_done = |key: &&str| Asked::number(key).is_ok_and(|number| number <= pool.handled);
    let done = keys.iter().copied().filter(is_done).map(|key| NoteChange {
        key: key.to_owned(),
        value: None,
    });
    let asked = Asked {
        place: pool.place,
        request,
    };
    let (key, value) = asked.note(number);
    let new = NoteChange {
        key,
        value: Some(value),
    };
    done.chain([new]).collect()
}
