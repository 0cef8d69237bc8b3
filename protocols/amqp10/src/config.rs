//! The limits and names of a connection.

use std::time::Duration;

/// What the operator may set. The defaults suit a gateway on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpConfig {
    /// Our container-id in `open`.
    pub container_id: String,
    /// Largest frame taken from the peer, and offered in `open`. At least 512 (2.4.1). A frame over it is
    /// refused from its size field.
    pub frame_bytes_max: u32,
    /// Largest SASL frame taken. The standard's own limit is 512; tokens as passwords are longer.
    pub sasl_frame_bytes_max: u32,
    /// Highest channel number: one more than the number of sessions of a connection.
    pub channel_max: u16,
    /// Links of a session.
    pub links_per_session_max: u32,
    /// Deliveries of a link that the peer has not settled; beyond it the link is sent no more.
    pub unsettled_per_link_max: u32,
    /// Largest message that is assembled in memory.
    pub message_bytes_max: u64,
    /// Largest message of all, offered in `attach`. A link that sends more is detached.
    pub large_message_bytes_max: u64,
    /// Bytes of messages larger than `message_bytes_max` that are let in before they are committed.
    pub large_message_window_bytes: u64,
    /// Bytes of messages that have arrived in part, of all links of a connection together.
    pub assembly_bytes_max: u64,
    /// How deep values may nest in a message.
    pub depth_max: u32,
    /// Credit of a publisher's link; replenished as its messages are committed.
    pub link_credit: u32,
    /// Transfer frames that a session may send before we widen its window again; fewer of long ones.
    pub incoming_window: u32,
    /// Until `open` the peer has this long.
    pub handshake_timeout: Duration,
    /// A peer silent for this long is disconnected. Half of it is what `open` tells the peer (2.4.5).
    /// Zero: silence is no reason.
    pub idle_timeout: Duration,
    /// The shortest idle time-out of a peer that we accept to serve with empty frames.
    pub peer_idle_timeout_min: Duration,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            container_id: "evergate".into(),
            frame_bytes_max: 64 * 1024,
            sasl_frame_bytes_max: 4096,
            channel_max: 254,
            links_per_session_max: 1024,
            unsettled_per_link_max: 10_000,
            message_bytes_max: 16 * 1024 * 1024,
            large_message_bytes_max: 4 << 30,
            large_message_window_bytes: 512 << 10,
            assembly_bytes_max: 64 * 1024 * 1024,
            depth_max: 32,
            link_credit: 500,
            incoming_window: 2048,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            peer_idle_timeout_min: Duration::from_millis(100),
        }
    }
}
