//! The verdict on one metric by its runs on two sides.

use serde::Serialize;

use crate::measurement::Better;
use crate::numbers::percent;
use crate::statistics::{self, RUNS_MIN};

/// What two numbers are judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) threshold: f64,
    pub(crate) confidence: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            threshold: 0.03,
            confidence: 0.95,
        }
    }
}

#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Better,
    Worse,
    Same,
    Unknown,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
            Self::Unknown => "unknown",
        }
    }
}

/// What can be said of one metric.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Judgement {
    /// Of the means, B to A; `None`: A is zero, or there are no runs.
    pub(crate) ratio: Option<f64>,
    /// In JSON an upper end without bound is `null`.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) verdict: Verdict,
    /// Why there is no verdict, or what the verdict leaves open.
    pub(crate) reason: Option<String>,
}

/// Judges one metric of B by its runs in A.
pub(crate) fn judge(a: &[f64], b: &[f64], better: Better, rules: Rules) -> Judgement {
    let unknown = |ratio, reason: String| Judgement {
        ratio,
        interval: None,
        verdict: Verdict::Unknown,
        reason: Some(reason),
    };
    let (Some(mean_a), Some(mean_b)) = (statistics::mean(a), statistics::mean(b)) else {
        return unknown(None, "a side has no runs".to_owned());
    };
    if a.iter().chain(b).any(|value| *value < 0.0) {
        return unknown(None, "a ratio of numbers below zero means nothing".to_owned());
    }
    let ratio = (mean_a > 0.0).then(|| mean_b / mean_a);
    let Some(interval) = statistics::ratio_interval(a, b, rules.confidence) else {
        let few = format!(
            "{} and {} runs; an interval needs {RUNS_MIN} on each side",
            a.len(),
            b.len()
        );
        return unknown(ratio, few);
    };
    if mean_a == 0.0 {
        return from_zero(b, better);
    }
    let verdict = place(interval, better, rules.threshold);
    Judgement {
        ratio,
        interval: Some(interval),
        verdict,
        reason: (verdict == Verdict::Same)
            .then(|| hidden(interval, rules.threshold))
            .flatten(),
    }
}

/// A is zero in every run: there is no ratio, but lost works that appear are worse nevertheless.
fn from_zero(b: &[f64], better: Better) -> Judgement {
    let judgement = |ratio, verdict, reason: &str| Judgement {
        ratio,
        interval: None,
        verdict,
        reason: Some(reason.to_owned()),
    };
    if b.iter().all(|value| *value == 0.0) {
        return judgement(Some(1.0), Verdict::Same, "zero in every run");
    }
    if b.contains(&0.0) {
        return judgement(None, Verdict::Unknown, "A is zero in every run, B in some");
    }
    let verdict = match better {
        Better::Higher => Verdict::Better,
        Better::Lower => Verdict::Worse,
        Better::Neither => Verdict::Unknown,
    };
    judgement(None, verdict, "A is zero in every run, B in none")
}

fn place((low, high): (f64, f64), better: Better, threshold: f64) -> Verdict {
    match better {
        Better::Neither => Verdict::Unknown,
        Better::Higher if low > 1.0 + threshold => Verdict::Better,
        Better::Higher if high < 1.0 - threshold => Verdict::Worse,
        Better::Lower if low > 1.0 + threshold => Verdict::Worse,
        Better::Lower if high < 1.0 - threshold => Verdict::Better,
        Better::Higher | Better::Lower => Verdict::Same,
    }
}

/// What an interval that reaches beyond the threshold cannot exclude.
fn hidden((low, high): (f64, f64), threshold: f64) -> Option<String> {
    let whole = |change: f64| {
        format!(
            "{}{}",
            if change > 0.0 { "+" } else { "−" },
            rounded(change.abs())
        )
    };
    let ends = [low - 1.0, high - 1.0]
        .into_iter()
        .filter(|end| end.abs() > threshold);
    let ends: Vec<String> = ends.map(whole).collect();
    (!ends.is_empty()).then(|| format!("cannot exclude {}", ends.join(" or ")))
}

fn rounded(fraction: f64) -> String {
    if fraction.is_finite() {
        percent((fraction * 1000.0).round() / 1000.0)
    } else {
        "∞".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: [f64; 5] = [100.0, 102.0, 98.0, 101.0, 99.0];
    const FAST: [f64; 5] = [120.0, 122.0, 118.0, 121.0, 119.0];

    fn verdict(a: &[f64], b: &[f64], better: Better) -> Verdict {
        judge(a, b, better, Rules::default()).verdict
    }

    #[test]
    fn a_difference_beyond_the_threshold_is_better_or_worse_by_direction() {
        assert_eq!(verdict(&SLOW, &FAST, Better::Higher), Verdict::Better);
        assert_eq!(verdict(&SLOW, &FAST, Better::Lower), Verdict::Worse);
        assert_eq!(verdict(&FAST, &SLOW, Better::Higher), Verdict::Worse);
        assert_eq!(verdict(&FAST, &SLOW, Better::Lower), Verdict::Better);
        assert_eq!(verdict(&FAST, &SLOW, Better::Neither), Verdict::Unknown);
    }

    #[test]
    fn a_difference_within_the_threshold_is_none() {
        let rules = Rules {
            threshold: 0.3,
            ..Rules::default()
        };
        let judgement = judge(&SLOW, &FAST, Better::Lower, rules);
        assert_eq!((judgement.verdict, judgement.reason), (Verdict::Same, None));
    }

    #[test]
    fn identical_runs_are_the_same_whatever_they_are() {
        let mut chance = fastrand::Rng::with_seed(3);
        for _ in 0..50 {
            let runs: Vec<f64> = (0..chance.usize(3..12)).map(|_| chance.f64() * 1e6).collect();
            for better in [Better::Higher, Better::Lower] {
                let judgement = judge(&runs, &runs, better, Rules::default());
                assert_eq!(judgement.verdict, Verdict::Same, "{runs:?}");
                assert_eq!(judgement.ratio, Some(1.0));
                let (low, high) = judgement.interval.expect("enough runs");
                assert!(low <= 1.0 && 1.0 <= high, "{runs:?}: {low} to {high}");
            }
        }
    }

    #[test]
    fn the_same_that_hides_much_says_how_much() {
        let judgement = judge(
            &[50.0, 100.0, 150.0],
            &[60.0, 100.0, 140.0],
            Better::Lower,
            Rules::default(),
        );
        assert_eq!(judgement.verdict, Verdict::Same);
        let reason = judgement.reason.expect("a wide interval");
        assert!(
            reason.starts_with("cannot exclude −") && reason.contains(" or +"),
            "{reason}"
        );
    }

    #[test]
    fn too_few_runs_are_unknown_and_have_a_ratio_all_the_same() {
        let judgement = judge(&[100.0], &[50.0], Better::Higher, Rules::default());
        assert_eq!((judgement.ratio, judgement.interval), (Some(0.5), None));
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert!(judgement.reason.expect("why").contains("1 and 1 runs"));
        assert_eq!(verdict(&[], &SLOW, Better::Higher), Verdict::Unknown);
        assert_eq!(
            verdict(&[-1.0, 1.0, 1.0], &SLOW[..3], Better::Higher),
            Verdict::Unknown
        );
    }

    #[test]
    fn what_was_zero_and_is_no_longer_has_a_verdict_without_a_ratio() {
        assert_eq!(verdict(&[0.0; 3], &[0.0; 3], Better::Lower), Verdict::Same);
        assert_eq!(
            verdict(&[0.0; 3], &[1.0, 2.0, 3.0], Better::Lower),
            Verdict::Worse
        );
        assert_eq!(
            verdict(&[0.0; 3], &[0.0, 2.0, 3.0], Better::Lower),
            Verdict::Unknown
        );
        // A mean of zero among the resamples leaves the interval open above.
        let judgement = judge(
            &[0.0, 0.0, 1.0],
            &[1.0, 1.0, 1.0],
            Better::Lower,
            Rules::default(),
        );
        assert_eq!(judgement.interval.expect("enough runs").1, f64::INFINITY);
        assert_eq!(judgement.verdict, Verdict::Same);
    }
}
