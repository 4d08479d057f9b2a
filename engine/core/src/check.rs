//! Invariants: what must hold between any two events. Tests and the simulator check after every one.

use std::collections::BTreeMap;

use wire_protocol::joining::Approval;
use wire_protocol::view::Tally;

use crate::ready::{QueueKey, Run};
use crate::scheduler::Scheduler;
use crate::state::Phase;
use crate::table::worker::Worker;

impl Scheduler {
    /// Asserts every invariant of the tables. Cost: looks at everything; not for production.
    ///
    /// # Panics
    /// If one does not hold, naming it and the values.
    pub fn check(&self) {
        let mut queued: BTreeMap<QueueKey, u64> = BTreeMap::new();
        let (mut delayed, mut held, mut done) = (0, 0, 0);
        for bag in self.bags.iter() {
            let mut tally = Tally::default();
            for row in 0..bag.accepted() {
                let id = bag.first.offset(row);
                let work = self
                    .works
                    .get(id)
                    .unwrap_or_else(|| panic!("{id} of {} was accepted and is gone", bag.id));
                assert_eq!(self.bags.id_of(work.bag), bag.id, "{id} knows its bag");
                match work.phase {
                    Phase::Void => panic!("{id} was accepted and is void"),
                    Phase::Queued => *queued.entry(Self::key_of(bag)).or_default() += 1,
                    Phase::Delayed => delayed += 1,
                    Phase::Leased | Phase::Running => {
                        held += 1;
                        let worker = self.workers.get(work.worker);
                        let worker =
                            worker.unwrap_or_else(|| panic!("{id} is held by unknown {}", work.worker));
                        assert_eq!(
                            worker.held.get(work.held_at as usize),
                            Some(&id),
                            "{} knows that it has {id}",
                            worker.id
                        );
                        assert!(
                            work.attempt.0 > 0 && work.epoch <= self.epoch,
                            "{id} has a lease of this or an earlier epoch"
                        );
                    }
                    _ => {
                        done += 1;
                        assert!(
                            work.lsn.0 > 0 && work.lsn <= self.last_lsn,
                            "{id} is done by a record"
                        );
                    }
                }
                let column = match work.phase {
                    Phase::Queued | Phase::Delayed | Phase::Void => &mut tally.queued,
                    Phase::Leased | Phase::Running => &mut tally.leased,
                    Phase::Succeeded => &mut tally.succeeded,
                    Phase::Failed => &mut tally.failed,
                    Phase::Cancelled => &mut tally.cancelled,
                    Phase::Expired => &mut tally.expired,
                };
                *column += 1;
            }
            bag.rows
                .check(|row| self.phase_of(bag.first.offset(row)) == Phase::Succeeded);
            for row in bag.accepted()..bag.rows_total.min(bag.accepted() + 4) {
                assert_eq!(
                    self.phase_of(bag.first.offset(row)),
                    Phase::Void,
                    "rows that did not come are void"
                );
            }
            assert_eq!(bag.tally, tally, "the tally of {} is true", bag.id);
            let runs: u32 = self
                .waiting_runs(Run {
                    first: bag.first,
                    len: bag.accepted(),
                })
                .iter()
                .map(|run| run.len)
                .sum();
            assert!(
                runs <= tally.queued,
                "waiting runs of {} are queued works",
                bag.id
            );
        }
        if self.epoch.0 > 0 && self.started.0 > 0 {
            let counted: BTreeMap<QueueKey, u64> = self.ready.queues().collect();
            assert_eq!(counted, queued, "queues count the works that wait");
        }
        assert_eq!(self.counters.works_delayed, delayed, "delayed works are counted");
        assert_eq!(self.counters.works_leased, held, "held works are counted");
        assert_eq!(self.counters.works_done, done, "done works are counted");
        self.check_workers(held);
    }

    /// What a worker has left is what it offers less what its works take, and its profile knows.
    fn check_room(&self, worker: &Worker) {
        let terms = self.classes.terms(worker.profile);
        assert_eq!(worker.metered, terms.meter.is_some(), "{} is counted", worker.id);
        let profile = self.classes.profile(worker.profile);
        let wallet = worker.about.standing.wallet;
        assert_eq!(
            profile.condition.wallet,
            wallet.filter(|wallet| self.classes.wants(*wallet)),
            "the profile of {} says whether its wallet is asked for",
            worker.id
        );
        let listed = |wallet| {
            self.wallets
                .get(&wallet)
                .is_some_and(|of| of.contains(&worker.id))
        };
        assert!(wallet.is_none_or(listed), "{} is found by its wallet", worker.id);
        let Some(meter) = &terms.meter else { return };
        let mut room = meter.all();
        for work in worker.held.iter() {
            let bag = self.works.get(*work).expect("held works are known").bag;
            let class = self.bags.of_work(bag).class;
            meter.take(&mut room, &self.classes.get(class).demand);
        }
        let about = &worker.about;
        assert_eq!(room, about.room, "{} knows what it has left", worker.id);
        if !worker.is_connected() {
            return;
        }
        assert!(
            profile.condition.room == room && profile.condition.reserved == about.reserved,
            "the profile of {} says what it has left",
            worker.id
        );
        for class in profile.eligible.iter() {
            assert_eq!(
                self.short_for(worker, class),
                None,
                "{} may run only what fits",
                worker.id
            );
        }
    }

    fn check_workers(&self, held: u64) {
        let mut on_lists = 0;
        for token in self.tokens.iter() {
            assert!(token.used <= token.uses, "{} enrols as many as it may", token.id);
            let found = self.tokens.by_digest(&token.digest).map(|found| found.id);
            assert_eq!(found, Some(token.id), "digests name tokens");
        }
        for worker in self.workers.iter() {
            let standing = &worker.about.standing;
            assert!(
                standing.approval == Approval::Approved || !worker.takes_work(),
                "{} gets works although it is {}",
                worker.id,
                standing.approval
            );
            assert!(
                standing.approval != Approval::Revoked
                    || (worker.link.is_none() && standing.certificate.is_none()),
                "{} was revoked and is out",
                worker.id
            );
            on_lists += worker.held.len() as u64;
            assert_eq!(
                self.workers.by_uid(&worker.about.uid),
                Some(worker.id),
                "uids name workers"
            );
            let profile = self.classes.profile(worker.profile);
            self.check_room(worker);
            let (starving, roomy) = worker.listed;
            assert_eq!(
                profile.starving.contains(&worker.id),
                starving,
                "{} knows whether it is listed",
                worker.id
            );
            assert_eq!(
                profile.roomy.contains(&worker.id),
                roomy,
                "{} knows whether it is listed",
                worker.id
            );
            let overfull = worker.is_connected() && worker.held_len() > worker.slots;
            assert!(
                worker.overfull == overfull && self.overfull.contains(&worker.id) == overfull,
                "{} is listed as overfull iff it holds more than its slots",
                worker.id
            );
            if let Some(link) = worker.link {
                assert_eq!(self.links.worker(link), Some(worker.id), "links name workers");
                let has_slot = worker.takes_work() && worker.held_len() < worker.slots;
                assert_eq!(
                    starving, has_slot,
                    "{} is listed as starving iff it has a free slot",
                    worker.id
                );
                if starving && self.pause().is_none() {
                    assert!(
                        !self.ready.has_any(&profile.eligible),
                        "{} has a free slot while works wait for it",
                        worker.id
                    );
                }
            } else {
                assert!(!starving && !roomy, "{} is away and listed", worker.id);
            }
        }
        assert_eq!(on_lists, held, "workers have exactly the works that are held");
    }
}
