//! Exit codes, and errors that a person can act on.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use client::ClientError;

/// How the program ends. Scripts rely on the numbers: they do not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Config = 3,
    Credentials = 4,
    NotFound = 5,
    Conflict = 6,
    Unavailable = 7,
    Partly = 8,
}

/// The end of `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the operation failed, or some works that were waited for did not succeed
  2  usage: an option or a value is wrong, or the engine refuses a field
  3  configuration: a file or a setting is missing or wrong
  4  credentials: login or password are wrong, or the account may not do this
  5  not found: there is no such work, bag, worker or file
  6  conflict: it does not fit the present state
  7  unavailable: no engine answers, or not in time
  8  partly done: some of several succeeded, the others are named on stderr";

/// An error with what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    cure: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            cure: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Exit::Config, message)
    }

    /// A failure with the whole chain of its causes.
    pub(crate) fn caused(exit: Exit, message: impl Into<String>, source: &dyn Error) -> Self {
        let message: String = message.into();
        Self::new(exit, format!("{message}: {}", chain(source)))
    }

    pub(crate) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

impl Failure {
    pub(crate) fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Prints it on standard error.
    pub(crate) fn tell(&self) {
        if !self.message.is_empty() {
            // Where standard error is closed nobody wants to know.
            let _ = writeln!(io::stderr(), "{self}");
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.cure {
            Some(cure) => write!(f, "\n  cure: {cure}"),
            None => Ok(()),
        }
    }
}

/// The error and its causes in one line; a cause that its effect already quotes is not told twice.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            let _ = write!(text, ": {told}");
        }
        cause = error.source();
    }
    text
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (exit, cure) = match &error {
            ClientError::NobodyListens { .. } => (
                Exit::Unavailable,
                "start one with `pool dev`, or give the address of yours with --engine HOST:PORT",
            ),
            ClientError::Config(_) => (
                Exit::Config,
                "give the pool's CA with --ca FILE (`pool dev` makes one)",
            ),
            ClientError::Credentials { .. } => (
                Exit::Credentials,
                "check --login and --password (ADMINLOGIN and ADMINPASSWORD)",
            ),
            ClientError::Refused { transient: false, .. } => (Exit::Failed, ""),
            ClientError::Connect { .. } if !error.is_transient() => {
                (Exit::Config, "check --engine, --ca and --server-name")
            }
            ClientError::Connect { .. } | ClientError::Refused { .. } => (
                Exit::Unavailable,
                "check that the engine runs and that --engine is its client address; `pool dev` starts one",
            ),
            ClientError::Away { .. } => (
                Exit::Unavailable,
                "what was accepted is safe; try again when the engine is back (submissions with the same --key)",
            ),
            ClientError::Timeout { .. } => (Exit::Unavailable, "give it longer with --timeout"),
            ClientError::Busy { .. } => (Exit::Unavailable, "try again later"),
            ClientError::Rejected(_) => (Exit::Usage, ""),
            ClientError::NotFound { .. } => (
                Exit::NotFound,
                "`pool work list`, `bag list` and `worker list` show what there is",
            ),
            ClientError::Conflict(_) => (Exit::Conflict, ""),
            _ => (Exit::Failed, ""),
        };
        let failure = Self::new(exit, chain(&error));
        if cure.is_empty() {
            failure
        } else {
            failure.cure(cure)
        }
    }
}

/// A stream could not be written. A reader that has seen enough (`pool work list | head`) is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Ok, "");
        }
        Self::new(Exit::Failed, format!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wire_protocol::template::Invalid;
    use wire_protocol::units::Millis;

    fn exit_of(error: ClientError) -> Exit {
        Failure::from(error).exit
    }

    #[test]
    fn every_error_of_the_client_has_the_exit_code_that_the_help_promises() {
        let addr = "127.0.0.1:1".parse().unwrap();
        let invalid = || Invalid {
            field: "app".into(),
            problem: "is empty".into(),
        };
        let credentials = ClientError::Credentials {
            addr,
            login: "eve".into(),
            reason: "wrong".into(),
        };
        assert_eq!(exit_of(credentials), Exit::Credentials);
        assert_eq!(exit_of(ClientError::NobodyListens { addr }), Exit::Unavailable);
        assert_eq!(
            exit_of(ClientError::Away {
                addr,
                after: Duration::ZERO,
                last: None
            }),
            Exit::Unavailable
        );
        assert_eq!(
            exit_of(ClientError::Timeout {
                what: "status",
                after: Duration::ZERO
            }),
            Exit::Unavailable
        );
        assert_eq!(
            exit_of(ClientError::Busy {
                limit: "works".into(),
                retry_after: Millis(5)
            }),
            Exit::Unavailable
        );
        assert_eq!(exit_of(ClientError::Rejected(invalid())), Exit::Usage);
        assert_eq!(exit_of(ClientError::Conflict(invalid())), Exit::Conflict);
        assert_eq!(
            exit_of(ClientError::NotFound { what: "w7".into() }),
            Exit::NotFound
        );
        assert_eq!(
            exit_of(ClientError::Protocol {
                addr,
                problem: "x".into()
            }),
            Exit::Failed
        );
        let refused = |transient| ClientError::Refused {
            addr,
            reason: "x".into(),
            transient,
        };
        assert_eq!(exit_of(refused(true)), Exit::Unavailable);
        assert_eq!(exit_of(refused(false)), Exit::Failed);
    }

    #[test]
    fn an_error_names_the_thing_its_value_and_the_cure() {
        let failure = Failure::from(ClientError::NobodyListens {
            addr: "127.0.0.1:4322".parse().unwrap(),
        });
        insta::assert_snapshot!(failure, @r"
        error: no engine answers at 127.0.0.1:4322: nobody listens on that port
          cure: start one with `pool dev`, or give the address of yours with --engine HOST:PORT
        ");
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        for code in Exit::Ok as u8..=Exit::Partly as u8 {
            assert!(
                EXIT_CODES
                    .lines()
                    .any(|line| line.starts_with(&format!("  {code}  "))),
                "{code}"
            );
        }
    }
}
