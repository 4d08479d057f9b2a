//! Why a link is closed: a code for the program, a sentence for the person.

use std::borrow::Cow;

/// Codes that this crate uses to close a link. An owner's own begin at [`OWNER_FIRST`](code::OWNER_FIRST).
pub mod code {
    /// Nothing is wrong: one side has finished.
    pub const DONE: u32 = 0;
    /// The peer sent something that is no frame, or a frame that is too long for its state.
    pub const FRAME: u32 = 1;
    /// The peer reads more slowly than it is sent to, beyond what may wait for it.
    pub const SLOW: u32 = 2;
    /// The peer did not authenticate itself in time.
    pub const SILENT: u32 = 3;
    /// The server holds as many bytes as it may, and this link holds the most of them.
    pub const BUSY: u32 = 4;
    /// The first code that is free for an owner's own meaning.
    pub const OWNER_FIRST: u32 = 0x100;
}

/// A link's end: what the peer's program and its user are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// One of [`code`], or an owner's own.
    pub code: u32,
    /// A sentence for a person. What exceeds a packet (about 1 KiB) is cut.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// A close with this code and reason.
    pub fn new(code: u32, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}
