//! What commands tell: explanations, changes, submissions and how they ended.

use std::time::Duration;

use serde::Serialize;
use wire_protocol::outcome::Outcome;
use wire_protocol::view::Explanation;

use crate::cli::output::Show;

/// An explanation with what it is about.
pub(crate) struct Explained {
    pub(crate) subject: String,
    pub(crate) explanation: Explanation,
}

#[derive(Serialize)]
pub(crate) struct ExplainedJson<'a> {
    subject: &'a str,
    summary: &'a str,
    facts: &'a [String],
}

impl Show for Explained {
    const KIND: &'static str = "explanation";
    type Json<'a> = ExplainedJson<'a>;
    const COLUMNS: &'static [&'static str] = &["subject", "summary"];

    fn json(&self) -> ExplainedJson<'_> {
        let Explanation { summary, facts } = &self.explanation;
        ExplainedJson {
            subject: &self.subject,
            summary,
            facts,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![self.subject.clone(), self.explanation.summary.clone()]
    }

    fn text(&self) -> String {
        let facts = self
            .explanation
            .facts
            .iter()
            .map(|fact| format!("  - {fact}\n"))
            .collect::<String>();
        format!("{}: {}\n{facts}", self.subject, self.explanation.summary)
    }
}

/// What a command changed.
pub(crate) struct Changed {
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) changed: u32,
}

#[derive(Serialize)]
pub(crate) struct ChangedJson<'a> {
    action: &'a str,
    subject: &'a str,
    changed: u32,
}

impl Show for Changed {
    const KIND: &'static str = "changed";
    type Json<'a> = ChangedJson<'a>;
    const COLUMNS: &'static [&'static str] = &["action", "subject", "changed"];

    fn json(&self) -> ChangedJson<'_> {
        ChangedJson {
            action: self.action,
            subject: &self.subject,
            changed: self.changed,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.action.to_owned(),
            self.subject.clone(),
            self.changed.to_string(),
        ]
    }

    fn text(&self) -> String {
        let Self {
            action,
            subject,
            changed,
        } = self;
        match changed {
            0 => format!("{subject}: nothing left to {action}"),
            _ => format!("{subject}: {action} done, {changed} changed"),
        }
    }
}

/// A submission that was accepted.
pub(crate) struct Submitted(pub(crate) client::Submission);

#[derive(Serialize)]
pub(crate) struct SubmittedJson {
    bag: u64,
    first_work: u64,
    works: u32,
}

impl Show for Submitted {
    const KIND: &'static str = "submission";
    type Json<'a> = SubmittedJson;
    const COLUMNS: &'static [&'static str] = &["bag", "works", "first", "last"];

    fn json(&self) -> SubmittedJson {
        SubmittedJson {
            bag: self.0.bag.0,
            first_work: self.0.first.0,
            works: self.0.rows,
        }
    }

    fn cells(&self) -> Vec<String> {
        let last = self.0.first.offset(self.0.rows.saturating_sub(1));
        vec![
            self.0.bag.to_string(),
            self.0.rows.to_string(),
            self.0.first.to_string(),
            last.to_string(),
        ]
    }

    fn text(&self) -> String {
        match self.0.rows {
            1 => format!("{}: 1 work, {}", self.0.bag, self.0.first),
            rows => format!(
                "{}: {rows} works, {} to {}",
                self.0.bag,
                self.0.first,
                self.0.first.offset(rows - 1)
            ),
        }
    }
}

/// How the works of a bag ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) bag: u64,
    pub(crate) works: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    pub(crate) cancelled: u32,
    pub(crate) expired: u32,
    /// Done, but its outcome could not be had any more.
    pub(crate) unknown: u32,
    pub(crate) took: Duration,
}

#[derive(Serialize)]
pub(crate) struct SummaryJson {
    bag: u64,
    works: u32,
    succeeded: u32,
    failed: u32,
    cancelled: u32,
    expired: u32,
    unknown: u32,
    seconds: f64,
    works_per_second: f64,
}

impl Summary {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Expired => self.expired += 1,
        }
    }

    pub(crate) fn done(&self) -> u32 {
        self.succeeded + self.unsuccessful() + self.unknown
    }

    pub(crate) fn unsuccessful(&self) -> u32 {
        self.failed + self.cancelled + self.expired
    }

    fn rate(&self) -> f64 {
        f64::from(self.done()) / self.took.as_secs_f64().max(1e-3)
    }
}

impl Show for Summary {
    const KIND: &'static str = "summary";
    type Json<'a> = SummaryJson;
    const COLUMNS: &'static [&'static str] = &["bag", "works", "succeeded", "failed"];

    fn json(&self) -> SummaryJson {
        let Self {
            bag,
            works,
            succeeded,
            failed,
            cancelled,
            expired,
            unknown,
            took,
        } = *self;
        let seconds = (took.as_secs_f64() * 1e3).round() / 1e3;
        let works_per_second = (self.rate() * 10.0).round() / 10.0;
        SummaryJson {
            bag,
            works,
            succeeded,
            failed,
            cancelled,
            expired,
            unknown,
            seconds,
            works_per_second,
        }
    }

    fn cells(&self) -> Vec<String> {
        let counts = [self.works, self.succeeded, self.failed];
        std::iter::once(format!("b{}", self.bag))
            .chain(counts.iter().map(u32::to_string))
            .collect()
    }

    fn text(&self) -> String {
        let ways = [
            (self.succeeded, "succeeded"),
            (self.failed, "failed"),
            (self.cancelled, "cancelled"),
            (self.expired, "expired"),
            (self.unknown, "with an outcome that is no longer known"),
        ];
        let told = ways
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, way)| format!("{count} {way}"));
        let told = told.collect::<Vec<_>>().join(", ");
        let seconds = self.took.as_secs_f64();
        format!(
            "b{}: {told}; {seconds:.1} s, {:.0} works/s",
            self.bag,
            self.rate()
        )
    }
}
