//! How an engine starts, and how it ends without a word.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use engine_core::{Effects, Pressure, Scheduler};
use engine_journal::{Fault as DiskFault, Journal, JournalError, Loss, OneByOne, Shown};
use wire_protocol::ids::Lsn;
use wire_protocol::units::Instant;

use super::{Batch, Engine, Life, WALL_START};
use crate::clock::MS;
use crate::net::End;
use crate::oracle::Violation;
use crate::world::{Ctx, Event};

impl Engine {
    /// Starts the process: recovers what the disk holds, and takes up the shard. On a disk that fails it tries
    /// again later.
    pub(crate) fn start(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        if self.life.is_some() {
            return Ok(());
        }
        let now = ctx.clock.now();
        match self.recover(ctx)? {
            ControlFlow::Continue(life) => {
                self.lives += 1;
                ctx.trace.note(now, &[1, life.durable.0], || {
                    format!("!! the engine starts, life {}, at {}", self.lives, life.durable)
                });
                self.life = Some(life);
                let mut effects = std::mem::take(&mut self.life_mut().effects);
                let pool_now = self.pool_now(now);
                self.life_mut().core.start(pool_now, &mut effects);
                self.life_mut().effects = effects;
                ctx.oracles.started(self.life_mut().core.epoch())?;
                self.perform(ctx)?;
                ctx.oracles.compare(&self.life_mut().core.counters())?;
                self.after_turn(ctx)?;
                let life = self.lives;
                ctx.clock.after(1, Event::Upkeep { life });
                Ok(())
            }
            ControlFlow::Break(error) => {
                ctx.trace.reach("a start fails");
                ctx.trace
                    .note(now, &[2], || format!("!! the engine cannot start: {error}"));
                // As if the process died: whatever it did so far stays in the cache.
                self.disk.crash_process();
                ctx.clock.after(300 * MS, Event::EngineStart);
                Ok(())
            }
        }
    }

    fn recover(&mut self, ctx: &mut Ctx) -> Result<ControlFlow<String, Box<Life>>, Violation> {
        // A start that fails leaves the coin as it was.
        let seed = self.rng.clone().u64(..);
        let mut core = Scheduler::new(engine_core::Config {
            seed,
            ..self.config.clone()
        });
        let mut replayed = Ok(());
        let opened = Journal::open_and_show(
            Arc::new(self.disk.clone()),
            self.journal.clone(),
            &OneByOne,
            &mut |shown| {
                if replayed.is_ok() {
                    replayed = Self::replay(&shown, &mut core);
                }
            },
        );
        let (mut journal, recovery) = match opened {
            Ok(opened) => opened,
            Err(error @ (JournalError::Io { .. } | JournalError::DiskFull { .. })) => {
                return Ok(ControlFlow::Break(error.to_string()));
            }
            // A failed write is a failed start; only what is found on the disk is damage.
            Err(error @ JournalError::Poisoned { .. }) => return Ok(ControlFlow::Break(error.to_string())),
            Err(error) => {
                return Err(Violation::new(
                    "lsn",
                    None,
                    format!("the journal does not open: {error}"),
                ));
            }
        };
        let reader = journal.reader();
        let first = reader.first_lsn();
        let records = match reader.read_after(Lsn(first.0 - 1), recovery.last_lsn, usize::MAX) {
            Ok(records) => records,
            Err(error) => return Ok(ControlFlow::Break(error.to_string())),
        };
        assert_eq!(self.rng.u64(..), seed, "the start drew no other");
        if let Err(error) = replayed {
            return Err(Violation::new(
                "states",
                None,
                format!("the records cannot be replayed: {error}"),
            ));
        }
        ctx.oracles.recovered(recovery.last_lsn, first, &records)?;
        for (happened, what) in [
            (recovery.snapshot.is_some(), "a start from a snapshot"),
            (recovery.torn.is_some(), "a torn tail"),
            (!recovery.damaged_snapshots.is_empty(), "a damaged snapshot"),
            (first > Lsn(1), "a trimmed journal"),
            (ctx.oracles.lost() > 0, "records lost that nobody was promised"),
        ] {
            if happened {
                ctx.trace.reach(what);
            }
        }
        core.check();
        journal.begin_epoch();
        let durable = journal.durable_lsn();
        let wall = WALL_START.saturating_add_signed(self.wall_off) + ctx.clock.now();
        let started = (Instant(wall).max(core.clock_floor()), ctx.clock.now());
        Ok(ControlFlow::Continue(Box::new(Life {
            janitor: journal.janitor(),
            snapshots: journal.snapshot_writer(),
            reader,
            journal,
            core,
            started,
            effects: Effects::default(),
            filling: Batch::default(),
            committing: None,
            durable,
            epoch_lsn: durable.next(),
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            speakers: BTreeMap::new(),
            full: Vec::new(),
            pressure: Pressure::None,
            disk_full: false,
            tick_at: None,
            snapshot: None,
            since_check: 0,
        })))
    }

    fn replay(shown: &Shown<'_>, core: &mut Scheduler) -> Result<(), Box<dyn std::error::Error>> {
        match shown {
            Shown::Snapshot(snapshot) => core.restore(&snapshot.bytes)?,
            Shown::Records(block) => {
                for record in block.records() {
                    core.replay(record.lsn, record.kind, record.payload)?;
                }
            }
        }
        Ok(())
    }

    /// The process ends without a word. `power`: so does the machine.
    pub(crate) fn crash(&mut self, ctx: &mut Ctx, power: Option<Loss>) {
        let Some(mut life) = self.life.take() else { return };
        let counters = life.core.counters();
        ctx.trace.add("a stale report", counters.stale_total);
        ctx.trace.add("a busy answer", counters.busy_total);
        if life.committing.is_some() {
            ctx.trace.reach("a crash during a commit");
        }
        if let Some(mut batch) = life.committing.take() {
            match self.rng.u8(0..3) {
                0 => {}
                // It had been written as a whole, or only a part of it had.
                1 => drop(life.journal.append(&mut batch.records, batch.first, 0)),
                _ => {
                    self.disk.fail_call(self.rng.u64(1..=2), DiskFault::Io);
                    drop(life.journal.append(&mut batch.records, batch.first, 0));
                }
            }
        }
        drop(life);
        match power {
            Some(loss) => self.disk.crash(loss),
            None => self.disk.crash_process(),
        }
        if let Some(synced) = self.synced.take() {
            self.disk = synced;
        }
        self.stalled_until = 0;
        for link in ctx.net.links() {
            ctx.net.vanish(&mut ctx.clock, link, End::Engine);
        }
        let now = ctx.clock.now();
        ctx.trace
            .note(now, &[3], || format!("!! the engine ends ({power:?})"));
        ctx.oracles.crashed();
    }
}
