//! Submissions: what is let in, and what happens to it.

use wire_protocol::client_link::{Accepted, Busy, Open, Rejected, RequestId, RowsChunk, kind};
use wire_protocol::codec;
use wire_protocol::ids::{BagId, LinkId, Lsn};
use wire_protocol::limits::BAG_ROWS_MAX;
use wire_protocol::record::{self, BagOpened, RowsAdded};
use wire_protocol::template::{Invalid, Rows, WorkTemplate, row};
use wire_protocol::units::Millis;
use wire_protocol::worker_link::push_control;

use crate::effect::Effects;
use crate::event::Pressure;
use crate::ready::{End, Run};
use crate::scheduler::Scheduler;
use crate::table::bag::Bag;
use crate::table::class::Class;
use crate::table::rows::RowStore;
use crate::timers::Timer;

/// The share of a time to live that is left when its works begin to go first: a tenth.
const URGENT_SHARE: u64 = 10;

impl Scheduler {
    pub(crate) fn on_open(&mut self, link: LinkId, mut open: Open, effects: &mut Effects) {
        let request = open.request;
        let client = self.links.client(link).expect("routed by role");
        let tenant = client.tenant;
        if open.key != [0; 16]
            && let Some(bag) = self.bags.by_key(tenant, &open.key)
        {
            return self.reopen(link, &open, bag, effects);
        }
        let checked = check_open(&open, self.config.limits.works_open_max);
        if let Err(invalid) = checked.and_then(|()| self.resolve_category(&mut open.template)) {
            return self.reject(link, request, &invalid.field, invalid.problem, effects);
        }
        let class = Class::of(&open.template);
        if let Some(limit) = self.full_for(link, &open, &class) {
            return self.busy(link, request, limit, 0, effects);
        }
        let first = self.next_work;
        let bag = self.next_bag;
        let opened = BagOpened {
            bag,
            first,
            rows_total: open.rows_total,
            tenant,
            key: open.key,
            at: self.now,
            template: open.template,
        };
        let lsn = self.record(effects, record::kind::BAG_OPENED, |out| {
            codec::put_control(out, &opened)
        });
        let expires = opened.template.time_to_live.map(|ttl| (ttl, opened.at + ttl));
        self.insert_bag(lsn, opened);
        if let Some((ttl, at)) = expires {
            self.timers
                .at(at - Millis(ttl.0 / URGENT_SHARE), Timer::Urgent(bag));
            self.timers.at(at, Timer::Expire(bag));
        }
        let client = self.links.client_mut(link).expect("routed by role");
        client.submissions.insert(request, bag);
        if open.follow {
            self.add_follower(link, request, bag);
        }
        self.accept(link, request, bag, effects);
    }

    /// Gives the template the limits of the category that it names.
    fn resolve_category(&self, template: &mut WorkTemplate) -> Result<(), Invalid> {
        let Some(name) = &template.category else {
            return Ok(());
        };
        let categories = &self.config.categories;
        let category = categories.iter().find(|category| category.name == *name);
        let Some(category) = category else {
            let names: Vec<&str> = categories.iter().map(|category| category.name.as_str()).collect();
            let names = if names.is_empty() {
                "no category".to_owned()
            } else {
                names.join(", ")
            };
            return Err(Invalid {
                field: "category".to_owned(),
                problem: format!("`{name}` is none of this pool's; it has {names}"),
            });
        };
        category.apply(&mut template.limits)
    }

    /// Makes the bag known; also in replay.
    pub(crate) fn insert_bag(&mut self, lsn: Lsn, opened: BagOpened) {
        let class = self
            .classes
            .intern(Class::of(&opened.template), self.config.limits.classes_max);
        self.sync_wallet(class);
        let priority = opened.template.priority;
        let expires = opened.template.time_to_live.map(|ttl| opened.at + ttl);
        let keys = wire_protocol::warm::keys(&opened.template, Some(opened.tenant)).into_boxed_slice();
        self.next_generation += 1;
        let template = self.templates.intern(opened.template, self.next_generation);
        self.next_work = self.next_work.max(opened.first.offset(opened.rows_total));
        self.next_bag = self.next_bag.max(BagId(opened.bag.0 + 1));
        self.bags.insert(Bag {
            id: opened.bag,
            lsn,
            epoch: self.epoch,
            first: opened.first,
            rows_total: opened.rows_total,
            tenant: opened.tenant,
            key: opened.key,
            class,
            template,
            priority,
            opened: opened.at,
            expires,
            closed: false,
            forget_at: wire_protocol::units::Instant(u64::MAX),
            tally: wire_protocol::view::Tally::default(),
            keys,
            rows: RowStore::default(),
            image: std::cell::OnceCell::new(),
            followers: Vec::new(),
        });
    }

    /// The key is known: the submission goes on where it was, whatever became of the link it came on.
    fn reopen(&mut self, link: LinkId, open: &Open, bag: BagId, effects: &mut Effects) {
        let known = self.bags.get(bag).expect("keys name known bags");
        let definition = &self.templates.get(known.template).definition;
        let mut asked = open.template.clone();
        if asked.category.is_some() {
            // As it was resolved then, whatever its category says now.
            asked.limits.fill(&definition.limits);
        }
        let same = **definition == asked && known.rows_total == open.rows_total;
        if !same {
            let problem = format!("was used for {bag}, which has another template or number of rows");
            return self.reject(link, open.request, "key", problem, effects);
        }
        let some_done = known.tally.done() > 0;
        let accepted = known.accepted();
        // On a link that has it open already it goes on under the new number: one that asks again and again must not
        // use up what its link may have.
        let client = self.links.client_mut(link).expect("routed by role");
        client.submissions.retain(|_, opened| *opened != bag);
        if self.submissions_under_way(link) >= self.config.limits.submissions_per_link_max {
            return self.busy(link, open.request, "submissions", accepted, effects);
        }
        let client = self.links.client_mut(link).expect("routed by role");
        client.submissions.insert(open.request, bag);
        self.accept(link, open.request, bag, effects);
        if open.follow {
            self.add_follower(link, open.request, bag);
            if some_done {
                // Outcomes of before are asked for, not repeated.
                let lagging = wire_protocol::client_link::Lagging {
                    request: open.request,
                    bag,
                };
                let after = self.last_lsn;
                effects.send(link, after, |out| push_control(out, kind::LAGGING, &lagging));
            }
        }
    }

    pub(crate) fn on_rows(&mut self, link: LinkId, chunk: RowsChunk<'_>, effects: &mut Effects) {
        let request = chunk.request;
        let client = self.links.client(link).expect("routed by role");
        let Some(bag) = client
            .submissions
            .get(&request)
            .and_then(|bag| self.bags.get(*bag))
        else {
            let problem = "names no submission that is open on this link".to_owned();
            return self.reject(link, request, "request", problem, effects);
        };
        let accepted = bag.accepted();
        if bag.closed {
            let problem = format!(
                "{} was sealed, was cancelled or has expired and takes no more rows",
                bag.id
            );
            return self.reject(link, request, "rows", problem, effects);
        }
        let end = u64::from(chunk.first_row) + u64::from(chunk.rows.len());
        if end > u64::from(bag.rows_total) {
            let problem = format!("reach to row {end}; the submission announced {}", bag.rows_total);
            return self.reject(link, request, "rows", problem, effects);
        }
        if chunk.first_row > accepted {
            // What lies between was not taken, for want of room; so neither is this.
            return self.busy(link, request, "order", accepted, effects);
        }
        let rows = chunk.rows.skip(accepted - chunk.first_row);
        if rows.is_empty() {
            return self.accept(link, request, bag.id, effects);
        }
        let columns = self.templates.get(bag.template).definition.columns.len();
        if let Some(index) = rows.iter().position(|row| !row::fits(columns, row)) {
            let row = accepted as usize + index;
            let problem = format!("row {row} does not hold exactly {columns} values");
            return self.reject(link, request, "rows", problem, effects);
        }
        if let Some(limit) = self.full_for_rows(rows) {
            return self.busy(link, request, limit, accepted, effects);
        }
        let id = bag.id;
        let added = RowsAdded {
            at: self.now,
            bag: id,
            first_row: accepted,
            rows,
        };
        let lsn = self.record(effects, record::kind::ROWS_ADDED, |out| added.put(out));
        let run = self.insert_rows(id, rows, lsn);
        self.counters.accepted_total += u64::from(run.len);
        let key = Self::key_of(self.bags.get(id).expect("just seen"));
        self.ready.push(key, run, End::Back);
        self.accept(link, request, id, effects);
        self.dispatch_ready(id, effects);
    }

    /// Makes the next rows of the bag, which came by the record at `lsn`, known as queued works; also in replay.
    pub(crate) fn insert_rows(&mut self, bag: BagId, rows: Rows<'_>, lsn: Lsn) -> Run {
        let bag = self.bags.get_mut(bag).expect("rows are for known bags");
        let run = Run {
            first: bag.first.offset(bag.accepted()),
            len: rows.len(),
        };
        self.counters.rows_bytes += RowStore::memory_bytes(rows);
        bag.rows.push(rows, lsn);
        bag.tally.queued += run.len;
        self.works.accept(run.first, run.len, bag.id.0 as u32);
        run
    }

    fn accept(&mut self, link: LinkId, request: RequestId, bag: BagId, effects: &mut Effects) {
        let bag = self.bags.get(bag).expect("the caller looked it up");
        let accepted = Accepted {
            request,
            bag: bag.id,
            first: bag.first,
            rows: bag.accepted(),
            rows_total: bag.rows_total,
            lsn: self.last_lsn,
        };
        effects.send(link, self.last_lsn, |out| {
            push_control(out, kind::ACCEPTED, &accepted)
        });
    }

    /// How many submissions of a link count against its bound. Complete ones are kept beyond their end, so that rows
    /// that are sent twice are recognised, until there are too many of all.
    fn submissions_under_way(&mut self, link: LinkId) -> usize {
        let client = self.links.client_mut(link).expect("routed by role");
        if client.submissions.len() >= self.config.limits.submissions_per_link_max {
            let bags = &self.bags;
            client.submissions.retain(|_, bag| {
                bags.get(*bag)
                    .is_some_and(|bag| bag.accepted() < bag.rows_total && !bag.closed)
            });
        }
        client.submissions.len()
    }

    fn reject(
        &mut self,
        link: LinkId,
        request: RequestId,
        field: &str,
        problem: String,
        effects: &mut Effects,
    ) {
        let invalid = Invalid {
            field: field.to_owned(),
            problem,
        };
        let rejected = Rejected { request, invalid };
        effects.send(link, Lsn(0), |out| push_control(out, kind::REJECTED, &rejected));
    }

    pub(crate) fn busy(
        &mut self,
        link: LinkId,
        request: RequestId,
        limit: &str,
        rows: u32,
        effects: &mut Effects,
    ) {
        self.counters.busy_total += 1;
        // What is in the way usually goes within a few round trips, and people who look at something later; jitter keeps
        // the refused from coming in step.
        let base = match limit {
            "order" => 20,
            "log followers" => 5_000,
            _ => 200,
        };
        let retry_after = Millis(base + self.rng.u64(0..base));
        let busy = Busy {
            request,
            limit: limit.to_owned(),
            retry_after,
            rows,
        };
        effects.send(link, Lsn(0), |out| push_control(out, kind::BUSY, &busy));
    }

    /// The limit that keeps a submission from being opened.
    fn full_for(&mut self, link: LinkId, open: &Open, class: &Class) -> Option<&'static str> {
        let under_way = self.submissions_under_way(link);
        let limits = &self.config.limits;
        match self.pressure {
            Pressure::DiskFull => return Some("disk"),
            Pressure::Behind => return Some("journal"),
            Pressure::None => {}
        }
        if self.open_works() + u64::from(open.rows_total) > limits.works_open_max {
            return Some("works");
        }
        if self.bags.len() as u64 >= limits.bags_max {
            return Some("bags");
        }
        if under_way >= limits.submissions_per_link_max {
            return Some("submissions");
        }
        (!self.classes.has_room(class, limits.classes_max)).then_some("classes")
    }

    fn full_for_rows(&self, rows: Rows<'_>) -> Option<&'static str> {
        let limits = &self.config.limits;
        match self.pressure {
            Pressure::DiskFull => Some("disk"),
            Pressure::Behind => Some("journal"),
            Pressure::None if self.open_works() + u64::from(rows.len()) > limits.works_open_max => {
                Some("works")
            }
            Pressure::None => {
                let bytes = self.counters.rows_bytes + RowStore::memory_bytes(rows);
                (bytes > limits.rows_bytes_max.0).then_some("memory")
            }
        }
    }

    /// Works that are not done.
    pub(crate) fn open_works(&self) -> u64 {
        self.ready.len() + self.counters.works_delayed + self.counters.works_leased
    }
}

fn check_open(open: &Open, works_open_max: u64) -> Result<(), Invalid> {
    // A bag that this pool can never hold as a whole is not busy but wrong: waiting would not help.
    let max = works_open_max.min(u64::from(BAG_ROWS_MAX));
    if open.rows_total == 0 || u64::from(open.rows_total) > max {
        let problem = format!("is {}; 1 to {max} are allowed", open.rows_total);
        return Err(Invalid {
            field: "rows_total".to_owned(),
            problem,
        });
    }
    open.template.validate()
}
