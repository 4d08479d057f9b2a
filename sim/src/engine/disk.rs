//! What the server's other threads do: commits, fetches, snapshots, upkeep. Each takes its virtual while.

use engine_core::{Event as CoreEvent, Fetch};
use engine_journal::{JournalError, Loss, Upkeep};
use wire_protocol::ids::Lsn;

use super::{Engine, Snapshot, UPKEEP_EVERY, Waiting};
use crate::clock::MS;
use crate::faults::Sabotage;
use crate::oracle::Violation;
use crate::sabotage;
use crate::world::{Ctx, Event};

impl Engine {
    pub(super) fn release(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        loop {
            let life = self.life_mut();
            let durable = life.durable;
            let Some((_, waiting)) = life.outbox.pop_front_if(|(after, _)| *after <= durable) else {
                return Ok(());
            };
            match waiting {
                Waiting::Frames(link, frames) => {
                    life.outbox_bytes -= frames.len();
                    self.send(ctx, link, &frames)?;
                }
                Waiting::Fetch(_) if self.sabotage == Some(Sabotage::SwallowsFetches) => {}
                Waiting::Fetch(fetch) => {
                    let life = self.lives;
                    ctx.clock
                        .after(self.rng.u64(0..2 * MS), Event::Fetch { life, fetch });
                }
            }
        }
    }

    /// The fetch thread comes to it.
    pub(crate) fn on_fetch(&mut self, ctx: &mut Ctx, fetch: Fetch) -> Result<(), Violation> {
        let spoils = self.sabotage == Some(Sabotage::SpoilsResults);
        let reader = self.life_mut().reader.clone();
        let link = fetch.link;
        let mut frames = Vec::new();
        let mut read = |lsn, payload: &mut Vec<u8>| {
            let record = reader.read(lsn).ok()??;
            *payload = record.payload;
            if spoils && let Some(last) = payload.last_mut() {
                *last ^= 1;
            }
            Some(record.kind)
        };
        fetch.complete(&mut read, &mut frames);
        self.send(ctx, link, &frames)?;
        self.after_turn(ctx)
    }

    /// Hands the batch to the journal thread, if that is free.
    pub(super) fn commit(&mut self, ctx: &mut Ctx) {
        let slow = if ctx.clock.now() < self.slow_disk.0 {
            self.slow_disk.1
        } else {
            0
        };
        let takes = self.fsync / 2 + self.rng.u64(0..=self.fsync) + slow + sabotage::noise(self.sabotage);
        let number = self.lives;
        let life = self.life_mut();
        if life.committing.is_some() || life.filling.records.is_empty() {
            return;
        }
        life.committing = Some(std::mem::take(&mut life.filling));
        let first = life.committing.as_ref().map_or(Lsn(0), |batch| batch.first);
        ctx.clock.after(takes, Event::Commit { life: number, first });
    }

    /// The journal thread is done with the batch that begins here.
    pub(crate) fn on_commit(&mut self, ctx: &mut Ctx, first: Lsn) -> Result<(), Violation> {
        let life = self.life_mut();
        if life.committing.as_ref().is_none_or(|batch| batch.first != first) {
            return Ok(());
        }
        self.commit_done(ctx)?;
        self.after_turn(ctx)
    }

    pub(super) fn commit_done(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        let now = ctx.clock.now();
        if self.sabotage == Some(Sabotage::ForgetsSynced) && self.life_mut().durable.0 > 40 {
            let disk = &self.disk;
            self.synced.get_or_insert_with(|| disk.fork());
        }
        let number = self.lives;
        let life = self.life_mut();
        let mut batch = life.committing.take().expect("a commit is under way");
        match life.journal.append(&mut batch.records, batch.first, now / 1_000) {
            Ok(durable) => {
                life.durable = durable;
                life.disk_full = !life.journal.headroom().intake_ok;
                ctx.trace
                    .note(now, &[6, durable.0], || format!("durable up to {durable}"));
                ctx.oracles.durable(durable)
            }
            Err(JournalError::DiskFull { .. }) => {
                life.disk_full = true;
                let first = batch.first;
                life.committing = Some(batch);
                ctx.trace.reach("a commit finds the disk full");
                ctx.trace.note(now, &[7], || "!! the disk is full".to_owned());
                ctx.clock.after(100 * MS, Event::Commit { life: number, first });
                Ok(())
            }
            Err(error) => {
                ctx.trace.reach("a commit fails");
                ctx.trace.note(now, &[8], || format!("!! {error}"));
                let power = self.rng.bool().then_some(Loss::Random);
                self.crash(ctx, power);
                ctx.clock.after(50 * MS, Event::EngineStart);
                Ok(())
            }
        }
    }

    /// Somebody wants a snapshot now, whatever the scheduler thinks.
    pub(crate) fn ask_for_snapshot(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        if self.life.is_some() {
            self.take_snapshot(ctx);
            self.after_turn(ctx)?;
        }
        Ok(())
    }

    pub(super) fn take_snapshot(&mut self, ctx: &mut Ctx) {
        let delay = self.rng.u64(0..30 * MS);
        let number = self.lives;
        let life = self.life_mut();
        if life.snapshot.is_some() {
            return;
        }
        let mut bytes = Vec::new();
        life.core.snapshot(&mut bytes);
        ctx.trace.bytes(&bytes);
        life.snapshot = Some(Snapshot {
            lsn: life.core.last_lsn(),
            bytes,
            needed: life.core.oldest_needed(),
        });
        ctx.clock.after(delay, Event::Snapshot { life: number });
    }

    /// The upkeep thread writes the snapshot, as soon as what it includes is durable.
    pub(crate) fn on_snapshot(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        let number = self.lives;
        let deletes_early = self.sabotage == Some(Sabotage::DeletesEarly);
        let life = self.life_mut();
        let durable = life.durable;
        let Some(Snapshot { lsn, bytes, needed }) = life.snapshot.take_if(|snapshot| snapshot.lsn <= durable)
        else {
            ctx.clock.after(MS, Event::Snapshot { life: number });
            return Ok(());
        };
        let written = life.reader.anchor(lsn).and_then(|anchor| match anchor {
            Some(anchor) => life.snapshots.write(anchor, |out| out.write_all(&bytes)),
            None => Ok(()),
        });
        let now = ctx.clock.now();
        ctx.trace.note(now, &[9, lsn.0], || {
            format!("!! snapshot at {lsn}: {}", crate::story::outcome(&written))
        });
        let needed = match deletes_early {
            true => life.core.oldest_needed(),
            false => needed,
        };
        // What cannot be deleted now is tried again with the next snapshot.
        drop(life.janitor.retain_from(needed));
        self.handle(ctx, CoreEvent::SnapshotDone)?;
        self.after_turn(ctx)
    }

    /// The upkeep thread looks around.
    pub(crate) fn on_upkeep(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        let number = self.lives;
        let life = self.life_mut();
        while let Ok(Upkeep::Working) = life.janitor.step() {}
        life.disk_full = !life.journal.headroom().intake_ok;
        ctx.clock.after(UPKEEP_EVERY, Event::Upkeep { life: number });
        self.after_turn(ctx)
    }
}
