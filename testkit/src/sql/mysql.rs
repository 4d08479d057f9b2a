//! MySQL: what is particular about it.
//!
//! Its accounts have the kind of password that wants TLS or a unix socket; it makes certificates for itself.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::server::folders;

/// Beside those that all servers get. What tests do not look at is off, and what it keeps ready is small: it starts in
/// less than a second and takes 250 MB.
pub(super) const OPTIONS: &[&str] = &[
    "--performance-schema=OFF",
    // What older ones do not know yet.
    "--loose-mysqlx=OFF",
    "--loose-innodb-redo-log-capacity=64M",
    // The folder that Debian's looks for, and does not start without.
    "--secure-file-priv=NULL",
];

/// The first tables: those that lie beside the program, or else made anew, which takes 4 s.
pub(super) fn bootstrap(folder: &Path) {
    let made = program().with_file_name("data");
    let mut command = if made.is_dir() {
        let mut copy = Command::new("cp");
        copy.args(["-r", "--sparse=always"]).arg(made).arg(folder);
        copy
    } else {
        let mut initialise = Command::new(program());
        initialise
            .args(["--no-defaults", "--initialize-insecure", "--user=root"])
            .args(folders(folder));
        initialise
    };
    let done = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(
        done.status.success(),
        "the first tables are not made: {command:?}: {}\n{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
}

/// `POOL_TEST_MYSQL`, or where `./dev` puts it.
pub(super) fn program() -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target/mysql/mysqld");
    let program = env::var_os("POOL_TEST_MYSQL").map_or_else(here, PathBuf::from);
    assert!(
        program.is_file(),
        "{} is not there: `./dev mysql` gets it, or POOL_TEST_MYSQL names the mysqld of another MySQL",
        program.display()
    );
    program
}
