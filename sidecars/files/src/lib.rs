//! The file store of a pool: content under its hash, and files that name it.
//!
//! ```text
//!  ROOT/content/ab/cdef…         content, once, under its SHA-256
//!  ROOT/names/OWNER/a/b/c.json~  a reference: the file a/b/c of OWNER → hash, size, times
//!  ROOT/uploads/…                what is not a file yet
//! ```
//!
//! **References are the truth.** What an owner uses of its quota, how often content is used and what nobody uses any more
//! follow from them; [`Index`] holds all that in memory and is counted anew at each start. It is the core: it decides and
//! touches nothing. [`Store`] is its shell.
//!
//! **A crash leaves nothing half.** Bytes are gathered in `uploads/`, made durable, moved to their place as a whole, and
//! only then named, by a reference that appears as a whole too. So there is never a name without its content. The
//! opposite, content without a name, is what a crash may leave behind; the next start removes it.
//!
//! **Where it is.** [`Backend`] is a folder, in which moving costs nothing, or a bucket ([`object_store`]), to which a whole
//! upload is copied before it is named. Uploads are gathered in a local folder either way.
//!
//! [`http`] is what the world sees of it: tus 1.0 and plain HTTP. Who may do what is told by an [`http::Authority`], which
//! the process brings along. [`verify()`] hashes all content again.
//!
//! What it does not do: it keeps no list of works or leases, and does not encrypt.

mod backend;
pub mod http;
mod index;
mod limits;
mod reference;
mod store;
mod verify;

pub use backend::{Backend, Contents};
pub use index::{Index, Page, Refusal};
pub use limits::{Limits, PAGE_FILES_MAX};
pub use reference::Reference;
pub use store::{By, NewUpload, Numbers, Store, StoreError, Stored, UploadStatus};
pub use verify::{Damaged, Progress, Report, verify};
