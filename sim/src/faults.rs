//! What a seed decides: the size of the world, and which faults come how often.
//!
//! Not every run has every fault (*swizzling*): a bug that needs many crashes and no partition is found where a
//! run with a bit of everything would hide it.

use std::fmt;

use serde::Serialize;

use crate::clock::{MS, SEC, Time, US};

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A connection ends; each side notices at its own time, and frames under way are lost.
    ConnectionLoss,
    /// Silence in both directions.
    Partition,
    /// Silence in one direction.
    HalfPartition,
    /// Little bandwidth.
    SlowLink,
    /// The engine's machine loses power: un-synced sectors and names are lost, writes are torn.
    EngineCrash,
    /// The engine's process is killed; what it wrote stays.
    EngineKill,
    /// The engine does nothing for a while.
    EngineStall,
    /// A write or an fsync fails; the engine's process has to stop.
    FsyncError,
    /// A read, a write or an fsync fails somewhere, perhaps during a start.
    DiskError,
    /// The disk is full for a while.
    DiskFull,
    /// A commit takes long.
    SlowDisk,
    /// A worker's process dies and loses everything.
    WorkerCrash,
    /// A worker does nothing for a while.
    WorkerStall,
    /// A worker is asked to leave.
    WorkerDrain,
    /// A worker takes no work for a while.
    WorkerHold,
    /// Somebody asks for a snapshot, or a client stops reading.
    Snapshot,
    /// The wall clock has stepped when the engine starts again.
    ClockJump,
    /// Some of the chain's last blocks are orphaned.
    Reorganisation,
    /// No node of the chain answers for a while.
    NodeAway,
    /// The pool's process dies and loses everything.
    PoolCrash,
}

impl Fault {
    /// Those that [`Options::from_seed`] chooses from; the others it chooses apart.
    const ALL: [Self; 16] = [
        Self::ConnectionLoss,
        Self::Partition,
        Self::HalfPartition,
        Self::SlowLink,
        Self::EngineCrash,
        Self::EngineKill,
        Self::EngineStall,
        Self::FsyncError,
        Self::DiskError,
        Self::DiskFull,
        Self::SlowDisk,
        Self::WorkerCrash,
        Self::WorkerStall,
        Self::WorkerDrain,
        Self::Snapshot,
        Self::ClockJump,
    ];

    /// Those of runs with a marketplace.
    const OF_MARKETS: [Self; 3] = [Self::Reorganisation, Self::NodeAway, Self::PoolCrash];
}

/// How a shell is broken on purpose, so that a test sees an oracle object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sabotage {
    /// Sends acknowledgements and outcomes without waiting for durability.
    TellsBeforeDurable,
    /// Says that the disk has synced, and forgets the batch at the next crash.
    ForgetsSynced,
    /// Puts a record into the journal twice.
    RepeatsRecord,
    /// Writes a record with one bit changed.
    AltersRecord,
    /// Exchanges the tokens of two reports.
    MixesReports,
    /// Lets a worker claim a lease that it never got.
    ForgesLeases,
    /// Gives a worker each assignment twice, the second time as a further attempt.
    AssignsTwice,
    /// Makes workers offer more room than they have.
    FlattersWorkers,
    /// Makes workers offer more of what is counted than they have.
    FlattersCounters,
    /// Flips a bit of a result that is read back.
    SpoilsResults,
    /// Never answers what has to be read from the journal.
    SwallowsFetches,
    /// Ignores the end of leases: the scheduler's clock stands still.
    StopsTicking,
    /// Depends on something that is not in the seed: on other runs in this process.
    RemembersOtherRuns,
    /// Lets peers in before the record of its epoch is durable.
    ServesEarly,
    /// Deletes records by what is needed now, not by what was when the last snapshot was taken.
    DeletesEarly,
    /// Acknowledges one report more than were recorded.
    RecordsTooMuch,
    /// Sends the pool's transactions before their notes are durable.
    SendsBeforeNoted,
}

/// What part of a simulation is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Faults, then the oracles of safety.
    Safety,
    /// No faults at all; everything has to settle.
    Liveness,
    /// Faults, then none; everything has to settle.
    Both,
}

/// All that a run depends on. Two runs with equal options are equal, event for event.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// The seed everything follows from.
    pub seed: u64,
    /// What is run.
    pub mode: Mode,
    /// Honest workers.
    pub workers: usize,
    /// Honest clients.
    pub clients: usize,
    /// A worker with a valid login that lies.
    pub hostile_worker: bool,
    /// A client with a valid login that lies.
    pub hostile_client: bool,
    /// Submissions of each client.
    pub bags: usize,
    /// Rows of a submission at most.
    pub rows_max: u32,
    /// Bytes of a result at most.
    pub result_bytes_max: usize,
    /// How long a work runs at most, in virtual nanoseconds.
    pub run_max: Time,
    /// Percent of attempts that fail.
    pub fail_percent: u8,
    /// One in so many rows ends the process of its worker; 0: none.
    pub poison_one_in: u32,
    /// How long there are faults, in virtual nanoseconds.
    pub faults_for: Time,
    /// Which.
    pub faults: Vec<Fault>,
    /// Time between two of them on average, in virtual nanoseconds.
    pub fault_every: Time,
    /// How long a commit takes, in virtual nanoseconds.
    pub fsync: Time,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of records between snapshots.
    pub snapshot_every: u64,
    /// The engine's lease timeout, in milliseconds.
    pub lease_timeout_ms: u64,
    /// The engine's rejoin window, in milliseconds.
    pub rejoin_window_ms: u64,
    /// How long done bags are remembered, in milliseconds.
    pub retention_ms: u64,
    /// Works that may be open at once.
    pub works_open_max: u64,
    /// The marketplace, if there is one.
    pub market: Option<MarketOptions>,
    /// The shell is broken in this way.
    pub sabotage: Option<Sabotage>,
}

/// What a run with a marketplace depends on beside.
#[derive(Clone, Debug, Serialize)]
pub struct MarketOptions {
    /// Orders that are bought.
    pub orders: usize,
    /// What they ask for.
    pub trust: u128,
    /// The result of most is taken where none is believed in time.
    pub best_effort: bool,
    /// One in so many workers computes results of its own; 0: none.
    pub liar_one_in: u8,
    /// Transactions that a node takes and forgets, in percent.
    pub lost_percent: u8,
    /// Questions that a node does not answer, in percent.
    pub silent_percent: u8,
    /// Answers that take some blocks, in percent.
    pub slow_percent: u8,
}

impl MarketOptions {
    /// What the seed says, one time in four. Of a generator of its own: everything else is as without a marketplace.
    fn from_seed(seed: u64) -> Option<Self> {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x0c4a_1e55);
        (rng.u8(0..4) == 0).then(|| Self {
            orders: rng.usize(1..=6),
            trust: [0, 2, 5][rng.usize(0..3)],
            best_effort: rng.bool(),
            liar_one_in: [0, 0, 3][rng.usize(0..3)],
            lost_percent: [0, 5, 30][rng.usize(0..3)],
            silent_percent: [0, 2, 10][rng.usize(0..3)],
            slow_percent: [0, 5, 30][rng.usize(0..3)],
        })
    }
}

impl Options {
    /// What the seed says.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let one_in = |rng: &mut fastrand::Rng, n: u32| rng.u32(0..n) == 0;
        let mut faults = Vec::new();
        if !one_in(&mut rng, 20) {
            let share = rng.u32(1..=3);
            faults.extend(Fault::ALL.iter().copied().filter(|_| rng.u32(0..4) < share));
        }
        // Of a generator of its own: what seeds have found before there was this fault they find again.
        if !faults.is_empty() && fastrand::Rng::with_seed(!seed).u8(0..3) == 0 {
            faults.push(Fault::WorkerHold);
        }
        let market = MarketOptions::from_seed(seed);
        if !faults.is_empty() && market.is_some() {
            let mut rng = fastrand::Rng::with_seed(seed ^ 0xface);
            faults.extend(Fault::OF_MARKETS.iter().copied().filter(|_| rng.bool()));
        }
        let large_results = one_in(&mut rng, 12);
        let retention_ms = if one_in(&mut rng, 8) {
            rng.u64(2_000..20_000)
        } else {
            24 * 3_600_000
        };
        Self {
            seed,
            mode: Mode::Both,
            workers: rng.usize(1..=8),
            clients: rng.usize(1..=4),
            hostile_worker: one_in(&mut rng, 3),
            hostile_client: one_in(&mut rng, 4),
            bags: rng.usize(1..=6),
            rows_max: [4, 20, 100][rng.usize(0..3)],
            result_bytes_max: if large_results { 20_000 } else { 200 },
            run_max: [200 * US, 20 * MS, 400 * MS, 3 * SEC][rng.usize(0..4)],
            fail_percent: [0, 5, 30][rng.usize(0..3)],
            poison_one_in: [0, 0, 40][rng.usize(0..3)],
            faults_for: rng.u64(3..=60) * SEC,
            faults,
            fault_every: [200 * MS, SEC, 3 * SEC][rng.usize(0..3)],
            fsync: [100 * US, 2 * MS, 30 * MS][rng.usize(0..3)],
            segment_bytes: if large_results { 1 << 20 } else { 128 << 10 },
            snapshot_every: if one_in(&mut rng, 3) { 8 << 10 } else { 128 << 10 },
            lease_timeout_ms: [1_500, 4_000, 10_000][rng.usize(0..3)],
            rejoin_window_ms: [0, 500, 3_000][rng.usize(0..3)],
            retention_ms,
            works_open_max: if one_in(&mut rng, 5) { 60 } else { 100_000 },
            market,
            sabotage: None,
        }
    }

    /// Without faults, where the mode says so.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        if mode == Mode::Liveness {
            self.faults.clear();
            self.hostile_worker = false;
            self.hostile_client = false;
            if let Some(market) = &mut self.market {
                market.lost_percent = 0;
                market.silent_percent = 0;
                market.slow_percent = 0;
            }
        }
        self
    }

    /// The command that repeats this run.
    #[must_use]
    pub fn command(&self) -> String {
        let mode = match self.mode {
            Mode::Safety => " --mode safety",
            Mode::Liveness => " --mode liveness",
            Mode::Both => "",
        };
        format!("cargo run -p sim -- run --seed {}{mode} --verbose", self.seed)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
