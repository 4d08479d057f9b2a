//! What can be said from a few runs: medians, and an interval for the ratio of two programs.
//!
//! The ratio is that of the **means** over runs. It is the effect that somebody who runs many works will see, and
//! means are what T. Kalibera and R. Jones argue for (*Quantifying Performance Changes with Effect Size Confidence
//! Intervals*, 2012, <https://arxiv.org/abs/2007.10899>). Medians are shown beside it because people read them
//! well, but a bootstrap of the median of five runs can only ever answer with one of those five.
//!
//! Its interval comes from a bootstrap: draw as many runs of A as there were, with replacement, likewise of B, take
//! the ratio of their means, ten thousand times, and cut off both tails. Nothing is assumed about the shape of the
//! noise. With few runs the plain percentiles are too narrow: resamples spread by `√((n-1)/n)` too little and ignore
//! that the spread itself is guessed. So the tails are cut where T. Hesterberg says (*What Teachers Should Know
//! About the Bootstrap*, 2015, section 5.3 "expanded percentile", <https://arxiv.org/abs/1411.5279>): not at `α/2`
//! but at `Φ(-√(n/(n-1)) · t(1-α/2; n-1))`, where n is the smaller number of runs. With three runs that is all of what
//! was drawn; more runs narrow it.
//!
//! Chance comes from a fixed seed, anew for each pair: the same numbers give the same interval, on every machine.

/// Fewer runs on a side give no interval: two values say nothing about how a third would differ.
pub(crate) const RUNS_MIN: usize = 3;

/// How often runs are drawn again; the ends of a 95 % interval then move by a few per mille of its width.
pub(crate) const RESAMPLES: usize = 10_000;

/// Any number does; this one stays, so that a verdict can be repeated.
const SEED: u64 = 4321;

/// The middle of the values; `None` if there are none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 {
        upper
    } else {
        f64::midpoint(sorted[sorted.len() / 2 - 1], upper)
    })
}

/// Least and greatest of the values; `None` if there are none.
pub(crate) fn ends(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let greatest = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, greatest))
}

/// The sum over the number; `None` if there are no values.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / count(values))
}

/// The interval that holds the ratio of the means, B to A, with this confidence (0 to 1, both excluded).
///
/// `None`: a side has fewer than [`RUNS_MIN`] runs. The upper end is infinite where runs of A are zero so often
/// that their mean may be.
pub(crate) fn ratio_interval(a: &[f64], b: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let runs = a.len().min(b.len());
    if runs < RUNS_MIN {
        return None;
    }
    let mut chance = fastrand::Rng::with_seed(SEED);
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn_a = resampled_mean(a, &mut chance);
            ratio(drawn_a, resampled_mean(b, &mut chance))
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let cut = expanded_tail(confidence, runs) * RESAMPLES as f64;
    // The tail is below a quarter: confidence is above one half, and expansion only makes it smaller.
    let index = (cut.floor().max(0.0) as usize).min(RESAMPLES / 2);
    Some((ratios[index], ratios[RESAMPLES - 1 - index]))
}

/// B to A; two zeros are equal.
fn ratio(a: f64, b: f64) -> f64 {
    if a == b { 1.0 } else { b / a }
}

fn resampled_mean(values: &[f64], chance: &mut fastrand::Rng) -> f64 {
    let sum: f64 = (0..values.len())
        .map(|_| values[chance.usize(..values.len())])
        .sum();
    sum / count(values)
}

fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

/// The part to cut off at each end, by Hesterberg's rule (see the module).
fn expanded_tail(confidence: f64, runs: usize) -> f64 {
    let n = runs as f64;
    let t = student_quantile(f64::midpoint(1.0, confidence), runs - 1);
    normal_below(-(n / (n - 1.0)).sqrt() * t)
}

/// The t below which Student's distribution lies with this probability (one half or more).
///
/// By bisection: it is asked for once per pair, and the distribution has a closed form.
fn student_quantile(probability: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1e6);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if student_below(middle, freedom) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Student's distribution for whole degrees of freedom: Abramowitz and Stegun, *Handbook of Mathematical
/// Functions*, 26.7.3 (odd) and 26.7.4 (even).
fn student_below(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    // Terms are cos^k times a product of fractions, two powers apart, up to k = freedom - 2.
    let mut term = if freedom % 2 == 1 { cosine } else { 1.0 };
    let mut power = if freedom % 2 == 1 { 1 } else { 0 };
    let mut sum = 0.0;
    while power + 2 <= freedom {
        sum += term;
        term *= cosine * cosine * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    let within = if freedom % 2 == 1 {
        (angle + sine * sum) * std::f64::consts::FRAC_2_PI
    } else {
        sine * sum
    };
    f64::midpoint(1.0, within)
}

/// The normal distribution for z of zero or less: Abramowitz and Stegun 26.2.17, wrong by less than 7.5e-8.
fn normal_below(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * -z);
    let polynomial = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ]
    .iter()
    .fold(0.0, |sum, factor| (sum + factor) * t);
    (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * polynomial
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() < within, "{found} instead of {expected}");
    }

    #[test]
    fn a_median_lies_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(ends(&[3.0, 1.0, 2.0]), Some((1.0, 3.0)));
        assert_eq!(mean(&[1.0, 2.0, 6.0]), Some(3.0));
    }

    #[test]
    fn distributions_agree_with_printed_tables() {
        // Abramowitz and Stegun, tables 26.10 and 26.1.
        for (freedom, expected) in [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (4, 2.776),
            (9, 2.262),
            (30, 2.042),
        ] {
            near(student_quantile(0.975, freedom), expected, 6e-4);
        }
        near(normal_below(0.0), 0.5, 1e-7);
        near(normal_below(-1.0), 0.158_655_3, 1e-7);
        near(normal_below(-1.959_964), 0.025, 1e-7);
    }

    #[test]
    fn few_runs_cut_off_less_than_many() {
        assert!(expanded_tail(0.95, 3) < 1e-6);
        assert!(expanded_tail(0.95, 5) < expanded_tail(0.95, 10));
        near(expanded_tail(0.95, 2_000), 0.025, 1e-4);
    }

    #[test]
    fn less_than_three_runs_give_no_interval() {
        assert_eq!(ratio_interval(&[1.0, 2.0], &[1.0, 2.0, 3.0], 0.95), None);
        assert_eq!(ratio_interval(&[], &[], 0.95), None);
    }

    #[test]
    fn constant_runs_give_their_ratio_and_nothing_around_it() {
        assert_eq!(ratio_interval(&[2.0; 5], &[3.0; 5], 0.95), Some((1.5, 1.5)));
        assert_eq!(ratio_interval(&[0.0; 3], &[0.0; 3], 0.95), Some((1.0, 1.0)));
    }

    #[test]
    fn the_interval_is_the_same_every_time() {
        let (a, b) = ([10.0, 11.0, 9.5, 10.2, 10.4], [12.0, 11.1, 12.6, 12.2, 11.9]);
        let interval = ratio_interval(&a, &b, 0.95).expect("enough runs");
        assert_eq!(ratio_interval(&a, &b, 0.95), Some(interval));
        let point = 59.8 / 51.1;
        assert!(interval.0 < point && point < interval.1, "{interval:?}");
        let wider = ratio_interval(&a, &b, 0.99).expect("enough runs");
        assert!(
            wider.0 <= interval.0 && interval.1 <= wider.1,
            "{wider:?} {interval:?}"
        );
    }

    #[test]
    fn runs_of_one_program_are_inside_the_interval_about_as_often_as_promised() {
        let mut chance = fastrand::Rng::with_seed(7);
        // A sum of twelve is nearly normal.
        let mut run = || 100.0 + 2.0 * ((0..12).map(|_| chance.f64()).sum::<f64>() - 6.0);
        let mut runs = || [run(), run(), run(), run(), run()];
        let missed = (0..400)
            .filter(|_| {
                let (low, high) = ratio_interval(&runs(), &runs(), 0.95).expect("enough runs");
                1.0 < low || high < 1.0
            })
            .count();
        // 5 % are 20; plain percentiles of five runs miss 12 %, about 48.
        assert!((4..=30).contains(&missed), "{missed} of 400");
    }
}
