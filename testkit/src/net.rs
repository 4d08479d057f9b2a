//! A network of a test's own: a namespace that is joined to this machine by one cable, which can be pulled. It needs root.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// Tells the networks of one process apart.
static NUMBER: AtomicU8 = AtomicU8::new(0);

/// A network namespace. Dropped, it is gone; processes in it lose their network.
///
/// ```text
///   this machine: 10.A.B.1/29 ═══ cable (veth) ═══ 10.A.B.2/29 (or .3 after a move): the namespace
/// ```
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// The first three bytes of its addresses.
    net: [u8; 3],
    /// The last byte of the address inside.
    inside: u8,
}

impl Namespace {
    /// One with its cable plugged in.
    ///
    /// # Panics
    /// It cannot be made: no root, no `ip` (iproute2).
    #[must_use]
    pub fn new() -> Self {
        let process = std::process::id();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let net = [10, 64 + (process >> 8) as u8 % 128, process as u8 ^ number];
        let namespace = Self {
            name: format!("t{process}n{number}"),
            net,
            inside: 2,
        };
        let name = &namespace.name;
        ip(&["netns", "add", name]);
        let (here, there) = (namespace.cable(), format!("{name}i"));
        ip(&[
            "link", "add", &here, "type", "veth", "peer", "name", &there, "netns", name,
        ]);
        ip(&[
            "addr",
            "add",
            &format!("{}/29", namespace.outside()),
            "dev",
            &here,
        ]);
        ip(&["link", "set", &here, "up"]);
        namespace.ip_inside(&["link", "set", "lo", "up"]);
        namespace.ip_inside(&["addr", "add", &namespace.inside(), "dev", &there]);
        namespace.ip_inside(&["link", "set", &there, "up"]);
        namespace
    }

    /// The address of this machine, as seen from inside.
    #[must_use]
    pub fn outside(&self) -> IpAddr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, 1).into()
    }

    /// A program that is to run inside: its name is the first argument to be added.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name));
        command
    }

    /// Pulls the cable.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn cut(&self) {
        ip(&["link", "set", &self.cable(), "down"]);
    }

    /// Plugs it in again.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn mend(&self) {
        ip(&["link", "set", &self.cable(), "up"]);
    }

    /// Gives the inside another address, as a router does that has forgotten whom it knows.
    ///
    /// # Panics
    /// `ip` fails.
    pub fn move_inside(&mut self) {
        let device = format!("{}i", self.name);
        let old = self.inside();
        self.inside = if self.inside == 2 { 3 } else { 2 };
        // Both at once would be one net with a second address, which goes with the first.
        self.ip_inside(&["addr", "del", &old, "dev", &device]);
        self.ip_inside(&["addr", "add", &self.inside(), "dev", &device]);
    }

    fn cable(&self) -> String {
        format!("{}o", self.name)
    }

    fn inside(&self) -> String {
        let [a, b, c] = self.net;
        format!("{a}.{b}.{c}.{}/29", self.inside)
    }

    fn ip_inside(&self, arguments: &[&str]) {
        ip(&[&["-n", self.name.as_str()], arguments].concat());
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes at once, the namespace with the last process in it.
        drop(Command::new("ip").args(["link", "del", &self.cable()]).status());
        drop(Command::new("ip").args(["netns", "del", &self.name]).status());
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output();
    let output = output.expect("ip (iproute2) is here: `./dev test` installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {said}", arguments.join(" "));
}
