//! What an operator may set.

use std::time::Duration;

use crate::codec::Limits;

/// Limits and times of MQTT sessions. Every one has a default that is right for most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttConfig {
    /// How long a new connection may take to send its CONNECT. Default 10 s.
    pub connect_timeout: Duration,
    /// Largest PUBLISH taken, fixed header included; announced to MQTT 5 clients. Default 16 MiB.
    pub max_packet_bytes: u32,
    /// Largest packet of any other type, CONNECT with its will among them. Default 256 KiB.
    pub max_control_packet_bytes: u32,
    /// Longest client identifier in bytes. Default 1024.
    pub max_client_id_bytes: usize,
    /// Most levels of a topic or a filter. Default 128.
    pub max_topic_levels: usize,
    /// Most subscriptions of a session. Default 1024.
    pub max_subscriptions: usize,
    /// Most filters of one SUBSCRIBE or UNSUBSCRIBE that are looked at. Default 256.
    pub max_filters_per_packet: usize,
    /// Highest topic alias that a client may set; 0: none. Default 64.
    pub topic_alias_maximum: u16,
    /// QoS 1 and 2 publishes that an MQTT 5 client may have unacknowledged. At least 1. Default 1024.
    pub receive_maximum: u16,
    /// QoS 1 and 2 deliveries that a client is sent without an acknowledgement, if its own receive
    /// maximum is not less. At least 1. Default 1024.
    pub delivery_window: u16,
    /// Requests of a client that wait for the gateway, before its next packet is looked at. Default 4096.
    pub max_pending_requests: usize,
    /// Longest session expiry granted, in seconds; `u32::MAX`: sessions may be kept for ever. The
    /// persistent sessions of 3.1.1 are kept as long. Default `u32::MAX`.
    pub max_session_expiry_seconds: u32,
    /// Longest keep-alive of MQTT 5 clients, in seconds, also of those that ask for none; 0: any. Others cannot be
    /// told: theirs is as they ask. Default 0.
    pub max_keep_alive_seconds: u16,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            max_packet_bytes: 16 * 1024 * 1024,
            max_control_packet_bytes: 256 * 1024,
            max_client_id_bytes: 1024,
            max_topic_levels: 128,
            max_subscriptions: 1024,
            max_filters_per_packet: 256,
            topic_alias_maximum: 64,
            receive_maximum: 1024,
            delivery_window: 1024,
            max_pending_requests: 4096,
            max_session_expiry_seconds: u32::MAX,
            max_keep_alive_seconds: 0,
        }
    }
}

impl MqttConfig {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            publish_bytes: self.max_packet_bytes as usize,
            control_bytes: self.max_control_packet_bytes.min(self.max_packet_bytes) as usize,
        }
    }
}
