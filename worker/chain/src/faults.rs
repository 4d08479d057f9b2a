//! What a worker does wrong on purpose, so that tests see how a pool bears it. No release has it.

/// The variable that says which, between commas.
pub const VARIABLE: &str = "POOL_WORKER_CHAIN_FAULTS";

/// What it does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// `wrong-result`: contributes another result than it has.
    pub wrong_result: bool,
    /// `no-reveal`: never reveals.
    pub no_reveal: bool,
    /// `bad-reveal`: reveals another result than it has contributed, which the contract does not take.
    pub bad_reveal: bool,
    /// `late=SECONDS`: contributes so many seconds of the chain after it is seen to be allowed.
    pub late_s: u64,
}

impl Faults {
    /// Reads them.
    ///
    /// # Errors
    /// A word is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match (word, word.strip_prefix("late=").map(str::parse)) {
                ("wrong-result", _) => faults.wrong_result = true,
                ("no-reveal", _) => faults.no_reveal = true,
                ("bad-reveal", _) => faults.bad_reveal = true,
                (_, Some(Ok(late_s))) => faults.late_s = late_s,
                _ => {
                    return Err(format!(
                        "`{word}` is no fault: there are wrong-result, no-reveal, bad-reveal and late=SECONDS"
                    ));
                }
            }
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_others_refused() {
        let all = Faults {
            wrong_result: true,
            no_reveal: true,
            bad_reveal: true,
            late_s: 7,
        };
        assert_eq!(
            Faults::parse("wrong-result, no-reveal,bad-reveal,late=7,"),
            Ok(all)
        );
        assert_eq!(Faults::parse(""), Ok(Faults::default()));
        assert!(Faults::parse("late=soon").is_err());
        assert!(Faults::parse("tired").is_err());
    }
}
