//! Bounds of what a message may carry. A sender keeps them, a receiver checks them.

/// Bytes of one row of parameters, and of one inline input.
pub const ROW_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an inline result (both output streams with their framing); larger ones are files.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the rows of one frame with their lengths: together they become one record.
pub const ROWS_BYTES_MAX: usize = RECORD_BYTES_MAX - 32;

/// Bytes of a journal record, so that it fits a frame of the feed with its position.
pub const RECORD_BYTES_MAX: usize = crate::frame::PAYLOAD_BYTES_MAX - 32;

/// Works of one submission.
pub const BAG_ROWS_MAX: u32 = 1_000_000;

/// Bytes of an encoded template.
pub const TEMPLATE_BYTES_MAX: usize = 128 * 1024;

/// Of what a worker is given to have its result taken elsewhere.
pub const TICKET_BYTES_MAX: usize = 1024;

/// Bytes of a name, a tag, a login, a label.
pub const NAME_BYTES_MAX: usize = 256;

/// Bytes of a worker's sentence about why it takes no work.
pub const PROBLEM_BYTES_MAX: usize = 1024;

/// Entries of a list inside a template or an offer (arguments, variables, tags, columns …).
pub const LIST_LEN_MAX: usize = 256;

/// Files that a work finds in its folder. Their names fit the header of a grant.
pub const FILES_PER_WORK_MAX: usize = 64;

/// Bytes of one note of a sidecar.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of notes that are written at once, so that they fit a record, and of a page of them.
pub const NOTES_WRITTEN_BYTES_MAX: usize = RECORD_BYTES_MAX - 1024;

/// Leases that a worker may hold and present at once.
pub const LEASES_PER_WORKER_MAX: usize = 8_192;

/// Bytes of a certificate, or of a request for one.
pub const CERTIFICATE_BYTES_MAX: usize = 4 * 1024;

/// Groups that an enrolment token may give to its workers.
pub const TOKEN_GROUPS_MAX: usize = 16;

/// Tokens on one page of their listing, so that it fits a frame.
pub const TOKENS_PAGE_LEN_MAX: u32 = 100;

/// Keys of images and files that a worker says it has, see [`crate::warm`].
pub const WARM_KEYS_MAX: usize = 64;

/// Categories that a pool has; their list fits a frame.
pub const CATEGORIES_MAX: usize = 256;

/// Items on one page of a listing.
pub const PAGE_LEN_MAX: u32 = 1_000;

const _: () = assert!(RESULT_BYTES_MAX + 64 <= crate::frame::PAYLOAD_BYTES_MAX);
const _: () = assert!(ROW_BYTES_MAX + 64 <= crate::frame::PAYLOAD_BYTES_MAX);
const _: () = assert!(crate::record::RowsAdded::HEADER_BYTES + ROWS_BYTES_MAX <= RECORD_BYTES_MAX);
const _: () =
    assert!(crate::feed::FeedRecord::HEADER_BYTES + RECORD_BYTES_MAX <= crate::frame::PAYLOAD_BYTES_MAX);
const _: () = assert!(
    TOKENS_PAGE_LEN_MAX as usize * ((TOKEN_GROUPS_MAX + 1) * (NAME_BYTES_MAX + 2) + 64)
        <= crate::frame::PAYLOAD_BYTES_MAX
);
const _: () = assert!(LEASES_PER_WORKER_MAX * 32 <= crate::frame::PAYLOAD_BYTES_MAX);
