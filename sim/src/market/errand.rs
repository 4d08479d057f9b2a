//! Works of an order at the engine: asked for, looked after, cancelled, as the pool's shell does.

use std::collections::BTreeMap;

use sidecars_reconcile::core::order::{Identity, Outcome, Texts};
use sidecars_reconcile::core::reconciler::{Event, Share};
use sidecars_reconcile::model::Hub;
use wire_hub::merkle::{Tree, digest_of};
use wire_hub::{Hash, Ticket, result_of};
use wire_protocol::client_link::{IdempotencyKey, OutcomeItem, Outcomes, RequestId};
use wire_protocol::ids::{BagId, WorkId};
use wire_protocol::outcome::{Outcome as Ended, Output};
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Millis;
use wire_protocol::view::{WorkDetail, WorkState};

use super::{CHAIN_ID, PERIOD_S, SWEEP_ROWS};
use crate::clock::Time;

/// Periods after which an order can have no result any more.
const PERIODS: u64 = 10;

pub(super) struct Errand {
    pub(super) order: Identity,
    pub(super) share: Share,
    pub(super) key: IdempotencyKey,
    pub(super) template: WorkTemplate,
    pub(super) rows: Vec<Vec<u8>>,
    /// The submission on this connection.
    pub(super) request: Option<RequestId>,
    pub(super) bag: Option<(BagId, WorkId)>,
    pub(super) accepted: u32,
    pub(super) wait_until: Time,
    /// A question is under way.
    pub(super) is_asked: bool,
    pub(super) is_cancelled: bool,
    pub(super) is_over: bool,
    /// Digests of the works of a sweep, by row.
    digests: BTreeMap<u32, Hash>,
    has_cancelled: bool,
}

impl Errand {
    pub(super) fn new(key: Hash, order: Identity, share: Share) -> Self {
        let mut half = IdempotencyKey::default();
        half.copy_from_slice(&key.0[..16]);
        let rows = match share {
            Share::Bag => (0..SWEEP_ROWS)
                .map(|row| format!("{} {row}", order.woid).into_bytes())
                .collect(),
            Share::Worker { .. } => vec![Vec::new()],
        };
        Self {
            template: template(&order, share),
            order,
            share,
            key: half,
            rows,
            request: None,
            bag: None,
            accepted: 0,
            wait_until: 0,
            is_asked: false,
            is_cancelled: false,
            is_over: false,
            digests: BTreeMap::new(),
            has_cancelled: false,
        }
    }

    /// The engine has all of its works.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepted as usize == self.rows.len()
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self) {
        self.request = None;
        self.is_asked = false;
    }

    /// The work of a worker, as the engine has it: how it ended.
    pub(super) fn work_seen(&mut self, detail: &WorkDetail) -> Option<Event> {
        let WorkState::Done(ended) = detail.work.state else {
            return None;
        };
        let Share::Worker { wallet, result } = self.share else {
            return None;
        };
        self.is_over = true;
        let output = Output::parse(&detail.result)
            .ok()
            .filter(|_| ended == Ended::Succeeded);
        let Some(output) = output else {
            return self.failed();
        };
        let digest = result_of(&output);
        Some(Event::Ended {
            order: self.order,
            worker: wallet,
            outcome: Outcome::Done(Some(result.unwrap_or(digest))),
            texts: result.is_none().then(|| Texts {
                uri: format!("xw://pool/{}", detail.work.work),
                ..Texts::default()
            }),
        })
    }

    /// Works of a sweep.
    pub(super) fn results_seen(&mut self, outcomes: &Outcomes<'_>) {
        let Some((_, first)) = self.bag else { return };
        for item in outcomes.iter() {
            self.take(&item, first);
        }
    }

    fn take(&mut self, item: &OutcomeItem<'_>, first: WorkId) {
        let row = u32::try_from(item.work.0 - first.0).expect("few rows");
        self.has_cancelled |= item.outcome == Ended::Cancelled;
        self.digests.insert(row, digest_of(item.outcome, item.result));
    }

    /// All that the engine has of a sweep was seen, and so many of its works are open.
    pub(super) fn sweep_seen(&mut self, open: u32) -> Option<Event> {
        if open > 0 || self.digests.len() < self.rows.len() {
            self.digests.clear();
            return None;
        }
        self.is_over = true;
        let digests: Vec<Hash> = std::mem::take(&mut self.digests).into_values().collect();
        Some(Event::BagEnded {
            order: self.order,
            root: (!self.has_cancelled).then(|| Tree::new(&digests).root()),
            texts: Texts::default(),
        })
    }

    /// The engine has no such works any more, or will not have them.
    pub(super) fn gone(&mut self) -> Option<Event> {
        self.is_over = true;
        match self.share {
            Share::Worker { .. } => self.failed(),
            Share::Bag => Some(Event::BagEnded {
                order: self.order,
                root: None,
                texts: Texts::default(),
            }),
        }
    }

    fn failed(&self) -> Option<Event> {
        let Share::Worker { wallet, .. } = self.share else {
            return None;
        };
        Some(Event::Ended {
            order: self.order,
            worker: wallet,
            outcome: Outcome::Failed,
            texts: None,
        })
    }
}

fn template(order: &Identity, share: Share) -> WorkTemplate {
    let mut template = WorkTemplate {
        app: "sim".to_owned(),
        label: format!("order {}", order.woid),
        time_to_live: Some(Millis(PERIOD_S * PERIODS * 1_000)),
        ..WorkTemplate::default()
    };
    template.limits.wall_clock = Millis(PERIOD_S * 1_000);
    match share {
        Share::Bag => template.columns = vec!["row".to_owned()],
        Share::Worker { wallet, result } => {
            template.requirements.wallet = Some(wallet);
            template.ticket = Ticket {
                chain_id: CHAIN_ID,
                hub: Hub::ADDRESS,
                pool: Hub::POOL,
                woid: order.woid,
                fingerprint: order.fingerprint,
                result,
            }
            .encode();
        }
    }
    template
}
