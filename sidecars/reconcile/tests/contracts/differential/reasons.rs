//! Why a call fails is worked out from views alone, as the contracts give no reasons: whatever fails has one, and what takes
//! effect has none.

use std::collections::{BTreeMap, BTreeSet};

use sidecars_reconcile::model::Hub;
use wire_hub::{Address, Answer, Call, Hash, Obstacle, Person, Scene, Timestamp, obstacle};

use super::calls::Cast;

/// Reasons that were seen, by their names.
#[derive(Default)]
pub(super) struct Reasons(BTreeSet<String>);

impl Reasons {
    /// What stands in the way of a call in a block of this time, compared with what has become of it.
    pub(super) fn check(
        &mut self,
        hub: &Hub,
        cast: &Cast,
        (sender, call): (Address, &Call),
        at: Timestamp,
        has_succeeded: bool,
    ) {
        if matches!(call, Call::AllowWorkersToContribute { workers, .. } if workers.is_empty()) {
            // It does nothing, and nobody sends it.
            return;
        }
        let views = match call {
            Call::AllowWorkersToContribute { woid, .. }
            | Call::RevealConsensus { woid, .. }
            | Call::Reopen { woid }
            | Call::FinalizeWork { woid, .. }
            | Call::WorkOrderCallback { woid, .. }
            | Call::Contribute { woid, .. }
            | Call::Reveal { woid, .. } => hub.views(*woid),
            _ => Answer::Unknown,
        };
        let people = cast.people().into_iter();
        let people: BTreeMap<Address, Person> = people.map(|who| (who, hub.person(who))).collect();
        let scene = Scene {
            sender,
            pool: hub.pool,
            pool_owner: hub.pool_owner,
            views: &views,
            people: &people,
            at,
        };
        let why = obstacle(call, &scene);
        assert!(
            why.is_none() || !has_succeeded,
            "{sender}: {call:?} took effect, in spite of {why:?}"
        );
        assert!(
            why.is_some() || has_succeeded || !is_explained(call),
            "{sender}: {call:?} failed, for no reason that is known"
        );
        self.0.extend(why.map(|why| name(&why)));
    }

    /// Those that were not seen.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let all = [
            "NoOrder",
            "Status",
            "Timeout",
            "RevealOver",
            "RevealOpen",
            "Revealed",
            "NobodyContributed",
            "Contribution",
            "Twice",
            "OtherResult",
            "NotSubscribed",
            "Stake",
            "NotOwner",
            "NoCallback",
        ];
        all.into_iter().filter(|name| !self.0.contains(*name)).collect()
    }
}

fn name(why: &Obstacle) -> String {
    let text = format!("{why:?}");
    text.split([' ', '(', '{']).next().expect("a word").to_owned()
}

/// Calls that the pool and its workers send; of what nobody sends, as empty results, no reason is known.
fn is_explained(call: &Call) -> bool {
    match call {
        Call::Contribute {
            result_hash,
            result_sign,
            ..
        } => *result_hash != Hash::ZERO && *result_sign != Hash::ZERO,
        Call::WorkOrderCallback { stdout, .. } => stdout == "out",
        Call::AllowWorkersToContribute { .. }
        | Call::RevealConsensus { .. }
        | Call::Reveal { .. }
        | Call::Reopen { .. }
        | Call::FinalizeWork { .. }
        | Call::EvictWorker { .. } => true,
        _ => false,
    }
}
