//! How long to wait before connecting again: exponential, with jitter that takes up to half of it away, so that
//! a thousand workers of an engine that restarts do not all come at once.

use wire_protocol::units::Millis;

use crate::{BACKOFF_MAX, BACKOFF_MIN};

#[derive(Debug)]
pub(crate) struct Backoff {
    rng: fastrand::Rng,
    next: Millis,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            next: BACKOFF_MIN,
        }
    }

    pub(crate) fn start_over(&mut self) {
        self.next = BACKOFF_MIN;
    }

    /// The wait before the next attempt, no shorter than `at_least`.
    pub(crate) fn wait(&mut self, at_least: Millis) -> Millis {
        let base = self.next.max(at_least);
        self.next = Millis((self.next.0 * 2).min(BACKOFF_MAX.0));
        if at_least.0 == 0 {
            Millis(self.rng.u64(base.0 / 2..=base.0))
        } else {
            Millis(self.rng.u64(base.0..=base.0 + base.0 / 2))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(7);
        let mut expected = BACKOFF_MIN.0;
        for _ in 0..12 {
            let Millis(wait) = backoff.wait(Millis(0));
            assert!((expected / 2..=expected).contains(&wait), "{wait} of {expected}");
            expected = (expected * 2).min(BACKOFF_MAX.0);
        }
        assert_eq!(expected, BACKOFF_MAX.0);
        backoff.start_over();
        assert!(backoff.wait(Millis(0)) <= BACKOFF_MIN);
    }

    #[test]
    fn a_wait_that_was_asked_for_is_never_cut_short() {
        let mut backoff = Backoff::new(7);
        for _ in 0..100 {
            let Millis(wait) = backoff.wait(Millis(20_000));
            assert!((20_000..=30_000).contains(&wait));
        }
    }
}
