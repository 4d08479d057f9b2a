//! How fast a link may send: Cubic, with two changes for links that carry bulk both ways at once.
//!
//! **A window of four packets at least.** A loss is noticed when three later packets arrive; with fewer
//! in flight, every loss costs a timeout instead of a round trip.
//!
//! **A gate past the window.** QUIC exempts acknowledgements from congestion control (RFC 9002 §7), but
//! `quinn-proto` builds none while data waits and the window is full. If that befalls both ends at
//! once, each waits for what the other holds back until one of them times out; and the timeouts count
//! as round trips, so that the next one is longer. One end that always acknowledges is enough to prevent
//! it, and the server is that end: it opens the [`Gate`] for one packet when an acknowledgement is
//! overdue. With one percent of packets lost, 3 MiB both ways at once take 130 ms instead of 250 ms
//! (`tests/link/loss.rs`, packets of 1452 bytes, two busy cores).

use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics, Cubic, CubicConfig};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

/// The congestion window at first, in bytes. QUIC recommends ten packets; a pool's links are long
/// lived and few per path, and a batch of assignments should not take three round trips.
const INITIAL_WINDOW_BYTES: u64 = 64 * 1200;

/// The congestion window at least, in packets of full size; Chromium's is as large.
const WINDOW_PACKETS_MIN: u64 = 4;

/// What the owner of connections and their congestion controllers tell each other. One serves all
/// connections that are driven by the same thread: it is about the packet that is being built.
///
/// Nothing is ordered by these flags, which are read by the thread that wrote them: hence `Relaxed`.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: AtomicBool,
    asked: AtomicBool,
}

impl Gate {
    /// Builds a packet as the window allows; with it, whether there was something to send that is
    /// subject to the window. If so and there is no packet, the window or the pace holds it back.
    pub(crate) fn watch<T>(&self, build: impl FnOnce() -> T) -> (T, bool) {
        self.asked.store(false, Relaxed);
        let built = build();
        (built, self.asked.load(Relaxed))
    }

    /// Builds a packet whatever the window.
    pub(crate) fn pass<T>(&self, build: impl FnOnce() -> T) -> T {
        self.open.store(true, Relaxed);
        let built = build();
        self.open.store(false, Relaxed);
        built
    }
}

/// Makes the controller of every path, all of which obey `gate`.
pub(crate) fn controllers(gate: &Arc<Gate>) -> Arc<dyn ControllerFactory + Send + Sync> {
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW_BYTES);
    Arc::new(Controllers {
        cubic: Arc::new(cubic),
        gate: Arc::clone(gate),
    })
}

struct Controllers {
    cubic: Arc<CubicConfig>,
    gate: Arc<Gate>,
}

impl ControllerFactory for Controllers {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(GatedCubic {
            cubic: Cubic::new(Arc::clone(&self.cubic), now, current_mtu),
            gate: Arc::clone(&self.gate),
            mtu: current_mtu,
        })
    }
}

#[derive(Clone)]
struct GatedCubic {
    cubic: Cubic,
    gate: Arc<Gate>,
    mtu: u16,
}

impl Controller for GatedCubic {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        self.cubic.on_congestion_event(now, sent, persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.gate.asked.store(true, Relaxed);
        if self.gate.open.load(Relaxed) {
            return u64::MAX;
        }
        let min = WINDOW_PACKETS_MIN * u64::from(self.mtu);
        self.cubic.window().max(min)
    }

    fn metrics(&self) -> ControllerMetrics {
        self.cubic.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(gate: &Arc<Gate>, mtu: u16) -> (Instant, Box<dyn Controller>) {
        let now = Instant::now();
        let factory = Arc::new(Controllers {
            cubic: Arc::default(),
            gate: Arc::clone(gate),
        });
        (now, factory.build(now, mtu))
    }

    #[test]
    fn losses_leave_a_window_of_four_packets_of_the_present_size() {
        let (now, mut controller) = controller(&Arc::default(), 1_200);
        for _ in 0..50 {
            controller.on_congestion_event(now, Instant::now(), true, 1_200);
        }
        assert_eq!(controller.window(), 4 * 1_200);
        controller.on_mtu_update(8_192);
        assert_eq!(controller.window(), 4 * 8_192);
    }

    #[test]
    fn the_gate_is_open_for_what_passes_it_and_for_nothing_else() {
        let gate = Arc::default();
        let (_, controller) = controller(&gate, 1_200);
        let window = controller.window();
        assert!(window < u64::from(u32::MAX));
        assert_eq!(gate.pass(|| controller.window()), u64::MAX);
        assert_eq!(controller.window(), window);
        assert_eq!(controller.clone_box().window(), window);
    }

    #[test]
    fn the_gate_knows_who_was_asked_for_the_window() {
        let gate = Arc::default();
        let (_, controller) = controller(&gate, 1_200);
        assert_eq!(gate.watch(|| 1), (1, false));
        assert!(gate.watch(|| controller.window()).1);
        assert_eq!(gate.watch(|| 2), (2, false));
    }
}
