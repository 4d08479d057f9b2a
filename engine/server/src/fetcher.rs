//! The fetch thread: reads results from the journal, where it may wait for the disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use engine_core::Fetch;
use engine_journal::JournalReader;
use engine_queue::mailbox::Sender;

use crate::shared::{Mail, Shared};

/// Fetches that may wait; more make their links wait.
const FETCHES_MAX: usize = 1_024;

/// Starts the thread; it ends when the returned end is dropped.
pub(crate) fn spawn(
    reader: JournalReader,
    mail: Sender<Mail>,
    shared: Arc<Shared>,
) -> SyncSender<Box<Fetch>> {
    let (sender, fetches) = sync_channel(FETCHES_MAX);
    let work = move || serve(&fetches, &reader, &mail, &shared);
    thread::Builder::new()
        .name("fetch".to_owned())
        .spawn(work)
        .expect("the system has room for a thread");
    sender
}

fn serve(fetches: &Receiver<Box<Fetch>>, reader: &JournalReader, mail: &Sender<Mail>, shared: &Shared) {
    while let Ok(fetch) = fetches.recv() {
        let link = fetch.link;
        let mut frames = Vec::new();
        let mut read = |lsn, payload: &mut Vec<u8>| match reader.read(lsn) {
            Ok(record) => record.map(|record| {
                *payload = record.payload;
                record.kind
            }),
            Err(error) => {
                tracing::error!(%lsn, error = &error as &dyn std::error::Error, "a result could not be read");
                None
            }
        };
        fetch.complete(&mut read, &mut frames);
        Mail::Fetched { link, frames }.deliver(mail, shared);
    }
}
