//! Sweeps, as `pool work submit --sweep` has them: `tile=0..1023`, `angle=0..90:15`, `scene=dawn,noon,dusk`.
//!
//! A range includes both of its ends. Several sweeps make the product of their values, the last one changing fastest. Values
//! are computed when they are asked for. What a requester writes is a stranger's text, so every number is bounded before
//! anything is made of it.

use std::str::FromStr;

use wire_protocol::limits::BAG_ROWS_MAX;

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

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, values) = text.split_once('=').ok_or_else(|| {
            format!(
                "sweep `{}` has no `=`; write name=0..1023, name=0..90:15 or name=a,b,c",
                cut(text)
            )
        })?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!(
                "`{}` is no name of a parameter; use letters, digits, `-` and `_`",
                cut(name)
            ));
        }
        if values.is_empty() {
            return Err(format!("sweep `{}` has no values", cut(name)));
        }
        let values = match values.split_once("..") {
            Some((start, rest)) if !values.contains(',') => range(name, start, rest)?,
            _ => Values::List(values.split(',').map(str::to_owned).collect()),
        };
        let name = name.to_owned();
        Ok(Self { name, values })
    }
}

fn range(name: &str, start: &str, rest: &str) -> Result<Values, String> {
    let number = |what: &str, text: &str| {
        text.parse::<i64>().map_err(|_| {
            format!(
                "the {what} of sweep `{}` is `{}`, which is no whole number",
                cut(name),
                cut(text)
            )
        })
    };
    let (end, step) = match rest.split_once(':') {
        Some((end, step)) => (end, number("step", step)?),
        None => (rest, 1),
    };
    let (start, end) = (number("start", start)?, number("end", end)?);
    if step == 0 || (start != end && (end > start) != (step > 0)) {
        return Err(format!(
            "sweep `{}` never gets from {start} to {end} in steps of {step}",
            cut(name)
        ));
    }
    let span = (i128::from(end) - i128::from(start)).unsigned_abs();
    let count = u64::try_from(span / u128::from(step.unsigned_abs()) + 1).unwrap_or(u64::MAX);
    Ok(Values::Range { start, step, count })
}

impl Sweep {
    fn len(&self) -> u64 {
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
    /// A name stands twice, or there are more works than a bag may have.
    pub fn new(sweeps: Vec<Sweep>) -> Result<Self, String> {
        for (index, sweep) in sweeps.iter().enumerate() {
            if sweeps[..index].iter().any(|other| other.name == sweep.name) {
                return Err(format!("two sweeps are named `{}`", cut(&sweep.name)));
            }
        }
        let works = sweeps
            .iter()
            .try_fold(1_u64, |works, sweep| works.checked_mul(sweep.len()));
        match works {
            Some(works) if works <= u64::from(BAG_ROWS_MAX) => Ok(Self(sweeps)),
            _ => Err(format!(
                "the sweeps make more than {BAG_ROWS_MAX} works; an order may have that many"
            )),
        }
    }

    /// How many works.
    #[must_use]
    pub fn count(&self) -> u32 {
        let works: u64 = self.0.iter().map(Sweep::len).product();
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
        let reversed = self.0.iter().rev().map(|sweep| {
            let index = rest % sweep.len();
            rest /= sweep.len();
            sweep.value(index)
        });
        let mut values: Vec<String> = reversed.collect();
        values.reverse();
        values
    }
}

/// The beginning of a stranger's text, for a message.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}
