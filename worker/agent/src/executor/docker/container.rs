//! What a container may do: as little as a work can do with, unless the operator gives more.
//!
//! No network, a root that cannot be written to, no capabilities, none gained by a set-user-id program, an account that
//! is not root, its own process, ipc and cgroup namespaces, Docker's own seccomp profile, and bounds on memory (swap is not
//! in it), processors, processes, open files and the size of a file. What it may write to is `/work`, a folder of its own on
//! the worker's disk, and a small `/tmp` in its memory. An image that declares volumes gets memory there too: Docker would
//! make them on its disk, where nothing bounds them. Of what it prints Docker keeps at most eight mebibytes, as long as the
//! container is there.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountType, ResourcesUlimits,
};
use wire_protocol::ids::LeaseToken;
use wire_protocol::units::Bytes;

use crate::executor::WORK_CPU_SHARES;

/// Whose the containers are: the worker's identity.
pub(super) const LABEL_WORKER: &str = "workerpool.worker";
/// Which attempt runs in one.
const LABEL_ATTEMPT: &str = "workerpool.attempt";

/// Where a work's folder is, inside.
pub(super) const WORK: &str = "/work";
/// Memory that `/tmp` and each declared volume may take of the container's own.
const TMPFS: &str = "rw,nosuid,nodev,noexec,size=64m,mode=1777";
/// What Docker keeps of the output, for a worker that takes the container up again. Output that a result can hold takes at
/// most two mebibytes in it, at two bytes a line; so it is always whole. A file is full at four, and then there are two.
const LOG: [(&str, &str); 3] = [("max-size", "4m"), ("max-file", "2"), ("compress", "false")];
/// Open files at once.
const FILES_MAX: i64 = 1_024;

/// What the operator of a worker gives to each container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Memory, for works that say nothing of it, and the most for those that do.
    pub memory: Bytes,
    /// Processors, in thousandths; 0: all.
    pub cpu_milli: u32,
    /// Processes and threads, likewise for works that say nothing.
    pub processes: u32,
    /// What `/work` may hold.
    pub disk: Bytes,
    /// Name of the runtime, as `runsc`; `None`: Docker's default.
    pub runtime: Option<String>,
}

/// One container.
pub(super) struct Container<'a> {
    pub(super) image: String,
    pub(super) command: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) token: LeaseToken,
    pub(super) worker: &'a str,
    /// The work's folder on this machine.
    pub(super) folder: &'a Path,
    /// Account and group inside, by their numbers.
    pub(super) user: (u32, u32),
    /// Folders that the image declares as volumes.
    pub(super) volumes: Vec<String>,
    pub(super) has_input: bool,
    pub(super) network: bool,
    /// GPUs that it gets, by what their driver calls them.
    pub(super) gpus: Vec<String>,
    /// What the work may have: its own limit or the operator's, whichever is less; 0: it says nothing.
    pub(super) memory: Bytes,
    pub(super) processes: u32,
}

impl Container<'_> {
    /// The name that Docker knows it by.
    pub(super) fn name(&self) -> String {
        let LeaseToken {
            work,
            attempt,
            epoch,
            shard,
        } = self.token;
        // Of several workers on one machine each has its own attempts, but a token may come again after a restored backup.
        format!("pool-{work}-{attempt}-{epoch}-{shard}-{}", self.worker)
    }

    /// What Docker is asked for.
    pub(super) fn body(self, bounds: &Bounds) -> ContainerCreateBody {
        let memory = size(least(self.memory.0, bounds.memory.0));
        // One that is declared where the work's folder is has its place there.
        let volumes = self
            .volumes
            .iter()
            .map(String::as_str)
            .filter(|path| *path != WORK);
        let tmpfs = volumes.chain(["/tmp"]);
        let host = HostConfig {
            network_mode: Some(if self.network { "bridge" } else { "none" }.to_owned()),
            readonly_rootfs: Some(true),
            mounts: Some(vec![Mount {
                target: Some(WORK.to_owned()),
                source: Some(self.folder.display().to_string()),
                typ: Some(MountType::BIND),
                read_only: Some(false),
                ..Mount::default()
            }]),
            tmpfs: Some(tmpfs.map(|path| (path.to_owned(), TMPFS.to_owned())).collect()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            privileged: Some(false),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            memory: Some(memory),
            // Memory and swap together: none to swap.
            memory_swap: Some(memory),
            memory_swappiness: Some(0),
            cpu_shares: Some(WORK_CPU_SHARES),
            nano_cpus: (bounds.cpu_milli > 0).then(|| i64::from(bounds.cpu_milli) * 1_000_000),
            pids_limit: Some(least(self.processes.into(), bounds.processes.into()).max(1) as i64),
            ulimits: Some(vec![
                ulimit("nofile", FILES_MAX),
                ulimit("core", 0),
                ulimit("fsize", size(bounds.disk.0)),
            ]),
            log_config: Some(HostConfigLogConfig {
                typ: Some("local".to_owned()),
                config: Some(HashMap::from(
                    LOG.map(|(name, value)| (name.to_owned(), value.to_owned())),
                )),
            }),
            // Whichever driver has GPUs, as `docker run --gpus` asks for it.
            device_requests: (!self.gpus.is_empty()).then(|| {
                vec![DeviceRequest {
                    device_ids: Some(self.gpus),
                    capabilities: Some(vec![vec!["gpu".to_owned()]]),
                    ..DeviceRequest::default()
                }]
            }),
            runtime: bounds.runtime.clone(),
            ..HostConfig::default()
        };
        let labels = [
            (LABEL_WORKER, self.worker.to_owned()),
            (LABEL_ATTEMPT, self.token.to_string()),
        ];
        ContainerCreateBody {
            image: Some(self.image),
            // Without one the image's own runs.
            cmd: (!self.command.is_empty()).then_some(self.command),
            env: Some(self.env),
            working_dir: Some(WORK.to_owned()),
            user: Some(format!("{}:{}", self.user.0, self.user.1)),
            hostname: Some("work".to_owned()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            attach_stdin: Some(self.has_input),
            open_stdin: Some(self.has_input),
            stdin_once: Some(self.has_input),
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            labels: Some(HashMap::from(
                labels.map(|(name, value)| (name.to_owned(), value)),
            )),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }
}

/// The lesser of two limits of which 0 is none.
pub(super) fn least(one: u64, other: u64) -> u64 {
    match (one, other) {
        (0, limit) | (limit, 0) => limit,
        (one, other) => one.min(other),
    }
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn ulimit(name: &str, limit: i64) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(limit),
        hard: Some(limit),
    }
}

#[cfg(test)]
mod tests {
    use wire_protocol::ids::{Attempt, Epoch, Shard, WorkId};

    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            memory: Bytes::from_mib(512),
            cpu_milli: 1_500,
            processes: 64,
            disk: Bytes::from_mib(100),
            runtime: None,
        }
    }

    fn container(folder: &Path) -> Container<'_> {
        Container {
            image: "docker.io/library/alpine:latest".to_owned(),
            command: vec!["echo".to_owned(), "hi".to_owned()],
            env: vec!["A=1".to_owned()],
            token: LeaseToken {
                work: WorkId(7),
                epoch: Epoch(2),
                attempt: Attempt(1),
                shard: Shard(0),
            },
            worker: "ant",
            folder,
            user: (65_534, 65_534),
            volumes: Vec::new(),
            has_input: false,
            network: false,
            gpus: Vec::new(),
            memory: Bytes(0),
            processes: 0,
        }
    }

    #[test]
    fn a_container_gets_nothing_that_it_can_do_without() {
        let body = container(Path::new("/w/w7")).body(&bounds());
        let host = body.host_config.expect("it is said");
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!((host.readonly_rootfs, host.privileged), (Some(true), Some(false)));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(
            (host.cap_add, host.devices, host.device_requests),
            (None, None, None)
        );
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges:true".to_owned()]));
        assert_eq!(
            (host.pid_mode, host.uts_mode, host.userns_mode),
            (None, None, None)
        );
        let mounts: Vec<_> = host.mounts.into_iter().flatten().collect();
        let mounts: Vec<_> = mounts
            .iter()
            .map(|mount| (mount.source.as_deref(), mount.target.as_deref()))
            .collect();
        assert_eq!((mounts, host.binds), (vec![(Some("/w/w7"), Some(WORK))], None));
        assert_eq!(body.user.as_deref(), Some("65534:65534"));
        let log = host.log_config.expect("it is said");
        assert_eq!(log.typ.as_deref(), Some("local"));
        let bounds = log.config.expect("it is said");
        assert!(
            bounds.contains_key("max-size") && bounds.contains_key("max-file"),
            "{bounds:?}"
        );
        assert_eq!(host.memory, host.memory_swap);
        assert_eq!((host.memory, host.pids_limit), (Some(512 << 20), Some(64)));
        assert_eq!(
            (host.nano_cpus, host.cpu_shares),
            (Some(1_500_000_000), Some(128))
        );
        assert_eq!((body.tty, body.open_stdin), (None, Some(false)));
    }

    #[test]
    fn a_work_may_ask_for_less_and_not_for_more() {
        for (asked, given) in [(0, 512), (100, 100), (4_096, 512)] {
            let mut container = container(Path::new("/w"));
            container.memory = Bytes::from_mib(asked);
            let host = container.body(&bounds()).host_config.expect("it is said");
            assert_eq!(host.memory, Some(given << 20), "{asked}");
        }
        for (asked, given) in [(0, 64), (3, 3), (u32::MAX, 64)] {
            let mut container = container(Path::new("/w"));
            container.processes = asked;
            let host = container.body(&bounds()).host_config.expect("it is said");
            assert_eq!(host.pids_limit, Some(given), "{asked}");
        }
    }

    #[test]
    fn a_work_gets_the_gpus_that_it_was_given_and_no_other_device() {
        let mut container = container(Path::new("/w"));
        container.gpus = vec!["1".to_owned(), "GPU-5f".to_owned()];
        let host = container.body(&bounds()).host_config.expect("it is said");
        let requests = host.device_requests.expect("it is said");
        let expected = DeviceRequest {
            device_ids: Some(vec!["1".to_owned(), "GPU-5f".to_owned()]),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        };
        assert_eq!(requests, [expected]);
        assert_eq!((host.devices, host.privileged), (None, Some(false)));
    }

    #[test]
    fn volumes_of_an_image_are_in_memory() {
        let mut container = container(Path::new("/w"));
        container.volumes = ["/data", "/tmp", WORK].map(str::to_owned).to_vec();
        let host = container.body(&bounds()).host_config.expect("it is said");
        let tmpfs = host.tmpfs.expect("they are there");
        let mut places: Vec<_> = tmpfs.keys().map(String::as_str).collect();
        places.sort_unstable();
        assert_eq!(places, ["/data", "/tmp"]);
        assert!(
            tmpfs.values().all(|options| options.contains("size=64m")),
            "{tmpfs:?}"
        );
    }
}
