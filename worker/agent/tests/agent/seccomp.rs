//! What real commands may call. Perl, which every system has, makes calls by their numbers.

use std::io::Read;
use std::net::TcpListener;

use libc::{c_int, c_long};
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Bytes;

use crate::process::{Rig, command, stderr, stdout};

/// Makes calls, and prints the number of each one's error, 0 for none. Three arguments are enough.
fn calls(calls: &[(c_long, [i64; 3])]) -> WorkTemplate {
    let mut script = String::new();
    for (number, [a, b, c]) in calls {
        script += &format!("print syscall({number}, {a}, {b}, {c}, 0, 0) == -1 ? $! + 0 : 0, ' ';\n");
    }
    command(&["perl", "-e", &script])
}

fn errors(rig: &Rig, template: WorkTemplate) -> Vec<c_int> {
    let ended = rig.run(template, b"");
    assert_eq!(ended.reason, Reason::None, "{}", stderr(&ended));
    let words = stdout(&ended).split_whitespace();
    words.map(|word| word.parse().expect("a number")).collect()
}

/// By way of the shim.
fn limited(mut template: WorkTemplate) -> WorkTemplate {
    template.limits.memory = Bytes::from_mib(1_024);
    template
}

#[test]
fn a_command_is_refused_what_attacks_a_machine_whoever_it_runs_as() {
    let socket = |family: c_int, kind: c_int, protocol: c_int| {
        let arguments = [family, kind, protocol].map(i64::from);
        (libc::SYS_socket, arguments)
    };
    let tries = [
        (libc::SYS_mount, [0; 3]),
        (libc::SYS_umount2, [0; 3]),
        (libc::SYS_pivot_root, [0; 3]),
        (libc::SYS_chroot, [0; 3]),
        (libc::SYS_fsopen, [0; 3]),
        (libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0]),
        (libc::SYS_setns, [0; 3]),
        (
            libc::SYS_clone,
            [i64::from(libc::CLONE_NEWNET | libc::SIGCHLD), 0, 0],
        ),
        (libc::SYS_ptrace, [0; 3]),
        (libc::SYS_process_vm_readv, [1, 0, 0]),
        (libc::SYS_kexec_load, [0; 3]),
        (libc::SYS_finit_module, [-1, 0, 0]),
        (libc::SYS_bpf, [0; 3]),
        (libc::SYS_perf_event_open, [0; 3]),
        (libc::SYS_userfaultfd, [0; 3]),
        (libc::SYS_keyctl, [0; 3]),
        (libc::SYS_io_uring_setup, [1, 0, 0]),
        (libc::SYS_reboot, [0; 3]),
        (libc::SYS_settimeofday, [0; 3]),
        (libc::SYS_open_by_handle_at, [0; 3]),
        (libc::SYS_personality, [0x40_0000, 0, 0]),
        (libc::SYS_ioctl, [0, 0x5412, 0]),
        (libc::SYS_mknodat, [-1, 0, i64::from(libc::S_IFBLK | 0o600)]),
        socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0),
        socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
    ];
    for network in [&["perl"][..], &[]] {
        let rig = Rig::filtered(&["perl"], network);
        for template in [calls(&tries), limited(calls(&tries))] {
            let errors = errors(&rig, template);
            let allowed = errors
                .iter()
                .zip(&tries)
                .filter(|(error, _)| **error != libc::EPERM);
            assert_eq!(allowed.collect::<Vec<_>>(), [], "numbers and arguments of calls");
            assert_eq!(errors.len(), tries.len());
        }
    }
}

#[test]
fn what_a_filter_cannot_read_does_not_exist() {
    let rig = Rig::filtered(&["perl"], &["perl"]);
    let tries = calls(&[
        (libc::SYS_clone3, [0; 3]),
        (0x4000_0000 + libc::SYS_mount, [0; 3]),
    ]);
    assert_eq!(errors(&rig, tries), [libc::ENOSYS; 2]);
}

#[test]
fn tools_of_the_system_are_refused_like_calls_by_number() {
    let rig = Rig::filtered(&["sh"], &[]);
    for script in [
        "mkdir m && mount -t tmpfs none m",
        "unshare --user true",
        "unshare --net true",
        "mknod disk b 8 0",
    ] {
        let ended = rig.shell(script);
        assert_eq!(ended.reason, Reason::ExitCode, "{script}: {}", stdout(&ended));
        let says = stderr(&ended);
        // What mount(8) says of EPERM depends on its version.
        let is_refused = says.contains("not permitted") || says.contains("permission denied");
        assert!(is_refused, "{script}: {says}");
    }
}

/// Says hello to a port of this machine.
fn greeting(port: u16) -> WorkTemplate {
    let script = format!(
        "use Socket; socket(S, PF_INET, SOCK_STREAM, 0) or die \"socket: $!\";\n\
         connect(S, sockaddr_in({port}, INADDR_LOOPBACK)) or die \"connect: $!\"; print S 'hello';"
    );
    command(&["perl", "-e", &script])
}

#[test]
fn only_a_command_that_is_given_a_network_has_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let port = listener.local_addr().expect("it is bound").port();
    for way in [|template| template, limited] {
        let ended = Rig::filtered(&["perl"], &["perl"]).run(way(greeting(port)), b"");
        assert_eq!(ended.reason, Reason::None, "{}", stderr(&ended));
        let mut heard = String::new();
        let (mut link, _) = listener.accept().expect("it has connected");
        link.read_to_string(&mut heard).expect("text");
        assert_eq!(heard, "hello");

        // What another command may does not count.
        let ended = Rig::filtered(&["perl", "sh"], &["sh"]).run(way(greeting(port)), b"");
        assert_eq!(ended.reason, Reason::ExitCode);
        assert!(
            stderr(&ended).starts_with("socket: Operation not permitted"),
            "{}",
            stderr(&ended)
        );
    }
    let netlink = [libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE].map(i64::from);
    let families = [
        (
            libc::SYS_socket,
            [libc::AF_UNIX, libc::SOCK_STREAM, 0].map(i64::from),
        ),
        (
            libc::SYS_socket,
            [libc::AF_INET6, libc::SOCK_DGRAM, 0].map(i64::from),
        ),
        (libc::SYS_socket, netlink),
    ];
    let of = |network: &[&str]| errors(&Rig::filtered(&["perl"], network), calls(&families));
    assert_eq!(of(&["perl"]), [0; 3]);
    assert_eq!(of(&[]), [0, libc::EPERM, libc::EPERM]);
}

#[test]
fn ordinary_commands_notice_nothing() {
    let rig = Rig::filtered(&["sh", "perl"], &[]);
    let script = "set -e; mkdir a; echo x >a/b; (sleep 0.01; cat a/b) | tr x y; chmod 700 a; mkfifo f; rm -r a; nice true";
    let ended = rig.shell(script);
    assert_eq!(
        (ended.reason, stdout(&ended)),
        (Reason::None, "y\n"),
        "{}",
        stderr(&ended)
    );
    let fork = "my $child = fork; exit 7 unless $child; waitpid $child, 0; print $? >> 8";
    let ended = rig.run(command(&["perl", "-e", fork]), b"");
    assert_eq!(stdout(&ended), "7", "{}", stderr(&ended));
    // Threads, and processes that are started in the newest way that libc knows.
    let python = "import threading, subprocess\n\
                  threads = [threading.Thread(target=print, args=('t',)) for _ in range(4)]\n\
                  [t.start() for t in threads]; [t.join() for t in threads]\n\
                  print(subprocess.run(['echo', 'p'], capture_output=True, text=True).stdout)";
    let script = format!("command -v python3 >/dev/null || exit 99; exec python3 -c \"{python}\"");
    let ended = rig.shell(&script);
    if ended.exit_code != 99 {
        let words: Vec<_> = stdout(&ended).split_whitespace().collect();
        assert_eq!(words, ["t", "t", "t", "t", "p"], "{}", stderr(&ended));
    }
}
