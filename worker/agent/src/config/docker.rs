//! The options of containers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use wire_protocol::units::Bytes;

use crate::executor::{Bounds, Docker, DockerConfig, Folder, ImageAllow};
use crate::files::Files;

/// What the operator of a worker says of containers.
#[derive(Args, Debug)]
#[command(next_help_heading = "Containers")]
pub(super) struct DockerArgs {
    /// Images that works may run in containers: a name allows all its tags, `name:tag` or
    /// `name@sha256:…` only that, `ghcr.io/org/*` all below, `*` all. Without it no containers run here
    #[arg(
        long,
        value_name = "IMAGE,…",
        env = "POOL_DOCKER_ALLOW",
        value_delimiter = ','
    )]
    docker_allow: Vec<String>,

    /// Those of them whose containers have a network; the others have none
    #[arg(
        long,
        value_name = "IMAGE,…",
        env = "POOL_DOCKER_NETWORK",
        value_delimiter = ','
    )]
    docker_network: Vec<String>,

    /// Run only images that a work names by their digest, so that nobody can put others in their place
    #[arg(long, env = "POOL_DOCKER_PINNED")]
    docker_pinned: bool,

    /// Unix socket of the Docker Engine (20.10 or later), which has to see --folder at the same path
    #[arg(
        long,
        value_name = "FILE",
        env = "POOL_DOCKER_SOCKET",
        default_value = "/var/run/docker.sock"
    )]
    docker_socket: PathBuf,

    /// Mebibytes of memory of a container, at most; a work may ask for less
    #[arg(long, value_name = "MIB", env = "POOL_DOCKER_MEMORY_MIB", default_value_t = 2_048,
          value_parser = clap::value_parser!(u64).range(6..))]
    docker_memory_mib: u64,

    /// Thousandths of a processor that a container gets; 0: all processors
    #[arg(
        long,
        value_name = "MILLI",
        env = "POOL_DOCKER_CPU_MILLI",
        default_value_t = 1_000
    )]
    docker_cpu_milli: u32,

    /// Processes and threads of a container at once, at most; a work may ask for less
    #[arg(long, value_name = "N", env = "POOL_DOCKER_PROCESSES", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..))]
    docker_processes: u32,

    /// Mebibytes that a work may write to its folder /work
    #[arg(long, value_name = "MIB", env = "POOL_DOCKER_DISK_MIB", default_value_t = 5_120,
          value_parser = clap::value_parser!(u64).range(1..))]
    docker_disk_mib: u64,

    /// Runtime that Docker uses for them, as runsc (gVisor) [default: Docker's own]
    #[arg(long, value_name = "NAME", env = "POOL_DOCKER_RUNTIME")]
    docker_runtime: Option<String>,

    /// Seconds that fetching an image may take
    #[arg(long, value_name = "S", env = "POOL_DOCKER_PULL_S", default_value_t = 600)]
    docker_pull_s: u64,
}

impl DockerArgs {
    /// The images that may run. `all_images`: all may, if the list names none.
    pub(super) fn allow(&self, all_images: bool) -> anyhow::Result<ImageAllow> {
        let allow = images(&self.docker_allow, "--docker-allow (POOL_DOCKER_ALLOW)")?;
        Ok(if allow.is_empty() && all_images {
            ImageAllow::new(["*"]).expect("a list of all")
        } else {
            allow
        })
    }

    /// Socket and runtime.
    pub(super) fn engine(&self) -> (PathBuf, Option<String>) {
        let runtime = self.docker_runtime.clone().filter(|name| !name.is_empty());
        (self.docker_socket.clone(), runtime)
    }

    /// `None`: no image may run. `all_images`: see [`Self::allow`].
    pub(super) fn into_executor(
        self,
        folder: &Arc<Folder>,
        worker: &str,
        all_images: bool,
        files: Arc<Files>,
    ) -> anyhow::Result<Option<Docker>> {
        let allow = self.allow(all_images)?;
        if allow.is_all() {
            tracing::warn!(
                "all images may run: whoever may submit works to this pool can run any program in a container here"
            );
        }
        let network = images(&self.docker_network, "--docker-network (POOL_DOCKER_NETWORK)")?;
        if allow.is_empty() {
            return Ok(None);
        }
        let (socket, runtime) = self.engine();
        let engine = Docker::connect(DockerConfig {
            socket: socket.clone(),
            folder: Arc::clone(folder),
            worker: worker.to_owned(),
            allow,
            network,
            pinned: self.docker_pinned,
            bounds: Bounds {
                memory: Bytes::from_mib(self.docker_memory_mib),
                cpu_milli: self.docker_cpu_milli,
                processes: self.docker_processes,
                disk: Bytes::from_mib(self.docker_disk_mib),
                runtime,
            },
            pull_within: Duration::from_secs(self.docker_pull_s),
            files: Some(files),
        });
        engine.map(Some).with_context(|| {
            format!(
                "no Docker Engine is at {}: start it, name its socket with --docker-socket, or leave --docker-allow out",
                socket.display()
            )
        })
    }
}

fn images(entries: &[String], option: &'static str) -> anyhow::Result<ImageAllow> {
    ImageAllow::new(entries.iter().map(String::as_str)).context(option)
}
