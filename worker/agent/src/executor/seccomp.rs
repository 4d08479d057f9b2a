//! Which system calls a command may make, by seccomp, a part of the kernel that needs no rights of its own.
//!
//! All are allowed but those that no work needs and that attack a machine: they mount, make namespaces, look into other
//! processes, load modules and programs into the kernel, set clocks, type into terminals, open the rarer kinds of sockets.
//! These fail with `EPERM`, as they do for most accounts anyway; for root, and through bugs of the kernel, they would not.
//!
//! ```text
//!  offline    sockets of this machine alone (AF_UNIX)         commands, unless the operator says otherwise
//!  online     IPv4 and IPv6, too, and what looks up routes    those that the operator gives a network
//! ```
//!
//! A filter is a thread's own, like Landlock, and all that the thread starts has it for good (seccomp(2)). Unlike Landlock it
//! is the same for many commands: two threads have one on as long as the worker lives, and start what is to have it. A filter
//! sees numbers, no memory: what is told apart is told apart by flags. So `clone3`, whose flags are in memory, is said not to exist, upon
//! which libc takes `clone`; and so is the x32 ABI, in which every call has a second number. Programs of 32 bits, whose
//! calls have other numbers, are killed by their first one.
//!
//! This is the list of Docker and systemd in spirit: <https://docs.docker.com/engine/security/seccomp/>,
//! `SystemCallFilter=` in systemd.exec(5). A list of what is allowed would be shorter to defend, and would break programs
//! with each new libc.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::sync::mpsc;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use thiserror::Error;

use super::allow::Allow;

/// Refused whatever their arguments are.
#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    // Other file systems, and another root.
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_move_mount,
    libc::SYS_open_tree, libc::SYS_mount_setattr, libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount,
    libc::SYS_fspick, libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_quotactl, libc::SYS_quotactl_fd,
    // Files by their number, past the folders that lead to them.
    libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at, libc::SYS_fanotify_init,
    // Namespaces: in one of its own a command is root, and reaches code of the kernel that is written for root.
    libc::SYS_unshare, libc::SYS_setns,
    // Other processes.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_getfd,
    // The kernel itself.
    libc::SYS_kexec_load, libc::SYS_kexec_file_load, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_bpf,
    libc::SYS_perf_event_open, libc::SYS_syslog, libc::SYS_acct, libc::SYS_reboot, libc::SYS_vhangup,
    // What bugs of the kernel are most often reached by, and works need least.
    libc::SYS_userfaultfd, libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key,
    // Calls that are made where no filter sees them.
    libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register,
    // Clocks and names.
    libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_adjtimex, libc::SYS_clock_adjtime,
    libc::SYS_sethostname, libc::SYS_setdomainname,
];

/// The same that only some architectures have.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[libc::SYS_ioperm, libc::SYS_iopl];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// `CLONE_NEW*` of clone(2). `CLONE_NEWTIME` is not among them: there it is a part of the signal.
const NAMESPACES: [c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Personalities that change no more than what uname(2) says, and the question for the present one; as Docker allows.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `TIOCSTI`, which types into a terminal for whoever reads there, and `TIOCLINUX`, by which the console does so and more.
const TYPING: [u64; 2] = [0x5412, 0x541c];

/// The oldest way to packets, which libc calls deprecated, and the kernel still has (socket(2)).
const SOCK_PACKET: c_int = 10;

/// Numbers from here on are those of x32, an ABI of x86-64 (`__X32_SYSCALL_BIT`).
const X32: u32 = 0x4000_0000;

/// What commands may call, and which of them have a network.
#[derive(Clone, Debug)]
pub struct Seccomp {
    network: Allow,
    online: Filtered,
    offline: Filtered,
}

/// Why there is none.
#[derive(Debug, Error)]
pub enum NoSeccomp {
    /// The numbers of its calls are not known here.
    #[error("no filter is known for {}", std::env::consts::ARCH)]
    Architecture(#[source] BackendError),
    /// The kernel takes no filter.
    #[error("the kernel takes no filter")]
    Kernel(#[source] seccompiler::Error),
    /// The system gives no thread.
    #[error("a filter has no thread")]
    Thread(#[from] io::Error),
}

impl Seccomp {
    /// `network` are the commands that have a network. Starts two threads, which end with the last clone.
    ///
    /// # Errors
    /// See [`NoSeccomp`].
    pub fn new(network: Allow) -> Result<Self, NoSeccomp> {
        Ok(Self {
            network,
            online: Filtered::start(true)?,
            offline: Filtered::start(false)?,
        })
    }

    /// That of this command, as its work names it.
    pub(super) fn of(&self, command: &OsStr) -> &Filtered {
        if self.network.resolve(command).is_ok() {
            &self.online
        } else {
            &self.offline
        }
    }
}

/// What a filtered thread does: soon done, as others wait behind it.
type Job = Box<dyn FnOnce() + Send>;

/// A thread that has a filter on, and with it what it starts: processes, and threads that dress further. To put one on takes
/// the kernel a third of a millisecond, in which it translates it and tries it with all calls that there are; so it is done
/// once, and not for each command.
#[derive(Clone, Debug)]
pub(super) struct Filtered(mpsc::Sender<Job>);

impl Filtered {
    fn start(network: bool) -> Result<Self, NoSeccomp> {
        let programs = programs(network)?;
        let (give, jobs) = mpsc::channel::<Job>();
        let (say, said) = mpsc::channel();
        let thread = std::thread::Builder::new().name("filtered".to_owned());
        thread.spawn(move || {
            let entered = programs
                .iter()
                .try_for_each(|program| seccompiler::apply_filter(program));
            let is_on = entered.is_ok();
            let _ = say.send(entered);
            if is_on {
                jobs.iter().for_each(|job| job());
            }
        })?;
        let entered = said.recv().expect("the thread says so first of all");
        entered.map_err(NoSeccomp::Kernel)?;
        Ok(Self(give))
    }

    /// Has it done there.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        // A thread that is gone drops it, which whoever waits for it sees.
        let _ = self.0.send(Box::new(job));
    }
}

/// A filter; each of its programs has one answer to what it refuses.
fn programs(network: bool) -> Result<[BpfProgram; 3], NoSeccomp> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(NoSeccomp::Architecture)?;
    let build = |rules, errno: c_int| {
        let refuse = SeccompAction::Errno(errno.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch);
        filter
            .and_then(BpfProgram::try_from)
            .expect("rules are well-formed")
    };
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([
        build(rules(network), libc::EPERM),
        build(clone3, libc::ENOSYS),
        without_x32(),
    ])
}

/// What is refused with `EPERM`; one rule of a call is enough.
fn rules(network: bool) -> BTreeMap<i64, Vec<SeccompRule>> {
    let whole = REFUSED.iter().chain(REFUSED_HERE);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = whole.map(|call| (*call, Vec::new())).collect();
    let namespaces = NAMESPACES.map(|flag| u64::from(flag.unsigned_abs()));
    let namespaces = namespaces.map(|flag| when([argument(0, SeccompCmpOp::MaskedEq(flag), flag)]));
    rules.insert(libc::SYS_clone, namespaces.into());
    let typing = TYPING.map(|request| when([argument(1, SeccompCmpOp::Eq, request)]));
    rules.insert(libc::SYS_ioctl, typing.into());
    let others = PERSONALITIES.map(|harmless| argument(0, SeccompCmpOp::Ne, harmless));
    rules.insert(libc::SYS_personality, vec![when(others)]);
    rules.insert(libc::SYS_mknodat, devices(2));
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_mknod, devices(1));
    rules.insert(libc::SYS_socket, sockets(network));
    rules.insert(libc::SYS_socketpair, vec![when([other_than(libc::AF_UNIX)])]);
    rules
}

/// Devices as files: root could make one of the disk in its own folder.
fn devices(mode: u8) -> Vec<SeccompRule> {
    let kind = SeccompCmpOp::MaskedEq(u64::from(libc::S_IFMT));
    [libc::S_IFCHR, libc::S_IFBLK]
        .map(|device| when([argument(mode, kind.clone(), u64::from(device))]))
        .into()
}

/// Sockets that are refused.
fn sockets(network: bool) -> Vec<SeccompRule> {
    if !network {
        return vec![when([other_than(libc::AF_UNIX)])];
    }
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let raw = |kind: c_int| {
        let is = argument(1, SeccompCmpOp::MaskedEq(0xf), number(kind));
        when([other_than(libc::AF_NETLINK), is])
    };
    vec![
        when(families.map(other_than)),
        // getaddrinfo(3) asks which addresses this machine has; no more of netlink.
        when([
            argument(0, SeccompCmpOp::Eq, number(libc::AF_NETLINK)),
            argument(2, SeccompCmpOp::Ne, number(libc::NETLINK_ROUTE)),
        ]),
        // Packets as root may forge and overhear them.
        raw(libc::SOCK_RAW),
        raw(SOCK_PACKET),
    ]
}

fn other_than(family: c_int) -> SeccompCondition {
    argument(0, SeccompCmpOp::Ne, number(family))
}

/// A condition of an argument, of which the kernel looks at 32 bits.
fn argument(index: u8, is: SeccompCmpOp, value: u64) -> SeccompCondition {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, is, value).expect("a call has six arguments")
}

fn when(all: impl Into<Vec<SeccompCondition>>) -> SeccompRule {
    SeccompRule::new(all.into()).expect("there are conditions")
}

fn number(constant: c_int) -> u64 {
    u64::from(constant.unsigned_abs())
}

/// Says of all calls of x32 that they do not exist. Elsewhere no number is that high.
fn without_x32() -> BpfProgram {
    let step = |code: u32, jt, jf, k| sock_filter {
        code: u16::try_from(code).expect("classic BPF has codes of 16 bits"),
        jt,
        jf,
        k,
    };
    vec![
        // The number, which is the first of what a filter sees (struct seccomp_data).
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}
