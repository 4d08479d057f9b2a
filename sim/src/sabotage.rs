//! Shells that are broken on purpose: the evidence that the oracles can object.

use std::sync::atomic::{AtomicU64, Ordering};

use engine_journal::RecordBatch;
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, LeaseToken, Lsn};
use wire_protocol::worker_link::{Assignments, Join, Reports, kind};

use crate::clock::Time;
use crate::faults::Sabotage;
use crate::oracle::Oracles;

/// Frames as a broken shell sends them.
pub(crate) fn on_send<'a>(sabotage: Option<Sabotage>, frames: &'a [u8], out: &'a mut Vec<u8>) -> &'a [u8] {
    let mut rest = frames;
    let mut changed = false;
    while let Ok(Some((kind_byte, payload, used))) = frame::split_first(rest) {
        let said = &rest[..used];
        rest = &rest[used..];
        match (sabotage, kind_byte) {
            (Some(Sabotage::AssignsTwice), kind::ASSIGN) => {
                out.extend_from_slice(said);
                let assignments = Assignments::parse(payload).expect("the scheduler writes whole frames");
                frame::push(out, kind::ASSIGN, |out| {
                    out.extend_from_slice(&assignments.template().to_le_bytes());
                    for assignment in assignments.iter() {
                        let mut token = assignment.token;
                        token.attempt = Attempt(token.attempt.0 + 1);
                        Assignments::put(out, token, assignment.row);
                    }
                });
                changed = true;
            }
            (Some(Sabotage::RecordsTooMuch), kind::RECORDED) => {
                let upto = payload
                    .first_chunk()
                    .map_or(0, |bytes| u64::from_le_bytes(*bytes));
                wire_protocol::worker_link::push_recorded(out, upto + 1);
                changed = true;
            }
            _ => out.extend_from_slice(said),
        }
    }
    if changed { out } else { frames }
}

/// Puts a record into a batch.
pub(crate) fn on_record(
    sabotage: Option<Sabotage>,
    lsn: Lsn,
    kind: u8,
    payload: &[u8],
    batch: &mut RecordBatch,
) {
    match sabotage {
        Some(Sabotage::RepeatsRecord) if lsn.0 == 20 => {
            batch.push(kind, payload);
            batch.push(kind, payload);
        }
        Some(Sabotage::AltersRecord) if lsn.0 == 20 && !payload.is_empty() => {
            let mut altered = payload.to_vec();
            altered[0] ^= 1;
            batch.push(kind, &altered);
        }
        _ => batch.push(kind, payload),
    }
}

/// A frame of reports in which the first two have each other's token.
pub(crate) fn mix_reports<'a>(kind_byte: u8, payload: &'a [u8], out: &'a mut Vec<u8>) -> &'a [u8] {
    if kind_byte != kind::FINISHED {
        return payload;
    }
    let Ok(reports) = Reports::parse(payload) else {
        return payload;
    };
    let mut tokens: Vec<LeaseToken> = reports.iter().map(|report| report.token).collect();
    if tokens.len() > 1 {
        tokens.swap(0, 1);
    }
    out.extend_from_slice(&reports.first().to_le_bytes());
    for (mut report, token) in reports.iter().zip(tokens) {
        report.token = token;
        report.put(out);
    }
    out
}

/// A join as a broken shell passes it on.
pub(crate) fn on_join(sabotage: Option<Sabotage>, oracles: &Oracles, join: &mut Join) {
    match sabotage {
        Some(Sabotage::FlattersWorkers) => join.offer.prefill += 8,
        Some(Sabotage::FlattersCounters) => {
            join.offer.cores *= 4;
            join.offer.custom.iter_mut().for_each(|(_, amount)| *amount *= 4);
        }
        Some(Sabotage::ForgesLeases) => join.held.extend(oracles.ledger.claimable()),
        _ => {}
    }
}

/// A delay that other runs in this process have a part in.
pub(crate) fn noise(sabotage: Option<Sabotage>) -> Time {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    match sabotage {
        Some(Sabotage::RemembersOtherRuns) => RUNS.fetch_add(1, Ordering::Relaxed),
        _ => 0,
    }
}
