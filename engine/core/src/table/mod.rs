//! The scheduler's tables: who and what it knows. Each is owned by the one thread that runs the scheduler, is
//! indexed by ids rather than hashed, and keeps its bounds.

pub(crate) mod bag;
pub(crate) mod class;
pub(crate) mod joining;
pub(crate) mod link;
pub(crate) mod log;
pub(crate) mod note;
pub(crate) mod profile;
pub(crate) mod rows;
pub(crate) mod tenant;
pub(crate) mod work;
pub(crate) mod worker;
