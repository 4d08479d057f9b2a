//! The options of disks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::executor::{Docker, Folder};
use crate::{DiskWatch, Marks};

/// What the operator of a worker says of disks that fill up.
#[derive(Args, Debug)]
#[command(next_help_heading = "Disks")]
pub(super) struct DiskArgs {
    /// Percent of Docker's disk in use above which images go that works have used, those first that no
    /// work has used for longest
    #[arg(long, value_name = "PERCENT", env = "POOL_DISK_HIGH", default_value_t = 85,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    disk_high: u8,

    /// Percent of it in use below which no more go
    #[arg(long, value_name = "PERCENT", env = "POOL_DISK_LOW", default_value_t = 70,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    disk_low: u8,

    /// Percent of Docker's disk or of --folder's in use from which on the worker takes no work, until it
    /// is below --disk-high
    #[arg(long, value_name = "PERCENT", env = "POOL_DISK_FULL", default_value_t = 95,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    disk_full: u8,

    /// Seconds between two looks
    #[arg(long, value_name = "S", env = "POOL_DISK_LOOK_S", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..))]
    disk_look_s: u64,
}

impl DiskArgs {
    pub(super) fn into_watch(
        self,
        folder: &Folder,
        images: Option<Arc<Docker>>,
    ) -> anyhow::Result<DiskWatch> {
        let marks = Marks::new(self.disk_low, self.disk_high, self.disk_full);
        Ok(DiskWatch {
            folder: folder.path().to_owned(),
            works: folder.works().to_owned(),
            every: Duration::from_secs(self.disk_look_s),
            marks: marks.with_context(|| {
                format!(
                    "--disk-low {} (POOL_DISK_LOW), --disk-high {} (POOL_DISK_HIGH) and --disk-full {} \
                     (POOL_DISK_FULL) have to rise in this order",
                    self.disk_low, self.disk_high, self.disk_full
                )
            })?,
            images,
        })
    }
}
