//! `sleep:<milliseconds>`: works that take time and nothing else, for tests and for load without load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wire_protocol::outcome::Reason;

use super::{Attempt, Ended, Executor, Kill, Running};

/// The executor of `sleep:<milliseconds>`. The template's wall-clock limit holds.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sleep;

impl Executor for Sleep {
    fn name(&self) -> &'static str {
        "sleep"
    }

    fn run(self: Arc<Self>, attempt: Attempt, mut kill: Kill) -> Running {
        Box::pin(async move {
            let template = &attempt.template;
            let time = template
                .app
                .strip_prefix("sleep:")
                .and_then(|time| time.parse().ok());
            let Some(time) = time.map(Duration::from_millis) else {
                let text = format!("`{}` gives no time; write sleep:<milliseconds>", template.app);
                return Ended::without_running(Reason::BadParameters, &text);
            };
            let limit = template.limits.wall_clock.to_duration();
            let started = Instant::now();
            tokio::select! {
                () = tokio::time::sleep(time.min(limit)) => {}
                () = kill.wished() => {}
            }
            Ended {
                reason: if time > limit {
                    Reason::WallClock
                } else {
                    Reason::None
                },
                exit_code: 0,
                elapsed: started.elapsed(),
                result: Vec::new(),
            }
        })
    }
}
