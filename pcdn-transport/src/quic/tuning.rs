//! What quinn is told.

use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::config::{Congestion, QuicConfig};
use super::delay::Delays;
use super::fetch::FETCHES_MAX;

/// UDP payload at most: the design's number. It is both where a path begins and where discovery ends; what is lost on the way
/// takes it down to 1200.
pub(super) const DATAGRAM_BYTES: u16 = 1350;
/// A session's part of the receive buffer at least: a 16 KiB chunk of each of 16 pieces.
const WINDOW_MIN: u64 = 256 * 1024;
/// A session's part of the receive buffer at most: 100 Mbit/s over 300 ms.
const WINDOW_MAX: u64 = 4 << 20;
/// Bytes of one piece that may be here unread: 100 Mbit/s over 80 ms.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes handed to a session and not yet acknowledged, at most: 100 Mbit/s over 160 ms. They are slices of stored pieces, not
/// copies.
const SEND_WINDOW_MAX: u64 = 2 << 20;
/// And at least: the start of a session must not wait for what is handed over.
const SEND_WINDOW_MIN: u64 = 64 * 1024;
/// What is believed of a round trip until one is measured (RFC 9002 has 333 ms: a lost first packet would cost a second).
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// An acknowledgement after this many packets. RFC 9000 has every second, which costs 3 % of what comes in on the way out.
const ACK_AFTER: u32 = 10;
/// And after this long at the latest. A session that shares a home's line with seven others has six packets under way: with 25 ms
/// (RFC 9000) it would send them in one burst, wait that long, and hold a queue for half of the time to keep the line busy.
/// Virtual time (`tests/bars.rs`), 25 against 8 ms: of 20 Mbit/s to eight peers whose machines are busy now and then 87 % (69 to
/// 93) are used against 94; the queue is 19 ms against 16.
const ACK_WITHIN: Duration = Duration::from_millis(8);

pub(super) fn endpoint(config: &mut EndpointConfig) -> Result<(), quinn::ConfigError> {
    // The bit tells QUIC from our own protocol on a shared socket (RFC 9287 would have it random).
    config.grease_quic_bit(false).max_udp_payload_size(DATAGRAM_BYTES)?;
    Ok(())
}

pub(super) fn transport(config: &QuicConfig) -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(DATAGRAM_BYTES);
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_AFTER));
    acks.max_ack_delay(Some(ACK_WITHIN));
    let idle_ms = u32::try_from(config.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        // One more, for messages.
        .max_concurrent_bidi_streams(VarInt::from_u32(FETCHES_MAX as u32 + 1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(VarInt::from_u32(idle_ms).into()))
        .keep_alive_interval(Some(config.idle_timeout / 3))
        .receive_window(window(config.receive_buffer.0, 1))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(SEND_WINDOW_MIN)
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(DATAGRAM_BYTES)
        .mtu_discovery_config(Some(mtu))
        .ack_frequency_config(Some(acks))
        .allow_spin(false);
    if config.congestion == Congestion::Delay {
        transport.congestion_controller_factory(Arc::new(Delays::default()));
    }
    transport
}

/// What one of `sessions` may have here unread.
pub(super) fn window(budget: u64, sessions: usize) -> VarInt {
    let part = budget / (sessions.max(1) as u64);
    VarInt::from_u32(part.clamp(WINDOW_MIN, WINDOW_MAX) as u32)
}

/// What may be handed to a session that may have `cwnd` bytes under way: as much again, so that it never runs dry, and no
/// more, so that what is chosen to go next is not chosen seconds before it goes.
pub(super) fn send_window(cwnd: u64) -> u64 {
    cwnd.saturating_mul(2).clamp(SEND_WINDOW_MIN, SEND_WINDOW_MAX)
}

pub(super) fn arc(config: &QuicConfig) -> Arc<TransportConfig> {
    Arc::new(transport(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_share_the_receive_buffer() {
        let config = QuicConfig::default();
        let budget = config.receive_buffer.0;
        assert_eq!(window(budget, 0), window(budget, 1));
        assert_eq!(window(budget, 1).into_inner(), WINDOW_MAX);
        for sessions in 16..=config.sessions_max {
            assert!(window(budget, sessions).into_inner() * sessions as u64 <= budget, "{sessions}");
        }
    }
}
