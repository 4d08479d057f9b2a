//! The books of `pool-reconcile` as statements: each row in the place of the one that was there.
//!
//! There are few of them (a block changes a handful), so each is a statement of its own. `REPLACE` is the same to every
//! database. Numbers of the chain may be larger than a column's: they stand as the largest that it takes.

use wire_hub::row::{MoneyRow, OrderRow, Outcome, PoolRow, Row, Totals, TransactionRow};
use wire_hub::{Address, NOBODY, Rlc, Timestamp};
use wire_protocol::units::date;

use super::session::{Arguments, Session, fixed};
use crate::chain::{ChainChange, PoolChange};

/// Writes all of it.
pub(super) async fn write(session: &mut Session, change: &ChainChange) -> Result<(), sqlx::Error> {
    for pool in &change.pools {
        write_pool(session, pool).await?;
    }
    Ok(())
}

async fn write_pool(session: &mut Session, change: &PoolChange) -> Result<(), sqlx::Error> {
    let named = change.values().find_map(|row| match row {
        Row::Pool(pool) => Some(pool),
        _ => None,
    });
    let pool = match named {
        Some(pool) => put_pool(session, pool).await?,
        None => current(session).await?.unwrap_or(0),
    };
    for row in change.values() {
        match row {
            Row::Pool(_) => {}
            Row::Order(row) => put_order(session, pool, row).await?,
            Row::Transaction(row) => put_transaction(session, pool, row).await?,
            Row::Party(party, money) => put_money(session, pool, "party", &party.to_string(), money).await?,
            Row::Day(day, money) => put_money(session, pool, "day", &date(*day), money).await?,
        }
    }
    Ok(())
}

/// The pool that the last row of one was about.
async fn current(session: &mut Session) -> Result<Option<i64>, sqlx::Error> {
    let text = fixed("SELECT pool_id FROM pool_chain_pools WHERE is_current = 1");
    let found = session.integers(text, session.arguments()).await?;
    Ok(found.first().map(|row| row[0]))
}

/// The number of this pool, which is the current one from now on.
async fn put_pool(session: &mut Session, row: &PoolRow) -> Result<i64, sqlx::Error> {
    let number = match known(session, row).await? {
        Some(number) => number,
        None => {
            let text = fixed("SELECT COALESCE(MAX(pool_id), 0) FROM pool_chain_pools");
            session.integers(text, session.arguments()).await?[0][0] + 1
        }
    };
    let mut arguments = session.arguments();
    arguments.int(number);
    let text = fixed("UPDATE pool_chain_pools SET is_current = 0 WHERE is_current = 1 AND pool_id <> ?");
    session.execute(text, arguments).await?;
    let mut arguments = session.arguments();
    let to = &mut arguments;
    to.int(number);
    place(to, row);
    to.int(big(row.head));
    to.int(big(row.followed));
    to.int(micros(row.followed_at));
    to.int(big(row.final_));
    to.int(big(row.since));
    to.int_or_null(row.balance.map(|balance| nrlc(balance.stake)));
    to.int_or_null(row.balance.map(|balance| nrlc(balance.locked)));
    text_or_null(to, row.coins.map(|coins| coins.0));
    to.bytes(row.alerts.join("\n").as_bytes());
    let text = "REPLACE INTO pool_chain_pools (pool_id, chain_id, hub, pool, owner, is_current, head_block, \
                followed_block, followed_us, final_block, since_block, stake_nrlc, locked_nrlc, coins_wei, alerts) \
                VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    session.execute(fixed(text), arguments).await?;
    Ok(number)
}

async fn known(session: &mut Session, row: &PoolRow) -> Result<Option<i64>, sqlx::Error> {
    let mut arguments = session.arguments();
    place(&mut arguments, row);
    let text = fixed(
        "SELECT pool_id FROM pool_chain_pools WHERE chain_id = ? AND hub = ? AND pool = ? AND owner = ?",
    );
    let found = session.integers(text, arguments).await?;
    Ok(found.first().map(|row| row[0]))
}

fn place(to: &mut Arguments, row: &PoolRow) {
    to.int(big(row.place.chain_id));
    for address in [row.place.hub, row.place.pool, row.place.owner] {
        to.text(&address.to_string());
    }
}

async fn put_order(session: &mut Session, pool: i64, row: &OrderRow) -> Result<(), sqlx::Error> {
    let key = row.identity.key().to_string();
    let mut arguments = session.arguments();
    let to = &mut arguments;
    to.text(&key);
    to.int(pool);
    to.text(&row.identity.woid.to_string());
    to.text(row.state.name());
    to.int(row.is_over.into());
    let content = row.content.as_ref();
    let addresses = content.map(|content| {
        [
            content.requester,
            content.app,
            content.dataset,
            content.beneficiary,
            content.callback,
        ]
    });
    for address in addresses.unwrap_or([NOBODY; 5]) {
        to.text_or_null(somebody(address).as_deref());
    }
    let numbers = content.map(|content| [content.market_order, content.category, content.period_s]);
    numbers_or_null(to, numbers.map(|numbers| numbers.map(big)));
    text_or_null(to, content.map(|content| content.trust.0));
    let amounts = content.map(|content| [content.value, content.stake, content.emitcost]);
    numbers_or_null(to, amounts.map(|amounts| amounts.map(nrlc)));
    to.bytes_or_null(content.map(|content| content.params.as_bytes()));
    to.int_or_null(content.and_then(|content| micros_or_none(content.at)));
    to.int_or_null(row.bought.map(big));
    to.int_or_null(row.ended.map(big));
    to.int_or_null(micros_or_none(row.reveal_date));
    to.int_or_null(micros_or_none(row.consensus_timeout));
    to.text_or_null(row.reasons.last().map(|reason| reason.text.as_str()));
    let result = row.result.as_ref();
    to.text_or_null(result.map(|result| result.uri.as_str()));
    to.text_or_null(result.map(|result| result.stdout.as_str()));
    to.text_or_null(result.map(|result| result.stderr.as_str()));
    totals(to, &row.money.totals());
    let stranded = row.stranded.as_ref();
    let stranded = stranded.map(|stranded| [stranded.pool, stranded.of_workers(), stranded.requester]);
    numbers_or_null(to, stranded.map(|amounts| amounts.map(nrlc)));
    to.int(micros(row.at));
    let text = "REPLACE INTO pool_chain_orders (order_key, pool_id, woid, state, is_over, requester, app, dataset, \
                beneficiary, callback, order_idx, category_id, period_s, trust, value_nrlc, stake_nrlc, emitcost_nrlc, \
                params, bought_us, bought_block, ended_block, reveal_until_us, timeout_us, reason, result_uri, \
                result_stdout, result_stderr, locked_nrlc, unlocked_nrlc, rewarded_nrlc, seized_nrlc, gas, burned_wei, \
                faults, stranded_pool_nrlc, stranded_workers_nrlc, stranded_requester_nrlc, seen_us) VALUES (?, ?, ?, ?, \
                ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    session.execute(fixed(text), arguments).await?;
    put_workers(session, &key, row).await
}

/// Who is not in it any more has no part in it any more.
async fn put_workers(session: &mut Session, key: &str, row: &OrderRow) -> Result<(), sqlx::Error> {
    let mut arguments = session.arguments();
    arguments.text(key);
    let text = fixed("DELETE FROM pool_chain_workers WHERE order_key = ?");
    session.execute(text, arguments).await?;
    for worker in &row.workers {
        let digest = worker
            .outcome
            .and_then(Outcome::digest)
            .map(|digest| digest.to_string());
        let mut arguments = session.arguments();
        let to = &mut arguments;
        to.text(key);
        to.text(&worker.wallet.to_string());
        to.text(worker.status.name());
        to.int_or_null(worker.asked.map(micros));
        to.text_or_null(worker.outcome.map(Outcome::name));
        to.text_or_null(digest.as_deref());
        let text = "REPLACE INTO pool_chain_workers (order_key, wallet, status, asked_us, outcome, digest) \
                    VALUES (?, ?, ?, ?, ?, ?)";
        session.execute(fixed(text), arguments).await?;
    }
    Ok(())
}

async fn put_transaction(session: &mut Session, pool: i64, row: &TransactionRow) -> Result<(), sqlx::Error> {
    let mined = row.mined.as_ref();
    let hash = row.hash().map(|hash| hash.to_string());
    let mut arguments = session.arguments();
    let to = &mut arguments;
    to.int(pool);
    to.int(big(row.nonce.0));
    to.text_or_null(row.call.as_ref().map(|call| call.name()));
    to.text_or_null(row.about.map(|key| key.to_string()).as_deref());
    to.text_or_null(row.woid().map(|woid| woid.to_string()).as_deref());
    to.text(row.state.name());
    to.int(row.is_final.into());
    to.text_or_null(hash.as_deref());
    to.int(big(row.attempts.len() as u64));
    to.int_or_null(mined.map(|mined| big(mined.block.number)));
    to.int_or_null(mined.and_then(|mined| micros_or_none(mined.at)));
    to.int_or_null(mined.map(|mined| big(mined.gas.0)));
    text_or_null(to, mined.map(|mined| mined.price.0));
    to.text_or_null(row.why.as_deref());
    to.int(micros(row.at));
    let text = "REPLACE INTO pool_chain_transactions (pool_id, nonce, function_name, order_key, woid, state, is_final, \
                tx_hash, attempts, block_number, mined_us, gas_used, gas_price_wei, why, seen_us) \
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    session.execute(fixed(text), arguments).await.map(drop)
}

async fn put_money(
    session: &mut Session,
    pool: i64,
    kind: &str,
    name: &str,
    row: &MoneyRow,
) -> Result<(), sqlx::Error> {
    let mut arguments = session.arguments();
    let to = &mut arguments;
    to.int(pool);
    to.text(kind);
    to.text(name);
    totals(to, &row.totals());
    to.int_or_null(row.upto.map(big));
    let text = "REPLACE INTO pool_chain_money (pool_id, kind, name, locked_nrlc, unlocked_nrlc, rewarded_nrlc, \
                seized_nrlc, gas, burned_wei, faults, settled_block) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    session.execute(fixed(text), arguments).await.map(drop)
}

fn totals(to: &mut Arguments, totals: &Totals) {
    for amount in [totals.locked, totals.unlocked, totals.rewarded, totals.seized] {
        to.int(nrlc(amount));
    }
    to.int(big(totals.gas.0));
    to.text(&totals.burned.0.to_string());
    to.int(totals.faults.into());
}

fn numbers_or_null<const N: usize>(to: &mut Arguments, numbers: Option<[i64; N]>) {
    for at in 0..N {
        to.int_or_null(numbers.map(|numbers| numbers[at]));
    }
}

/// A number that may be larger than a column's, as a text.
fn text_or_null(to: &mut Arguments, number: Option<u128>) {
    to.text_or_null(number.map(|number| number.to_string()).as_deref());
}

fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn nrlc(amount: Rlc) -> i64 {
    i64::try_from(amount.0).unwrap_or(i64::MAX)
}

fn micros(at: Timestamp) -> i64 {
    big(at.0.saturating_mul(1_000_000))
}

fn micros_or_none(at: Timestamp) -> Option<i64> {
    (at > Timestamp(0)).then(|| micros(at))
}

fn somebody(address: Address) -> Option<String> {
    (address != NOBODY).then(|| address.to_string())
}
