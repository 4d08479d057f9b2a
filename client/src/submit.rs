//! Submissions: one template and up to a million rows, taken by the engine once, whatever happens on the way.
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
use std::fmt;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::time::sleep;
use wire_protocol::client_link::{Accepted, Busy, IdempotencyKey, Open, RequestId, RowsChunk, kind};
use wire_protocol::codec::put_bytes;
use wire_protocol::ids::{BagId, WorkId};
use wire_protocol::limits::{BAG_ROWS_MAX, ROW_BYTES_MAX};
use wire_protocol::template::{Invalid, Rows, WorkTemplate};
use wire_protocol::units::Millis;
use wire_protocol::worker_link::push_control;

use crate::connection::{Client, Connection};
use crate::error::ClientError;
use crate::follow::{Follow, Live, Target};
use crate::routes::{Route, Setback, UploadNews};

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

/// What a caller may choose about a submission.
#[derive(Clone, Copy, Debug, Default)]
pub struct SubmitOptions {
    /// Recognises a repetition of the whole program: with the key of an earlier submission, rows that were
    /// accepted then are not taken again. `None`: a random one, which still covers everything that happens
    /// while this submission is under way.
    pub key: Option<IdempotencyKey>,
}

/// A submission whose rows are all durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Submission {
    /// The bag that holds the works.
    pub bag: BagId,
    /// The work of row 0; the others follow in order.
    pub first: WorkId,
    /// How many works.
    pub rows: u32,
}

/// What happens while rows are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SubmitEvent {
    /// Rows are durable.
    Accepted {
        /// Where they are.
        bag: BagId,
        /// How many so far.
        rows: u32,
        /// How many there will be.
        rows_total: u32,
    },
    /// The engine takes no more for now; sending goes on after the wait.
    Busy {
        /// Which of its limits is reached.
        limit: String,
        /// The wait.
        retry_after: Millis,
    },
    /// The link was lost; sending goes on when it is back.
    Interrupted,
}

impl Client {
    /// Submits one work per row, and returns when all are durable.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] names the field that is wrong; see [`Upload::send`] for the rest.
    pub async fn submit<I>(
        &self,
        template: WorkTemplate,
        rows: I,
        options: SubmitOptions,
    ) -> Result<Submission, ClientError>
    where
        I: IntoIterator<IntoIter: ExactSizeIterator, Item: AsRef<[u8]>>,
    {
        let rows = rows.into_iter();
        let rows_total = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        self.upload(template, rows_total, options)?.send(rows).await
    }

    /// Prepares a submission of `rows_total` works.
    ///
    /// # Errors
    /// [`ClientError::Rejected`]: a field of the template, or the number of rows, is out of range.
    pub fn upload(
        &self,
        template: WorkTemplate,
        rows_total: u32,
        options: SubmitOptions,
    ) -> Result<Upload, ClientError> {
        template.validate().map_err(ClientError::Rejected)?;
        if rows_total == 0 || rows_total > BAG_ROWS_MAX {
            let problem =
                format!("there are {rows_total}; 1 to {BAG_ROWS_MAX} are allowed in one submission");
            return Err(ClientError::Rejected(Invalid {
                field: "rows".to_owned(),
                problem,
            }));
        }
        Ok(Upload {
            client: self.clone(),
            template,
            key: options.key.unwrap_or_else(random_key),
            repeated: options.key.is_some(),
            rows_total,
            news: Arc::default(),
            target: watch::channel(None).0,
            live: None,
            on_event: None,
        })
    }

    /// Prepares a submission together with a follower of its outcomes. Run both side by side
    /// (`tokio::try_join!`): outcomes come while rows are still sent.
    ///
    /// # Errors
    /// Those of [`Client::upload`].
    pub fn submit_followed(
        &self,
        template: WorkTemplate,
        rows_total: u32,
        options: SubmitOptions,
    ) -> Result<(Upload, Follow), ClientError> {
        let mut upload = self.upload(template, rows_total, options)?;
        // Of a submission that may have been made before, outcomes may be there already: the follower asks for
        // them as soon as it knows the bag.
        upload.live = (!upload.repeated).then(Live::new);
        let follow = Follow::of_upload(
            self.clone(),
            rows_total,
            upload.live.clone(),
            upload.target.subscribe(),
        );
        Ok((upload, follow))
    }
}

/// A submission that is about to be sent.
pub struct Upload {
    client: Client,
    template: WorkTemplate,
    key: IdempotencyKey,
    /// The caller chose the key: the engine may know the submission already.
    repeated: bool,
    rows_total: u32,
    news: Arc<UploadNews>,
    target: watch::Sender<Option<Target>>,
    /// Where outcomes go that the `Open` itself asked for.
    live: Option<Live>,
    on_event: Option<Box<dyn FnMut(SubmitEvent) + Send>>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("rows_total", &self.rows_total)
            .finish_non_exhaustive()
    }
}

/// What is new of a submission.
enum News {
    /// Nothing that stops it.
    On,
    /// All rows are durable.
    Done(Accepted),
    /// Open again, after the wait.
    Busy(Busy),
    /// Open again: the engine does not know the submission under this number. So it answers rows that were under
    /// way when it had no room for their `Open`, or that came after the last.
    Unknown,
    /// The link was lost.
    Lost,
}

impl Upload {
    /// Calls `on_event` with what happens while rows are sent, in the task that sends them.
    #[must_use]
    pub fn on_event(mut self, on_event: impl FnMut(SubmitEvent) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(on_event));
        self
    }

    /// Sends the rows, and returns when all of them are durable. It waits while the engine is busy, for as long
    /// as that takes, and while it is away, for at most [`patience`](crate::ConnectOptions::patience).
    ///
    /// # Errors
    /// [`ClientError::Rejected`]: the engine does not take the template, or a row is longer than
    /// [`ROW_BYTES_MAX`]. [`ClientError::RowsMismatch`]: there are more or fewer rows than announced; those
    /// that were sent remain submitted. [`ClientError::Away`]: submit again with the same key.
    pub async fn send<I>(mut self, rows: I) -> Result<Submission, ClientError>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut source = Source {
            rows: rows.into_iter(),
            given: 0,
            exhausted: false,
        };
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
            let submission = self.converse(&way, &mut source, &mut kept).await?;
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
    async fn converse<R>(
        &mut self,
        way: &Way<'_>,
        source: &mut Source<R>,
        kept: &mut Kept,
    ) -> Result<Option<Submission>, ClientError>
    where
        R: Iterator<Item: AsRef<[u8]>>,
    {
        let mut at_once = way.at_once;
        'open: loop {
            // What was said of an earlier opening no longer counts, but for rows that are durable.
            if let (Some(accepted), _) = self.news.take() {
                self.accepted(accepted, kept, &mut 0);
            }
            let follow = way.follow && self.target.borrow().is_none();
            if !way.connection.send(self.open(way.request, follow)).await {
                return Ok(None);
            }
            let (mut opened, mut sent) = (at_once, 0);
            loop {
                match self.take_news(kept, &mut sent, &mut opened)? {
                    News::On => {}
                    News::Done(Accepted { bag, first, rows, .. }) => {
                        return Ok(Some(Submission { bag, first, rows }));
                    }
                    News::Lost => return Ok(None),
                    News::Busy(Busy {
                        limit, retry_after, ..
                    }) => {
                        self.event(SubmitEvent::Busy { limit, retry_after });
                        sleep(retry_after.to_duration()).await;
                        at_once = false;
                        continue 'open;
                    }
                    News::Unknown => {
                        at_once = false;
                        continue 'open;
                    }
                }
                if opened
                    && sent == kept.chunks.len()
                    && kept.has_room()
                    && !source.exhausted
                    && let Some(chunk) = source.next_chunk(self.rows_total)?
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
                    _ if opened && kept.has_room() && !source.exhausted => {}
                    _ => self.news.arrived().await,
                }
            }
        }
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

    fn take_news(
        &mut self,
        kept: &mut Kept,
        sent: &mut usize,
        opened: &mut bool,
    ) -> Result<News, ClientError> {
        let (accepted, setback) = self.news.take();
        if let Some(accepted) = accepted {
            *opened = true;
            self.accepted(accepted, kept, sent);
            if accepted.rows >= self.rows_total {
                return Ok(News::Done(accepted));
            }
        }
        match setback {
            None => Ok(News::On),
            Some(Setback::Rejected(invalid)) if invalid.field == "request" => Ok(News::Unknown),
            Some(Setback::Rejected(invalid)) => Err(ClientError::Rejected(invalid)),
            Some(Setback::Lost) => Ok(News::Lost),
            Some(Setback::Busy(busy)) => Ok(News::Busy(busy)),
        }
    }

    fn accepted(&mut self, accepted: Accepted, kept: &mut Kept, sent: &mut usize) {
        *sent -= kept.release(accepted.rows).min(*sent);
        let Accepted {
            bag,
            first,
            rows,
            rows_total,
            ..
        } = accepted;
        self.target.send_if_modified(|target| {
            target
                .replace(Target {
                    bag,
                    first,
                    rows_total,
                })
                .is_none()
        });
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

fn random_key() -> IdempotencyKey {
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

/// The rows that are still to be sent for the first time.
struct Source<R> {
    rows: R,
    given: u32,
    exhausted: bool,
}

impl<R: Iterator<Item: AsRef<[u8]>>> Source<R> {
    /// The next rows; `None`: there are no more.
    fn next_chunk(&mut self, rows_total: u32) -> Result<Option<Chunk>, ClientError> {
        let mut chunk = Chunk {
            first_row: self.given,
            count: 0,
            bytes: Vec::new(),
        };
        while chunk.count < CHUNK_ROWS_MAX && chunk.bytes.len() < CHUNK_BYTES_MAX {
            let Some(row) = self.rows.next() else {
                self.exhausted = true;
                break;
            };
            let row = row.as_ref();
            if row.len() > ROW_BYTES_MAX {
                let problem = format!("is {} bytes long; at most {ROW_BYTES_MAX} are allowed", row.len());
                return Err(ClientError::Rejected(Invalid {
                    field: format!("row {}", self.given),
                    problem,
                }));
            }
            self.given += 1;
            if self.given > rows_total {
                break;
            }
            put_bytes(&mut chunk.bytes, row);
            chunk.count += 1;
        }
        if self.given > rows_total || self.exhausted && self.given < rows_total {
            return Err(ClientError::RowsMismatch {
                announced: rows_total,
                given: self.given,
            });
        }
        Ok((chunk.count > 0).then_some(chunk))
    }
}

/// Rows in the form in which they are sent, and sent again.
struct Chunk {
    first_row: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl Chunk {
    fn frame(&self, request: RequestId) -> Vec<u8> {
        let rows = Rows::parse(self.count, &self.bytes).expect("rows are encoded as they are parsed");
        let mut frame = Vec::with_capacity(self.bytes.len() + 32);
        RowsChunk::push(&mut frame, request, self.first_row, rows);
        frame
    }
}

/// Chunks that are not acknowledged to their end.
#[derive(Default)]
struct Kept {
    chunks: VecDeque<Chunk>,
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
        self.chunks.push_back(chunk);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn source<I: IntoIterator>(rows: I) -> Source<I::IntoIter> {
        Source {
            rows: rows.into_iter(),
            given: 0,
            exhausted: false,
        }
    }

    #[test]
    fn chunks_keep_their_bounds_and_lose_no_row() {
        let rows: Vec<Vec<u8>> = (0..20_000_u32).map(|row| vec![7; row as usize % 100]).collect();
        let mut source = source(&rows);
        let mut next = 0;
        while let Some(chunk) = source.next_chunk(20_000).unwrap() {
            assert_eq!(chunk.first_row, next);
            assert!(chunk.count <= CHUNK_ROWS_MAX && chunk.bytes.len() < CHUNK_BYTES_MAX + 102);
            for row in Rows::parse(chunk.count, &chunk.bytes).unwrap().iter() {
                assert_eq!(row, rows[next as usize]);
                next += 1;
            }
        }
        assert_eq!(next, 20_000);
    }

    #[test]
    fn a_row_over_the_bound_is_named() {
        let rows = [vec![0; ROW_BYTES_MAX], vec![0; ROW_BYTES_MAX + 1]];
        let error = source(rows).next_chunk(2).err().expect("refused");
        assert!(
            error.to_string().starts_with("row 1: is 65537 bytes long"),
            "{error}"
        );
    }

    #[test]
    fn too_few_and_too_many_rows_are_told() {
        let given = |count: usize| {
            source(vec!["x"; count])
                .next_chunk(3)
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(
            given(2).as_deref(),
            Some("3 rows were announced, but 2 were given")
        );
        assert_eq!(given(3), None);
        assert_eq!(
            given(5).as_deref(),
            Some("3 rows were announced, but 4 were given")
        );
    }

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
