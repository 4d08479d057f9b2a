//! Submissions: one template and up to a million rows, taken by the engine once, whatever happens on the way.

use std::fmt;

use wire_protocol::client_link::IdempotencyKey;
use wire_protocol::ids::{BagId, WorkId};
use wire_protocol::limits::BAG_ROWS_MAX;
use wire_protocol::template::{Invalid, WorkTemplate};
use wire_protocol::units::Millis;

use crate::connection::Client;
use crate::error::ClientError;
use crate::follow::{Follow, OUTCOMES_BYTES_MAX};
use crate::routes::{Consumer, UploadNews};
use crate::sending::{Chunk, Sending, Source, too_long};

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
        let mut sending = Sending::new(self.clone(), template, rows_total, UploadNews::default());
        if let Some(key) = options.key {
            (sending.key, sending.repeated) = (key, true);
        }
        Ok(Upload(sending))
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
        let follow = upload.0.follow(&Consumer::new(OUTCOMES_BYTES_MAX));
        Ok((upload, follow))
    }
}

/// A submission that is about to be sent.
pub struct Upload(Sending);

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("rows_total", &self.0.rows_total)
            .finish_non_exhaustive()
    }
}

impl Upload {
    /// Calls `on_event` with what happens while rows are sent, in the task that sends them.
    #[must_use]
    pub fn on_event(mut self, on_event: impl FnMut(SubmitEvent) + Send + 'static) -> Self {
        self.0.on_event = Some(Box::new(on_event));
        self
    }

    /// Sends the rows, and returns when all of them are durable. It waits while the engine is busy, for as long
    /// as that takes, and while it is away, for at most [`patience`](crate::ConnectOptions::patience).
    ///
    /// # Errors
    /// [`ClientError::Rejected`]: the engine does not take the template, or a row is longer than
    /// [`ROW_BYTES_MAX`](wire_protocol::limits::ROW_BYTES_MAX). [`ClientError::RowsMismatch`]: there are more or fewer rows than announced; those
    /// that were sent remain submitted. [`ClientError::Away`]: submit again with the same key.
    pub async fn send<I>(mut self, rows: I) -> Result<Submission, ClientError>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut source = Iter::new(rows.into_iter(), self.0.rows_total);
        self.0.run(&mut source).await
    }
}

/// The rows that are still to be sent for the first time, all of them there.
struct Iter<R> {
    rows: R,
    rows_total: u32,
    given: u32,
    exhausted: bool,
}

impl<R> Iter<R> {
    fn new(rows: R, rows_total: u32) -> Self {
        Self {
            rows,
            rows_total,
            given: 0,
            exhausted: false,
        }
    }
}

impl<R: Iterator<Item: AsRef<[u8]>>> Source for Iter<R> {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, ClientError> {
        let mut chunk = Chunk::at(self.given);
        while !self.exhausted && chunk.has_room() {
            let Some(row) = self.rows.next() else {
                self.exhausted = true;
                break;
            };
            let row = row.as_ref();
            if let Some(invalid) = too_long(|| format!("row {}", self.given), row) {
                return Err(ClientError::Rejected(invalid));
            }
            self.given += 1;
            if self.given > self.rows_total {
                break;
            }
            chunk.push(row);
        }
        if self.given > self.rows_total || self.exhausted && self.given < self.rows_total {
            return Err(ClientError::RowsMismatch {
                announced: self.rows_total,
                given: self.given,
            });
        }
        Ok((chunk.count > 0).then_some(chunk))
    }

    fn total(&self) -> u32 {
        self.rows_total
    }

    fn released(&mut self, _bytes: usize) {}
}

#[cfg(test)]
mod tests {
    use wire_protocol::limits::ROW_BYTES_MAX;
    use wire_protocol::template::Rows;

    use super::*;
    use crate::sending::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX};

    fn source<I: IntoIterator>(rows: I, rows_total: u32) -> Iter<I::IntoIter> {
        Iter::new(rows.into_iter(), rows_total)
    }

    #[test]
    fn chunks_keep_their_bounds_and_lose_no_row() {
        let rows: Vec<Vec<u8>> = (0..20_000_u32).map(|row| vec![7; row as usize % 100]).collect();
        let mut source = source(&rows, 20_000);
        let mut next = 0;
        while let Some(chunk) = source.next_chunk().unwrap() {
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
        let error = source(rows, 2).next_chunk().expect_err("refused");
        assert!(
            error.to_string().starts_with("row 1: is 65537 bytes long"),
            "{error}"
        );
    }

    #[test]
    fn too_few_and_too_many_rows_are_told() {
        let given = |count: usize| {
            source(vec!["x"; count], 3)
                .next_chunk()
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
}
