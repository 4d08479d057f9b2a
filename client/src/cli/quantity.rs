//! Times and sizes as people write them, and as they read them.

use std::time::Duration;

use wire_protocol::units::{Bytes, Instant, Millis};

/// `250ms`, `30s`, `5m`, `1h30m`, `2d`; a bare number is seconds.
pub(crate) fn millis(text: &str) -> Result<Millis, String> {
    let help = || format!("`{text}` is no time; write it like 250ms, 30s, 5m, 1h30m or 2d");
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000).map(Millis).ok_or_else(help);
    }
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(help)?;
        let amount: u64 = rest[..digits].parse().map_err(|_| help())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(help()),
        };
        rest = &rest[letters..];
        total = amount
            .checked_mul(unit)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(help)?;
    }
    if text.is_empty() {
        Err(help())
    } else {
        Ok(Millis(total))
    }
}

/// As [`millis`], for the program's own waiting.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    millis(text).map(Millis::to_duration)
}

/// `512MiB`, `2GiB`, `2G` (binary, as in `docker -m`), `1.5GB` is not taken; a bare number is bytes.
pub(crate) fn bytes(text: &str) -> Result<Bytes, String> {
    let help = || format!("`{text}` is no size; write it like 65536, 512KiB, 200MB or 2GiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let amount: u64 = text[..digits].parse().map_err(|_| help())?;
    let unit: u64 = match text[digits..].trim_start() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(help()),
    };
    amount.checked_mul(unit).map(Bytes).ok_or_else(help)
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
    fn times_are_read_with_their_units() {
        let cases = [
            ("0", 0),
            ("90", 90_000),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
        ];
        for (text, expected) in cases {
            assert_eq!(millis(text), Ok(Millis(expected)), "{text}");
        }
        for text in [
            "",
            "m",
            "5x",
            "-5s",
            "1.5h",
            "99999999999999999999",
            "18446744073709551615d",
            "5m3",
        ] {
            assert!(millis(text).is_err(), "{text}");
        }
    }

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
