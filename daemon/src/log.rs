//! Logging: to standard error, as text or JSON lines.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How to log: options that every process has.
#[derive(Args, Clone, Debug)]
pub struct LogConfig {
    /// What is logged: trace, debug, info, warn, error, the predecessor's FINEST, CONFIG …, or directives of tracing
    #[arg(
        id = "log_level",
        long = "log-level",
        env = "LOGGERLEVEL",
        default_value = "info",
        value_name = "LEVEL"
    )]
    pub level: String,
    /// How log lines look, on standard error
    #[arg(
        id = "log_format",
        long = "log-format",
        env = "POOL_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub format: LogFormat,
}

/// Form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts logging; later calls do nothing.
pub fn init(config: &LogConfig) {
    let filter = EnvFilter::try_new(level(&config.level)).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let outcome = match config.format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // A second process's worth in one process (tests) finds logging started.
    drop(outcome);
}

/// Our level for a name of the predecessor (`LOGGERLEVEL`); other names and filters are taken as they are.
fn level(name: &str) -> String {
    match name.to_ascii_uppercase().as_str() {
        "FINEST" | "FINER" => "trace".to_owned(),
        "FINE" | "CONFIG" => "debug".to_owned(),
        "WARNING" => "warn".to_owned(),
        "SEVERE" => "error".to_owned(),
        "" => "info".to_owned(),
        _ => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_predecessors_levels_are_understood() {
        for (name, expected) in [
            ("FINEST", "trace"),
            ("CONFIG", "debug"),
            ("Severe", "error"),
            ("INFO", "info"),
            ("", "info"),
            ("worker_agent=debug", "worker_agent=debug"),
        ] {
            assert_eq!(level(name), expected, "{name}");
        }
    }
}
