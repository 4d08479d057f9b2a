//! Parameter sweeps: `tile=0..1023`, `angle=0..90:15`, `scene=dawn,noon,dusk`.
//!
//! A range includes both of its ends. Several sweeps make the product of their values, the last one changing
//! fastest, so that works of one value of the first are next to each other. Values are computed when they are
//! asked for: a sweep over a million works takes no more memory than one over ten. The text may be a stranger's: numbers are
//! bounded before anything is made of them, and of a text only its beginning is repeated.

use std::str::FromStr;

use crate::limits::{BAG_ROWS_MAX, LIST_LEN_MAX};

/// One parameter with its values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sweep {
    name: String,
    values: Values,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Values {
    Range { start: i64, step: i64, count: u64 },
    List(Vec<String>),
}

impl FromStr for Sweep {
    type Err = String;

    /// Reads `NAME=FIRST..LAST`, `NAME=FIRST..LAST:STEP` or `NAME=VALUE,VALUE,…`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, values) = text.split_once('=').ok_or_else(|| {
            let text = cut(text);
            format!("`{text}` has no `=`; write NAME=0..1023, NAME=0..90:15 or NAME=a,b,c")
        })?;
        if name.is_empty() || name.contains(['{', '}', ' ']) {
            return Err(format!(
                "`{}` is no name of a parameter; use letters, digits, `-` and `_`",
                cut(name)
            ));
        }
        let shown = cut(name);
        if values.is_empty() {
            return Err(format!(
                "`{shown}` has no values; write {shown}=0..1023, {shown}=0..90:15 or {shown}=a,b,c"
            ));
        }
        let values = match values.split_once("..") {
            Some((start, rest)) if !values.contains(',') => range(&shown, start, rest)?,
            _ => Values::List(values.split(',').map(str::to_owned).collect()),
        };
        Ok(Self {
            name: name.to_owned(),
            values,
        })
    }
}

fn range(name: &str, start: &str, rest: &str) -> Result<Values, String> {
    let number = |what: &str, text: &str| {
        text.parse::<i64>().map_err(|_| {
            let text = cut(text);
            format!("the {what} of `{name}` is `{text}`, which is no whole number; write {name}=0..1023 or {name}=0..90:15")
        })
    };
    let (end, step) = match rest.split_once(':') {
        Some((end, step)) => (end, number("step", step)?),
        None => (rest, 1),
    };
    let (start, end) = (number("start", start)?, number("end", end)?);
    if step == 0 {
        return Err(format!(
            "the step of `{name}` is 0; give one that leads from {start} to {end}"
        ));
    }
    if start != end && (end > start) != (step > 0) {
        return Err(format!(
            "`{name}` never gets from {start} to {end} in steps of {step}; turn the sign of the step, as in {start}..{end}:{}",
            -i128::from(step)
        ));
    }
    let span = (i128::from(end) - i128::from(start)).unsigned_abs();
    let count = u64::try_from(span / u128::from(step.unsigned_abs()) + 1).unwrap_or(u64::MAX);
    Ok(Values::Range { start, step, count })
}

impl Sweep {
    /// The parameter's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn count(&self) -> u64 {
        match &self.values {
            Values::Range { count, .. } => *count,
            Values::List(values) => values.len() as u64,
        }
    }

    fn value(&self, index: u64) -> String {
        match &self.values {
            Values::Range { start, step, .. } => {
                (i128::from(*start) + i128::from(*step) * i128::from(index)).to_string()
            }
            Values::List(values) => values[usize::try_from(index).expect("less than its length")].clone(),
        }
    }
}

/// All combinations of the sweeps' values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Product(Vec<Sweep>);

impl Product {
    /// Of no sweeps it is one row without values.
    ///
    /// # Errors
    /// A name stands twice, there are more names than a template has columns, or more works than fit in one submission.
    pub fn new(sweeps: Vec<Sweep>) -> Result<Self, String> {
        if sweeps.len() > LIST_LEN_MAX {
            return Err(format!(
                "there are {} sweeps; at most {LIST_LEN_MAX}",
                sweeps.len()
            ));
        }
        let is_second =
            |(index, sweep): &(usize, &Sweep)| sweeps[..*index].iter().any(|other| other.name == sweep.name);
        if let Some((_, second)) = sweeps.iter().enumerate().find(is_second) {
            return Err(format!("two sweeps are named `{}`", cut(&second.name)));
        }
        let works = sweeps
            .iter()
            .try_fold(1_u64, |works, sweep| works.checked_mul(sweep.count()));
        match works {
            Some(works) if works <= u64::from(BAG_ROWS_MAX) => Ok(Self(sweeps)),
            _ => {
                let product = sweeps
                    .iter()
                    .map(|sweep| sweep.count().to_string())
                    .collect::<Vec<_>>()
                    .join(" × ");
                Err(format!(
                    "the sweeps make {product} works; at most {BAG_ROWS_MAX} fit in one submission, so submit several"
                ))
            }
        }
    }

    /// How many works.
    #[must_use]
    pub fn count(&self) -> u32 {
        let works: u64 = self.0.iter().map(Sweep::count).product();
        u32::try_from(works).expect("bounded by new")
    }

    /// Names of the parameters.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        self.0.iter().map(|sweep| sweep.name.clone()).collect()
    }

    /// A row's values.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn values(&self, row: u32) -> Vec<String> {
        assert!(row < self.count(), "row {row} of {}", self.count());
        let mut rest = u64::from(row);
        let mut values: Vec<String> = self
            .0
            .iter()
            .rev()
            .map(|sweep| {
                let index = rest % sweep.count();
                rest /= sweep.count();
                sweep.value(index)
            })
            .collect();
        values.reverse();
        values
    }
}

/// The beginning of somebody's text, for a message.
fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(text: &str) -> Result<Vec<String>, String> {
        let sweep: Sweep = text.parse()?;
        Ok((0..sweep.count()).map(|index| sweep.value(index)).collect())
    }

    #[test]
    fn sweeps_give_the_values_that_the_help_promises() {
        let cases: [(&str, &[&str]); 10] = [
            ("x=0..3", &["0", "1", "2", "3"]),
            ("x=5..5", &["5"]),
            ("x=0..90:45", &["0", "45", "90"]),
            ("x=0..100:60", &["0", "60"]),
            ("x=3..1:-1", &["3", "2", "1"]),
            ("x=-2..0", &["-2", "-1", "0"]),
            ("x=a,b,c", &["a", "b", "c"]),
            ("x=one", &["one"]),
            ("path=a=b,c", &["a=b", "c"]),
            ("path=..,.", &["..", "."]),
        ];
        for (text, expected) in cases {
            assert_eq!(values(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_wrong_sweep_says_what_is_wrong_and_what_to_write() {
        let cases = [
            ("x", "`x` has no `=`"),
            ("x=", "`x` has no values"),
            ("=1..2", "`` is no name"),
            ("x=1..b", "the end of `x` is `b`"),
            ("x=..5", "the start of `x` is ``"),
            ("x=0..9:0", "the step of `x` is 0"),
            ("x=9..0", "as in 9..0:-1"),
            ("x=0..9:-1", "as in 0..9:1"),
        ];
        for (text, expected) in cases {
            let error = values(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_last_sweep_changes_fastest() {
        let sweeps = ["y=0..1", "x=a,b,c"].map(|text| text.parse().unwrap());
        let product = Product::new(sweeps.to_vec()).unwrap();
        let rows: Vec<String> = (0..product.count())
            .map(|row| product.values(row).join(""))
            .collect();
        assert_eq!(rows, ["0a", "0b", "0c", "1a", "1b", "1c"]);
    }

    #[test]
    fn a_product_over_the_bound_is_refused_with_its_size() {
        let sweeps = ["a=0..1023", "b=0..1023"].map(|text| text.parse().unwrap());
        let error = Product::new(sweeps.to_vec()).unwrap_err();
        assert!(error.contains("1024 × 1024"), "{error}");
        let huge = format!("a={}..{}", i64::MIN, i64::MAX).parse().unwrap();
        assert!(Product::new(vec![huge, "b=1,2".parse().unwrap()]).is_err());
        let twice = Product::new(["a=1", "a=2"].map(|text| text.parse().unwrap()).to_vec()).unwrap_err();
        assert!(twice.contains("two sweeps are named `a`"), "{twice}");
        let many = (0..=LIST_LEN_MAX).map(|n| format!("a{n}=1").parse().unwrap());
        assert!(Product::new(many.collect()).unwrap_err().contains("at most 256"));
    }

    #[test]
    fn of_a_long_text_only_the_beginning_is_repeated() {
        let long = "x".repeat(10_000);
        for text in [
            long.clone(),
            format!("{long}="),
            format!("a=1..{long}"),
            format!("{long}=1..b"),
        ] {
            assert!(values(&text).unwrap_err().len() < 300);
        }
    }

    proptest! {
        #[test]
        fn a_range_holds_exactly_the_steps_between_its_ends(start in -1000_i64..1000, span in 0_i64..500, step in 1_i64..40, down: bool) {
            let (end, step) = if down { (start - span, -step) } else { (start + span, step) };
            let expected: Vec<String> = (0..=span / step.abs()).map(|i| (start + i * step).to_string()).collect();
            prop_assert_eq!(values(&format!("x={start}..{end}:{step}")).unwrap(), expected);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            if let Ok(sweep) = text.parse::<Sweep>() {
                prop_assert!(sweep.count() >= 1);
                sweep.value(sweep.count() - 1);
            }
        }
    }
}
