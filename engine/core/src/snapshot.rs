//! Snapshots: all that must outlive the process, as of one position in the journal.
//!
//! The same state gives the same bytes, live or replayed: what a replay does not know (the time of day between records,
//! links, backoffs) is left out. [`Image`] has the format.

use wire_protocol::ids::{BagId, Lsn, WorkId};
use wire_protocol::record::{TokenCreated, WorkerJoined};
use wire_protocol::units::Instant;
use wire_protocol::view::WorkerState;

use crate::image::{
    BagImage, BagPart, FORMAT, GONE, Header, Image, JoiningPart, NotebookImage, NotebookPart, RestoreError,
    StandingImage, TenantImage, TokenImage, WORKS_BYTES, WorkImage, WorkerImage, put_part,
};
use crate::scheduler::Scheduler;
use crate::state::Phase;
use crate::table::bag::Bag;
use crate::table::joining::{Certificate, Standing, Token};
use crate::table::note::Notebook;
use crate::table::rows::Row;
use crate::table::work::Work;
use crate::table::worker::Worker;

impl Scheduler {
    /// Appends a snapshot of the state after record [`Scheduler::last_lsn`]. An `out` that is empty serves again from
    /// snapshot to snapshot; where its memory is too little, or many times too much, it gets another.
    ///
    /// Cost: what is left to do is copied once, with its rows. Works of bags that have succeeded since the last snapshot
    /// are gone through; of those before, a byte or two a work is copied.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        // Growing on the way would copy, and touch anew, several times what the snapshot takes.
        let needed = usize::try_from(self.snapshot_bytes()).unwrap_or(0);
        if out.is_empty() && !(needed..=needed.saturating_mul(16)).contains(&out.capacity()) {
            // Growing it would copy all that it ever held. Twice as large it lasts for a while; what is not touched
            // costs nothing.
            *out = Vec::with_capacity(needed.saturating_mul(2));
        }
        out.reserve(needed);
        put_part(
            out,
            &Header {
                format: FORMAT,
                shard: self.config.shard,
                epoch: self.epoch,
                lsn: self.last_lsn,
                recorded: self.recorded,
                next_work: self.next_work,
                next_bag: self.next_bag,
                workers_given: self.workers.next_id().0 - 1,
            },
        );
        put_len(out, self.tenants.len());
        for (_, tenant) in self.tenants.iter() {
            put_part(
                out,
                &TenantImage {
                    name: tenant.name.clone(),
                    weight: tenant.weight,
                },
            );
        }
        put_len(out, self.workers.len());
        for worker in self.workers.iter() {
            put_part(out, &worker_image(worker));
        }
        put_len(out, self.bags.len());
        for bag in self.bags.iter() {
            self.put_bag(out, bag);
        }
        self.put_joining(out);
        self.put_notebooks(out);
    }

    fn put_notebooks(&self, out: &mut Vec<u8>) {
        put_len(out, self.notebooks.len());
        for (name, notebook) in self.notebooks.iter() {
            let part = NotebookPart {
                name: name.clone(),
                holder: notebook.holder,
                notes: u32::try_from(notebook.notes.len()).expect("their bytes are bounded"),
            };
            put_part(out, &part);
            for (key, value) in &notebook.notes {
                put_part(out, &(key, value));
            }
        }
    }

    fn put_joining(&self, out: &mut Vec<u8>) {
        put_part(
            out,
            &JoiningPart {
                tokens_given: self.tokens.given(),
                next_serial: self.next_serial,
            },
        );
        put_len(out, self.tokens.len());
        for token in self.tokens.iter() {
            put_part(out, &token_image(token));
        }
        let known = || {
            let workers = self.workers.iter();
            workers.filter(|worker| worker.about.standing != *Standing::NEW)
        };
        put_len(out, known().count());
        for worker in known() {
            put_part(out, &standing_image(worker));
        }
    }

    /// About how many bytes a snapshot takes now, rather too many than too few.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        const BAG_BYTES: u64 = 256;
        const WORKER_BYTES: u64 = 320;
        const TOKEN_BYTES: u64 = 128;
        let works = self.open_works() + self.counters.works_done;
        works * WORKS_BYTES as u64
            + self.counters.rows_bytes
            + self.bags.len() as u64 * BAG_BYTES
            + self.workers.len() as u64 * WORKER_BYTES
            + self.tokens.len() as u64 * TOKEN_BYTES
            + self.notebooks.bytes() * 2
    }

    fn put_bag(&self, out: &mut Vec<u8>, bag: &Bag) {
        put_part(
            out,
            &BagPart {
                bag: bag.id,
                lsn: bag.lsn,
                epoch: bag.epoch,
                first: bag.first,
                rows_total: bag.rows_total,
                tenant: bag.tenant,
                key: bag.key,
                priority: bag.priority,
                opened: bag.opened,
                closed: bag.closed,
                template: (*self.templates.get(bag.template).definition).clone(),
            },
        );
        put_len(out, bag.rows.chunks().len());
        for chunk in bag.rows.chunks() {
            out.extend_from_slice(&chunk.rows.to_le_bytes());
            out.extend_from_slice(&chunk.lsn.0.to_le_bytes());
            match chunk.bytes {
                None => out.extend_from_slice(&GONE.to_le_bytes()),
                Some(bytes) => {
                    put_len(out, bytes.len());
                    out.extend_from_slice(bytes);
                }
            }
        }
        if bag.has_succeeded() {
            out.extend_from_slice(self.image_of(bag));
        } else {
            self.put_works(out, bag);
        }
    }

    /// The works of a bag that has succeeded, as snapshots have them. Nothing of them can change any more, so they are
    /// gone through once and not with every snapshot.
    pub(crate) fn image_of<'a>(&self, bag: &'a Bag) -> &'a [u8] {
        bag.image.get_or_init(|| {
            let mut image = Vec::new();
            self.put_works(&mut image, bag);
            image.into_boxed_slice()
        })
    }

    /// Appends the works of a bag, those that are alike and stand together once.
    fn put_works(&self, out: &mut Vec<u8>, bag: &Bag) {
        let accepted = bag.accepted();
        let mut alike: Option<(WorkImage, u32)> = None;
        let mut row = 0;
        while row < accepted {
            let works = self.works.run(bag.first.offset(row), accepted - row);
            assert!(!works.is_empty(), "accepted rows are works");
            row += u32::try_from(works.len()).expect("at most as many as asked for");
            for part in works.iter().map(WorkImage::of) {
                match &mut alike {
                    Some((last, count)) if *last == part => *count += 1,
                    _ => {
                        if let Some((last, count)) = alike.replace((part, 1)) {
                            last.put(count, out);
                        }
                    }
                }
            }
        }
        if let Some((last, count)) = alike {
            last.put(count, out);
        }
    }

    /// Takes over a snapshot; to be called on a new scheduler, before any record.
    ///
    /// # Errors
    /// See [`RestoreError`]; the scheduler is of no use afterwards.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let image = Image::parse(snapshot)?;
        if image.shard != self.config.shard {
            return Err(RestoreError::Shard {
                found: image.shard,
                expected: self.config.shard,
            });
        }
        self.now = image.recorded;
        self.recorded = image.recorded;
        self.workers.reserve(image.workers_given);
        for tenant in &image.tenants {
            self.tenants.insert(&tenant.name, tenant.weight);
        }
        for worker in image.workers {
            self.restore_worker(worker, image.recorded);
        }
        for bag in image.bags {
            self.restore_bag(bag)?;
        }
        self.tokens.reserve(image.joining.tokens_given);
        self.next_serial = image.joining.next_serial;
        for token in image.tokens {
            self.restore_token(token);
        }
        for standing in image.standings {
            self.restore_standing(standing)?;
        }
        for notebook in image.notebooks {
            let NotebookImage { name, holder, notes } = notebook;
            let notes = notes.into_iter().map(|note| (note.key, note.value)).collect();
            self.notebooks.insert(name, Notebook { holder, notes });
        }
        self.epoch = image.epoch;
        self.last_lsn = image.lsn;
        self.next_work = image.next_work;
        self.next_bag = image.next_bag;
        self.scratch.bags.clear();
        Ok(())
    }

    fn restore_token(&mut self, token: TokenImage) {
        let TokenImage {
            created,
            used,
            revoked,
        } = token;
        self.tokens.insert(Token {
            used,
            revoked,
            ..Token::new(created)
        });
    }

    fn restore_standing(&mut self, standing: StandingImage) -> Result<(), RestoreError> {
        let id = standing.worker;
        let unknown = || RestoreError::Contradiction(format!("{id} is approved and unknown"));
        let worker = self.workers.get_mut(id).ok_or_else(unknown)?;
        let certificate = |(serial, key, not_after, token)| Certificate {
            serial,
            key,
            not_after,
            token,
        };
        worker.about.standing = Standing {
            approval: standing.approval,
            certificate: standing.certificate.map(certificate),
            wallet: None,
            groups: standing.groups,
        };
        self.hold_wallet(id, standing.wallet);
        Ok(())
    }

    fn restore_worker(&mut self, worker: WorkerImage, at: Instant) {
        let WorkerImage {
            worker: id,
            uid,
            name,
            version,
            offer,
            cordoned,
            gone,
        } = worker;
        self.insert_worker(WorkerJoined {
            worker: id,
            uid,
            name,
            version,
            offer,
            at,
        });
        let worker = self.workers.get_mut(id).expect("just inserted");
        worker.cordoned = cordoned;
        worker.state = if gone {
            WorkerState::Gone
        } else {
            WorkerState::Lost
        };
    }

    fn restore_bag(&mut self, bag: BagImage<'_>) -> Result<(), RestoreError> {
        self.epoch = bag.epoch;
        let id = bag.opened.bag;
        self.insert_bag(bag.lsn, bag.opened);
        let entry = self.bags.get_mut(id).expect("just inserted");
        entry.priority = bag.priority;
        entry.closed = bag.closed;
        let first = entry.first;
        for chunk in bag.chunks {
            match chunk.rows {
                None => self.insert_gone_rows(id, chunk.count, chunk.lsn),
                Some(rows) => {
                    self.insert_rows(id, rows, chunk.lsn);
                }
            }
        }
        let mut row = 0;
        for (alike, work) in bag.works {
            for _ in 0..alike {
                self.restore_work(first.offset(row), work)?;
                row += 1;
            }
        }
        Ok(())
    }

    fn insert_gone_rows(&mut self, id: BagId, rows: u32, lsn: Lsn) {
        let bag = self.bags.get_mut(id).expect("just inserted");
        let first = bag.first.offset(bag.accepted());
        bag.rows.push_gone(rows, lsn);
        bag.tally.queued += rows;
        self.works.accept(first, rows, id.0 as u32);
    }

    fn restore_work(&mut self, id: WorkId, part: WorkImage) -> Result<(), RestoreError> {
        let WorkImage {
            lsn,
            worker,
            epoch,
            attempt,
            spent,
            phase,
            reason,
            kills,
        } = part;
        if phase.is_held() {
            if self.workers.get(worker).is_none() {
                return Err(RestoreError::Contradiction(format!(
                    "{id} is held by unknown {worker}"
                )));
            }
            self.give_to_worker(id, worker);
        }
        let work = self.works.get_mut(id).expect("its row was accepted");
        let bag = work.bag;
        *work = Work {
            lsn,
            worker,
            epoch,
            attempt,
            spent,
            phase,
            reason,
            kills,
            ..*work
        };
        let bag = self.bags.of_work_mut(bag);
        let row = bag.row_of(id);
        if phase == Phase::Succeeded {
            self.counters.rows_bytes -= bag.rows.succeeded(row, 1);
        } else if matches!(bag.rows.get(row), Some(Row::Recorded(_))) {
            return Err(RestoreError::Contradiction(format!(
                "{id} is {phase:?} and its row has gone"
            )));
        }
        if phase != Phase::Queued {
            bag.count(Phase::Queued, phase);
            self.counters.moved(Phase::Queued, phase);
        }
        Ok(())
    }
}

fn worker_image(worker: &Worker) -> WorkerImage {
    WorkerImage {
        worker: worker.id,
        uid: worker.about.uid.clone(),
        name: worker.about.name.clone(),
        version: worker.about.version.clone(),
        offer: worker.about.offer.clone(),
        cordoned: worker.cordoned,
        gone: worker.state == WorkerState::Gone,
    }
}

fn token_image(token: &Token) -> TokenImage {
    TokenImage {
        created: TokenCreated {
            token: token.id,
            digest: token.digest,
            expires: token.expires,
            uses: token.uses,
            label: token.label.clone(),
            groups: token.groups.clone(),
            at: token.created,
        },
        used: token.used,
        revoked: token.revoked,
    }
}

fn standing_image(worker: &Worker) -> StandingImage {
    let standing = &worker.about.standing;
    StandingImage {
        worker: worker.id,
        approval: standing.approval,
        wallet: standing.wallet,
        groups: standing.groups.clone(),
        certificate: standing
            .certificate
            .map(|it| (it.serial, it.key, it.not_after, it.token)),
    }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("tables are bounded");
    out.extend_from_slice(&len.to_le_bytes());
}
