//! `pool-worker doctor`: what is wrong around this worker, and the cure.
//!
//! It looks and changes nothing: it does not join, so it may run beside the worker. Whether the engine takes the login
//! shows only when a worker joins.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bollard::Docker;
use serde_json::json;
use wire_hub::Balance;
use wire_link::Trust;
use wire_protocol::joining::Address;
use worker_chain::shell::Config;

use crate::identity::{ENROL_AGAIN, Validity};
use crate::wire::chain;

/// How long the engine, and Docker, may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Free space below which works soon fail for want of room.
const ROOM_MIN: u64 = 1 << 30;
/// The oldest Docker Engine that is known to do.
const DOCKER_MIN: (u32, u32) = (20, 10);

/// What a worker would be started with; what it could not be started with is an error.
pub(crate) struct Surroundings {
    /// Address of the engine, and the name in its certificate.
    pub(crate) engine: anyhow::Result<(String, String)>,
    pub(crate) trust: anyhow::Result<Trust>,
    pub(crate) password: anyhow::Result<()>,
    pub(crate) token: anyhow::Result<Option<Enrolment>>,
    /// Address of the wallet, if one is given.
    pub(crate) wallet: anyhow::Result<Option<Address>>,
    /// The chain, if results are contributed to one.
    pub(crate) chain: anyhow::Result<Option<worker_chain::shell::Config>>,
    /// How long the certificate is good, if there is one.
    pub(crate) certificate: anyhow::Result<Option<Validity>>,
    /// How many ways there are to run works, in words.
    pub(crate) runs: anyhow::Result<String>,
    pub(crate) folder: PathBuf,
    /// Socket and runtime, if containers may run.
    pub(crate) docker: Option<(PathBuf, Option<String>)>,
}

/// A token by which the worker may enrol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Enrolment {
    /// Not used in this folder: it enrols by it, whatever certificate it has.
    New,
    /// The certificate is for it: it enrols again when that has ended.
    Used,
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Fine,
    /// It works, and may soon not.
    Warning,
    /// A worker does not start, or works fail.
    Broken,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Broken => "broken",
        })
    }
}

/// What one look found.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    says: String,
    cure: Option<&'static str>,
}

impl Finding {
    fn fine(check: &'static str, says: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Fine,
            says: says.into(),
            cure: None,
        }
    }

    fn warning(check: &'static str, says: impl Into<String>, cure: &'static str) -> Self {
        Self {
            verdict: Verdict::Warning,
            cure: Some(cure),
            ..Self::fine(check, says)
        }
    }

    fn broken(check: &'static str, says: impl Into<String>, cure: Option<&'static str>) -> Self {
        Self {
            verdict: Verdict::Broken,
            cure,
            ..Self::fine(check, says)
        }
    }

    /// Of something that says itself what to do when it is wrong.
    fn of<T>(check: &'static str, found: &anyhow::Result<T>, fine: impl FnOnce(&T) -> String) -> Self {
        match found {
            Ok(found) => Self::fine(check, fine(found)),
            Err(error) => Self::broken(check, format!("{error:#}"), None),
        }
    }
}

/// Looks at everything, and prints it: a line each, or one JSON object. The exit code is 1 if something is broken.
pub(crate) async fn run(around: Surroundings, as_json: bool) -> ExitCode {
    let mut findings = vec![
        login(&around),
        Finding::of("wallet", &around.wallet, |wallet| match wallet {
            Some(address) => address.to_string(),
            None => "none is given".to_owned(),
        }),
        Finding::of("runs", &around.runs, Clone::clone),
        folder(&around.folder),
        clock(),
    ];
    findings.push(match (&around.engine, &around.trust) {
        (Err(error), _) | (_, Err(error)) => Finding::broken("engine", format!("{error:#}"), None),
        (Ok((address, name)), Ok(trust)) => engine(address, name, trust.clone()).await,
    });
    match &around.chain {
        Ok(None) => {}
        Ok(Some(config)) => findings.extend(chain_of(config).await),
        Err(error) => findings.push(Finding::broken("chain", format!("{error:#}"), None)),
    }
    if let Some((socket, runtime)) = &around.docker {
        findings.extend(docker(socket, runtime.as_deref()).await);
    }
    let is_sound = findings.iter().all(|finding| finding.verdict != Verdict::Broken);
    if as_json {
        println!("{}", in_json(&findings, is_sound));
    } else {
        for finding in &findings {
            println!("{:<8} {:<9} {}", finding.verdict, finding.check, finding.says);
            if let Some(cure) = finding.cure {
                println!("{:18} cure: {cure}", "");
            }
        }
    }
    ExitCode::from(u8::from(!is_sound))
}

fn in_json(findings: &[Finding], is_sound: bool) -> serde_json::Value {
    let finding = |finding: &Finding| {
        json!({
            "check": finding.check,
            "verdict": finding.verdict.to_string(),
            "says": finding.says,
            "cure": finding.cure,
        })
    };
    json!({
        "schema": "workerpool/v1/doctor",
        "sound": is_sound,
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

/// What proves who the worker is: a certificate, a token that is good for one, or the password.
fn login(around: &Surroundings) -> Finding {
    const DAY_S: u64 = 86_400;
    match (&around.certificate, &around.token) {
        (Err(error), _) | (_, Err(error)) => Finding::broken("login", format!("{error:#}"), None),
        (Ok(certificate), Ok(Some(Enrolment::New))) => {
            let says = match certificate {
                None => "by an enrolment token, for which it gets a certificate",
                Some(_) => "by an enrolment token that is new here, for which it gets another certificate",
            };
            Finding::fine("login", says)
        }
        (Ok(Some(validity)), _) if validity.left_s > validity.lasts_s / 4 => {
            let days = validity.left_s / DAY_S;
            Finding::fine("login", format!("by a certificate, good for {days} more days"))
        }
        (Ok(Some(validity)), _) if validity.left_s > 0 => Finding::warning(
            "login",
            format!("the certificate ends in {} hours", validity.left_s / 3_600),
            "let the worker run: it asks for another while it is connected",
        ),
        (Ok(_), Ok(Some(Enrolment::Used))) => Finding::warning(
            "login",
            "the certificate has expired, and by the enrolment token it was given for it gets another only if that has \
             uses left",
            ENROL_AGAIN,
        ),
        (Ok(certificate), Ok(None)) => match (&around.password, certificate) {
            (Ok(()), _) => Finding::fine("login", "by the password of the pool's workers"),
            (Err(_), Some(_)) => Finding::broken("login", "the certificate has expired", Some(ENROL_AGAIN)),
            (Err(error), None) => Finding::broken("login", format!("{error:#}"), Some(ENROL_AGAIN)),
        },
    }
}

/// It can be written to, and has room.
fn folder(folder: &Path) -> Finding {
    // It is made at the start, below the first that is there.
    let there = folder
        .ancestors()
        .find(|path| path.exists() || path.as_os_str().is_empty());
    let there = match there {
        Some(path) if !path.as_os_str().is_empty() => path,
        _ => Path::new("."),
    };
    let probe = there.join(format!(".doctor-{}", std::process::id()));
    let written = fs::write(&probe, b"x");
    drop(fs::remove_file(&probe));
    if let Err(error) = written {
        let says = format!("{} cannot be written to: {error}", there.display());
        return Finding::broken(
            "folder",
            says,
            Some("give another with --folder, or its rights to this account"),
        );
    }
    room("folder", there, "make room, or give another with --folder")
}

/// Free space where `path` is.
fn room(check: &'static str, path: &Path, cure: &'static str) -> Finding {
    let free = rustix::fs::statvfs(path).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    match free {
        Ok(free) if free < ROOM_MIN => {
            let says = format!("{} has only {} MiB free", path.display(), free >> 20);
            Finding::warning(check, says, cure)
        }
        Ok(free) => Finding::fine(check, format!("{}, {} GiB free", path.display(), free >> 30)),
        Err(error) => Finding::warning(
            check,
            format!("{} cannot be looked at: {error}", path.display()),
            cure,
        ),
    }
}

/// Certificates begin and end by the clock, and logs are read side by side.
fn clock() -> Finding {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output();
    match asked
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .as_deref()
    {
        Ok("yes") => Finding::fine("clock", "it is kept by a time service"),
        Ok("no") => Finding::warning(
            "clock",
            "no time service keeps it",
            "timedatectl set-ntp true, or install chrony",
        ),
        _ => Finding::fine(
            "clock",
            "it cannot be told whether a time service keeps it (no timedatectl)",
        ),
    }
}

/// It answers, and is the one that is believed.
async fn engine(address: &str, name: &str, trust: Trust) -> Finding {
    let reached = tokio::time::timeout(ANSWER_WITHIN, async {
        let connector = crate::quic(trust).map_err(|error| chain(&error))?;
        let addresses = tokio::net::lookup_host(address)
            .await
            .map_err(|error| format!("{address} cannot be looked up: {error}"))?;
        let mut problem = format!("{address} has no address");
        for address in addresses {
            let began = Instant::now();
            match connector.connect(address, name).await {
                Ok(link) => {
                    link.control.close(wire_link::code::DONE, "only looked");
                    return Ok((address, began.elapsed()));
                }
                Err(error) => problem = format!("{address}: {}", chain(&error)),
            }
        }
        Err(problem)
    })
    .await;
    match reached {
        Ok(Ok((address, took))) => Finding::fine(
            "engine",
            format!("{address} is {name}, by its certificate; {} ms", took.as_millis()),
        ),
        Ok(Err(problem)) => Finding::broken(
            "engine",
            problem,
            Some("look at --engine, --server-name, and --ca or --fingerprint; UDP has to pass"),
        ),
        Err(_) => Finding::broken(
            "engine",
            format!("{address} does not answer within {} s", ANSWER_WITHIN.as_secs()),
            Some("look whether it runs, at --engine, and whether UDP passes the firewalls between"),
        ),
    }
}

/// A node answers and has new blocks, and the wallet is subscribed, with stake and coins.
async fn chain_of(config: &Config) -> Vec<Finding> {
    let look = match config.look().await {
        Ok(look) => look,
        Err(error) => return vec![Finding::broken("chain", chain(&error), None)],
    };
    let now_s = crate::status::now_ms() / 1_000;
    let age_s = look.block.map(|time| now_s.saturating_sub(time));
    let mut findings = vec![match age_s {
        Some(age_s) if config.block_age_s_max > 0 && age_s > config.block_age_s_max => Finding::warning(
            "chain",
            format!(
                "chain {}, and the node's last block is {age_s} s old",
                look.chain_id
            ),
            "look whether the node is in step with its chain; nothing is sent until it is (POOL_CHAIN_BLOCK_AGE_MAX)",
        ),
        Some(age_s) => Finding::fine(
            "chain",
            format!("chain {}, last block {age_s} s ago", look.chain_id),
        ),
        None => Finding::warning(
            "chain",
            "the node says nothing of its last block",
            "ask another node",
        ),
    }];
    findings.push(match look.pool {
        Some(pool) if pool == config.pool.value => Finding::fine("pool", "the wallet is subscribed to it"),
        Some(wire_hub::NOBODY) if config.subscribes => Finding::fine(
            "pool",
            "the wallet is subscribed to none, and the worker subscribes",
        ),
        Some(wire_hub::NOBODY) => Finding::warning(
            "pool",
            "the wallet is subscribed to none: no order will come to it",
            "POOL_CHAIN_SUBSCRIBE=true, or subscribe it by another program",
        ),
        Some(other) => Finding::warning(
            "pool",
            format!("the wallet is subscribed to another pool, {other}: no order will come to it"),
            "unsubscribe it there; a wallet is with one pool at a time",
        ),
        None => Finding::warning(
            "pool",
            "it cannot be told whether the wallet is subscribed",
            "ask again",
        ),
    });
    if let Some(Balance { stake, locked }) = look.balance {
        let says = format!("{stake} free, {} locked", locked.0);
        findings.push(match stake.0 {
            0 => Finding::warning(
                "stake",
                format!("{says}: orders ask for some"),
                "deposit RLC at the hub for this wallet",
            ),
            _ => Finding::fine("stake", says),
        });
    }
    match look.coins {
        Some(coins) if coins.0 == 0 => findings.push(Finding::broken(
            "gas",
            "the wallet has no coins of the chain",
            Some("send it some: each order takes two transactions"),
        )),
        Some(coins) => findings.push(Finding::fine("gas", coins.to_string())),
        None => {}
    }
    findings
}

/// It answers, is new enough, has the runtime, and room for images.
async fn docker(socket: &Path, runtime: Option<&str>) -> Vec<Finding> {
    let path = socket.to_string_lossy();
    let cure = Some("start it, name its socket with --docker-socket, or give this account the right to it");
    let asked = async {
        let engine = Docker::connect_with_unix(&path, ANSWER_WITHIN.as_secs(), bollard::API_DEFAULT_VERSION)?;
        Ok::<_, bollard::errors::Error>((engine.version().await?, engine.info().await?))
    };
    let (version, info) = match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return vec![Finding::broken("docker", chain(&error), cure)],
        Err(_) => {
            let says = format!("{path} does not answer within {} s", ANSWER_WITHIN.as_secs());
            return vec![Finding::broken("docker", says, cure)];
        }
    };
    let found = version.version.unwrap_or_default();
    let mut findings = vec![if is_new_enough(&found) {
        let driver = info.driver.unwrap_or_default();
        Finding::fine("docker", format!("Docker Engine {found}, {driver}"))
    } else {
        let says = format!(
            "Docker Engine {found} is older than {}.{}",
            DOCKER_MIN.0, DOCKER_MIN.1
        );
        Finding::broken("docker", says, Some("update it"))
    }];
    if let Some(runtime) = runtime
        && !info.runtimes.unwrap_or_default().contains_key(runtime)
    {
        let says = format!("Docker has no runtime `{runtime}`");
        findings.push(Finding::broken(
            "runtime",
            says,
            Some("install it, and name it in daemon.json"),
        ));
    }
    // An engine on another machine keeps them there.
    if let Some(root) = info
        .docker_root_dir
        .map(PathBuf::from)
        .filter(|root| root.exists())
    {
        findings.push(room(
            "images",
            &root,
            "docker image prune, or move Docker's data-root",
        ));
    }
    findings
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= DOCKER_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_told_as_the_worker_would_do_it() {
        let login = |left_s: Option<u64>, token, password: bool| {
            let certificate = left_s.map(|left_s| Validity {
                left_s,
                lasts_s: 90 * 86_400,
            });
            let found = login(&Surroundings {
                engine: Ok((String::new(), String::new())),
                trust: Err(anyhow::anyhow!("of no interest")),
                password: password
                    .then_some(())
                    .ok_or(anyhow::anyhow!("no password is given")),
                token: Ok(token),
                wallet: Ok(None),
                chain: Ok(None),
                certificate: Ok(certificate),
                runs: Ok(String::new()),
                folder: PathBuf::new(),
                docker: None,
            });
            (found.verdict, found.says)
        };
        let long = Some(80 * 86_400);
        for (certificate, token, password, verdict, says) in [
            (None, None, true, Verdict::Fine, "by the password"),
            (None, None, false, Verdict::Broken, "no password is given"),
            (
                None,
                Some(Enrolment::New),
                false,
                Verdict::Fine,
                "by an enrolment token, for",
            ),
            (
                long,
                None,
                false,
                Verdict::Fine,
                "by a certificate, good for 80 more days",
            ),
            (
                long,
                Some(Enrolment::Used),
                false,
                Verdict::Fine,
                "by a certificate",
            ),
            (
                long,
                Some(Enrolment::New),
                false,
                Verdict::Fine,
                "by an enrolment token that is new here",
            ),
            (
                Some(7_200),
                Some(Enrolment::Used),
                false,
                Verdict::Warning,
                "ends in 2 hours",
            ),
            (
                Some(0),
                Some(Enrolment::Used),
                false,
                Verdict::Warning,
                "has expired, and by the",
            ),
            (
                Some(0),
                Some(Enrolment::New),
                false,
                Verdict::Fine,
                "by an enrolment token that is new here",
            ),
            (
                Some(0),
                None,
                false,
                Verdict::Broken,
                "the certificate has expired",
            ),
        ] {
            let found = login(certificate, token, password);
            let case = (certificate, token, password);
            assert!(
                found.0 == verdict && found.1.contains(says),
                "{case:?}: {found:?}"
            );
        }
    }

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        for (version, new) in [
            ("20.10.24+dfsg1", true),
            ("28.2.2", true),
            ("20.9.1", false),
            ("19.03.15", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), new, "{version}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_looked_at_where_it_will_be() {
        let here = tempfile::tempdir().expect("a folder");
        let found = folder(&here.path().join("a/b"));
        assert_ne!(found.verdict, Verdict::Broken, "{found:?}");
        assert_eq!(
            fs::read_dir(here.path()).expect("it is there").count(),
            0,
            "nothing is left"
        );
        let found = folder(Path::new("/proc/nowhere"));
        assert_eq!(found.verdict, Verdict::Broken, "{found:?}");
    }
}
