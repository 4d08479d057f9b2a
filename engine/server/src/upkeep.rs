//! The upkeep thread: keeps segments prepared ahead, writes snapshots, deletes what nobody needs.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine_journal::{Janitor, JournalError, JournalReader, SnapshotWriter, Upkeep};
use engine_queue::mailbox::Sender;
use wire_protocol::ids::Lsn;

use crate::shared::{DiskState, Mail, Shared};

/// A snapshot to be made durable.
pub(crate) struct Snapshot {
    /// The last record that it includes.
    pub(crate) lsn: Lsn,
    pub(crate) bytes: Vec<u8>,
}

/// How often it looks around when nobody asks for anything. Under full load a segment is full after a fifth of a second.
const ROUND: Duration = Duration::from_millis(50);

/// Bytes of a snapshot that are written between two looks at the segments that are wanted ahead: a large snapshot takes
/// longer than the segments that are there last, and without any intake would be refused.
const PIECE_BYTES: usize = 1 << 20;

/// Parts of the journal that the thread works with.
pub(crate) struct Tools {
    pub(crate) janitor: Janitor,
    pub(crate) reader: JournalReader,
    pub(crate) snapshots: SnapshotWriter,
}

/// Starts the thread; it ends when the returned sender is dropped and all snapshots are written.
pub(crate) fn spawn(
    tools: Tools,
    mail: Sender<Mail>,
    shared: Arc<Shared>,
) -> (SyncSender<Snapshot>, JoinHandle<()>) {
    let (sender, snapshots) = sync_channel(1);
    let work = move || run(tools, &snapshots, &mail, &shared);
    let thread = thread::Builder::new()
        .name("upkeep".to_owned())
        .spawn(work)
        .expect("the system has room for a thread");
    (sender, thread)
}

fn run(mut tools: Tools, snapshots: &Receiver<Snapshot>, mail: &Sender<Mail>, shared: &Shared) {
    let mut wait = Duration::ZERO;
    loop {
        match snapshots.recv_timeout(wait) {
            Ok(snapshot) => {
                let lsn = snapshot.lsn;
                match write(&mut tools, &snapshot, shared) {
                    Ok(()) => tracing::info!(%lsn, "a snapshot is durable"),
                    Err(error) => {
                        tracing::error!(%lsn, error = &error as &dyn std::error::Error, "no snapshot was made");
                    }
                }
                let buffer = snapshot.bytes;
                Mail::SnapshotDone { buffer }.deliver(mail, shared);
                retain(&mut tools.janitor, shared);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        // Nothing is committed while submissions are refused and nothing runs, so the journal thread alone would
        // never see that there is room again.
        shared.set_disk(DiskState::of(tools.reader.headroom()));
        wait = match tools.janitor.step() {
            Ok(Upkeep::Working) => Duration::ZERO,
            Ok(_) => ROUND,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no segment could be prepared ahead"
                );
                Duration::from_secs(1)
            }
        };
    }
}

/// Waits until the records that the snapshot includes are durable, then writes it.
fn write(tools: &mut Tools, snapshot: &Snapshot, shared: &Shared) -> Result<(), JournalError> {
    while shared.durable() < snapshot.lsn && shared.failed.get().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
    let Some(anchor) = tools.reader.anchor(snapshot.lsn)? else {
        return Ok(());
    };
    let Tools {
        janitor, snapshots, ..
    } = tools;
    snapshots.write(anchor, |out| {
        for piece in snapshot.bytes.chunks(PIECE_BYTES) {
            out.write_all(piece)?;
            // What fails here fails again in the thread's own round, which says so.
            drop(janitor.step());
        }
        Ok(())
    })
}

/// Lets go of segments that neither the core nor a sidecar can ask for any more.
fn retain(janitor: &mut Janitor, shared: &Shared) {
    let needed = shared.needed.get();
    let floor = shared.feed_floor.load(std::sync::atomic::Ordering::Relaxed);
    match janitor.retain_from(Lsn(needed.min(floor.saturating_add(1)))) {
        Ok(retained) if retained.deleted + retained.recycled > 0 => {
            tracing::info!(
                deleted = retained.deleted,
                recycled = retained.recycled,
                "old segments went"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "old segments could not be deleted"
        ),
    }
}
