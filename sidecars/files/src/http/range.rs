//! Ranges of bytes: RFC 9110, section 14, one range at a time.

use std::ops::Range;

/// What of a file was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// All of it; so is a range that we do not understand, or several, as section 14.2 allows.
    All,
    /// These bytes.
    Some(Range<u64>),
    /// None that it has.
    None,
}

/// What `Range: value` means of a file of so many bytes.
pub(super) fn parse(value: &str, bytes: u64) -> Wanted {
    let Some((first, last)) = value
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Wanted::All;
    };
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        // A number that fits nowhere is behind every end.
        plain.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(bytes)),
        (Some(first), None) if last.is_empty() => (first, bytes),
        (None, Some(last)) if first.is_empty() => (
            if last == 0 {
                bytes
            } else {
                bytes.saturating_sub(last)
            },
            bytes,
        ),
        _ => return Wanted::All,
    };
    if start >= bytes {
        return Wanted::None;
    }
    Wanted::Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_the_standard_says() {
        for (value, expected) in [
            ("bytes=0-0", Wanted::Some(0..1)),
            ("bytes=2-5", Wanted::Some(2..6)),
            ("bytes=2-500", Wanted::Some(2..10)),
            ("bytes=9-", Wanted::Some(9..10)),
            ("bytes=-3", Wanted::Some(7..10)),
            ("bytes=-300", Wanted::Some(0..10)),
            ("bytes=2-99999999999999999999", Wanted::Some(2..10)),
            ("bytes=10-", Wanted::None),
            ("bytes=10-12", Wanted::None),
            ("bytes=99999999999999999999-", Wanted::None),
            ("bytes=-0", Wanted::None),
            ("bytes=5-2", Wanted::All),
            ("bytes=", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=0-1", Wanted::All),
        ] {
            assert_eq!(parse(value, 10), expected, "{value}");
        }
        assert_eq!(parse("bytes=0-", 0), Wanted::None);
    }
}
