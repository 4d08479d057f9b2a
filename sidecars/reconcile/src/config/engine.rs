//! Where the engine is, and as whom to work there.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::Args;
use client::{ConnectOptions, Trust};

use super::required;

/// Options that say it.
#[derive(Args, Debug)]
#[command(next_help_heading = "The engine")]
pub(crate) struct EngineOptions {
    /// Where the engine listens for clients
    #[arg(
        long = "engine",
        env = "POOL_ENGINE_CLIENT",
        default_value = "127.0.0.1:4322",
        value_name = "HOST:PORT"
    )]
    address: String,
    /// CA that the engine's certificate is signed by, in PEM form
    #[arg(long, env = "POOL_CA", value_name = "FILE")]
    ca: Option<String>,
    /// Name that the engine's certificate carries [default: the host of --engine]
    #[arg(long, env = "POOL_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,
    /// Account of an operator
    #[arg(long, env = "ADMINLOGIN", default_value = "admin", value_name = "NAME")]
    login: String,
    /// Its password; other users of this machine can see command lines, so prefer the variable or a file
    #[arg(long, env = "ADMINPASSWORD", hide_env_values = true, value_name = "TEXT")]
    password: Option<String>,
    /// File that holds the password
    #[arg(long, env = "ADMINPASSWORD_FILE", value_name = "FILE")]
    password_file: Option<String>,
}

/// How to reach the engine.
#[derive(Debug)]
pub(crate) struct EngineConfig {
    pub(crate) connect: ConnectOptions,
}

impl EngineOptions {
    pub(crate) fn check(self, problems: &mut Vec<String>) -> Option<EngineConfig> {
        let what = "the file with the CA of the engine's certificate, ca.pem in its folder of certificates";
        let ca = required("POOL_CA", what, self.ca, problems);
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        let password = daemon::secret(
            "ADMINPASSWORD",
            given(self.password),
            given(self.password_file).map(PathBuf::from),
        );
        let password = password.map_err(|problem| problems.push(problem)).ok();
        let address = address(&self.address)
            .map_err(|problem| problems.push(problem))
            .ok();
        let trust = Trust::Ca(ca?.into());
        let mut connect = ConnectOptions::new(address?, trust, &self.login, &password?);
        connect.server_name = given(self.server_name).unwrap_or_else(|| host(&self.address).to_owned());
        connect.agent = concat!("pool-reconcile ", env!("CARGO_PKG_VERSION")).to_owned();
        Some(EngineConfig { connect })
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |problem: String| {
        format!("POOL_ENGINE_CLIENT is `{text}`: {problem}; write HOST:PORT, as in engine:4322")
    };
    let mut found = text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    found
        .next()
        .ok_or_else(|| wrong("the name has no address".to_owned()))
}
