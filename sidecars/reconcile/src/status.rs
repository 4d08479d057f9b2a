//! How far the sidecar is, for metrics and for people.
//!
//! | path | 200 when |
//! | --- | --- |
//! | `/livez` | always: while the process runs, it tries |
//! | `/readyz` | it works: engine and node have both answered, or it is switched off |
//! | `/healthz` | always; a JSON object: `status` is `ok`, `degraded` (with `problems`) or `off` |
//! | `/metrics` | always; Prometheus' text format |

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::ClientError;
use daemon::http::Answer;
use serde::Serialize;
use wire_hub::request::Request;
use wire_lane::{Alert, Progress};

use crate::core::market::Publishing;
use crate::core::plan::Action;
use crate::core::reconciler::{Effect, Reconciler};

/// What is known of how it goes. A lock for cold numbers: a few times a block.
#[derive(Debug, Default)]
pub struct Status(Mutex<Told>);

#[derive(Clone, Debug, Default, Serialize)]
struct Told {
    is_off: bool,
    head: u64,
    followed: u64,
    final_: u64,
    orders: u64,
    transactions_in_flight: u64,
    works_asked: u64,
    transactions_sent: u64,
    transactions_mined: u64,
    transactions_failed: u64,
    orders_over: BTreeMap<String, u64>,
    blocks_undone: u64,
    node: Option<bool>,
    /// Why the engine does not answer; empty: it does. `None`: it was not asked yet.
    engine: Option<String>,
    /// What the operator should know, by what it is about.
    alerts: BTreeMap<&'static str, String>,
}

impl Status {
    /// Nothing is to be done.
    pub(crate) fn off(&self) {
        self.told().is_off = true;
    }

    pub(crate) fn node_answers(&self, answers: bool) {
        let before = self.told().node.replace(answers);
        if before.unwrap_or(true) && !answers {
            tracing::warn!("no node answers");
        } else if before == Some(false) && answers {
            tracing::info!("a node answers again");
        }
    }

    pub(crate) fn engine_answers(&self, answer: Result<(), &ClientError>) {
        let problem = match answer {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        let before = self.told().engine.replace(problem.clone());
        if before.is_none_or(|before| before.is_empty()) && !problem.is_empty() {
            tracing::warn!(problem, "the engine does not answer");
        }
    }

    /// Where the core stands.
    pub(crate) fn stands(&self, brain: &Reconciler) {
        let mut told = self.told();
        told.followed = brain.tip().map_or(0, |tip| tip.at.number);
        told.head = brain.head().map_or(0, |head| head.at.number);
        told.orders = brain.book().iter().count() as u64;
        told.transactions_in_flight = brain.lane().in_flight() as u64;
    }

    /// What the core says, for people.
    pub(crate) fn said(&self, effect: &Effect) {
        match effect {
            Effect::Say(step) => {
                if matches!(step.action, Action::Submit { .. } | Action::SubmitBag { .. }) {
                    self.told().works_asked += 1;
                }
                tracing::info!("{step}");
            }
            Effect::SayOffer(step) => {
                let is_paused = step.publishing == Publishing::Pause;
                let told = is_paused.then(|| step.reason.clone());
                self.alert("offers", told);
                if is_paused {
                    tracing::warn!("offers {step}");
                } else {
                    tracing::info!("offers {step}");
                }
            }
            Effect::Report { intent, progress } => {
                let mut told = self.told();
                match progress {
                    Progress::Sent(_) => told.transactions_sent += 1,
                    Progress::Mined(receipt) if receipt.succeeded => told.transactions_mined += 1,
                    Progress::Mined(_) => told.transactions_failed += 1,
                    _ => {}
                }
                drop(told);
                tracing::info!(call = ?intent.call, ?progress, "transaction");
            }
            Effect::Requested {
                number,
                request,
                is_for_us: true,
            } => {
                if matches!(request, Request::Replay { .. }) {
                    self.alert("chain", None);
                }
                tracing::warn!(number, "the operator has asked for it: {request}");
            }
            Effect::Requested { number, .. } => {
                tracing::warn!(number, "a request for another pool is passed over");
            }
            Effect::Explained { nonce, call, why } => {
                tracing::warn!(nonce = nonce.0, call = call.name(), "mined in vain: {why}");
            }
            Effect::Over { order, state } => {
                *self
                    .told()
                    .orders_over
                    .entry(state.name().to_owned())
                    .or_default() += 1;
                tracing::info!(order = %order.woid, %state, "order is over");
            }
            Effect::Alert(Alert::Over) => self.alert("transactions", None),
            Effect::Alert(alert) => {
                self.alert("transactions", Some(alert.to_string()));
                tracing::warn!("{alert}");
            }
            Effect::Undone(block) => {
                self.told().blocks_undone += 1;
                tracing::warn!(block = block.number, "the chain was reorganised");
            }
            Effect::Final(number) => self.told().final_ = *number,
            Effect::TooDeep(too_deep) => {
                self.alert("chain", Some(too_deep.to_string()));
                tracing::error!("{too_deep}");
            }
            _ => {}
        }
    }

    fn alert(&self, about: &'static str, problem: Option<String>) {
        let mut told = self.told();
        match problem {
            Some(problem) => told.alerts.insert(about, problem),
            None => told.alerts.remove(about),
        };
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is served over HTTP.
    pub(crate) fn answer(&self, path: &str) -> Answer {
        let told = self.told().clone();
        match path {
            "/livez" => Answer::verdict(true, "alive"),
            "/readyz" => match told.waits_for() {
                None => Answer::verdict(true, "works"),
                Some(what) => Answer::verdict(false, &what),
            },
            "/healthz" => Answer::json(told.describe()),
            "/metrics" => Answer::metrics(told.render()),
            _ => Answer::not_found("try /livez, /readyz, /healthz or /metrics"),
        }
    }
}

impl Told {
    fn waits_for(&self) -> Option<String> {
        if self.is_off {
            return None;
        }
        match (&self.engine, self.node) {
            (None, _) => Some("waits for the engine".to_owned()),
            (Some(problem), _) if !problem.is_empty() => Some(problem.clone()),
            (_, None | Some(false)) => Some("waits for a node".to_owned()),
            _ => None,
        }
    }

    fn describe(&self) -> String {
        let mut problems: Vec<String> = self.waits_for().into_iter().collect();
        problems.extend(self.alerts.values().cloned());
        let status = match (self.is_off, problems.is_empty()) {
            (true, _) => "off",
            (false, true) => "ok",
            (false, false) => "degraded",
        };
        serde_json::json!({
            "schema": "workerpool/v1/reconcile",
            "status": status,
            "problems": problems,
            "head": self.head,
            "followed": self.followed,
            "final": self.final_,
            "orders": self.orders,
            "orders_over": self.orders_over,
            "transactions_in_flight": self.transactions_in_flight,
        })
        .to_string()
    }

    fn render(&self) -> String {
        let flag = |flag: bool| u64::from(flag);
        let engine = self.engine.as_ref().is_some_and(String::is_empty);
        let table = [
            (
                "pool_chain_engine_up",
                "gauge",
                "1 while the engine answers.",
                flag(engine),
            ),
            (
                "pool_chain_node_up",
                "gauge",
                "1 while a node answers.",
                flag(self.node == Some(true)),
            ),
            (
                "pool_chain_head_block",
                "gauge",
                "Number of the last block that nodes have.",
                self.head,
            ),
            (
                "pool_chain_followed_block",
                "gauge",
                "Number of the last block that was followed.",
                self.followed,
            ),
            (
                "pool_chain_final_block",
                "gauge",
                "Number of the last block that is final.",
                self.final_,
            ),
            (
                "pool_chain_orders",
                "gauge",
                "Orders that are not over.",
                self.orders,
            ),
            (
                "pool_chain_transactions_in_flight",
                "gauge",
                "Transactions that are signed and in no block.",
                self.transactions_in_flight,
            ),
            (
                "pool_chain_alerts",
                "gauge",
                "What an operator should look at; /healthz says what.",
                self.alerts.len() as u64,
            ),
            (
                "pool_chain_works_asked_total",
                "counter",
                "Times that the engine was asked for works since the start.",
                self.works_asked,
            ),
            (
                "pool_chain_transactions_sent_total",
                "counter",
                "Transactions sent since the start, replacements too.",
                self.transactions_sent,
            ),
            (
                "pool_chain_transactions_mined_total",
                "counter",
                "Transactions that took effect since the start.",
                self.transactions_mined,
            ),
            (
                "pool_chain_transactions_failed_total",
                "counter",
                "Transactions that were mined in vain since the start.",
                self.transactions_failed,
            ),
            (
                "pool_chain_blocks_undone_total",
                "counter",
                "Blocks that a reorganisation took back since the start.",
                self.blocks_undone,
            ),
        ];
        let mut out = String::new();
        for (name, kind, help, value) in table {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
                .expect("a string takes all");
        }
        let name = "pool_chain_orders_over_total";
        writeln!(
            out,
            "# HELP {name} Orders that are over since the start, by how they ended.\n# TYPE {name} counter"
        )
        .expect("a string takes all");
        for (state, count) in &self.orders_over {
            writeln!(out, "{name}{{state=\"{state}\"}} {count}").expect("a string takes all");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_hub::Wei;

    #[test]
    fn it_is_ready_when_engine_and_node_have_answered() {
        let status = Status::default();
        assert_eq!(
            status.answer("/readyz"),
            Answer::verdict(false, "waits for the engine")
        );
        status.engine_answers(Ok(()));
        assert_eq!(
            status.answer("/readyz"),
            Answer::verdict(false, "waits for a node")
        );
        status.node_answers(true);
        assert_eq!(status.answer("/readyz"), Answer::verdict(true, "works"));
        status.node_answers(false);
        assert_eq!(
            status.answer("/readyz"),
            Answer::verdict(false, "waits for a node")
        );
    }

    #[test]
    fn switched_off_it_is_ready_and_says_so() {
        let status = Status::default();
        status.off();
        assert_eq!(status.answer("/readyz"), Answer::verdict(true, "works"));
        assert!(status.answer("/healthz").body.contains("\"status\":\"off\""));
    }

    #[test]
    fn an_alert_is_shown_until_it_is_over() {
        let status = Status::default();
        status.engine_answers(Ok(()));
        status.node_answers(true);
        status.said(&Effect::Alert(Alert::NoFunds(Wei(5))));
        let health = status.answer("/healthz").body;
        assert!(
            health.contains("degraded") && health.contains("too little for gas"),
            "{health}"
        );
        assert!(status.answer("/metrics").body.contains("\npool_chain_alerts 1\n"));
        status.said(&Effect::Alert(Alert::Over));
        assert!(status.answer("/healthz").body.contains("\"status\":\"ok\""));
    }
}
