//! What the core notes, in the log.

use worker_core::Note;

use crate::status::now_ms;

pub(crate) fn log(note: &Note) {
    match note {
        Note::Joined {
            worker,
            shard,
            epoch,
            adopted,
            dropped,
        } => {
            tracing::info!(
                event = "joined",
                worker = worker.0,
                shard = shard.0,
                epoch = epoch.0,
                adopted,
                dropped,
                "joined the pool"
            );
        }
        Note::Certified { until } => tracing::info!(
            event = "certified",
            days = (until.0 / 1_000_000).saturating_sub(now_ms()) / 86_400_000,
            "the pool gave this worker a certificate"
        ),
        Note::Reconnecting { after, reason } => {
            tracing::warn!(
                event = "reconnecting",
                after_ms = after.0,
                reason,
                "no link to the engine"
            );
        }
        Note::Cordoned { reason } => tracing::info!(event = "cordoned", reason, "no further work will come"),
        Note::Uncordoned => tracing::info!(event = "uncordoned", "work will come again"),
        Note::Holding { problem } => {
            tracing::warn!(
                event = "holding",
                problem,
                "takes no work, and the engine is told why"
            );
        }
        Note::Welcoming => tracing::info!(event = "welcoming", "takes work again"),
        Note::Draining { reason, within } => match within {
            None => tracing::info!(event = "draining", reason, "finishes what runs, then leaves"),
            Some(within) => tracing::info!(
                event = "draining",
                reason,
                within_ms = within.0,
                "finishes what runs in time, gives back the rest, then leaves"
            ),
        },
        Note::DrainOver { running } => {
            tracing::warn!(
                event = "drain-over",
                running,
                "the time for leaving has come: what still runs is stopped and given back"
            );
        }
        Note::Idle(idle) => {
            tracing::info!(
                event = "idle",
                reason = idle.explanation.summary,
                facts = idle.explanation.facts.join("; "),
                "has nothing to do"
            );
        }
        Note::Stale { token, recorded } => {
            tracing::info!(event = "stale", %token, recorded, "a report was superseded");
        }
        Note::EngineShuttingDown => tracing::info!(event = "engine-stops", "the engine is shutting down"),
        Note::OverAssigned { works } => {
            tracing::warn!(
                event = "over-assigned",
                works,
                "the engine sent more than it may; returned"
            );
        }
    }
}
