//! When the pool's process is killed: at something that a test names, or after a while, whatever it does then.

use std::collections::VecDeque;

use sidecars_reconcile::core::reconciler::Effect;
use wire_hub::Nonce;
use wire_lane::Kept;

use super::journal::{name, name_of};

/// How far the process is with something when it is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// It is decided, and nothing of it is durable.
    Decided,
    /// What has to be durable is.
    Noted,
    /// It is done.
    Done,
}

/// Where the process is killed, once.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    /// At an effect with this mark, see [`marks`].
    pub(crate) at: &'static str,
    pub(crate) moment: Moment,
}

/// Kills that are to come.
#[derive(Default)]
pub(crate) struct Fate {
    /// One after the other.
    pub(crate) deaths: VecDeque<Death>,
    /// After so many looks at what it does.
    pub(crate) fuse: Option<u32>,
}

impl Fate {
    /// Whether it is killed now, at an effect with these marks.
    pub(super) fn strikes(&mut self, moment: Moment, marks: &[String]) -> bool {
        if let Some(left) = self.fuse {
            self.fuse = left.checked_sub(1);
            return self.fuse.is_none();
        }
        let is_it = |death: &Death| death.moment == moment && marks.iter().any(|mark| mark == death.at);
        let strikes = self.deaths.front().is_some_and(is_it);
        if strikes {
            self.deaths.pop_front();
        }
        strikes
    }
}

/// What an effect is, in words that a test has for it. `kept` is what is noted of a nonce.
pub(super) fn marks(effect: &Effect, kept: impl Fn(Nonce) -> Option<Kept>) -> Vec<String> {
    match effect {
        Effect::Understand { .. } => vec!["seen".to_owned()],
        Effect::Sign { payload, .. } => vec![format!("{} signed", name_of(payload))],
        Effect::Send { nonce, .. } => {
            let intent = kept(*nonce).and_then(|kept| kept.intent);
            let call = intent.map(|intent| intent.call);
            vec![format!("{} sent", name(call.as_ref()))]
        }
        Effect::Followed { logs, .. } => {
            let names = logs.iter().map(|log| format!("{:?}", log.event));
            let first = |text: String| text.split(' ').next().expect("a word").to_owned();
            names.map(|text| format!("{} heard", first(text))).collect()
        }
        _ => Vec::new(),
    }
}
