//! The network: connections between the engine and its peers, and what happens to them.
//!
//! A connection is what QUIC gives: frames arrive whole and in order, or the connection ends. So the faults are
//! those that remain: delay, jitter and little bandwidth; a connection that ends, noticed by each side at its
//! own time, with frames under way lost from some point on; a partition, in one direction or both, which is
//! silence that turns into the end of the connection only after [`IDLE_TIMEOUT`]. Frames that were said into a
//! partition arrive when it heals, because QUIC repeats them.

use std::collections::BTreeMap;

use wire_protocol::frame;
use wire_protocol::ids::LinkId;

use crate::clock::{Clock, MS, SEC, Time, US};
use crate::world::{Event, PeerId};

/// Silence after which a side gives a connection up.
pub(crate) const IDLE_TIMEOUT: Time = 6 * SEC;

/// Bytes under way to a client above which its link counts as full.
const FULL_BYTES: usize = 48 * 1024;

/// One side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Engine,
    Peer,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Engine => Self::Peer,
            Self::Peer => Self::Engine,
        }
    }
}

/// What lies between the engine and one peer.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) delay: Time,
    pub(crate) jitter: Time,
    pub(crate) per_byte: Time,
    /// Nothing gets through to the engine, to the peer; since when.
    blocked: [Option<Time>; 2],
}

struct Conn {
    peer: PeerId,
    /// Whether the side believes that the connection is there.
    open: [bool; 2],
    /// What is said from now on goes nowhere.
    cut: bool,
    ways: [Way; 2],
}

#[derive(Default)]
struct Way {
    /// When the last frame arrives; none overtakes it.
    last: Time,
    /// Said into a partition.
    held: Vec<Vec<u8>>,
    under_way: usize,
    /// Frames that were sent on their way, and that arrived.
    sent: u64,
    arrived: u64,
}

pub(crate) struct Net {
    conns: BTreeMap<LinkId, Conn>,
    paths: Vec<Path>,
    links: u64,
    rng: fastrand::Rng,
}

impl Net {
    pub(crate) fn new(peers: usize, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let paths = (0..peers)
            .map(|_| Path {
                delay: rng.u64(20 * US..5 * MS),
                jitter: rng.u64(1..2 * MS),
                per_byte: 0,
                blocked: [None; 2],
            })
            .collect();
        Self {
            conns: BTreeMap::new(),
            paths,
            links: 0,
            rng,
        }
    }

    pub(crate) fn path_mut(&mut self, peer: PeerId) -> &mut Path {
        &mut self.paths[peer.0]
    }

    /// A peer wants a connection. Whatever comes of it, it hears.
    pub(crate) fn connect(&mut self, clock: &mut Clock<Event>, peer: PeerId) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        let conn = Conn {
            peer,
            open: [false; 2],
            cut: false,
            ways: Default::default(),
        };
        self.conns.insert(link, conn);
        let trip = self.trip(peer);
        clock.after(2 * trip, Event::Opened { link });
        link
    }

    /// Whether the connection that was asked for can be: both directions work.
    pub(crate) fn passes(&self, peer: PeerId) -> bool {
        self.paths[peer.0].blocked == [None; 2]
    }

    pub(crate) fn open(&mut self, link: LinkId) {
        let conn = self.conns.get_mut(&link).expect("it was asked for");
        conn.open = [true; 2];
    }

    pub(crate) fn forget(&mut self, link: LinkId) {
        self.conns.remove(&link);
    }

    pub(crate) fn peer(&self, link: LinkId) -> Option<PeerId> {
        self.conns.get(&link).map(|conn| conn.peer)
    }

    pub(crate) fn is_open(&self, link: LinkId, end: End) -> bool {
        self.conns.get(&link).is_some_and(|conn| conn.open[end as usize])
    }

    /// Links whose engine side is open.
    pub(crate) fn links(&self) -> Vec<LinkId> {
        self.conns
            .iter()
            .filter(|(_, conn)| conn.open[End::Engine as usize])
            .map(|(link, _)| *link)
            .collect()
    }

    /// Too much is under way to this side.
    pub(crate) fn is_full(&self, link: LinkId, to: End) -> bool {
        self.conns
            .get(&link)
            .is_some_and(|conn| conn.ways[to as usize].under_way > FULL_BYTES)
    }

    /// Says whole frames to the other side. They arrive together or one by one.
    pub(crate) fn send(&mut self, clock: &mut Clock<Event>, link: LinkId, to: End, frames: &[u8]) {
        if !self.is_open(link, to.other()) || frames.is_empty() {
            return;
        }
        if self.rng.u8(..) < 64 {
            let mut rest = frames;
            while let Ok(Some((_, _, used))) = frame::split_first(rest) {
                self.send_piece(clock, link, to, &rest[..used]);
                rest = &rest[used..];
            }
            if !rest.is_empty() {
                self.send_piece(clock, link, to, rest);
            }
        } else {
            self.send_piece(clock, link, to, frames);
        }
    }

    fn send_piece(&mut self, clock: &mut Clock<Event>, link: LinkId, to: End, bytes: &[u8]) {
        let conn = self.conns.get_mut(&link).expect("looked at by the caller");
        if conn.cut {
            return;
        }
        let peer = conn.peer;
        let way = &mut conn.ways[to as usize];
        way.under_way += bytes.len();
        if self.paths[peer.0].blocked[to as usize].is_some() {
            way.held.push(bytes.to_vec());
            return;
        }
        self.send_now(clock, link, to, bytes.to_vec());
    }

    fn send_now(&mut self, clock: &mut Clock<Event>, link: LinkId, to: End, bytes: Vec<u8>) {
        let peer = self.conns[&link].peer;
        let arrives = clock.now() + self.trip(peer) + self.paths[peer.0].per_byte * bytes.len() as Time;
        let way = &mut self.conns.get_mut(&link).expect("just seen").ways[to as usize];
        way.last = way.last.max(arrives);
        way.sent += 1;
        let number = way.sent;
        clock.at(
            way.last,
            Event::Arrived {
                link,
                to,
                number,
                bytes,
            },
        );
    }

    fn trip(&mut self, peer: PeerId) -> Time {
        let path = &self.paths[peer.0];
        path.delay + self.rng.u64(0..=path.jitter)
    }

    /// The frames of this number are the next; a side that did nothing for a while may come to later ones first.
    pub(crate) fn is_next(&self, link: LinkId, to: End, number: u64) -> bool {
        let conn = self.conns.get(&link);
        conn.is_none_or(|conn| conn.ways[to as usize].arrived + 1 == number)
    }

    /// Frames arrived. `false`: nobody listens any more.
    pub(crate) fn arrived(&mut self, link: LinkId, to: End, bytes: usize) -> bool {
        let Some(conn) = self.conns.get_mut(&link) else {
            return false;
        };
        let way = &mut conn.ways[to as usize];
        way.under_way -= bytes;
        way.arrived += 1;
        conn.open[to as usize]
    }

    /// One side closes; the other hears of it behind what was said before, or notices the silence.
    pub(crate) fn close(&mut self, clock: &mut Clock<Event>, link: LinkId, by: End) {
        if !self.is_open(link, by) {
            return;
        }
        let to = by.other();
        let conn = self.conns.get_mut(&link).expect("it is open");
        conn.open[by as usize] = false;
        let (peer, last) = (conn.peer, conn.ways[to as usize].last);
        let heard = if self.paths[peer.0].blocked[to as usize].is_some() {
            clock.now() + IDLE_TIMEOUT
        } else {
            (clock.now() + self.trip(peer)).max(last)
        };
        clock.at(heard, Event::Closed { link, end: to });
    }

    /// One side is gone without a word, with its process. The other notices sooner or later.
    pub(crate) fn vanish(&mut self, clock: &mut Clock<Event>, link: LinkId, gone: End) {
        let Some(conn) = self.conns.get_mut(&link) else {
            return;
        };
        conn.open[gone as usize] = false;
        conn.cut = true;
        let notices = match self.rng.u8(0..3) {
            0 => IDLE_TIMEOUT,
            1 => self.rng.u64(0..IDLE_TIMEOUT),
            _ => self.rng.u64(0..20 * MS),
        };
        clock.after(
            notices,
            Event::Closed {
                link,
                end: gone.other(),
            },
        );
    }

    /// The connection is lost; each side notices at its own time.
    pub(crate) fn cut(&mut self, clock: &mut Clock<Event>, link: LinkId) {
        let Some(conn) = self.conns.get_mut(&link) else {
            return;
        };
        conn.cut = true;
        for end in [End::Engine, End::Peer] {
            let notices = match self.rng.u8(0..4) {
                0 => IDLE_TIMEOUT,
                1 => self.rng.u64(0..IDLE_TIMEOUT),
                _ => self.rng.u64(0..10 * MS),
            };
            clock.after(notices, Event::Closed { link, end });
        }
    }

    /// The side notices that the connection is over. `false`: it knew.
    pub(crate) fn closed(&mut self, link: LinkId, end: End) -> bool {
        let Some(conn) = self.conns.get_mut(&link) else {
            return false;
        };
        let knew = !conn.open[end as usize];
        conn.open[end as usize] = false;
        if conn.open == [false; 2] {
            self.conns.remove(&link);
        }
        !knew
    }

    /// Begins a partition towards this side; afterwards somebody has to look at [`Self::silence`].
    pub(crate) fn block(&mut self, clock: &mut Clock<Event>, peer: PeerId, to: End) {
        let since = clock.now();
        self.paths[peer.0].blocked[to as usize].get_or_insert(since);
        clock.after(IDLE_TIMEOUT, Event::Silence { peer, to, since });
    }

    /// A partition has lasted for [`IDLE_TIMEOUT`]: the side that hears nothing gives its connections up.
    pub(crate) fn silence(&mut self, clock: &mut Clock<Event>, peer: PeerId, to: End, since: Time) {
        if self.paths[peer.0].blocked[to as usize].is_none_or(|begun| begun > since) {
            return;
        }
        let silent: Vec<LinkId> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.peer == peer && conn.open[to as usize])
            .map(|(link, _)| *link)
            .collect();
        for link in silent {
            clock.after(0, Event::Closed { link, end: to });
            let heard = if self.passes(peer) {
                self.trip(peer)
            } else {
                IDLE_TIMEOUT
            };
            clock.after(
                heard,
                Event::Closed {
                    link,
                    end: to.other(),
                },
            );
        }
    }

    /// Ends all that is wrong with a path.
    pub(crate) fn heal(&mut self, clock: &mut Clock<Event>, peer: PeerId) {
        let path = &mut self.paths[peer.0];
        path.blocked = [None; 2];
        path.per_byte = 0;
        let links: Vec<LinkId> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.peer == peer)
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            for to in [End::Engine, End::Peer] {
                let conn = self.conns.get_mut(&link).expect("just listed");
                for bytes in std::mem::take(&mut conn.ways[to as usize].held) {
                    self.send_now(clock, link, to, bytes);
                }
            }
        }
    }
}
