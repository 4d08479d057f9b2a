//! What a scenario may say.

use anyhow::{Result, ensure};

use super::{FaultKind, Into, Scenario, Shape, Timed, When};

/// Bytes of a result in which a worker can tell when a work arrived.
const ARRIVAL_BYTES: u32 = 8;

/// A day: nothing in a run takes longer, and a clock can still tell when it is over.
const SECONDS_MAX: f64 = 86_400.0;

impl Scenario {
    pub(super) fn check(&self) -> Result<()> {
        self.check_pool()?;
        self.check_load()?;
        self.check_sidecar()?;
        self.check_faults()
    }

    fn check_pool(&self) -> Result<()> {
        let pool = &self.pool;
        ensure!(pool.workers > 0, "pool.workers is 0; at least 1");
        ensure!(pool.slots > 0, "pool.slots is 0; at least 1");
        ensure!(
            (1..=pool.workers).contains(&pool.worker_processes),
            "pool.worker_processes is {}; 1 to {} (one for each worker)",
            pool.worker_processes,
            pool.workers
        );
        ensure!(pool.mtu >= 1200, "pool.mtu is {}; 1200 to 65527", pool.mtu);
        Ok(())
    }

    fn check_load(&self) -> Result<()> {
        let load = &self.load;
        ensure!(load.works > 0, "load.works is 0; at least 1");
        ensure!(load.clients > 0, "load.clients is 0; at least 1");
        ensure!(load.under_way > 0, "load.under_way is 0; at least 1");
        ensure!(load.open_per_client > 0, "load.open_per_client is 0; at least 1");
        ensure!(
            (1..=1_000_000).contains(&load.array),
            "load.array is {}; 1 to 1 000 000",
            load.array
        );
        for (name, value) in [
            ("load.rate", load.rate),
            ("load.rate_of_max", load.rate_of_max),
            ("load.zipf", load.zipf),
            ("runs.warm_up", self.runs.warm_up),
        ] {
            at_least_zero(name, value)?;
        }
        seconds("load.seconds", load.seconds)?;
        seconds("load.idle_s", load.idle_s)?;
        ensure!(load.seconds > 0.0, "load.seconds is 0; above 0");
        ensure!(load.classes > 0, "load.classes is 0; at least 1");
        ensure!(
            load.classes == 1 || load.shape == Shape::Arrays,
            "load.classes is {}; only arrays are of several kinds",
            load.classes
        );
        ensure!(self.runs.count > 0, "runs.count is 0; at least 1");
        ensure!(
            load.rate == 0.0 || load.rate_of_max == 0.0,
            "load.rate and load.rate_of_max are both set; keep one"
        );
        ensure!(
            load.timed == Timed::All || load.is_open_loop(),
            "load.timed: a closed loop times all works; set load.rate or load.rate_of_max"
        );
        if load.is_open_loop() {
            ensure!(
                load.shape == Shape::Stream,
                "load.shape: an open loop hands works over one by one; it is \"stream\""
            );
            ensure!(
                load.result_bytes == ARRIVAL_BYTES,
                "load.result_bytes is {}; an open loop needs {ARRIVAL_BYTES}, in which workers tell when a work arrived",
                load.result_bytes
            );
        }
        Ok(())
    }

    fn check_sidecar(&self) -> Result<()> {
        let away = self
            .sidecar
            .as_ref()
            .is_some_and(|it| it.when == When::Away && it.into != Into::Mariadb);
        ensure!(!away, "sidecar.into: only a server (mariadb) can be away");
        Ok(())
    }

    fn check_faults(&self) -> Result<()> {
        let recovers = self.recover.is_some();
        let catches_up = self.sidecar.as_ref().is_some_and(|it| it.when == When::After);
        ensure!(
            !(recovers || catches_up) || self.faults.is_empty(),
            "fault: a scenario that recovers or whose sidecar catches up cannot have them"
        );
        let kills_engine = self
            .faults
            .iter()
            .any(|fault| fault.what == FaultKind::KillEngine);
        ensure!(
            kills_engine || self.load.timed == Timed::All,
            "load.timed: workers reconnect only after a fault that kills the engine"
        );
        for fault in &self.faults {
            seconds("fault.at_s", fault.at_s)?;
            seconds("fault.for_s", fault.for_s)?;
            ensure!(
                fault.what != FaultKind::StallDisk || fault.for_s > 0.0,
                "fault: for_s says how long the disk stands still"
            );
        }
        Ok(())
    }
}

fn seconds(name: &str, value: f64) -> Result<()> {
    at_least_zero(name, value)?;
    ensure!(value <= SECONDS_MAX, "{name} is {value}; at most {SECONDS_MAX}");
    Ok(())
}

fn at_least_zero(name: &str, value: f64) -> Result<()> {
    ensure!(
        value >= 0.0 && value.is_finite(),
        "{name} is {value}; at least 0, and finite"
    );
    Ok(())
}
