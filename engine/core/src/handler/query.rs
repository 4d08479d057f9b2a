//! Queries: what works, bags, workers and queues look like now. They change nothing.

use wire_protocol::client_link::{Query, QueryRequest};
use wire_protocol::ids::{BagId, LinkId, WorkId, WorkerId};
use wire_protocol::joining::CertificateView;
use wire_protocol::limits::PAGE_LEN_MAX;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::{Bytes, Millis};
use wire_protocol::view::{BagView, Filter, QueueView, Reply, StatusView, WorkDetail, WorkView, WorkerView};

use crate::effect::{Effect, Effects};
use crate::fetch::{Fetch, Page, Recorded, Results, What};
use crate::parameters;
use crate::scheduler::Scheduler;
use crate::table::bag::Bag;
use crate::table::rows::Row;
use crate::table::work::Work;
use crate::table::worker::Worker;

/// Works that one query looks at, so that dispatch never waits long for a rare filter.
const WORKS_SCANNED_MAX: usize = 50_000;

/// Works whose results one answer carries at most.
const RESULTS_MAX: usize = 4_096;

/// Bytes after which a page is ended, whatever its limit, so that it fits a frame. Half a frame is left, because
/// one more work or worker is far smaller than that.
const PAGE_BYTES: usize = wire_protocol::frame::PAYLOAD_BYTES_MAX / 2;

impl Scheduler {
    pub(crate) fn on_query(&mut self, link: LinkId, request: QueryRequest, effects: &mut Effects) {
        let id = request.request;
        let not_found = |what: String| Reply::NotFound { what };
        let reply = match request.query {
            Query::Status => Reply::Status(self.status()),
            Query::Work(work) => match self.work_detail(link, work) {
                Some((detail, Some(lsn))) => {
                    let what = What::Detail {
                        row: self.recorded_row(work),
                        detail: Box::new(detail),
                        lsn,
                    };
                    let fetch = Fetch {
                        link,
                        after: self.last_lsn,
                        request: id,
                        what,
                    };
                    return effects.list.push(Effect::Fetch(Box::new(fetch)));
                }
                Some((detail, None)) => Reply::Work(Box::new(detail)),
                None => not_found(work.to_string()),
            },
            Query::Works { filter, after, limit } => {
                let (works, next) = self.list_works(link, &filter, after, limit);
                let recorded = self.recorded_rows(&works);
                if !recorded.is_empty() {
                    let what = What::Works(Page {
                        works,
                        next,
                        recorded,
                    });
                    let fetch = Fetch {
                        link,
                        after: self.last_lsn,
                        request: id,
                        what,
                    };
                    return effects.list.push(Effect::Fetch(Box::new(fetch)));
                }
                Reply::Works { works, next }
            }
            Query::Bag(bag) => self.visible_bag(link, bag).map_or_else(
                || not_found(bag.to_string()),
                |bag| Reply::Bag(self.bag_view(bag)),
            ),
            Query::Bags { after, limit } => self.list_bags(link, after, limit),
            Query::Results { bag, from_row } => match self.results(link, bag, from_row) {
                Some(results) => {
                    let fetch = Fetch {
                        link,
                        after: self.last_lsn,
                        request: id,
                        what: What::Results(results),
                    };
                    return effects.list.push(Effect::Fetch(Box::new(fetch)));
                }
                None => not_found(bag.to_string()),
            },
            Query::Worker(worker) => self.workers.get(worker).map_or_else(
                || not_found(worker.to_string()),
                |worker| Reply::Worker(self.worker_view(worker)),
            ),
            Query::Workers { after, limit } => self.list_workers(after, limit),
            Query::Queues => Reply::Queues(self.list_queues()),
            Query::Categories => Reply::Categories(self.config.categories.clone()),
            Query::ExplainWork(work) => self
                .visible_work(link, work)
                .map(|(work, bag)| (*work, bag.id))
                .map_or_else(
                    || not_found(work.to_string()),
                    |(found, bag)| Reply::Explanation(self.explain_work(work, &found, bag)),
                ),
            Query::ExplainWorker(worker) => self.explain_worker(worker).map_or_else(
                || not_found(worker.to_string()),
                |(_, explanation)| Reply::Explanation(explanation),
            ),
            Query::Tokens { after, limit } => self.list_tokens(link, after, limit),
            Query::Notes { notebook, after } => self.list_notes(link, &notebook, &after),
        };
        self.reply(link, id, reply, effects);
    }

    fn status(&self) -> StatusView {
        let counters = self.counters();
        StatusView {
            shard: self.config.shard,
            epoch: self.epoch,
            version: self.config.version.clone(),
            uptime: self.now.since(self.started),
            works_queued: counters.works_queued + counters.works_delayed,
            works_leased: counters.works_leased,
            works_done: counters.works_done,
            finished_total: counters.succeeded_total + counters.unsuccessful_total,
            accepted_total: counters.accepted_total,
            bags: counters.bags,
            workers_connected: u32::try_from(counters.workers_connected).unwrap_or(u32::MAX),
            slots: counters.slots,
            lsn: self.last_lsn,
            works_max: self.config.limits.works_open_max,
            rows_bytes: Bytes(counters.rows_bytes),
            rejoin_wait: self.rejoin_until.map_or(Millis(0), |until| until.since(self.now)),
            subscribers: self.subscribers.clone(),
        }
    }

    fn visible_work(&self, link: LinkId, id: WorkId) -> Option<(&Work, &Bag)> {
        let work = self.works.get(id)?;
        Some((work, self.visible_bag(link, self.bags.id_of(work.bag))?))
    }

    fn work_detail(&self, link: LinkId, id: WorkId) -> Option<(WorkDetail, Option<wire_protocol::ids::Lsn>)> {
        let (work, bag) = self.visible_work(link, id)?;
        let detail = WorkDetail {
            work: self.work_view(id, work, bag)?,
            template: (*self.templates.get(bag.template).definition).clone(),
            exit_code: 0,
            elapsed_us: 0,
            result: Vec::new(),
        };
        Some((detail, work.phase.outcome().map(|_| work.lsn)))
    }

    fn work_view(&self, id: WorkId, work: &Work, bag: &Bag) -> Option<WorkView> {
        let template = &self.templates.get(bag.template).definition;
        let row_index = bag.row_of(id);
        let parameters = match bag.rows.get(row_index)? {
            Row::Here(row) => parameters::shown(template, row),
            // Read when the answer is fetched.
            Row::Recorded(_) => Vec::new(),
        };
        Some(WorkView {
            work: id,
            bag: bag.id,
            row: row_index,
            state: work.phase.view()?,
            attempt: work.attempt,
            worker: (work.worker.0 != 0).then_some(work.worker),
            reason: work.reason,
            label: template.label.clone(),
            app: template.app.clone(),
            parameters,
            submitted: bag.opened,
        })
    }

    /// Where the rows of works are that have gone from memory: index in `works`, and the record.
    fn recorded_rows(&self, works: &[WorkView]) -> Vec<(usize, Recorded)> {
        let recorded = |(index, view): (usize, &WorkView)| Some((index, self.recorded_row(view.work)?));
        works.iter().enumerate().filter_map(recorded).collect()
    }

    fn recorded_row(&self, id: WorkId) -> Option<Recorded> {
        let bag = self.bags.of_work(self.works.get(id)?.bag);
        let row = bag.row_of(id);
        match bag.rows.get(row)? {
            Row::Here(_) => None,
            Row::Recorded(lsn) => Some(Recorded {
                lsn,
                row,
                template: std::sync::Arc::clone(&self.templates.get(bag.template).definition),
            }),
        }
    }

    fn list_works(
        &self,
        link: LinkId,
        filter: &Filter,
        after: WorkId,
        limit: u32,
    ) -> (Vec<WorkView>, Option<WorkId>) {
        let limit = limit.clamp(1, PAGE_LEN_MAX) as usize;
        let mut works: Vec<WorkView> = Vec::new();
        let (mut scanned, mut bytes) = (0, 0);
        let mut last = after;
        let passes = |bag: &Bag| {
            let label = &self.templates.get(bag.template).definition.label;
            filter
                .label
                .as_ref()
                .is_none_or(|wanted| label.contains(wanted.as_str()))
        };
        let from = self
            .bags
            .reaching_behind(after)
            .max(filter.bag.unwrap_or_default());
        for bag in self.bags.iter_from(from) {
            if filter.bag.is_some_and(|wanted| wanted != bag.id) {
                break;
            }
            if !passes(bag) || self.visible_bag(link, bag.id).is_none() {
                if scanned >= WORKS_SCANNED_MAX {
                    return (works, Some(last));
                }
                scanned += 1;
                last = WorkId(bag.first.offset(bag.rows_total).0 - 1);
                continue;
            }
            let from = WorkId(after.0.saturating_add(1).max(bag.first.0));
            for id in from.0..bag.first.offset(bag.accepted()).0 {
                if works.len() == limit || bytes >= PAGE_BYTES || scanned >= WORKS_SCANNED_MAX {
                    return (works, Some(last));
                }
                scanned += 1;
                last = WorkId(id);
                let Some(work) = self.works.get(last) else {
                    continue;
                };
                let state = work.phase.view();
                let right_state =
                    filter.states.is_empty() || state.is_some_and(|state| filter.states.contains(&state));
                let right_worker = filter.worker.is_none_or(|worker| worker == work.worker);
                if right_state && right_worker {
                    works.extend(self.work_view(last, work, bag));
                    bytes += works.last().map_or(0, |view| {
                        work_bytes(view, &self.templates.get(bag.template).definition)
                    });
                }
            }
        }
        (works, None)
    }

    fn bag_view(&self, bag: &Bag) -> BagView {
        let template = &self.templates.get(bag.template).definition;
        BagView {
            bag: bag.id,
            first: bag.first,
            rows_total: bag.works_total(),
            tally: bag.tally,
            priority: bag.priority,
            tenant: self.tenants.get(bag.tenant).name.clone(),
            label: template.label.clone(),
            app: template.app.clone(),
            submitted: bag.opened,
        }
    }

    fn list_bags(&self, link: LinkId, after: BagId, limit: u32) -> Reply {
        let visible = self
            .bags
            .iter_after(after)
            .filter(|bag| self.visible_bag(link, bag.id).is_some());
        Reply::Bags(
            visible
                .take(limit.clamp(1, PAGE_LEN_MAX) as usize)
                .map(|bag| self.bag_view(bag))
                .collect(),
        )
    }

    fn results(&self, link: LinkId, bag: BagId, from_row: u32) -> Option<Results> {
        let bag = self.visible_bag(link, bag)?;
        let mut works = Vec::new();
        let mut row = from_row;
        let looked_at_max = from_row.saturating_add(WORKS_SCANNED_MAX as u32);
        while row < bag.accepted() && row < looked_at_max && works.len() < RESULTS_MAX {
            let id = bag.first.offset(row);
            if let Some(work) = self.works.get(id)
                && work.phase.outcome().is_some()
            {
                works.push((id, work.lsn));
            }
            row += 1;
        }
        let next_row = if row >= bag.accepted() {
            bag.rows_total
        } else {
            row
        };
        Some(Results {
            bag: bag.id,
            first: bag.first,
            works,
            next_row,
            open: bag.works_to_come(),
        })
    }

    fn worker_view(&self, worker: &Worker) -> WorkerView {
        WorkerView {
            worker: worker.id,
            uid: worker.about.uid.clone(),
            name: worker.about.name.clone(),
            state: worker.state,
            problem: worker.about.problem.clone(),
            held: worker.held_len(),
            finished: worker.about.finished_before + worker.reports,
            offer: worker.about.offer.clone(),
            silent_for: self.now.since(worker.last_seen),
            version: worker.about.version.clone(),
            approval: worker.about.standing.approval,
            certificate: worker
                .about
                .standing
                .certificate
                .map(|certificate| CertificateView {
                    serial: certificate.serial,
                    not_after: certificate.not_after,
                }),
            wallet: worker.about.standing.wallet,
        }
    }

    fn list_workers(&self, after: WorkerId, limit: u32) -> Reply {
        let mut bytes = 0;
        let page = self.workers.iter().filter(|worker| worker.id > after);
        let page = page
            .take(limit.clamp(1, PAGE_LEN_MAX) as usize)
            .take_while(|worker| {
                let fits = bytes < PAGE_BYTES;
                bytes += worker_bytes(worker);
                fits
            });
        Reply::Workers(page.map(|worker| self.worker_view(worker)).collect())
    }

    fn list_queues(&self) -> Vec<QueueView> {
        let queues = self.ready.queues().take(PAGE_LEN_MAX as usize);
        queues
            .map(|(key, queued)| QueueView {
                tenant: self.tenants.get(key.tenant).name.clone(),
                priority: key.priority,
                class: self.classes.get(key.class).describe(),
                queued,
                workers_eligible: self
                    .eligible(key.class)
                    .filter(|worker| worker.takes_work())
                    .count() as u32,
            })
            .collect()
    }
}

/// Bytes of a work on a page, about; at most, where its parameters are still to be fetched.
fn work_bytes(view: &WorkView, template: &WorkTemplate) -> usize {
    let parameters = if view.parameters.is_empty() {
        parameters::shown_bytes_max(template)
    } else {
        let bytes = view
            .parameters
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4);
        bytes.sum()
    };
    80 + view.label.len() + view.app.len() + parameters
}

/// Bytes of a worker on a page, about.
fn worker_bytes(worker: &Worker) -> usize {
    let offer = &worker.about.offer;
    let names = [
        &worker.about.uid,
        &worker.about.name,
        &worker.about.version,
        worker.about.problem.as_ref().unwrap_or(&offer.os),
        &offer.os,
        &offer.arch,
    ];
    let lists = [&offer.executors, &offer.tags, &offer.groups]
        .into_iter()
        .flatten();
    let custom = offer.custom.iter().map(|(name, _)| name.len() + 12);
    160 + names
        .into_iter()
        .chain(lists)
        .map(|name| name.len() + 2)
        .sum::<usize>()
        + custom.sum::<usize>()
}
