//! Who runs the works of a template: decided once, when the template is defined.

use std::sync::Arc;

use wire_protocol::limits::RESULT_BYTES_MAX;
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;

/// What a null work's result is made of.
static ZEROS: [u8; RESULT_BYTES_MAX] = [0; RESULT_BYTES_MAX];

/// A template of this connection.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) definition: Arc<WorkTemplate>,
    pub(crate) runner: Runner,
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
    result_bytes: u32,
}

impl Immediate {
    pub(crate) fn result(self) -> &'static [u8] {
        &ZEROS[..self.result_bytes as usize]
    }
}

impl Known {
    /// `null` answers nothing, `null:64` as many zero bytes; what no executor of `offered` runs is refused.
    pub(crate) fn new(definition: WorkTemplate, offered: &[String]) -> Self {
        let ends = |reason, result_bytes| Runner::Null(Immediate { reason, result_bytes });
        let executor = definition.executor();
        let detail = definition.app.split_once(':').map(|(_, detail)| detail);
        let runner = if !offered.iter().any(|offered| offered == executor) {
            ends(Reason::NoExecutor, 0)
        } else if executor != "null" {
            Runner::Shell
        } else {
            match detail.map_or(Ok(0), str::parse::<u32>) {
                Ok(bytes) if bytes as usize <= RESULT_BYTES_MAX => ends(Reason::None, bytes),
                _ => ends(Reason::BadParameters, 0),
            }
        };
        Self {
            definition: Arc::new(definition),
            runner,
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
        Known::new(template, &["null".to_owned(), "process".to_owned()]).runner
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
            assert_eq!(
                (immediate.reason, immediate.result().len()),
                (reason, bytes),
                "{app}"
            );
        }
        assert_eq!(end("process"), Runner::Shell);
    }
}
