//! Times and sizes as people write them, and as they read them.

use std::time::Duration;

use wire_protocol::units::{Bytes, Instant, Millis};

/// As [`Millis`] are read: `250ms`, `30s`, `5m`, `1h30m`, `2d`; a bare number is seconds.
pub(crate) fn millis(text: &str) -> Result<Millis, String> {
    text.parse()
}

/// As [`millis`], for the program's own waiting.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    millis(text).map(Millis::to_duration)
}

/// As [`Bytes`] are written.
pub(crate) fn bytes(text: &str) -> Result<Bytes, String> {
    text.parse()
}

/// Pool time for people and programs.
pub(crate) fn timestamp(at: Instant) -> String {
    at.rfc3339(3)
}

/// Microseconds as people read them.
pub(crate) fn micros(us: u32) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => Millis(u64::from(us) / 1_000).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        let cases = [
            ("0", 0),
            ("65536", 65_536),
            ("1KiB", 1_024),
            ("2GiB", 2 << 30),
            ("2G", 2 << 30),
            ("200MB", 200_000_000),
            ("3 TiB", 3 << 40),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Ok(Bytes(expected)), "{text}");
        }
        for text in ["", "GiB", "1.5GB", "5XB", "-1", "99999999999TiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
