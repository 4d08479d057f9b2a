//! Servers of databases, real ones, each in a folder that goes with it and on a free port of loopback.

mod mariadb;
mod mysql;
pub mod predecessor;
mod server;

pub use server::{SqlKind, SqlServer};

/// The account that a server makes for each of its databases.
pub const USER: &str = "pool";
/// Its password, with everything in it that wants quoting.
pub const PASSWORD: &str = "se'same \"\\ \u{1f980}";
