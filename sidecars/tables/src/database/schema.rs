//! The tables that the journal fills, by name, for whoever reads them whole.

/// A table and its columns.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Its primary key: numbers, rows are read in their order.
    pub(crate) key: &'static [&'static str],
    /// All other columns.
    pub(crate) columns: &'static [&'static str],
}

/// All of them but the positions.
pub(crate) const TABLES: [Table; 7] = [
    Table {
        name: "pool_epochs",
        key: &["epoch"],
        columns: &["started_us", "version"],
    },
    Table {
        name: "pool_users",
        key: &["user_id"],
        columns: &["name", "weight"],
    },
    Table {
        name: "pool_batches",
        key: &["batch_id"],
        columns: &[
            "first_work_id",
            "works_total",
            "user_id",
            "app",
            "label",
            "priority",
            "template",
            "opened_us",
            "closed_us",
            "forgotten",
        ],
    },
    Table {
        name: "pool_workers",
        key: &["worker_id"],
        columns: &[
            "uid",
            "name",
            "version",
            "os",
            "arch",
            "cores",
            "memory_bytes",
            "slots",
            "state",
            "cordoned",
            "reason",
            "joined_us",
            "changed_us",
            "approval",
            "certificate_serial",
            "certificate_until_us",
            "wallet",
            "forgotten",
        ],
    },
    Table {
        name: "pool_works",
        key: &["work_id"],
        columns: &[
            "batch_id",
            "user_id",
            "parameters",
            "accepted_us",
            "state",
            "reason",
            "attempt",
            "worker_id",
            "exit_code",
            "elapsed_us",
            "result",
            "changed_us",
            "lsn",
        ],
    },
    Table {
        name: "pool_attempts",
        key: &["work_id", "attempt"],
        columns: &[
            "worker_id",
            "epoch",
            "leased_us",
            "started_us",
            "ended_us",
            "outcome",
            "reason",
        ],
    },
    Table {
        name: "pool_events",
        key: &["lsn", "work_id"],
        columns: &["works", "at_us", "state", "reason", "attempt", "worker_id"],
    },
];
