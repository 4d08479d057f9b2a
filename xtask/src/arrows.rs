//! Arrows between crates only point down.
//!
//! ```text
//! drivers        sim  bench  demo  xtask
//!                  │
//! processes      engine-server  worker-agent  client  sidecars-*
//!                  │
//! parts          wire-link  wire-feed  wire-grant  wire-files  wire-wallet  wire-lane  wire-chain  daemon
//!                engine-core  engine-queue  engine-journal  worker-core  worker-chain
//!                sidecars-tables  sidecars-files  devnet  (testkit)
//!                  │
//! vocabulary     wire-protocol  wire-hub
//! ```
//!
//! A crate depends on crates of *lower* layers only, beside the few edges [`WITHIN`] a layer; its tests and benches
//! also on its own layer. Beyond the layers, [`ONLY`] keeps some crates on a short list, [`SIDES`] keeps engine and
//! worker apart (they know each other through the wire), [`FOR_TESTS`] is for the tests of every layer and for nothing
//! else, and [`BARRED`] keeps foreign crates out of rooms where they do not belong.
//!
//! The rules read `cargo metadata`, so a path, a rename or a feature does not get around them.

use crate::cargo::{cargo, root};
use anyhow::{Context, Result, bail};
use serde::Deserialize;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Layer {
    Vocabulary,
    Part,
    Process,
    Driver,
}

/// Where each crate of ours stands. A new one is placed here before anything else.
const PLACES: &[(&str, Layer)] = &[
    ("wire-protocol", Layer::Vocabulary),
    ("wire-hub", Layer::Vocabulary),
    ("wire-link", Layer::Part),
    ("wire-feed", Layer::Part),
    ("wire-grant", Layer::Part),
    ("wire-files", Layer::Part),
    ("wire-wallet", Layer::Part),
    ("wire-lane", Layer::Part),
    ("wire-chain", Layer::Part),
    ("devnet", Layer::Part),
    ("daemon", Layer::Part),
    (FOR_TESTS, Layer::Part),
    ("engine-core", Layer::Part),
    ("engine-queue", Layer::Part),
    ("engine-journal", Layer::Part),
    ("worker-core", Layer::Part),
    ("worker-chain", Layer::Part),
    ("sidecars-tables", Layer::Part),
    ("sidecars-files", Layer::Part),
    ("engine-server", Layer::Process),
    ("worker-agent", Layer::Process),
    ("client", Layer::Process),
    ("sidecars-persist", Layer::Process),
    ("sidecars-reconcile", Layer::Process),
    ("sidecars-gateway", Layer::Process),
    ("sim", Layer::Driver),
    ("bench", Layer::Driver),
    ("bench-instructions", Layer::Driver),
    ("demo", Layer::Driver),
    ("xtask", Layer::Driver),
];

/// Crates that may use these of ours and no others, outside their tests.
const ONLY: &[(&str, &[&str], &str)] = &[
    ("engine-core", &["wire-protocol"], "the scheduler is a pure core"),
    (
        "worker-core",
        &["wire-protocol"],
        "the agent's brain is a pure core",
    ),
    (
        "wire-lane",
        &["wire-hub", "wire-protocol"],
        "who sends transactions decides it in a pure core",
    ),
    ("engine-queue", &[], "queues do not know what they carry"),
    (
        "wire-chain",
        &["wire-hub", "wire-lane", "wire-wallet"],
        "what speaks to nodes knows the contracts and nothing of a pool",
    ),
    (
        "worker-chain",
        &[
            "wire-hub",
            "wire-lane",
            "wire-chain",
            "wire-wallet",
            "wire-protocol",
        ],
        "what contributes results knows the chain and nothing of how works run",
    ),
    (
        "devnet",
        &["wire-hub", "wire-wallet", "wire-chain"],
        "a chain of tests knows the chain and nothing of a pool",
    ),
    (
        "client",
        &[
            "engine-core",
            "engine-journal",
            "sidecars-tables",
            "sidecars-files",
            "wire-protocol",
            "wire-link",
            "wire-feed",
            "wire-files",
            "wire-hub",
            "wire-chain",
            "wire-wallet",
            "devnet",
        ],
        "a client knows the wire and the chain, and can read a journal, its snapshots, the tables and the files",
    ),
    (
        "bench",
        &[
            "client",
            "worker-agent",
            "wire-protocol",
            "wire-link",
            "wire-feed",
            FOR_TESTS,
        ],
        "the harness is a black-box client with real agents",
    ),
];

/// Edges within a layer that are not of tests, and why each is there.
const WITHIN: &[(&str, &str)] = &[
    ("bench", "client"),              // it measures what users have
    ("wire-hub", "wire-protocol"),    // addresses are the same on both wires
    ("wire-files", "wire-link"),      // files and links believe the same certificates
    ("wire-chain", "wire-wallet"),    // who signs transactions
    ("wire-chain", "wire-lane"),      // and whose effects are done
    ("worker-chain", "wire-lane"),    // a worker sends transactions of its own
    ("worker-chain", "wire-chain"),   // to nodes
    ("worker-chain", "wire-wallet"),  // by its own wallet
    ("devnet", "wire-chain"),         // a chain is asked and told by what the pool asks and tells it by
    ("devnet", "wire-wallet"),        // and has wallets
    ("sidecars-reconcile", "client"), // it asks for works as any client does
    ("sidecars-tables", "daemon"),    // the options that say which database read a secret
];

/// What tests share. Of what is not a test only the harness may have it, which starts databases too.
const FOR_TESTS: &str = "testkit";

/// Crates with these prefixes may not use those: what they have to say to each other goes over the wire.
const SIDES: &[(&str, &str)] = &[("engine-", "worker-"), ("worker-", "engine-")];

/// Foreign crates, by prefix, and who may not have them.
const BARRED: &[Barred] = &[
    Barred {
        what: &["sqlx", "ethers", "alloy", "bollard", "axum", "reqwest"],
        from: |name| name.starts_with("engine-"),
        why: "the engine does not know that SQL, Ethereum, Docker or web frameworks exist",
    },
    Barred {
        what: &["ethers", "alloy"],
        from: |name| name != "wire-chain",
        why: "the libraries of Ethereum are behind wire/chain, which speaks wire/hub's words",
    },
    Barred {
        what: &[
            "tokio",
            "mio",
            "quinn",
            "rustls",
            "socket2",
            "rustix",
            "libc",
            "rand",
            "getrandom",
        ],
        from: |name| matches!(name, "engine-core" | "worker-core" | "wire-protocol"),
        why: "a core has no sockets, no system calls and no chance of its own",
    },
];

struct Barred {
    what: &'static [&'static str],
    from: fn(&str) -> bool,
    why: &'static str,
}

/// What `cargo metadata` says of the workspace, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for an ordinary one.
    kind: Option<String>,
    /// Where it lies, for one of ours.
    path: Option<String>,
}

pub(crate) fn run() -> Result<()> {
    let output = cargo("metadata --no-deps --offline --format-version 1").output()?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let complaints = check(&metadata.packages, &root().to_string_lossy());
    for complaint in &complaints {
        eprintln!("  {complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        count => bail!("{count} arrows point where they must not (the rules are in xtask/src/arrows.rs)"),
    }
}

/// Every edge that breaks a rule, with the rule.
fn check(packages: &[Package], root: &str) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| check_package(package, root))
        .collect()
}

fn check_package(package: &Package, root: &str) -> Vec<String> {
    let Package {
        name,
        manifest_path,
        dependencies,
    } = package;
    let Some(layer) = place(name) else {
        return vec![format!("{name}: stands in no layer; place it in PLACES")];
    };
    let mut complaints = Vec::new();
    let folder = manifest_path
        .strip_prefix(root)
        .and_then(|path| path.strip_suffix("/Cargo.toml"));
    let path_name = folder
        .unwrap_or(manifest_path)
        .trim_start_matches('/')
        .replace('/', "-");
    if path_name != *name {
        complaints.push(format!(
            "{name}: a crate's name is its path, which makes it {path_name}"
        ));
    }
    let broken = dependencies
        .iter()
        .filter_map(|to| Some((to, broken_rule(name, layer, to)?)));
    complaints.extend(broken.map(|(to, rule)| format!("{name} -> {}: {rule}", to.name)));
    complaints
}

fn place(name: &str) -> Option<Layer> {
    PLACES
        .iter()
        .find(|(placed, _)| *placed == name)
        .map(|(_, layer)| *layer)
}

/// The rule that the edge from `name` breaks, if any.
fn broken_rule(name: &str, layer: Layer, to: &Dependency) -> Option<String> {
    if to.path.is_some() {
        broken_rule_of_ours(name, layer, to)
    } else {
        broken_rule_of_theirs(name, to)
    }
}

fn broken_rule_of_ours(name: &str, layer: Layer, to: &Dependency) -> Option<String> {
    let Some(below) = place(&to.name) else {
        return Some("stands in no layer; place it in PLACES".into());
    };
    let for_tests = to.kind.as_deref() == Some("dev");
    if to.name == FOR_TESTS && (for_tests || name != "bench") {
        return (!for_tests).then(|| "it is for tests alone".into());
    }
    let within = for_tests || WITHIN.contains(&(name, &to.name));
    if below > layer || (below == layer && !within) {
        return Some(format!(
            "arrows only point down, from {layer:?} to {below:?} they do not"
        ));
    }
    if for_tests {
        return None;
    }
    if let Some((_, allowed, why)) = ONLY.iter().find(|(short, ..)| *short == name)
        && !allowed.contains(&to.name.as_str())
    {
        return Some(format!("{why}: of ours it may use only {allowed:?}"));
    }
    let apart = SIDES
        .iter()
        .any(|(from, other)| name.starts_with(from) && to.name.starts_with(other));
    apart.then(|| "engine and worker know each other only through the wire".into())
}

fn broken_rule_of_theirs(name: &str, to: &Dependency) -> Option<String> {
    let is = |what: &&str| to.name == **what || to.name.starts_with(&format!("{what}-"));
    let barred = BARRED
        .iter()
        .find(|barred| (barred.from)(name) && barred.what.iter().any(is))?;
    // A core's tests may use anything; the other rooms stay closed to tests too.
    let for_tests = to.kind.as_deref() == Some("dev") && barred.what.contains(&"tokio");
    (!for_tests).then(|| barred.why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `from -> to`; `to` starts with `dev:` in tests, and is ours unless it starts with `crates.io:`.
    fn complaints(from: &str, to: &str) -> Vec<String> {
        let (kind, to) = to
            .strip_prefix("dev:")
            .map_or((None, to), |to| (Some("dev".into()), to));
        let theirs = to.strip_prefix("crates.io:");
        let path = theirs.is_none().then(|| "/pool/somewhere".into());
        let dependencies = vec![Dependency {
            name: theirs.unwrap_or(to).into(),
            kind,
            path,
        }];
        let manifest_path = match from {
            "client" | "bench" | "demo" | "devnet" | "sim" | "testkit" | "xtask" => {
                format!("/pool/{from}/Cargo.toml")
            }
            _ => format!("/pool/{}/Cargo.toml", from.replacen('-', "/", 1)),
        };
        check(
            &[Package {
                name: from.into(),
                manifest_path,
                dependencies,
            }],
            "/pool",
        )
    }

    #[test]
    fn arrows_that_point_down_pass() {
        for (from, to) in [
            ("engine-core", "wire-protocol"),
            ("engine-server", "engine-core"),
            ("engine-server", "wire-link"),
            ("worker-agent", "worker-core"),
            ("client", "engine-journal"),
            ("bench", "client"),
            ("client", "engine-core"),
            ("sim", "worker-core"),
            ("sidecars-persist", "engine-journal"),
            ("sidecars-persist", "sidecars-tables"),
            ("sidecars-reconcile", "client"), // it asks for works as any client does
            ("sidecars-tables", "daemon"),
            ("engine-journal", "dev:engine-queue"),
            ("sim", "dev:bench"),
            ("wire-protocol", "dev:testkit"),
            ("sidecars-persist", "dev:testkit"),
            ("bench", "testkit"),
            ("wire-link", "crates.io:tokio"),
            ("engine-core", "dev:crates.io:tokio"),
            ("engine-core", "crates.io:fastrand"),
            ("wire-chain", "crates.io:ethers-core"),
            ("wire-chain", "wire-wallet"),
            ("wire-chain", "dev:testkit"),
            ("devnet", "wire-chain"),
            ("sidecars-reconcile", "dev:devnet"),
            ("engine-server", "crates.io:mio"),
        ] {
            assert_eq!(complaints(from, to), [""; 0], "{from} -> {to}");
        }
    }

    #[test]
    fn arrows_that_do_not_are_named_with_their_rule() {
        for (from, to, rule) in [
            ("wire-protocol", "wire-link", "arrows only point down"),
            ("wire-feed", "wire-link", "arrows only point down"),
            ("engine-journal", "engine-server", "arrows only point down"),
            ("engine-journal", "dev:engine-server", "arrows only point down"),
            ("client", "engine-server", "arrows only point down"),
            ("sidecars-tables", "wire-feed", "arrows only point down"),
            ("sidecars-gateway", "sidecars-persist", "arrows only point down"),
            ("worker-agent", "client", "arrows only point down"),
            ("engine-server", "sim", "arrows only point down"),
            ("sidecars-persist", "testkit", "for tests alone"),
            ("sim", "testkit", "for tests alone"),
            ("testkit", "client", "arrows only point down"),
            ("sim", "bench", "arrows only point down"),
            ("client", "engine-queue", "a client knows the wire"),
            ("bench", "engine-server", "black-box"),
            ("engine-queue", "wire-protocol", "do not know what they carry"),
            ("engine-server", "worker-core", "only through the wire"),
            ("worker-agent", "engine-core", "only through the wire"),
            ("engine-server", "crates.io:sqlx", "does not know that SQL"),
            (
                "engine-journal",
                "dev:crates.io:axum-server",
                "does not know that SQL",
            ),
            ("client", "crates.io:ethers-signers", "behind wire/chain"),
            ("worker-agent", "crates.io:ethers-core", "behind wire/chain"),
            ("devnet", "dev:crates.io:ethers-core", "behind wire/chain"),
            ("wire-chain", "wire-link", "arrows only point down"),
            ("devnet", "daemon", "arrows only point down"),
            ("engine-core", "crates.io:quinn-proto", "a core has no sockets"),
            ("engine-server", "new-crate", "place it"),
            ("new-crate", "wire-protocol", "place it"),
        ] {
            let complaints = complaints(from, to);
            assert!(
                complaints.len() == 1 && complaints[0].contains(rule),
                "{from} -> {to}: {complaints:?}"
            );
            assert!(complaints[0].starts_with(from), "{complaints:?}");
        }
    }

    #[test]
    fn a_crate_that_is_not_named_like_its_path_is_named() {
        let package = Package {
            name: "wire-link".into(),
            manifest_path: "/pool/net/Cargo.toml".into(),
            dependencies: vec![],
        };
        assert_eq!(
            check(&[package], "/pool"),
            ["wire-link: a crate's name is its path, which makes it net"]
        );
    }
}
