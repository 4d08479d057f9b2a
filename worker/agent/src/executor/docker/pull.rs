//! How far a pull has come, for the log: a line every few seconds, however much the engine says.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use bollard::models::CreateImageInfo;

/// Between two lines of one pull.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What the engine has said of a pull so far.
#[derive(Debug)]
pub(super) struct Progress {
    layers: BTreeMap<String, Layer>,
    said: Instant,
}

#[derive(Clone, Copy, Default, Debug)]
struct Layer {
    here: u64,
    /// As far as it is known.
    bytes: u64,
    done: bool,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            layers: BTreeMap::new(),
            said: now,
        }
    }

    /// Takes in a step. `true`: it is time to say how far it is.
    pub(super) fn take(&mut self, now: Instant, step: &CreateImageInfo) -> bool {
        let status = step.status.as_deref().unwrap_or_default();
        // Only of layers there is an id and one of these states; the tag has one, too, and is none.
        if let Some(id) = step.id.as_ref().filter(|_| !status.starts_with("Pulling from")) {
            let layer = self.layers.entry(id.clone()).or_default();
            let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
            if let (true, Some(detail)) = (status == "Downloading", &step.progress_detail) {
                layer.here = number(detail.current).unwrap_or(layer.here);
                layer.bytes = number(detail.total).unwrap_or(layer.bytes).max(layer.here);
            }
            if matches!(status, "Download complete" | "Pull complete" | "Already exists") {
                (layer.here, layer.done) = (layer.bytes, true);
            }
        }
        let is_time = now.duration_since(self.said) >= SAY_EVERY;
        if is_time {
            self.said = now;
        }
        is_time
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.layers.values().filter(|layer| layer.done).count();
        let sum = |of: fn(&Layer) -> u64| self.layers.values().map(of).sum::<u64>() >> 20;
        write!(
            f,
            "{done} of {} layers, {} of {} MiB",
            self.layers.len(),
            sum(|layer| layer.here),
            sum(|layer| layer.bytes)
        )
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn step(id: &str, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: bytes.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn steps_add_up_to_layers_and_bytes_and_are_said_now_and_then() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        let mib = 1 << 20;
        for step in [
            step("latest", "Pulling from library/a", None),
            step("a", "Pulling fs layer", None),
            step("b", "Already exists", None),
            step("a", "Downloading", Some((2 * mib, 8 * mib))),
            step("a", "Downloading", Some((6 * mib, 8 * mib))),
            step("a", "Extracting", Some((1, 3))),
            step("c", "Downloading", Some((-1, -1))),
        ] {
            assert!(!progress.take(start, &step));
        }
        assert_eq!(progress.to_string(), "1 of 3 layers, 6 of 8 MiB");
        let later = start + SAY_EVERY;
        assert!(progress.take(later, &step("a", "Pull complete", None)));
        assert_eq!(progress.to_string(), "2 of 3 layers, 8 of 8 MiB");
        assert!(
            !progress.take(later, &step("c", "Waiting", None)),
            "it was said a moment ago"
        );
    }
}
