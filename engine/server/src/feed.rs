//! The feed thread: durable records to sidecars over a unix socket, from the journal's files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use engine_journal::{JournalError, JournalReader};
use engine_queue::mailbox::Sender;
use wire_feed::{BindError, FeedEvent, FeedServer, FeedWaker, ReadError, RecordSource, SubscriberStatus};
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::{Lsn, Shard};
use wire_protocol::units::{Bytes, Millis};
use wire_protocol::view::SubscriberView;

use crate::shared::{Mail, Shared};

/// The socket's name in the engine's folder.
pub(crate) const SOCKET: &str = "feed.sock";
/// Where acknowledged positions are kept.
const POSITIONS: &str = "feed.positions.json";
/// How often they are written there at most. An old one only keeps more records than needed.
const SAVE_EVERY: Duration = Duration::from_millis(500);
/// How often it is measured how far subscribers are behind.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of payloads read from the journal at once.
const READ_BYTES: usize = 256 * 1024;

struct Source {
    reader: JournalReader,
    shared: Arc<Shared>,
}

impl Source {
    /// How far a subscriber is behind what is durable now.
    fn measure(&self, subscriber: &SubscriberStatus<'_>) -> SubscriberView {
        let (acknowledged, durable) = (subscriber.acknowledged, self.durable());
        // The first record that it does not have; one that is not kept any more has no age.
        let oldest = self.reader.read(acknowledged.next()).ok().flatten();
        let now_us = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64);
        let age_us = oldest.map_or(0, |record| now_us.saturating_sub(record.wall_us));
        SubscriberView {
            name: subscriber.name.to_owned(),
            connected: subscriber.sent.is_some(),
            acknowledged,
            lag_records: subscriber.lag(durable),
            lag_bytes: Bytes(self.reader.bytes_after(acknowledged)),
            lag: Millis(age_us / 1_000),
        }
    }
}

impl RecordSource for Source {
    fn read_after(
        &self,
        after: Lsn,
        give: &mut dyn FnMut(FeedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut after = after;
        loop {
            let records = self
                .reader
                .read_after(after, self.durable(), READ_BYTES)
                .map_err(|error| match error {
                    JournalError::Trimmed { first, .. } => ReadError::Removed { first },
                    error => ReadError::Failed(Box::new(error)),
                })?;
            let Some(last) = records.last_lsn() else {
                return Ok(());
            };
            for record in records.iter() {
                let record = FeedRecord {
                    lsn: record.lsn,
                    epoch: record.epoch,
                    wall_us: record.wall_us,
                    kind: record.kind,
                    payload: record.payload,
                };
                if give(record).is_break() {
                    return Ok(());
                }
            }
            after = last;
        }
    }

    fn durable(&self) -> Lsn {
        self.shared.durable()
    }

    fn first(&self) -> Lsn {
        self.reader.first_lsn()
    }
}

/// The feed before its thread runs.
pub(crate) struct Feed {
    server: FeedServer,
    positions: PathBuf,
}

impl Feed {
    /// Binds the socket in the engine's folder and reads the positions that were kept there.
    pub(crate) fn bind(folder: &Path, shard: Shard) -> Result<Self, BindError> {
        let positions = folder.join(POSITIONS);
        let known: BTreeMap<String, Lsn> = fs::read(&positions)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Ok(Self {
            server: FeedServer::bind(&folder.join(SOCKET), shard, known)?,
            positions,
        })
    }

    pub(crate) fn waker(&self) -> FeedWaker {
        self.server.waker()
    }

    /// Starts the thread; it ends when the engine stops.
    pub(crate) fn spawn(
        self,
        reader: JournalReader,
        mail: Sender<Mail>,
        shared: Arc<Shared>,
    ) -> JoinHandle<()> {
        publish(&self.server, &shared);
        let work = move || {
            let source = Source {
                reader,
                shared: Arc::clone(&shared),
            };
            if let Err(error) = serve(self, &source, &mail, &shared) {
                tracing::error!(error = &error as &dyn std::error::Error, "the feed has ended");
            }
        };
        thread::Builder::new()
            .name("feed".to_owned())
            .spawn(work)
            .expect("the system has room for a thread")
    }
}

fn serve(mut feed: Feed, source: &Source, mail: &Sender<Mail>, shared: &Shared) -> io::Result<()> {
    let mut happened = Vec::new();
    let mut measured_at = None::<Instant>;
    let (mut unsaved, mut saved_at) = (false, Instant::now());
    while !shared.is_stopping() {
        feed.server
            .turn(source, Some(Duration::from_millis(500)), &mut happened)?;
        for event in happened.drain(..) {
            log(&event);
        }
        if feed.server.take_positions_changed() {
            unsaved = true;
            // What a new subscriber needs is kept from now on; what one has acknowledged, until that is saved.
            hold(&feed.server, shared);
        }
        if unsaved && saved_at.elapsed() >= SAVE_EVERY {
            saved_at = Instant::now();
            match save(&feed) {
                Ok(()) => {
                    unsaved = false;
                    publish(&feed.server, shared);
                }
                // Until it succeeds, records are kept as far as the positions of before ask for.
                Err(error) => tracing::warn!(%error, "the positions of subscribers could not be saved"),
            }
        }
        if measured_at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            measured_at = Some(Instant::now());
            let now: Vec<_> = feed.server.subscribers().map(|it| source.measure(&it)).collect();
            let before = std::mem::replace(&mut *shared.subscribers(), now);
            if before != *shared.subscribers() {
                Mail::Subscribers.deliver(mail, shared);
            }
        }
    }
    let saved = if unsaved { save(&feed) } else { Ok(()) };
    feed.server.close("the engine is shutting down", source);
    saved
}

/// Replaces the file as a whole. It is synced before it gets its name: an empty one would let go of records that a
/// subscriber still needs.
fn save(feed: &Feed) -> io::Result<()> {
    let positions: BTreeMap<&str, Lsn> = feed.server.positions().collect();
    let temporary = feed.positions.with_extension("tmp");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(&positions)?)?;
    file.sync_data()?;
    fs::rename(&temporary, &feed.positions)
}

/// Where records behind which somebody wants them begin; never a later place than before.
fn hold(server: &FeedServer, shared: &Shared) {
    shared.feed_floor.fetch_min(floor(server), Ordering::Relaxed);
}

fn publish(server: &FeedServer, shared: &Shared) {
    shared.feed_floor.store(floor(server), Ordering::Relaxed);
}

fn floor(server: &FeedServer) -> u64 {
    server.floor().map_or(u64::MAX, |lsn| lsn.0)
}

fn log(event: &FeedEvent) {
    tracing::info!(?event, "feed");
}
