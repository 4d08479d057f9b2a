//! How much each link may have under way: a share of what its listener has left.
//!
//! Listeners do not share: thousands of workers, whose links carry little, must not leave a client, whose link
//! carries everything, the least window there is.

use crate::limits::{Limits, WINDOW_BYTES_MIN};

/// What was granted, by listener.
#[derive(Default)]
pub(super) struct Windows {
    granted: Vec<u64>,
}

impl Windows {
    /// The window of the listener's next link, which counts as granted from now on.
    pub(super) fn grant(&mut self, listener: usize, limits: &Limits) -> u64 {
        if self.granted.len() <= listener {
            self.granted.resize(listener + 1, 0);
        }
        let granted = &mut self.granted[listener];
        let left = limits.window_bytes_total.saturating_sub(*granted);
        let most = u64::from(limits.window_bytes_max);
        let window = (left / 8).clamp(u64::from(WINDOW_BYTES_MIN), most);
        *granted += window;
        window
    }

    /// A link of the listener is gone, with its window.
    pub(super) fn give_back(&mut self, listener: usize, window: u64) {
        if let Some(granted) = self.granted.get_mut(listener) {
            *granted -= window;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_links_get_less_and_less_and_leave_other_listeners_alone() {
        let limits = Limits::default();
        let most = u64::from(limits.window_bytes_max);
        let mut windows = Windows::default();
        let workers: Vec<u64> = (0..5_000).map(|_| windows.grant(1, &limits)).collect();
        assert_eq!((workers[0], workers[4_999]), (most, u64::from(WINDOW_BYTES_MIN)));
        assert!(workers.is_sorted_by(|a, b| a >= b));
        assert_eq!(
            windows.grant(0, &limits),
            most,
            "the first client has all that one may have"
        );
        for window in workers {
            windows.give_back(1, window);
        }
        assert_eq!(windows.grant(1, &limits), most);
    }
}
