//! A pool of real processes with a persist sidecar: an engine that can be killed and started again in the same place,
//! workers, a client, and the tables afterwards.

mod sidecar;
mod tables;

use std::path::Path;
use std::process::Command;

use client::{Client, ConnectOptions, Trust};
pub(crate) use sidecar::Sidecar;
use sidecars_tables::Target;
pub(crate) use tables::{dump, position, sqlite, texts, undisturbed};
pub(crate) use testkit::processes::{Engine, until};
use testkit::processes::{PASSWORD, program};

/// The command line of a pool; its exit code, the object that it prints and what it says beside it.
pub(crate) fn pool(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, serde_json::Value, String) {
    let ended = Command::new(program("pool"))
        .env_clear()
        .envs(variables.iter().copied())
        .args(["-o", "json"])
        .args(arguments)
        .output()
        .expect("it runs");
    let said = serde_json::from_slice(&ended.stdout).unwrap_or_default();
    let problem = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code().expect("it was not killed"), said, problem)
}

/// `pool db <verb>` on the journal in this folder and on this database.
pub(crate) fn pool_db(verb: &[&str], journal: &Path, target: &Target) -> (i32, serde_json::Value, String) {
    let variables = Sidecar::variables(target);
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let place = ["--journal", journal.to_str().expect("it is UTF-8")];
    pool(&[&["db"], verb, &place].concat(), &variables)
}

/// A client of an engine.
pub(crate) async fn client_of(engine: &Engine) -> Client {
    let trust = Trust::Ca(engine.ca());
    let options = ConnectOptions::new(engine.clients(), trust, "admin", PASSWORD);
    let client = Client::connect(options).await;
    client.unwrap_or_else(|error| panic!("{error:?}\n{}", engine.log()))
}
