//! Numbers as people read them: as many digits as mean something, thousands apart, units of a fitting size.

/// Keeps groups of digits and units together: a narrow space at which no line breaks.
pub(crate) const THIN: char = '\u{202f}';

/// Three significant digits, or all digits before the point: `1 918 275`, `384`, `38.4`, `0.427`, `12`.
pub(crate) fn short(value: f64) -> String {
    if !value.is_finite() {
        return if value > 0.0 { "∞" } else { "–" }.to_owned();
    }
    if value.fract() == 0.0 || value.abs() >= 99.95 {
        return grouped(&format!("{value:.0}"));
    }
    if value.abs() < 1e-6 {
        return format!("{value:.1e}");
    }
    let above_point = value.abs().log10().floor() as i32 + 1;
    let decimals = usize::try_from(3 - above_point).unwrap_or(0);
    format!("{value:.decimals$}")
}

/// Whole digits with thousands apart; a sign stays in front.
fn grouped(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("−", rest),
        None => ("", digits),
    };
    let mut out = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(THIN);
        }
        out.push(digit);
    }
    out
}

/// A ratio: three decimals, as differences of a few per cent are what is looked for.
pub(crate) fn ratio(value: f64) -> String {
    if value.is_finite() && value < 100.0 {
        format!("{value:.3}")
    } else {
        short(value)
    }
}

/// Of a fraction, in per cent: `3 %`, `99.9 %`.
pub(crate) fn percent(fraction: f64) -> String {
    // Ten decimals suffice for ten nines, and hide that 0.07 × 100 is not 7.
    let digits = format!("{:.10}", fraction * 100.0);
    format!("{}{THIN}%", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// A unit of the size of some value: what a value of the given unit is divided by, and what it is in then.
pub(crate) fn scale(unit: &str, value: f64) -> (f64, String) {
    let steps: &[(f64, &str)] = match unit {
        "bytes" => &[(1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")],
        "µs" | "us" => &[(1e3, "ms"), (1e6, "s")],
        _ => &[],
    };
    // 7.76 GiB reads better than 7 945 MiB, but 1 340 µs better than 1.34 ms beside 640 µs.
    let from = if unit == "bytes" { 1.0 } else { 10.0 };
    let fitting = steps.iter().rev().find(|(size, _)| value.abs() >= from * size);
    fitting.map_or_else(
        || (1.0, if unit == "us" { "µs" } else { unit }.to_owned()),
        |(size, name)| (*size, (*name).to_owned()),
    )
}

/// A value with its unit, both of a fitting size: `84.2 ms`.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    let (size, unit) = scale(unit, value);
    format!("{}{THIN}{unit}", short(value / size))
}

/// An instant as a date, in UTC: `2026-03-01 12:00 UTC`.
///
/// Days become a date by H. Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>); nothing else here needs a calendar.
pub(crate) fn date(unix_s: u64) -> String {
    let (days, seconds) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here, so that the leap day ends them.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02} UTC",
        seconds / 3_600,
        seconds / 60 % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let plain = |value| short(value).replace(THIN, " ");
        assert_eq!(plain(1_918_274.83), "1 918 275");
        assert_eq!(plain(-1_234.0), "−1 234");
        assert_eq!(plain(384.2), "384");
        assert_eq!(plain(99.97), "100");
        assert_eq!(plain(38.42), "38.4");
        assert_eq!(plain(0.426_66), "0.427");
        assert_eq!(plain(0.001_234), "0.00123");
        assert_eq!(plain(12.0), "12");
        assert_eq!(plain(0.0), "0");
        assert_eq!(plain(f64::INFINITY), "∞");
    }

    #[test]
    fn units_fit_their_value() {
        assert_eq!(with_unit(769_454_080.0, "bytes").replace(THIN, " "), "734 MiB");
        assert_eq!(with_unit(8_331_288_576.0, "bytes").replace(THIN, " "), "7.76 GiB");
        assert_eq!(with_unit(84_223.0, "µs").replace(THIN, " "), "84.2 ms");
        assert_eq!(with_unit(840.0, "us").replace(THIN, " "), "840 µs");
        assert_eq!(with_unit(2.0, "works").replace(THIN, " "), "2 works");
    }

    #[test]
    fn fractions_are_per_cent_without_noise() {
        assert_eq!(percent(0.07).replace(THIN, " "), "7 %");
        assert_eq!(percent(0.9999).replace(THIN, " "), "99.99 %");
    }

    #[test]
    fn instants_are_dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_767_225_599), "2025-12-31 23:59 UTC");
    }
}
