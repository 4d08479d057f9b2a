//! What a command may touch of the file system, by Landlock, a part of the kernel that needs no rights of its own.
//!
//! It reads what every program needs (`/usr`, `/etc` and the like), its own folder beside its program and what the operator
//! adds; it writes to the work's folder, to `/dev/null` and its like, and to what the operator adds. It signals nobody
//! outside, and gains no rights by a set-user-id program. What it may call, and reach over the network, is bounded by
//! [`super::seccomp`].
//!
//! Older kernels enforce what they know: files from 5.13 on, signals from 6.12 on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};

/// The newest that is made use of.
const NEWEST: ABI = ABI::V6;

/// What programs read everywhere. What is not there is passed over.
const SYSTEM: [&str; 12] = [
    "/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/nix", "/opt", "/proc", "/sbin", "/sys", "/usr",
];

/// Devices that are written to without a trace.
const DEVICES: [&str; 3] = ["/dev/full", "/dev/null", "/dev/zero"];

/// Whether commands are kept in one, of files and of system calls.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SandboxMode {
    /// Not at all: a command may do what this account may.
    Off,
    /// As far as the kernel can; what it cannot is said at the start.
    #[default]
    On,
    /// Or the worker does not start.
    Need,
}

/// What the operator of a worker adds to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sandbox {
    /// Files and folders that commands may read and execute.
    pub read: Vec<PathBuf>,
    /// Those that they may write to as well.
    pub write: Vec<PathBuf>,
}

impl Sandbox {
    /// The kernel can keep a command from files.
    #[must_use]
    pub fn is_supported() -> bool {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))
            .and_then(Ruleset::create)
            .is_ok()
    }

    /// As arguments of a shim.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        for paths in [&self.read, &self.write] {
            arguments.push(paths.len().to_string().into());
            arguments.extend(paths.iter().map(|path| path.clone().into_os_string()));
        }
        arguments
    }

    /// Confines this process, for good, and what it becomes.
    pub(super) fn enter(&self, command: &Path, folder: &Path) -> Result<(), String> {
        let read = SYSTEM.iter().map(PathBuf::from);
        let read = read
            .chain(command.parent().map(Path::to_owned))
            .chain(self.read.iter().cloned());
        let write = DEVICES.iter().map(PathBuf::from);
        let write = write.chain([folder.to_owned()]).chain(self.write.iter().cloned());
        let entered = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))
            .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
            .and_then(Ruleset::create)
            .and_then(|rules| rules.add_rules(path_beneath_rules(read, AccessFs::from_read(NEWEST))))
            .and_then(|rules| rules.add_rules(path_beneath_rules(write, AccessFs::from_all(NEWEST))))
            .and_then(landlock::RulesetCreated::restrict_self);
        match entered {
            Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
                Err("the kernel has no Landlock any more".to_owned())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the command cannot be confined: {error}")),
        }
    }
}
