//! Rows on their way to the engine, whether all of them are there (an [`Upload`](crate::Upload)) or come up one by
//! one (a [`Stream`](crate::Stream)).
//!
//! Rows go out in chunks, and a chunk is kept until the engine says that its rows are durable. Every new start
//! (the link was lost, or the engine was busy) opens the submission again under its key and sends all chunks
//! that are kept: rows that the engine has already are skipped there, and since nothing that it lacks was
//! let go of, there is never a gap.
//!
//! ```text
//!              acknowledged     kept            not built yet
//!   rows  0 ──────────────┬─────────────────┬──────────────────── rows_total
//!                         └── at most UNACKNOWLEDGED_* ──┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::time::sleep;
use wire_protocol::client_link::{Accepted, Busy, IdempotencyKey, Open, RequestId, RowsChunk, kind};
use wire_protocol::codec::put_bytes;
use wire_protocol::limits::ROW_BYTES_MAX;
use wire_protocol::template::{Invalid, WorkTemplate};
use wire_protocol::worker_link::push_control;

use crate::connection::{Client, Connection};
use crate::error::ClientError;
use crate::follow::{Follow, Live, Target};
use crate::outgoing::Frames;
use crate::routes::{Consumer, Route, Setback, UploadNews};
use crate::submit::{Submission, SubmitEvent};

/// Rows of one chunk: what an engine handles in a millisecond or two.
pub const CHUNK_ROWS_MAX: u32 = 8_192;
/// Bytes of one chunk, unless a single row is longer.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Rows that may be under way without being acknowledged: at a million rows a second, 60 ms of disk and network.
pub const UNACKNOWLEDGED_ROWS_MAX: u32 = 64 << 10;
/// Bytes that may be under way without being acknowledged.
pub const UNACKNOWLEDGED_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(CHUNK_BYTES_MAX + ROW_BYTES_MAX + 64 <= wire_protocol::frame::PAYLOAD_BYTES_MAX);
const _: () =
    assert!(CHUNK_ROWS_MAX <= UNACKNOWLEDGED_ROWS_MAX && CHUNK_BYTES_MAX <= UNACKNOWLEDGED_BYTES_MAX);

/// Where the rows of a submission come from.
pub(crate) trait Source {
    /// The next rows, if there are any now. Whoever has more later says so by the news of the submission.
    fn next_chunk(&mut self) -> Result<Option<Chunk>, ClientError>;

    /// How many rows the submission has when it is complete.
    fn total(&self) -> u32;

    /// Chunks of this many bytes need not be kept any longer.
    fn released(&mut self, bytes: usize);
}

/// A submission with all that it takes to bring it to an end.
pub(crate) struct Sending {
    pub(crate) client: Client,
    pub(crate) template: WorkTemplate,
    pub(crate) key: IdempotencyKey,
    /// The caller chose the key: the engine may know the submission already.
    pub(crate) repeated: bool,
    /// Rows that are announced.
    pub(crate) rows_total: u32,
    pub(crate) news: Arc<UploadNews>,
    pub(crate) target: watch::Sender<Option<Target>>,
    /// Where outcomes go that the `Open` itself asks for.
    pub(crate) live: Option<Live>,
    /// Who looks at them, and has to be told when it is known which bag it is.
    consumer: Option<Arc<Consumer>>,
    pub(crate) on_event: Option<Box<dyn FnMut(SubmitEvent) + Send>>,
}

impl Sending {
    pub(crate) fn new(client: Client, template: WorkTemplate, rows_total: u32, news: UploadNews) -> Self {
        Self {
            client,
            template,
            key: random_key(),
            repeated: false,
            rows_total,
            news: Arc::new(news),
            target: watch::channel(None).0,
            live: None,
            consumer: None,
            on_event: None,
        }
    }

    /// A follower of the outcomes, by way of `consumer`; to be made before the rows are sent.
    pub(crate) fn follow(&mut self, consumer: &Arc<Consumer>) -> Follow {
        // Of a submission that may have been made before, outcomes may be there already: the follower asks for
        // them as soon as it knows the bag.
        self.live = (!self.repeated).then(|| Live::new(consumer));
        self.consumer = Some(Arc::clone(consumer));
        Follow::of_sending(
            self.client.clone(),
            self.rows_total,
            self.live.clone(),
            self.target.subscribe(),
            Arc::clone(consumer),
        )
    }

    /// Sends rows until the submission is complete and all of it is durable.
    pub(crate) async fn run(&mut self, source: &mut impl Source) -> Result<Submission, ClientError> {
        let mut kept = Kept::default();
        // The first link alone brings outcomes by itself; after that the follower asks for them.
        let mut live = self.live.take();
        // Rows of a submission that the engine cannot know yet go out with the `Open`. Otherwise its answer says
        // first how many rows it has: those of a complete submission it would refuse.
        let mut at_once = !self.repeated;
        loop {
            let connection = self.client.up(self.client.patience()).await?;
            let queue = live.as_ref().map(|live| Arc::clone(&live.queue));
            let route = Route::Upload {
                news: Arc::clone(&self.news),
                queue,
            };
            let Some(entry) = self.client.enter(&connection, route) else {
                continue;
            };
            let way = Way {
                connection: &connection,
                request: entry.request,
                follow: live.is_some(),
                at_once,
            };
            let submission = self.converse(&way, source, &mut kept).await?;
            if let Some(live) = live.take() {
                if submission.is_none() {
                    live.queue.end();
                }
                live.keep(entry);
            }
            match submission {
                Some(submission) => return Ok(submission),
                None => self.event(SubmitEvent::Interrupted),
            }
            at_once = false;
        }
    }

    /// Opens on this connection and sends until all is durable. `None`: the connection is lost.
    async fn converse(
        &mut self,
        way: &Way<'_>,
        source: &mut impl Source,
        kept: &mut Kept,
    ) -> Result<Option<Submission>, ClientError> {
        let mut at_once = way.at_once;
        let mut durable = None;
        'open: loop {
            // What was said of an earlier opening no longer counts, but for rows that are durable.
            self.news.want();
            if let (Some(accepted), _) = self.news.take() {
                self.accepted(accepted, kept, &mut 0, source);
            }
            let follow = way.follow && self.target.borrow().is_none();
            if !way.connection.send(self.open(way.request, follow)).await {
                return Ok(None);
            }
            let (mut opened, mut sent) = (at_once, 0);
            loop {
                let (accepted, setback) = self.news.take();
                if let Some(accepted) = accepted {
                    self.check(&accepted)?;
                    opened = true;
                    self.accepted(accepted, kept, &mut sent, source);
                    durable = Some(accepted);
                }
                if let Some(Accepted { bag, first, rows, .. }) = durable
                    && rows >= source.total()
                {
                    return Ok(Some(Submission { bag, first, rows }));
                }
                match setback {
                    None => {}
                    Some(Setback::Lost) => return Ok(None),
                    Some(Setback::Busy(Busy {
                        limit, retry_after, ..
                    })) => {
                        self.event(SubmitEvent::Busy { limit, retry_after });
                        sleep(retry_after.to_duration()).await;
                        at_once = false;
                        continue 'open;
                    }
                    // The engine does not know the submission under this number. So it answers rows that were under
                    // way when it had no room for their `Open`, or that came after the last.
                    Some(Setback::Rejected(invalid)) if invalid.field == "request" => {
                        at_once = false;
                        continue 'open;
                    }
                    Some(Setback::Rejected(invalid)) => return Err(ClientError::Rejected(invalid)),
                }
                if opened
                    && sent == kept.chunks.len()
                    && kept.has_room()
                    && let Some(chunk) = source.next_chunk()?
                {
                    kept.push(chunk);
                }
                match kept.chunks.get(sent) {
                    Some(chunk) if opened => {
                        sent += 1;
                        if !way.connection.send(chunk.frame(way.request)).await {
                            return Ok(None);
                        }
                    }
                    _ => self.news.arrived().await,
                }
            }
        }
    }

    fn check(&self, accepted: &Accepted) -> Result<(), ClientError> {
        let Accepted { bag, rows_total, .. } = accepted;
        if *rows_total == self.rows_total {
            return Ok(());
        }
        let problem = format!("{bag} has {rows_total} rows, not {}", self.rows_total);
        Err(self.client.broken(problem))
    }

    fn open(&self, request: RequestId, follow: bool) -> Vec<u8> {
        let mut frames = Vec::new();
        let open = Open {
            request,
            key: self.key,
            rows_total: self.rows_total,
            follow,
            template: self.template.clone(),
        };
        push_control(&mut frames, kind::OPEN, &open);
        frames
    }

    fn accepted(&mut self, accepted: Accepted, kept: &mut Kept, sent: &mut usize, source: &mut impl Source) {
        let bytes = kept.bytes;
        *sent -= kept.release(accepted.rows).min(*sent);
        source.released(bytes - kept.bytes);
        let Accepted {
            bag,
            first,
            rows,
            rows_total,
            ..
        } = accepted;
        let opened = self.target.send_if_modified(|target| {
            target
                .replace(Target {
                    bag,
                    first,
                    rows_total,
                })
                .is_none()
        });
        if opened && let Some(consumer) = &self.consumer {
            // Outcomes may have come before.
            consumer.wake();
        }
        self.event(SubmitEvent::Accepted {
            bag,
            rows,
            rows_total,
        });
    }

    fn event(&mut self, event: SubmitEvent) {
        if let Some(on_event) = &mut self.on_event {
            on_event(event);
        }
    }
}

pub(crate) fn random_key() -> IdempotencyKey {
    let mut key = [0; 16];
    SystemRandom::new()
        .fill(&mut key)
        .expect("the operating system gives random bytes");
    key
}

/// How a submission goes on one connection.
struct Way<'a> {
    connection: &'a Connection,
    request: RequestId,
    follow: bool,
    at_once: bool,
}

/// Rows in the form in which they are sent, and sent again.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) first_row: u32,
    pub(crate) count: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Chunk {
    /// A chunk that begins with this row.
    pub(crate) fn at(first_row: u32) -> Self {
        Self {
            first_row,
            ..Self::default()
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.count < CHUNK_ROWS_MAX && self.bytes.len() < CHUNK_BYTES_MAX
    }

    pub(crate) fn push(&mut self, row: &[u8]) {
        put_bytes(&mut self.bytes, row);
        self.count += 1;
    }

    fn seal(self) -> KeptChunk {
        KeptChunk {
            first_row: self.first_row,
            count: self.count,
            bytes: self.bytes.into(),
        }
    }
}

/// A chunk that takes no more rows, and that the link may hold on to.
struct KeptChunk {
    first_row: u32,
    count: u32,
    bytes: Bytes,
}

impl KeptChunk {
    fn frame(&self, request: RequestId) -> Frames {
        let mut head = Vec::new();
        RowsChunk::push_head(&mut head, request, self.first_row, self.count, self.bytes.len());
        Frames {
            head,
            rest: self.bytes.clone(),
        }
    }
}

/// Chunks that are not acknowledged to their end.
#[derive(Default)]
struct Kept {
    chunks: VecDeque<KeptChunk>,
    rows: u32,
    bytes: usize,
}

impl Kept {
    fn has_room(&self) -> bool {
        self.rows + CHUNK_ROWS_MAX <= UNACKNOWLEDGED_ROWS_MAX
            && self.bytes + CHUNK_BYTES_MAX <= UNACKNOWLEDGED_BYTES_MAX
    }

    fn push(&mut self, chunk: Chunk) {
        self.rows += chunk.count;
        self.bytes += chunk.bytes.len();
        self.chunks.push_back(chunk.seal());
    }

    /// Lets go of chunks that are durable to their end; how many they are.
    fn release(&mut self, accepted_rows: u32) -> usize {
        let mut released = 0;
        while let Some(chunk) = self
            .chunks
            .front()
            .filter(|chunk| chunk.first_row + chunk.count <= accepted_rows)
        {
            self.rows -= chunk.count;
            self.bytes -= chunk.bytes.len();
            self.chunks.pop_front();
            released += 1;
        }
        released
    }
}

/// A row that no engine takes; `name` says which.
pub(crate) fn too_long(name: impl FnOnce() -> String, row: &[u8]) -> Option<Invalid> {
    (row.len() > ROW_BYTES_MAX).then(|| Invalid {
        field: name(),
        problem: format!("is {} bytes long; at most {ROW_BYTES_MAX} are allowed", row.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_kept_until_its_last_row_is_durable() {
        let mut kept = Kept::default();
        for first_row in [0, 10, 20] {
            kept.push(Chunk {
                first_row,
                count: 10,
                bytes: vec![0; 5],
            });
        }
        assert_eq!(kept.release(9), 0);
        assert_eq!(kept.release(19), 1);
        assert_eq!((kept.rows, kept.bytes), (20, 10));
        assert_eq!(kept.release(30), 2);
        assert_eq!((kept.rows, kept.bytes, kept.chunks.len()), (0, 0, 0));
    }
}
