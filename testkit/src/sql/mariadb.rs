//! MariaDB: what is particular about it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::server::folders;

/// Beside those that every server gets.
pub(super) const OPTIONS: &[&str] = &["--innodb-log-file-size=64M"];

/// What `mariadb-install-db` does, without the help texts and without the packages that it needs: 0.3 s.
pub(super) fn bootstrap(folder: &Path) {
    let mut child = Command::new(program())
        .args([
            "--no-defaults",
            "--bootstrap",
            "--user=root",
            "--silent-startup",
            "--log-warnings=0",
        ])
        .args(OPTIONS)
        .args(folders(folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server's program runs");
    let mut statements = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_owned();
    for part in [
        "mysql_system_tables",
        "mysql_performance_tables",
        "mysql_system_tables_data",
    ] {
        let file = format!("/usr/share/mysql/{part}.sql");
        statements += &fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let mut input = child.stdin.take().expect("it is piped");
    let written = input.write_all(statements.as_bytes());
    drop(input);
    let done = child.wait_with_output().expect("our child");
    assert!(
        written.is_ok() && done.status.success(),
        "the first tables are not made: {written:?}, {}\n{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Debian keeps it where only root's PATH leads.
pub(super) fn program() -> PathBuf {
    let known = [
        "/usr/sbin/mariadbd",
        "/usr/bin/mariadbd",
        "/usr/local/bin/mariadbd",
    ];
    let found = known.into_iter().find(|path| Path::new(path).exists());
    let found =
        found.expect("MariaDB is here: `./dev test` installs it, else `apt-get install mariadb-server-core`");
    found.into()
}
