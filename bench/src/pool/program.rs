//! Programs of this repository that lie beside this one.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A program beside this one. Where it is missing and cargo runs this one, it is built first.
pub(crate) fn sibling(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if let Some(cargo) = std::env::var_os("CARGO").filter(|_| !path.exists()) {
        let release = path.parent().is_some_and(|folder| folder.ends_with("release"));
        let mut build = Command::new(cargo);
        build
            .args(["build", "--quiet", "--locked", "--package", package])
            .args(release.then_some("--release"));
        if !build.status().context("cannot run cargo")?.success() {
            bail!("{name} could not be built");
        }
    }
    if !path.exists() {
        bail!(
            "{} is missing; build it with `cargo build --release --workspace --bins`",
            path.display()
        );
    }
    Ok(path)
}
