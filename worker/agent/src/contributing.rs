//! Results of works that are for orders of a chain: what is handed over before the engine hears of them, and what people are
//! told of it.

use std::future::Future;
use std::time::Duration;

use wire_hub::{Hash, Ticket, result_of};
use wire_protocol::outcome::{Output, Reason};
use wire_protocol::template::WorkTemplate;
use worker_chain::shell::Status;

use crate::executor::Ended;

/// A result that is not durable after this is reported all the same: its disk is broken, and others may have better ones.
const DURABLE_WITHIN: Duration = Duration::from_secs(10);

/// Whether there is nothing to run: what is contributed is in the ticket, the root over works that others have done.
pub(crate) fn is_given(template: &WorkTemplate) -> bool {
    Ticket::parse(&template.ticket).is_ok_and(|ticket| ticket.result.is_some())
}

/// What is to be contributed, of a work that has a ticket and has succeeded.
pub(crate) fn result(template: &WorkTemplate, ended: &Ended) -> Option<Hash> {
    let is_for_order = !template.ticket.is_empty() && ended.reason == Reason::None;
    let output = is_for_order
        .then(|| Output::parse(&ended.result).ok())
        .flatten()?;
    Some(result_of(&output))
}

/// Waits until a result is durable; `None`: there is no chain to hand it to. The error is why it is not contributed.
pub(crate) async fn handed(handing: Option<impl Future<Output = Result<(), String>>>) -> Result<(), String> {
    let Some(handing) = handing else {
        return Err(
            "this worker has no chain: set WORKERETHNODEADDRESS, RLCCONTRACT, IEXECHUBCONTRACT, WORKERPOOLADDRESS and \
             WALLETPATH"
                .to_owned(),
        );
    };
    match tokio::time::timeout(DURABLE_WITHIN, handing).await {
        Ok(handed) => handed,
        Err(_) => Err(format!(
            "it could not be noted within {} s; it will be if the disk recovers",
            DURABLE_WITHIN.as_secs()
        )),
    }
}

/// Why it idles: what the engine says, and what keeps orders away.
pub(crate) fn idle(engine: Option<String>, chain: &Status) -> Option<String> {
    let engine = engine?;
    Some(match chain.problem.as_ref().or(chain.obstacle.as_ref()) {
        Some(obstacle) => format!("{engine}; and for orders of the chain: {obstacle}"),
        None => engine,
    })
}

/// What `status` prints: the name of each line, and what it says.
pub(crate) fn lines(chain: &Status) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let stake = chain.stake.map_or_else(String::new, |(free, locked)| {
        format!("; stake {free} nRLC free, {locked} locked")
    });
    lines.push((
        "chain",
        format!("{}, block {}{stake}", chain.chain_id, chain.block),
    ));
    lines.push(("", format!("{}: {}", chain.wallet, chain.membership)));
    let stops = [&chain.problem, &chain.alert];
    lines.extend(stops.into_iter().flatten().map(|problem| ("", problem.clone())));
    // The membership is told above.
    let obstacle = chain
        .obstacle
        .as_ref()
        .filter(|obstacle| **obstacle != chain.membership);
    lines.extend(obstacle.map(|obstacle| ("", obstacle.clone())));
    if chain.won + chain.lost > 0 {
        let Status {
            won, lost, earned, ..
        } = chain;
        lines.push(("", format!("{won} orders won, {earned} nRLC earned, {lost} lost")));
    }
    lines.extend(
        chain
            .orders
            .iter()
            .map(|order| ("order", format!("{}: {}", order.woid, order.says))),
    );
    lines.extend(
        chain
            .ended
            .iter()
            .map(|ended| ("ended", format!("{}: {}", ended.woid, ended.says))),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(reason: Reason, stdout: &[u8]) -> Ended {
        let mut result = Vec::new();
        let output = Output {
            stdout,
            ..Output::default()
        };
        output.encode(&mut result);
        Ended {
            reason,
            exit_code: 0,
            elapsed: Duration::ZERO,
            result,
        }
    }

    #[test]
    fn only_works_with_a_ticket_that_succeeded_have_something_to_contribute() {
        let plain = WorkTemplate::default();
        let for_order = WorkTemplate {
            ticket: vec![1],
            ..WorkTemplate::default()
        };
        let good = ended(Reason::None, b"42");
        assert_eq!(result(&plain, &good), None);
        assert_eq!(result(&for_order, &ended(Reason::ExitCode, b"42")), None);
        assert_eq!(result(&for_order, &good), Some(wire_hub::keccak(b"42")));
    }

    #[test]
    fn of_an_order_of_many_works_there_is_nothing_to_run() {
        let mut ticket = Ticket {
            chain_id: 1,
            hub: wire_hub::NOBODY,
            pool: wire_hub::NOBODY,
            woid: wire_hub::NOBODY,
            fingerprint: Hash::ZERO,
            result: Some(Hash([1; 32])),
        };
        let of = |ticket: &Ticket| WorkTemplate {
            ticket: ticket.encode(),
            ..WorkTemplate::default()
        };
        assert!(is_given(&of(&ticket)));
        ticket.result = None;
        assert!(!is_given(&of(&ticket)));
        assert!(!is_given(&WorkTemplate::default()));
    }

    #[test]
    fn who_idles_for_want_of_stake_is_told() {
        let chain = Status {
            obstacle: Some("stake too low: 1 nRLC free and 3 needed; deposit 2 more at the hub".to_owned()),
            ..Status::default()
        };
        let told = idle(Some("nothing is queued".to_owned()), &chain).expect("it idles");
        assert!(
            told.starts_with("nothing is queued; and for orders of the chain: stake too low"),
            "{told}"
        );
        assert_eq!(idle(None, &chain), None);
    }
}
