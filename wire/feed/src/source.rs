//! Where the server has its records from.

use std::error::Error;
use std::ops::ControlFlow;

use thiserror::Error;
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::Lsn;

/// A journal that can be read while it is written.
pub trait RecordSource {
    /// Gives the durable records behind `after`, in order and without a gap, until none is left or `give` has
    /// enough and breaks; the record at which it breaks has been taken. It asks again behind the last record that
    /// it took, so a source does well to remember where that one ended.
    ///
    /// # Errors
    /// Records that were asked for are gone, or the journal could not be read; records given before count.
    fn read_after(
        &self,
        after: Lsn,
        give: &mut dyn FnMut(FeedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError>;

    /// The last record that is durable; 0 if none ever was. Never goes back.
    fn durable(&self) -> Lsn;

    /// The first record that is still kept, or the one to be written next if none is. Never goes back.
    fn first(&self) -> Lsn;
}

/// Why records could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Retention has removed records that were asked for. The subscriber has to start over from a copy.
    #[error("the records before {first} were removed by retention")]
    Removed {
        /// The first one that is left.
        first: Lsn,
    },
    /// The journal is damaged or the disk fails.
    #[error("the journal could not be read")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}
