//! What the disk itself does: the floor under every durable latency.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::collect::Collected;

/// A batch of 64 records of 200 bytes.
const BATCH_BYTES: usize = 64 * 200;

/// As many as are written: enough for a 99th percentile, and less than a second.
const BATCHES: usize = 500;

/// Times `fdatasync` of batches that are appended to a file that was filled with zeros, as a journal's segment is.
pub(super) fn measure(data: &Path, collected: &mut Collected) -> Result<()> {
    std::fs::create_dir_all(data).context("cannot make the folder for the engine's files (--data)")?;
    let mut file = tempfile::tempfile_in(data).context("cannot make a file (--data)")?;
    file.write_all(&vec![0; BATCH_BYTES * BATCHES])?;
    sync(&file)?;
    file.seek(SeekFrom::Start(0))?;
    let mut times = Histogram::<u64>::new(2)?;
    let batch = vec![7; BATCH_BYTES];
    for _ in 0..BATCHES {
        file.write_all(&batch)?;
        let began = Instant::now();
        sync(&file)?;
        times.record(began.elapsed().as_micros() as u64)?;
    }
    for (name, quantile) in [("disk_fdatasync_p50_us", 0.5), ("disk_fdatasync_p99_us", 0.99)] {
        collected.add(name, "µs", times.value_at_quantile(quantile) as f64);
    }
    Ok(())
}

fn sync(file: &File) -> Result<()> {
    file.sync_data().context("the disk does not sync (--data)")
}
