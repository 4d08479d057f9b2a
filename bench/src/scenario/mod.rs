//! Scenarios: what is done to a pool, as TOML files.
//!
//! A file has a base and may have variants, each a table of differences; a variant is run as if the base had been
//! written with its values. The standard set lies in `bench/scenarios` and is part of the program
//! ([`standard`]); a path runs a file of one's own.
//!
//! ```toml
//! about = "Works per second, closed loop"
//!
//! [pool]                 # who is there
//! workers = 8
//! slots = 64
//!
//! [load]                 # what they are given
//! works = 3_000_000
//!
//! [[fault]]              # what is done to them meanwhile
//! at_s = 2.0
//! do = "kill-worker"
//!
//! [[variant]]
//! name = "100 x 4"
//! pool.workers = 100
//! pool.slots = 4
//! ```
//!
//! An unknown name, a value out of range or a combination that means nothing is refused before anything starts,
//! with the name of the file and of the field.

mod check;
mod standard;

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub(crate) use standard::STANDARD;

/// One variant of a scenario, ready to be run.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Its name: that of its file.
    #[serde(skip)]
    pub(crate) name: String,
    /// Name of the variant; empty: the base.
    #[serde(skip)]
    pub(crate) variant: String,
    /// What it shows, for people.
    pub(crate) about: String,
    #[serde(default)]
    pub(crate) pool: PoolPlan,
    #[serde(default)]
    pub(crate) load: LoadPlan,
    #[serde(default)]
    pub(crate) runs: RunPlan,
    /// The persist sidecar and its database.
    #[serde(default)]
    pub(crate) sidecar: Option<SidecarPlan>,
    /// A crash and a start with much to read back; then `load` says how much.
    #[serde(default)]
    pub(crate) recover: Option<RecoverPlan>,
    #[serde(default, rename = "fault")]
    pub(crate) faults: Vec<FaultPlan>,
}

/// Who is there.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PoolPlan {
    /// Workers.
    pub(crate) workers: u32,
    /// Slots of each.
    pub(crate) slots: u32,
    /// Works that each takes ahead of time.
    pub(crate) prefill: u32,
    /// Processes that the workers are spread over; a fault kills one of them.
    pub(crate) worker_processes: u32,
    /// Largest UDP payload on all links; loopback carries up to 65 527.
    pub(crate) mtu: u16,
    /// What an acknowledgement waits for.
    pub(crate) durability: Durability,
    /// Mebibytes of journal between two snapshots.
    pub(crate) snapshot_mib: u32,
    /// Works that may be open at once.
    pub(crate) works_open_max: u64,
    /// Milliseconds without a sign of life after which a worker is lost.
    pub(crate) lease_timeout_ms: u32,
}

impl Default for PoolPlan {
    fn default() -> Self {
        Self {
            workers: 8,
            slots: 64,
            prefill: 1024,
            worker_processes: 1,
            mtu: 8192,
            durability: Durability::Disk,
            snapshot_mib: 256,
            works_open_max: 20_000_000,
            lease_timeout_ms: 10_000,
        }
    }
}

/// What an acknowledgement waits for.
#[derive(Deserialize, Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Durability {
    /// `fdatasync`.
    Disk,
    /// Nothing.
    Memory,
}

impl Durability {
    /// For people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Disk => "fdatasync before every acknowledgement",
            Self::Memory => "none: acknowledged from memory, the disk follows",
        }
    }

    /// As the engine's option has it.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
        }
    }
}

/// What they are given.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LoadPlan {
    /// How works are handed over.
    pub(crate) shape: Shape,
    /// Connections that hand over works.
    pub(crate) clients: u32,
    /// Closed loop: works of a run.
    pub(crate) works: u64,
    /// Works of one array.
    pub(crate) array: u32,
    /// Arrays under way at once, per client.
    pub(crate) under_way: u32,
    /// Streams, closed loop: works of a client that have no outcome yet.
    pub(crate) open_per_client: u32,
    /// Bytes of each work's parameters.
    pub(crate) row_bytes: u32,
    /// Bytes of each work's result. An open loop needs 8, in which workers tell when a work arrived.
    pub(crate) result_bytes: u32,
    /// Open loop: works that are due per second; 0: closed loop.
    pub(crate) rate: f64,
    /// Open loop: the rate as a share of what a closed loop of the same load reaches, measured first.
    pub(crate) rate_of_max: f64,
    /// Open loop: seconds of a run.
    pub(crate) seconds: f64,
    /// Seconds without load at the end, in which the pool's own consumption is measured.
    pub(crate) idle_s: f64,
    /// Which works are timed in an open loop.
    pub(crate) timed: Timed,
    /// Kinds of works with requirements of their own; every worker fits all.
    pub(crate) classes: u32,
    /// How unequal the kinds are: the n-th is drawn in proportion to 1/n^zipf; 0: all alike.
    pub(crate) zipf: f64,
}

impl Default for LoadPlan {
    fn default() -> Self {
        Self {
            shape: Shape::Arrays,
            clients: 1,
            works: 3_000_000,
            array: 250_000,
            under_way: 4,
            open_per_client: 16_384,
            row_bytes: 16,
            result_bytes: 0,
            rate: 0.0,
            rate_of_max: 0.0,
            seconds: 10.0,
            idle_s: 0.0,
            timed: Timed::All,
            classes: 1,
            zipf: 0.0,
        }
    }
}

impl LoadPlan {
    /// Works are due at instants of their own, whatever became of those before.
    pub(crate) fn is_open_loop(&self) -> bool {
        self.rate > 0.0 || self.rate_of_max > 0.0
    }
}

/// How works are handed over.
#[derive(Deserialize, Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// Many at once: a template and rows.
    Arrays,
    /// One by one, without waiting for the acknowledgement of the one before.
    Stream,
    /// One by one, each after the acknowledgement of the one before.
    Calls,
}

/// Which works are timed.
#[derive(Deserialize, Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Timed {
    /// All of a run.
    All,
    /// Those that are due between a killed engine's being ready again and the last worker's being back.
    Reconnecting,
}

/// How often.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunPlan {
    /// Runs that are measured, on one pool, one after another.
    pub(crate) count: u32,
    /// The warm-up before the first, as a share of a run.
    pub(crate) warm_up: f64,
}

impl Default for RunPlan {
    fn default() -> Self {
        Self {
            count: 3,
            warm_up: 0.1,
        }
    }
}

/// The persist sidecar, what it writes into, and when.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct SidecarPlan {
    /// The database.
    pub(crate) into: Into,
    /// When it is there.
    pub(crate) when: When,
}

/// A database.
#[derive(Deserialize, Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Into {
    /// A file of SQLite.
    Sqlite,
    /// A MariaDB server of the bench's own.
    Mariadb,
}

/// When the sidecar and its database are there.
#[derive(Deserialize, Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum When {
    /// Beside the load.
    Beside,
    /// The sidecar beside the load; the server stands still until the load is over, and then it catches up.
    Away,
    /// After the load, which only fills a journal; each run begins with an empty database.
    After,
}

/// A crash, and a start with much to read back.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoverPlan {
    /// Records that the journal holds at least.
    pub(crate) records: u64,
    /// Works that are open when the engine is killed.
    pub(crate) open_works: u32,
}

/// Something that is done to the pool.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultPlan {
    /// When, in seconds of the run.
    pub(crate) at_s: f64,
    /// What.
    #[serde(rename = "do")]
    pub(crate) what: FaultKind,
    /// How long it lasts, or until it comes back.
    #[serde(default)]
    pub(crate) for_s: f64,
}

/// What can be done to a pool.
#[derive(Deserialize, Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FaultKind {
    /// `kill -9` of a process of workers, which starts again after `for_s`.
    KillWorker,
    /// `kill -9` of the engine, which starts again after `for_s`.
    KillEngine,
    /// The journal's thread stands still for `for_s`, as it does in an `fdatasync` that does not return.
    StallDisk,
}

impl Scenario {
    /// All variants of a scenario: of the standard set by its name, or of a file by its path.
    ///
    /// # Errors
    /// It is neither, or what it says cannot be run; the error names the file and the field.
    pub(crate) fn load(name: &str, set: &[String]) -> Result<Vec<Self>> {
        let path = Path::new(name);
        let named = STANDARD.iter().find(|standard| standard.name == name);
        let (short, text) = match named {
            Some(standard) => (standard.name.to_owned(), standard.text.to_owned()),
            None if path.extension().is_some_and(|extension| extension == "toml") => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the scenario {}", path.display()))?;
                let stem = path.file_stem().unwrap_or_default();
                (stem.to_string_lossy().into_owned(), text)
            }
            None => {
                let names: Vec<&str> = STANDARD.iter().map(|standard| standard.name).collect();
                bail!(
                    "there is no scenario {name:?}; there are {}, or give the path of a .toml file",
                    names.join(", ")
                );
            }
        };
        Self::parse(&short, &text, set).with_context(|| format!("scenario {name}"))
    }

    fn parse(name: &str, text: &str, set: &[String]) -> Result<Vec<Self>> {
        let mut base: Table = toml::from_str(text)?;
        let variants = match base.remove("variant") {
            None => Vec::new(),
            Some(Value::Array(variants)) => variants,
            Some(_) => bail!("variant: is a list of tables, [[variant]]"),
        };
        if variants.is_empty() {
            return Ok(vec![Self::finish(name, String::new(), base, set)?]);
        }
        let one = |(index, variant): (usize, Value)| {
            let Value::Table(mut differences) = variant else {
                bail!("variant {index}: is a table");
            };
            let Some(Value::String(variant)) = differences.remove("name") else {
                bail!("variant {index}: has no name");
            };
            let mut whole = base.clone();
            merge(&mut whole, differences);
            let problem = format!("variant {variant:?}");
            Self::finish(name, variant, whole, set).context(problem)
        };
        variants.into_iter().enumerate().map(one).collect()
    }

    fn finish(name: &str, variant: String, mut table: Table, set: &[String]) -> Result<Self> {
        for assignment in set {
            merge(&mut table, assignment_table(assignment)?);
        }
        let mut scenario: Self = Value::Table(table).try_into()?;
        scenario.name = name.to_owned();
        scenario.variant = variant;
        scenario.check()?;
        Ok(scenario)
    }

    /// For people: name and variant.
    pub(crate) fn title(&self) -> String {
        match self.variant.as_str() {
            "" => self.name.clone(),
            variant => format!("{} ({variant})", self.name),
        }
    }
}

/// `load.works=1000` as a table.
fn assignment_table(assignment: &str) -> Result<Table> {
    let wanted = || format!("--set {assignment}: is FIELD=VALUE, such as load.works=100000");
    let (field, value) = assignment.split_once('=').with_context(wanted)?;
    let parsed: Result<Table, _> = toml::from_str(assignment);
    // A word needs no quotes here.
    let quoted = || toml::from_str(&format!("{field} = {value:?}"));
    parsed.or_else(|_| quoted()).with_context(wanted)
}

/// Puts the values of `differences` over those of `base`, tables entry by entry.
fn merge(base: &mut Table, differences: Table) {
    for (name, value) in differences {
        match (base.get_mut(&name), value) {
            (Some(Value::Table(known)), Value::Table(value)) => merge(known, value),
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "about = 'x'\n[load]\nworks = 10\n[[variant]]\nname = 'a'\n[[variant]]\nname = 'b'\nload.works = 20\npool.slots = 4";

    fn set(assignments: &[&str]) -> Vec<String> {
        assignments.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn variants_are_the_base_with_their_differences() {
        let variants = Scenario::parse("s", TEXT, &[]).expect("well-formed");
        let facts = |s: &Scenario| (s.title(), s.load.works, s.pool.slots);
        assert_eq!(facts(&variants[0]), ("s (a)".to_owned(), 10, 64));
        assert_eq!(facts(&variants[1]), ("s (b)".to_owned(), 20, 4));
    }

    #[test]
    fn settings_of_the_command_line_come_last() {
        let variants = Scenario::parse("s", TEXT, &set(&["load.works=7", "load.shape=stream"]))
            .expect("words need no quotes");
        assert!(
            variants
                .iter()
                .all(|s| s.load.works == 7 && s.load.shape == Shape::Stream)
        );
    }

    #[test]
    fn what_means_nothing_is_refused_by_its_name() {
        const KILL_ENGINE: &str = "fault=[{ at_s = 1.0, do = 'kill-engine' }]";
        let cases: &[(&[&str], &str)] = &[
            (&["load.wroks=7"], "wroks"),
            (&["load"], "--set load"),
            (&["load.works=0"], "load.works"),
            (&["pool.workers=0"], "pool.workers"),
            (&["load.rate=-1.0"], "load.rate"),
            (&["load.rate=inf"], "load.rate"),
            (&["load.seconds=0.0"], "load.seconds"),
            (&["load.seconds=inf"], "load.seconds"),
            (&["load.seconds=1e300"], "load.seconds"),
            (&["load.idle_s=86401.0"], "load.idle_s"),
            (&["fault=[{ at_s = 1e300, do = 'kill-worker' }]"], "fault.at_s"),
            (&["load.shape=bulk"], "bulk"),
            (&["load.classes=2", "load.shape=stream"], "load.classes"),
            (&["load.classes=2", "load.shape=calls"], "load.classes"),
            (&["load.timed=reconnecting", KILL_ENGINE], "a closed loop"),
            (&["sidecar={ into = 'sqlite', when = 'away' }"], "sidecar.into"),
            (&["fault=[{ at_s = inf, do = 'kill-worker' }]"], "fault.at_s"),
            (&["fault=[{ at_s = nan, do = 'kill-worker' }]"], "fault.at_s"),
            (
                &["fault=[{ at_s = 0.0, for_s = inf, do = 'stall-disk' }]"],
                "fault.for_s",
            ),
            (
                &["fault=[{ at_s = 0.0, for_s = nan, do = 'kill-worker' }]"],
                "fault.for_s",
            ),
        ];
        for (assignments, named) in cases {
            let Err(error) = Scenario::parse("s", TEXT, &set(assignments)) else {
                panic!("{assignments:?} means something");
            };
            assert!(format!("{error:#}").contains(named), "{assignments:?}: {error:#}");
        }
    }

    #[test]
    fn every_standard_scenario_can_be_run() {
        for standard in STANDARD {
            let variants = Scenario::load(standard.name, &[]).expect(standard.name);
            assert!(!variants.is_empty() && !variants[0].about.is_empty());
        }
    }

    #[test]
    fn a_scenario_that_is_not_there_is_answered_with_those_that_are() {
        let error = Scenario::load("thruput", &[]).expect_err("no such scenario");
        assert!(error.to_string().contains("throughput"), "{error}");
    }
}
