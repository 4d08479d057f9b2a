//! The engine's own numbers, over its HTTP address.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};

const TIMEOUT: Duration = Duration::from_secs(2);

/// All numbers of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn fetch(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: engine\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(
            answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"),
            "the engine does not tell its numbers: {}",
            answer.lines().next().unwrap_or_default()
        );
        Ok(Self::parse(&answer))
    }

    fn parse(text: &str) -> Self {
        let numbers = text.lines().filter(|line| !line.starts_with('#'));
        let numbers = numbers.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(numbers.collect())
    }

    /// One of them; 0 if the engine does not have it.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// How much more it is than in an earlier moment; since the start, if the engine was started anew in between.
    pub(crate) fn since(&self, before: &Self, name: &str) -> f64 {
        let (now, then) = (self.get(name), before.get(name));
        if now >= then { now - then } else { now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name_and_a_restart_counts_anew() {
        let before = Metrics::parse("HTTP/1.1 200 OK\r\n\r\n# TYPE a counter\na 5\nb{le=\"1\"} 2\n");
        assert_eq!((before.get("a"), before.get("b{le=\"1\"}")), (5.0, 2.0));
        let after = Metrics::parse("a 7\n");
        assert_eq!(after.since(&before, "a"), 2.0);
        assert_eq!(Metrics::parse("a 3\n").since(&before, "a"), 3.0);
    }
}
