//! Quantities with their unit in the type.

use core::fmt;
use core::ops::{Add, Sub};
use core::str::FromStr;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Pool time: nanoseconds on a clock that never goes backwards, also across restarts of the engine.
///
/// A shell anchors it once, at start, to the later of the wall clock (nanoseconds since 1970) and the
/// last instant that its journal mentions, and from then on adds the monotonic clock. So a core may
/// store an instant durably, and a step of the wall clock neither expires nor extends a lease.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(pub u64);

impl Instant {
    /// Nanoseconds that passed since `earlier`, zero if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0) / 1_000_000)
    }

    /// As RFC 3339 in UTC, with this many digits of a second's fraction, 1 to 9; what is finer is cut off.
    #[must_use]
    pub fn rfc3339(self, digits: usize) -> String {
        let (seconds, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let fraction = format!("{nanos:09}");
        let fraction = &fraction[..digits.clamp(1, 9)];
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction}Z")
    }
}

/// A number of days since 1970 as a date, `2026-11-27`. What is beyond the year 9999 is that day's.
#[must_use]
pub fn date(days: u64) -> String {
    /// The last day of the year 9999.
    const DAY_MAX: u64 = 2_932_896;
    let (year, month, day) = civil(days.min(DAY_MAX));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`, <https://howardhinnant.github.io/date_algorithms.html>).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

impl Add<Millis> for Instant {
    type Output = Self;
    fn add(self, delay: Millis) -> Self {
        Self(self.0.saturating_add(delay.0.saturating_mul(1_000_000)))
    }
}

impl Sub<Millis> for Instant {
    type Output = Self;
    fn sub(self, delay: Millis) -> Self {
        Self(self.0.saturating_sub(delay.0.saturating_mul(1_000_000)))
    }
}

/// A span of time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// `seconds` as milliseconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    /// As the standard library's span.
    #[must_use]
    pub const fn to_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms < 1_000 => write!(f, "{ms} ms"),
            ms if ms < 120_000 => write!(f, "{}.{} s", ms / 1_000, ms % 1_000 / 100),
            ms => write!(f, "{} min", ms / 60_000),
        }
    }
}

/// `250ms`, `30s`, `5m`, `1h30m`, `2d`; a bare number is seconds. The error is a sentence for whoever wrote it.
impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("`{text}` is no time; write it like 250ms, 30s, 5m, 1h30m or 2d");
        if let Ok(seconds) = text.parse::<u64>() {
            return seconds.checked_mul(1_000).map(Self).ok_or_else(help);
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
            Ok(Self(total))
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `kib` × 1024.
    #[must_use]
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    /// `mib` × 1024².
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib * 1024 * 1024)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut unit = 0;
        let mut scale = 1024;
        while self.0 / scale >= 1024 && unit + 1 < UNITS.len() {
            scale *= 1024;
            unit += 1;
        }
        let (whole, rest) = (self.0 / scale, self.0 % scale);
        write!(f, "{whole}.{} {}", rest * 10 / scale, UNITS[unit])
    }
}

/// `512MiB`, `2GiB`, `2G` (binary, as in `docker -m`), `200MB`; `1.5GB` is not taken; a bare number is bytes. The error is a
/// sentence for whoever wrote it.
impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
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
        amount.checked_mul(unit).map(Self).ok_or_else(help)
    }
}

/// Units of a worker's concurrency: how many works it runs at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slots(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_know_the_calendar() {
        let at = |seconds: u64| Instant(seconds * 1_000_000_000).rfc3339(3);
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_164_799), "2024-02-28T23:59:59.000Z");
        let late = Instant(4_102_444_800_123_456_789);
        assert_eq!(late.rfc3339(3), "2100-01-01T00:00:00.123Z");
        assert_eq!(late.rfc3339(6), "2100-01-01T00:00:00.123456Z");
        assert_eq!(late.rfc3339(9), "2100-01-01T00:00:00.123456789Z");
    }

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
            assert_eq!(text.parse(), Ok(Millis(expected)), "{text}");
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
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
    }
}
