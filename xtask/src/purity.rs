//! A core decides; it does not look at the world.
//!
//! No core reads a clock, the environment, the network, files, other threads or chance, and none iterates in
//! hash order: `now` and seeds are arguments. That is what makes a whole pool simulable from one seed.
//! The compiler cannot say it, so this reads the sources of the cores: their comments and texts blanked, their
//! tests left out, the paths that remain (also inside `use std::{…}`) compared with [`RULES`].
//!
//! It is a tripwire against mistakes, not a proof: an alias made elsewhere gets past it.

mod source;

use crate::cargo::root;
use anyhow::{Context, Result, bail, ensure};
use source::{Mention, mentions};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of sources that are held to it.
const CORES: &[&str] = &[
    "engine/core/src",
    "worker/core/src",
    "worker/chain/src/core",
    "wire/protocol/src",
    "wire/hub/src",
    "wire/lane/src",
    "sidecars/reconcile/src/core",
];

/// A path that begins so (or ends so, where the rule starts with `…`), and what to write instead.
const RULES: &[(&str, &str)] = &[
    (
        "std::time::Instant",
        "take `now: wire_protocol::units::Instant` as an argument",
    ),
    (
        "std::time::SystemTime",
        "take `now: wire_protocol::units::Instant` as an argument",
    ),
    ("std::time::*", "name what you need of it; a core has no clock"),
    ("…SystemTime::now", "take `now` as an argument"),
    ("…Instant::now", "take `now` as an argument"),
    ("std::env", "take it as a field of the core's configuration"),
    ("std::net", "a core has no sockets; make it an event or an effect"),
    ("std::fs", "a core has no files; make it an event or an effect"),
    (
        "std::io",
        "a core does no input or output; make it an event or an effect",
    ),
    (
        "std::os",
        "a core knows no operating system; make it an event or an effect",
    ),
    ("std::thread", "a core is run by one thread, which is its shell's"),
    (
        "std::process",
        "a core starts nothing and ends nothing; make it an effect",
    ),
    (
        "std::sync::Mutex",
        "one thread owns one table; nothing here is shared",
    ),
    (
        "std::sync::RwLock",
        "one thread owns one table; nothing here is shared",
    ),
    (
        "std::hash::RandomState",
        "use a hasher with a fixed seed, or a BTreeMap",
    ),
    (
        "std::collections::hash_map::RandomState",
        "use a hasher with a fixed seed, or a BTreeMap",
    ),
    ("rand", "take a seed as an argument: fastrand::Rng::with_seed"),
    (
        "getrandom",
        "take a seed as an argument: fastrand::Rng::with_seed",
    ),
    (
        "…fastrand::Rng::new",
        "take a seed as an argument: fastrand::Rng::with_seed",
    ),
    (
        "…Rng::new",
        "take a seed as an argument: fastrand::Rng::with_seed",
    ),
    (
        "tokio",
        "a core is not asynchronous; make it an event or an effect",
    ),
    ("mio", "a core has no sockets; make it an event or an effect"),
    (
        "libc",
        "a core makes no system calls; make it an event or an effect",
    ),
];

/// Of `fastrand` only the seeded generator: its free functions share one that nobody seeded.
const SEEDED: &str = "fastrand::Rng";
/// What a map must look like, because the default hasher is seeded by chance.
const FIXED_ORDER: &str =
    "name a hasher with a fixed seed as the last parameter, or use a BTreeMap or BTreeSet";

pub(crate) fn run() -> Result<()> {
    let mut complaints = 0;
    for core in CORES {
        let files = sources(&root().join(core))?;
        ensure!(!files.is_empty(), "{core} has no sources");
        for file in files {
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let shown = file.strip_prefix(root()).unwrap_or(&file).display();
            for (line, path, instead) in impurities(&text) {
                eprintln!("  {shown}:{line}: {path}: {instead}");
                complaints += 1;
            }
        }
    }
    if complaints > 0 {
        bail!("{complaints} places where a core looks at the world (the rules are in xtask/src/purity.rs)");
    }
    Ok(())
}

/// The Rust files below `folder`, in order, without those that hold only tests.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Line, path and remedy of each thing in `source` that a core must not mention.
fn impurities(source: &str) -> Vec<(usize, String, &'static str)> {
    mentions(source)
        .into_iter()
        .filter_map(|mention| Some((mention.line, mention.path.clone(), remedy(&mention)?)))
        .collect()
}

fn remedy(mention: &Mention) -> Option<&'static str> {
    let path = mention
        .path
        .replacen("core::", "std::", usize::from(mention.path.starts_with("core::")));
    let rule = RULES.iter().find(|(rule, _)| match rule.strip_prefix('…') {
        Some(end) => path == end || path.ends_with(&format!("::{end}")),
        None => path == *rule || path.starts_with(&format!("{rule}::")),
    });
    if let Some((_, instead)) = rule {
        return Some(instead);
    }
    if path.starts_with("fastrand::") && path != SEEDED && !path.starts_with("fastrand::Rng::") {
        return Some("use a seeded fastrand::Rng, not the global one");
    }
    let hashed = [("HashMap", 3), ("HashSet", 2)]
        .into_iter()
        .find(|(name, _)| path.split("::").any(|segment| segment == *name));
    let (name, with_hasher) = hashed?;
    let seeded_by_chance = match mention.parameters {
        Some(count) => count < with_hasher,
        // These two exist for the default hasher only.
        None => [format!("{name}::new"), format!("{name}::with_capacity")]
            .iter()
            .any(|end| path.ends_with(end)),
    };
    seeded_by_chance.then_some(FIXED_ORDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<(usize, String)> {
        impurities(source)
            .into_iter()
            .map(|(line, path, _)| (line, path))
            .collect()
    }

    #[test]
    fn each_way_to_look_at_the_world_is_found_with_its_line() {
        for (source, expected) in [
            ("use std::time::Instant;", "std::time::Instant"),
            ("use std::{\n  fmt, env::args};", "std::env::args"),
            (
                "use std::time::{Duration, SystemTime as Clock};",
                "std::time::SystemTime",
            ),
            ("fn f() {\n let t = Instant::now(); }", "Instant::now"),
            ("fn f() { ::std::fs::read(p) }", "std::fs::read"),
            ("use rand::Rng;", "rand::Rng"),
            ("fn f() { tokio::spawn(g) }", "tokio::spawn"),
            ("fn f() { fastrand::u64(..) }", "fastrand::u64"),
            ("fn f() { let r = fastrand::Rng::new(); }", "fastrand::Rng::new"),
            ("struct S { m: HashMap<u32, Vec<(u8, u8)>> }", "HashMap"),
            ("fn f() { let s = HashSet::new(); }", "HashSet::new"),
            ("fn f() { let s = HashMap::<u8, u8>::default(); }", "HashMap"),
        ] {
            let line = source.lines().count();
            assert_eq!(found(source), [(line, expected.to_owned())], "{source}");
        }
    }

    #[test]
    fn what_a_core_may_do_is_not_found() {
        for source in [
            "use std::collections::{BTreeMap, HashMap, VecDeque};",
            "struct S { m: HashMap<u32, u8, BuildHasherDefault<H>>, t: Instant }",
            "fn f() { HashMap::with_hasher(h); HashSet::default(); }",
            "use std::time::Duration;\nuse wire_protocol::units::Instant;",
            "fn f(rng: fastrand::Rng) { fastrand::Rng::with_seed(7); rng.u64(..) }",
            "// std::fs::read\n/* std::env /* nested */ std::env */\nfn f() {}",
            "fn f() { \"std::env \\\" std::env\"; r#\"std::fs \" \"#; b'\"'; '\"'; 'a': loop {} }",
            "struct Operand; fn random() { operand::grand(); brand() }",
        ] {
            assert_eq!(found(source), [], "{source}");
        }
    }

    #[test]
    fn tests_may_do_as_they_please_and_what_follows_them_may_not() {
        let source = "#[cfg(test)]\nmod tests {\n use std::fs;\n fn f() { {} }\n}\nuse std::net::IpAddr;";
        assert_eq!(found(source), [(6, "std::net::IpAddr".to_owned())]);
        let source = "#[cfg(all(test, not(loom)))]\n#[path = \"x\"]\nuse std::fs;\nuse std::env;";
        assert_eq!(found(source), [(4, "std::env".to_owned())]);
        assert_eq!(
            found("#[cfg(not(test))]\nuse std::fs;"),
            [(2, "std::fs".to_owned())]
        );
    }
}
