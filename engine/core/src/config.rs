//! What an operator may set of the scheduler, and the bounds of everything it keeps.

use std::collections::BTreeMap;

use wire_protocol::category::Category;
use wire_protocol::ids::Shard;
use wire_protocol::units::{Bytes, Millis};

use crate::version::Version;

/// Settings of a scheduler. All of them may differ between two starts on the same journal.
#[derive(Clone, Debug)]
pub struct Config {
    /// The shard it runs.
    pub shard: Shard,
    /// Version of the program, for records and status.
    pub version: String,
    /// Seed of all its random choices (jitter of backoffs and of retry-after hints).
    pub seed: u64,
    /// A worker that was not heard of for this long loses its leases. Default 10 s.
    pub lease_timeout: Millis,
    /// How often a worker says something when it has nothing to say. Default 2 s.
    pub heartbeat: Millis,
    /// After a start, dispatch waits this long for the workers that held leases to come back, so that what they
    /// run is not given to others meanwhile. Default 3 s; it ends early when all are back.
    pub rejoin_window: Millis,
    /// A work that ran while this many workers were lost is quarantined. Default 3.
    pub kills_max: u8,
    /// Time for which done bags are remembered. Default 24 h.
    pub retention: Millis,
    /// Time for which a worker that is gone or lost is remembered. Default 1 h.
    pub worker_retention: Millis,
    /// Categories that works may name, in the order in which they are shown; at most
    /// [`wire_protocol::limits::CATEGORIES_MAX`]. Default [`Category::defaults`].
    pub categories: Vec<Category>,
    /// Shares of tenants by login; 1 for those not named.
    pub weights: BTreeMap<String, u32>,
    /// Who approves workers. Default [`ApprovalPolicy::Auto`].
    pub approval: ApprovalPolicy,
    /// Time for which a worker's certificate is good, in whole seconds; it asks for another when a third of it is left.
    /// Default 90 days.
    pub certificate_lifetime: Millis,
    /// Workers of an earlier version are refused. Default `None`: all versions are taken.
    pub worker_version_min: Option<Version>,
    /// Bytes of records after which it asks for a snapshot. Default 256 MiB.
    pub snapshot_every: Bytes,
    /// Bytes of records for each byte of the state before a snapshot is due, where that is more than `snapshot_every`: a
    /// large state is not written again and again for little. With 2, the default, snapshots add at most half to what
    /// is written, and a start reads back at most three times the state; 0: `snapshot_every` alone decides.
    pub records_per_snapshot: u64,
    /// The bounds.
    pub limits: Limits,
}

/// Who approves workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ApprovalPolicy {
    /// Whoever proves who it is may work.
    #[default]
    Auto,
    /// A worker whose uid was never seen, or that was just enrolled, is cordoned until an operator approves it. Workers
    /// that the journal knows from before count as approved.
    Manual,
}

/// Bounds of what the scheduler keeps in memory. Over a bound, submissions are answered `Busy`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Works that are not done. Default 20 million (32 bytes each and their rows). A larger bag is rejected.
    pub works_open_max: u64,
    /// Works that are done and remembered; over it the bags that have been done longest are forgotten early.
    /// Default 4 million.
    pub works_done_max: u64,
    /// Bags remembered. Default 4 million.
    pub bags_max: u64,
    /// Bytes of rows. Default 4 GiB.
    pub rows_bytes_max: Bytes,
    /// Distinct sets of requirements that works of remembered bags have. Default 4 096.
    pub classes_max: usize,
    /// Workers remembered. Default 200 000.
    pub workers_max: usize,
    /// Tenants remembered. Default 100 000.
    pub tenants_max: usize,
    /// Enrolment tokens remembered; they are forgotten a week after they expire. Default 10 000.
    pub tokens_max: usize,
    /// Bytes of notes of sidecars. Default 256 MiB.
    pub notes_bytes_max: Bytes,
    /// Submissions that one link may have under way. Default 1 024.
    pub submissions_per_link_max: usize,
    /// Requests for what works print that are served at once. Default 256.
    pub log_followers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            works_open_max: 20_000_000,
            works_done_max: 4_000_000,
            bags_max: 4_000_000,
            rows_bytes_max: Bytes::from_mib(4096),
            classes_max: 4_096,
            workers_max: 200_000,
            tenants_max: 100_000,
            tokens_max: 10_000,
            notes_bytes_max: Bytes::from_mib(256),
            submissions_per_link_max: 1_024,
            log_followers_max: 256,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shard: Shard(0),
            version: String::new(),
            seed: 0,
            lease_timeout: Millis::from_secs(10),
            heartbeat: Millis::from_secs(2),
            rejoin_window: Millis::from_secs(3),
            kills_max: 3,
            retention: Millis::from_secs(24 * 3600),
            worker_retention: Millis::from_secs(3600),
            categories: Category::defaults(),
            weights: BTreeMap::new(),
            approval: ApprovalPolicy::Auto,
            certificate_lifetime: Millis::from_secs(90 * 86_400),
            worker_version_min: None,
            snapshot_every: Bytes::from_mib(256),
            records_per_snapshot: 2,
            limits: Limits::default(),
        }
    }
}
