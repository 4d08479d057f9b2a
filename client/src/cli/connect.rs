//! From options, environment and the data folder to a connected client.
//!
//! Each value comes from the first of: the option, its variable, `connection.json` in the data folder (written by
//! `pool dev`), the default.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use client::{Client, ConnectOptions, Trust};
use serde::{Deserialize, Serialize};

use super::args::Global;
use super::exit::{Exit, Failure};

/// What `pool dev` leaves for the other commands. Paths are relative to the data folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Connection {
    pub(crate) schema: String,
    pub(crate) engine: String,
    pub(crate) server_name: String,
    pub(crate) ca: PathBuf,
    pub(crate) login: String,
    pub(crate) password_file: PathBuf,
    pub(crate) workers: String,
    pub(crate) health: String,
    /// Where files are served; not in what an older `pool dev` has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<String>,
}

impl Connection {
    pub(crate) const SCHEMA: &str = "workerpool/v1/connection";
    pub(crate) const FILE: &str = "connection.json";

    /// What the folder says; `None` if no pool was started there.
    pub(crate) fn read(data: &Path) -> Result<Option<Self>, Failure> {
        let path = data.join(Self::FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::caused(
                    Exit::Config,
                    format!("cannot read {}", path.display()),
                    &error,
                ));
            }
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::caused(Exit::Config, format!("{} is damaged", path.display()), &error)
                .cure("start `pool dev` on the folder again, which writes it anew")
        })
    }
}

/// Everything that is needed to connect.
#[derive(Debug, PartialEq, Eq)]
struct Resolved {
    engine: String,
    server_name: String,
    ca: PathBuf,
    login: String,
    password: String,
}

const ENGINE_DEFAULT: &str = "127.0.0.1:4322";

pub(crate) async fn connect(global: &Global) -> Result<Client, Failure> {
    let resolved = resolve(global)?;
    let addr = address(&resolved.engine)?;
    let mut options = ConnectOptions::new(addr, Trust::Ca(resolved.ca), &resolved.login, &resolved.password);
    options.server_name = resolved.server_name;
    options.agent = concat!("pool ", env!("CARGO_PKG_VERSION")).to_owned();
    options.timeout = global.timeout;
    options.patience = global.timeout;
    options.connect_timeout = options.connect_timeout.min(global.timeout);
    Ok(Client::connect(options).await?)
}

/// Where files are, and who asks for them.
pub(crate) struct FilesPlace {
    pub(crate) url: String,
    pub(crate) trust: Trust,
    pub(crate) login: String,
    pub(crate) password: String,
}

/// The file store that goes with the engine: the one that was named, that of the data folder, or the one on the engine's host.
pub(crate) fn files(global: &Global, url: Option<&str>) -> Result<FilesPlace, Failure> {
    let resolved = resolve(global)?;
    let known = Connection::read(&global.data)?.filter(|_| global.engine.is_none());
    let url = match (url, known.and_then(|known| known.files)) {
        (Some(url), _) => url.to_owned(),
        (None, Some(url)) => url,
        (None, None) => match host(&resolved.engine) {
            host if host.contains(':') => format!("https://[{host}]"),
            host => format!("https://{host}"),
        },
    };
    Ok(FilesPlace {
        url,
        trust: Trust::Ca(resolved.ca),
        login: resolved.login,
        password: resolved.password,
    })
}

fn resolve(global: &Global) -> Result<Resolved, Failure> {
    let known = Connection::read(&global.data)?;
    let known = known.as_ref();
    let in_data = |path: &PathBuf| global.data.join(path);
    let engine = match (&global.engine, known) {
        (Some(engine), _) => engine.clone(),
        (None, Some(known)) => known.engine.clone(),
        (None, None) => ENGINE_DEFAULT.to_owned(),
    };
    let server_name = match (&global.server_name, known) {
        (Some(name), _) => name.clone(),
        (None, Some(known)) if global.engine.is_none() => known.server_name.clone(),
        (None, _) => host(&engine).to_owned(),
    };
    let Some(ca) = global
        .ca
        .clone()
        .or_else(|| known.map(|known| in_data(&known.ca)))
    else {
        let message = format!(
            "no CA is given, and no pool was started in {}, so there is no way to know the engine",
            global.data.display()
        );
        return Err(
            Failure::config(message).cure("give --ca FILE (POOL_CA), or start a pool with `pool dev`")
        );
    };
    let login = match (&global.login, known) {
        (Some(login), _) => login.clone(),
        (None, Some(known)) => known.login.clone(),
        (None, None) => "admin".to_owned(),
    };
    let known_password = known
        .filter(|known| known.login == login)
        .map(|known| in_data(&known.password_file));
    let password = match (&global.password, global.password_file.clone().or(known_password)) {
        (Some(password), _) => password.clone(),
        (None, Some(path)) => first_line(&path)?,
        (None, None) => {
            let message = format!("no password is given for the login `{login}`");
            return Err(Failure::config(message).cure("set ADMINPASSWORD, or give --password-file FILE"));
        }
    };
    Ok(Resolved {
        engine,
        server_name,
        ca,
        login,
        password,
    })
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(engine: &str) -> &str {
    let host = engine.rsplit_once(':').map_or(engine, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn address(engine: &str) -> Result<SocketAddr, Failure> {
    let wrong = |problem: String| {
        Failure::config(format!("--engine {engine}: {problem}")).cure("write HOST:PORT, as in 127.0.0.1:4322")
    };
    let mut found = engine
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?;
    found
        .next()
        .ok_or_else(|| wrong("the name has no address".to_owned()))
}

fn first_line(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::caused(
            Exit::Config,
            format!("cannot read the password file {}", path.display()),
            &error,
        )
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::args::Cli;
    use super::*;
    use clap::Parser;

    fn resolved(data: &Path, words: &[&str]) -> Result<Resolved, Failure> {
        let data = data.to_str().unwrap();
        let words = ["pool", "status", "--data", data]
            .into_iter()
            .chain(words.iter().copied());
        resolve(&Cli::try_parse_from(words).unwrap().global)
    }

    fn dev_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection {
            schema: Connection::SCHEMA.into(),
            engine: "127.0.0.1:5000".into(),
            server_name: "localhost".into(),
            ca: "certs/ca.pem".into(),
            login: "admin".into(),
            password_file: "secrets/admin".into(),
            workers: "127.0.0.1:5001".into(),
            health: "127.0.0.1:5002".into(),
            files: Some("https://localhost:5004".into()),
        };
        fs::write(
            folder.path().join(Connection::FILE),
            serde_json::to_vec(&connection).unwrap(),
        )
        .unwrap();
        fs::create_dir(folder.path().join("secrets")).unwrap();
        fs::write(folder.path().join("secrets/admin"), "hush\n").unwrap();
        folder
    }

    #[test]
    fn a_pool_of_the_data_folder_needs_no_options() {
        let folder = dev_folder();
        let found = resolved(folder.path(), &[]).unwrap();
        assert_eq!(
            (found.engine.as_str(), found.server_name.as_str()),
            ("127.0.0.1:5000", "localhost")
        );
        assert_eq!((found.login.as_str(), found.password.as_str()), ("admin", "hush"));
        assert_eq!(found.ca, folder.path().join("certs/ca.pem"));
    }

    #[test]
    fn options_win_over_the_data_folder() {
        let folder = dev_folder();
        let found = resolved(
            folder.path(),
            &["--engine", "[::1]:7", "--ca", "x.pem", "--password", "p"],
        )
        .unwrap();
        assert_eq!(
            (found.engine.as_str(), found.server_name.as_str()),
            ("[::1]:7", "::1")
        );
        assert_eq!((found.ca, found.password.as_str()), (PathBuf::from("x.pem"), "p"));
    }

    #[test]
    fn files_are_where_it_is_said_else_with_the_engine() {
        let folder = dev_folder();
        let data = folder.path().to_str().unwrap();
        let found = |words: &[&str], url| {
            let words = ["pool", "status", "--data", data]
                .into_iter()
                .chain(words.iter().copied());
            files(&Cli::try_parse_from(words).unwrap().global, url)
                .unwrap()
                .url
        };
        assert_eq!(found(&[], Some("https://files:1")), "https://files:1");
        assert_eq!(found(&[], None), "https://localhost:5004");
        assert_eq!(
            found(&["--engine", "pool.example.org:4322"], None),
            "https://pool.example.org"
        );
        assert_eq!(found(&["--engine", "[::1]:7"], None), "https://[::1]");
    }

    #[test]
    fn the_password_of_one_login_is_not_sent_for_another() {
        let folder = dev_folder();
        let failure = resolved(folder.path(), &["--login", "eve"]).unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.to_string().contains("`eve`"), "{failure}");
    }

    #[test]
    fn what_is_missing_is_named_with_its_cure() {
        let folder = tempfile::tempdir().unwrap();
        let failure = resolved(folder.path(), &[]).unwrap_err();
        assert!(failure.to_string().contains("--ca FILE"), "{failure}");
        fs::write(folder.path().join(Connection::FILE), "{").unwrap();
        let failure = resolved(folder.path(), &[]).unwrap_err();
        assert!(failure.to_string().contains("is damaged"), "{failure}");
        assert_eq!(address("nonsense").unwrap_err().exit, Exit::Config);
    }
}
