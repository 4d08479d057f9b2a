//! Who runs the works of a template: decided once, when the template is defined.

use std::sync::Arc;

use wire_protocol::limits::RESULT_BYTES_MAX;
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Instant;

use crate::ledger::Taken;

/// What a null work's result is made of.
static ZEROS: [u8; RESULT_BYTES_MAX] = [0; RESULT_BYTES_MAX];

/// A template of this connection.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) definition: Arc<WorkTemplate>,
    pub(crate) runner: Runner,
    /// What each of its works takes.
    pub(crate) taken: Taken,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Runner {
    /// An executor of the shell.
    Shell,
    /// The core itself: it ends at once.
    Null(Immediate),
}

/// How a work ends that ends inside the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Immediate {
    pub(crate) reason: Reason,
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// So many zero bytes.
    Zeros(u32),
    /// When the work reached the worker.
    Arrival,
}

impl Immediate {
    /// Gives `report` the result of a work that reached the worker at `now`.
    pub(crate) fn answer<T>(self, now: Instant, report: impl FnOnce(&[u8]) -> T) -> T {
        match self.answer {
            Answer::Zeros(bytes) => report(&ZEROS[..bytes as usize]),
            Answer::Arrival => report(&now.0.to_le_bytes()),
        }
    }
}

impl Known {
    /// `null` answers nothing, `null:64` as many zero bytes, `null:arrival` when the work reached the worker, in
    /// nanoseconds since 1970 (8 bytes, little-endian); what no executor of `offered` runs is refused.
    pub(crate) fn new(definition: WorkTemplate, offered: &[String], taken: Taken) -> Self {
        let ends = |reason, answer| Runner::Null(Immediate { reason, answer });
        let executor = definition.executor();
        let detail = definition.app.split_once(':').map(|(_, detail)| detail);
        let runner = if !offered.iter().any(|offered| offered == executor) {
            ends(Reason::NoExecutor, Answer::Zeros(0))
        } else if executor != "null" {
            Runner::Shell
        } else {
            match answer(detail) {
                Some(answer) => ends(Reason::None, answer),
                None => ends(Reason::BadParameters, Answer::Zeros(0)),
            }
        };
        Self {
            definition: Arc::new(definition),
            runner,
            taken,
        }
    }
}

fn answer(detail: Option<&str>) -> Option<Answer> {
    match detail {
        None => Some(Answer::Zeros(0)),
        Some("arrival") => Some(Answer::Arrival),
        Some(bytes) => {
            let bytes: u32 = bytes.parse().ok()?;
            (bytes as usize <= RESULT_BYTES_MAX).then_some(Answer::Zeros(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(app: &str) -> Runner {
        let template = WorkTemplate {
            app: app.to_owned(),
            ..WorkTemplate::default()
        };
        Known::new(template, &["null".to_owned(), "process".to_owned()], None).runner
    }

    #[test]
    fn null_takes_the_size_of_its_result_after_the_colon() {
        for (app, reason, bytes) in [
            ("null", Reason::None, 0),
            ("null:0", Reason::None, 0),
            ("null:64", Reason::None, 64),
            ("null:65536", Reason::None, 65_536),
            ("null:65537", Reason::BadParameters, 0),
            ("null:", Reason::BadParameters, 0),
            ("null:-1", Reason::BadParameters, 0),
            ("docker:alpine", Reason::NoExecutor, 0),
        ] {
            let Runner::Null(immediate) = end(app) else {
                panic!("{app} goes to the shell");
            };
            immediate.answer(Instant(7), |result| {
                assert_eq!((immediate.reason, result.len()), (reason, bytes), "{app}");
                assert!(result.iter().all(|byte| *byte == 0), "{app}");
            });
        }
        assert_eq!(end("process"), Runner::Shell);
    }

    #[test]
    fn null_can_answer_when_the_work_arrived() {
        let Runner::Null(immediate) = end("null:arrival") else {
            panic!("null works end in the core");
        };
        assert_eq!(immediate.reason, Reason::None);
        immediate.answer(Instant(7), |result| assert_eq!(result, 7_u64.to_le_bytes()));
    }
}
