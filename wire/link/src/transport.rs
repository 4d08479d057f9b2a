//! QUIC transport parameters, both ends.

use crate::congestion::{self, Gate};
use quinn_proto::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use std::sync::Arc;
use std::time::Duration;

/// What the two ends have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub(crate) idle_timeout: Duration,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) mtu_max: u16,
    pub(crate) send_window: u64,
    pub(crate) stream_window: u32,
}

/// The round trip assumed before one was measured. QUIC's own 333 ms makes a lost first packet cost a
/// second; a worker that is farther away than this only repeats its first packet once.
const INITIAL_RTT: Duration = Duration::from_millis(333);

/// What every path of QUIC carries (RFC 9000 §14). Discovery probes the largest size at once and leaves it at
/// this if the path does not carry that: a search by halves costs a connection ten packets, which for ten thousand
/// workers that come at once are half of all.
const MTU_MIN: u16 = 1_200;

/// Packets after which the other end acknowledges, instead of every second, so that most
/// acknowledgements ride on answers: a quarter more round trips per second in `examples/echo_rate`. The
/// other end still waits no longer than its 25 ms, and not at all when a packet is missing. A window should
/// hold more packets than this, or it travels once in 25 ms; a shorter wait costs a thousand busy workers
/// twice the packets (`pool-bench throughput --variant '1000 x 4'`).
const ACK_EVERY: u32 = 10;

impl Common {
    /// A transport without datagrams and without streams of the peer's, which obeys `gate`.
    pub(crate) fn transport(&self, gate: &Arc<Gate>) -> TransportConfig {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery
            .upper_bound(self.mtu_max)
            .minimum_change(self.mtu_max.saturating_sub(MTU_MIN).max(1));
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY));
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(idle_timeout(self.idle_timeout)))
            .keep_alive_interval(self.keep_alive)
            .initial_rtt(INITIAL_RTT)
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .receive_window(VarInt::from_u32(self.stream_window))
            .send_window(self.send_window)
            .mtu_discovery_config(Some(discovery))
            .congestion_controller_factory(congestion::controllers(gate))
            .ack_frequency_config(Some(acks))
            .allow_spin(false);
        transport
    }
}

fn idle_timeout(timeout: Duration) -> IdleTimeout {
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    IdleTimeout::from(VarInt::from_u32(millis))
}
