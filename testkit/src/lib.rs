//! What the tests of several crates share. Only tests depend on it, and `cargo xtask arrows` sees to that.
//!
//! - [`docker`]: a Docker Engine of a test's own.
//! - [`disk`], [`net`]: a small disk and a network of a test's own, to be filled and to be cut.
//! - [`node`]: a node of Ethereum that says what a test wants.
//! - [`processes`]: an engine with its workers, and the programs of the pool.
//! - [`sql`]: a database server of a test's own, and [`on_every_server`] for tests that are the same on each.
//! - [`story`]: the records of a journal that an engine could have written, from a story that chance tells.
//! - [`dump`]: every row of the tables as text.
//!
//! It knows the vocabulary and what the tables are called, not the crates under test: a model of one stays with that
//! one's tests. What goes wrong in here is a failed test, so that everything panics and says why.

pub mod disk;
pub mod docker;
pub mod dump;
pub mod net;
pub mod node;
pub mod processes;
pub mod sql;
pub mod story;

/// Makes a test on each kind of server of each of these functions, which take a [`sql::SqlKind`].
#[macro_export]
macro_rules! on_every_server {
    ($($test:ident),+ $(,)?) => {
        mod on_mariadb {
            $(#[test] fn $test() { super::$test($crate::sql::SqlKind::MariaDb); })+
        }
        mod on_mysql {
            $(#[test] fn $test() { super::$test($crate::sql::SqlKind::MySql); })+
        }
    };
}

/// A runtime for a test that is not asynchronous itself, on the thread of whoever uses it.
///
/// # Panics
/// The operating system gives none.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a thread")
}
