//! An engine as far as the feed is concerned: a story's records, as far as the test lets them be durable.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use testkit::story::feed_record;
use wire_feed::{FeedServer, FeedWaker, ReadError, RecordSource};
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::{Lsn, Shard};

/// A running one. Dropped, it ends.
pub(super) struct Feed {
    folder: tempfile::TempDir,
    journal: Arc<Journal>,
    waker: FeedWaker,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Journal {
    records: Vec<(u8, Vec<u8>)>,
    durable: AtomicU64,
}

impl Feed {
    /// All of these, none durable yet.
    pub(super) fn start(records: Vec<(u8, Vec<u8>)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server =
            FeedServer::bind(&folder.path().join("feed.sock"), Shard(0), []).expect("a fresh folder");
        let (waker, stop) = (server.waker(), Arc::new(AtomicBool::new(false)));
        let journal = Arc::new(Journal {
            records,
            durable: AtomicU64::new(0),
        });
        let thread = std::thread::spawn({
            let (journal, stop) = (Arc::clone(&journal), Arc::clone(&stop));
            move || {
                let mut happened = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let turned = server.turn(&*journal, Some(Duration::from_secs(1)), &mut happened);
                    turned.expect("the feed turns");
                    happened.clear();
                }
            }
        });
        Self {
            folder,
            journal,
            waker,
            stop,
            thread: Some(thread),
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("feed.sock")
    }

    /// The last of the records.
    pub(super) fn last(&self) -> Lsn {
        Lsn(self.journal.records.len() as u64)
    }

    /// They are durable up to this one.
    pub(super) fn let_be_durable(&self, upto: Lsn) {
        self.journal.durable.store(upto.0, Ordering::SeqCst);
        self.waker.more_durable().expect("the feed lives");
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake().expect("the feed lives");
        let ended = self.thread.take().expect("joined once").join();
        assert!(
            ended.is_ok() || std::thread::panicking(),
            "the feed works to the end"
        );
    }
}

impl RecordSource for Journal {
    fn read_after(
        &self,
        after: Lsn,
        give: &mut dyn FnMut(FeedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        for index in after.0..self.durable().0 {
            let index = index as usize;
            if give(feed_record(index, &self.records[index])).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::SeqCst))
    }

    fn first(&self) -> Lsn {
        Lsn(1)
    }
}
