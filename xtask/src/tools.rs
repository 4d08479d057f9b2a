//! Steps that need a tool or a way of building of their own.
//!
//! A tool is installed at a pinned version into `target/tools` when it is not there yet. One that cannot
//! be had is a failure, here and in CI: a check that was skipped looks like one that passed.

use crate::cargo::{cargo, program, root, run, target, works};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// ~220 s of processor time to install, once.
const CARGO_DENY: (&str, &str) = ("cargo-deny", "0.20.2");
/// ~50 s of processor time to install, once.
const CARGO_FUZZ: (&str, &str) = ("cargo-fuzz", "0.13.2");
/// The folder in which cargo-deny looks for its default database: the name ends in a hash of the address.
const ADVISORY_DB: &str = "advisory-db-3157b0e258782691";
/// The fuzz targets live in a workspace of their own, because cargo-fuzz wants that.
const FUZZED: &str = "wire/protocol";

/// The tests called `loom…` of the crate that has lock-free code, with loom in place of std.
pub(crate) fn loom() -> Result<()> {
    run(cargo("test -p engine-queue --release --lib loom --locked")
        .args(["--target-dir".as_ref(), target().join("loom").as_os_str()])
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("RUSTFLAGS", "--cfg loom"))
}

/// The stress scenarios, instrumented. `RUSTC_BOOTSTRAP` unlocks the flag on a stable compiler; std stays
/// uninstrumented (that would need its source), which the flag about the ABI admits.
pub(crate) fn tsan() -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "ThreadSanitizer is set up for Linux only"
    );
    let suppressions = root().join("engine/queue/tsan.supp");
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    run(cargo("test -p engine-queue --test tsan --locked --target")
        .arg(triple)
        .args(["--target-dir".as_ref(), target().join("tsan").as_os_str()])
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "TSAN_OPTIONS",
            format!("halt_on_error=1 suppressions={}", suppressions.display()),
        )
        .env(
            "RUSTFLAGS",
            "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        ))
}

/// `deny.toml`, applied to the lock file.
///
/// Advisories come from the network, unless the machine has none and a git bundle of the RustSec database
/// lies beside the checkout, as `../shared/advisory-db.bundle`.
pub(crate) fn deny() -> Result<()> {
    let deny = tool(CARGO_DENY)?;
    let bundle = root().join("../shared/advisory-db.bundle");
    if !bundle.exists() {
        return run(program(&deny, "--workspace --all-features check").env("CARGO_TERM_COLOR", "always"));
    }
    let config = offline_advisories(&bundle)?;
    run(program(&deny, "--workspace --all-features --offline --config")
        .arg(config)
        .arg("check"))
}

/// Unpacks the bundle once and writes a copy of `deny.toml` that uses it, however old it is.
fn offline_advisories(bundle: &Path) -> Result<PathBuf> {
    let databases = target().join("advisory-dbs");
    let database = databases.join(ADVISORY_DB);
    if !database.exists() {
        fs::create_dir_all(&databases)?;
        run(program("git", "-c init.defaultBranch=main clone --quiet").args([bundle, database.as_path()]))?;
    }
    let config = fs::read_to_string(root().join("deny.toml")).context("deny.toml")?;
    let with_database = format!(
        "[advisories]\ndb-path = \"{}\"\nmaximum-db-staleness = \"P5Y\"\n",
        databases.display()
    );
    ensure!(
        config.contains("[advisories]\n"),
        "deny.toml has a section [advisories]"
    );
    let path = target().join("deny-offline.toml");
    fs::write(&path, config.replacen("[advisories]\n", &with_database, 1))?;
    Ok(path)
}

/// Each fuzz target for some seconds, on the committed corpus. What it finds beyond that goes to `target`, so
/// that the repository stays as it is; a crash leaves its input there and fails.
pub(crate) fn fuzz(seconds: u32) -> Result<()> {
    let fuzz = tool(CARGO_FUZZ)?;
    let folder = root().join(FUZZED).join("fuzz");
    for name in fuzz_targets(&folder.join("fuzz_targets"))? {
        let found = target().join("fuzz-found").join(&name);
        let crashes = target().join("fuzz-crashes").join(&name);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&crashes)?;
        let mut command = Command::new(&fuzz);
        command
            .current_dir(root().join(FUZZED))
            .env("RUSTC_BOOTSTRAP", "1");
        command
            .args(["fuzz", "run", "--target-dir"])
            .arg(target().join("fuzz"))
            .arg(&name)
            .arg(&found);
        let seeds = folder.join("corpus").join(&name);
        if seeds.exists() {
            command.arg(seeds);
        }
        command.arg("--").arg(format!("-max_total_time={seconds}"));
        run(command.arg(format!("-artifact_prefix={}/", crashes.display())))?;
    }
    Ok(())
}

fn fuzz_targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    ensure!(!names.is_empty(), "no fuzz target in {}", folder.display());
    names.sort();
    Ok(names)
}

/// The path of a tool at exactly its version, installed if it is not there.
fn tool((name, version): (&str, &str)) -> Result<PathBuf> {
    let tools = target().join("tools");
    let path = tools.join("bin").join(name);
    let says = |path: &Path| Command::new(path).arg("--version").output().map(|out| out.stdout);
    let installed = says(&path).unwrap_or_default();
    if String::from_utf8_lossy(&installed)
        .split_whitespace()
        .any(|word| word == version)
    {
        return Ok(path);
    }
    eprintln!("  {name} {version} is not in {}, installing it", tools.display());
    run(cargo("install --locked --quiet --force --version")
        .args([version, name, "--root"])
        .arg(&tools)
        .env("CARGO_TARGET_DIR", tools.join("build")))
    .with_context(|| format!("{name} {version} cannot be installed"))?;
    if !works(Command::new(&path).arg("--version")) {
        bail!("{} was installed and does not run", path.display());
    }
    Ok(path)
}
