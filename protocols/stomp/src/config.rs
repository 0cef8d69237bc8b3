//! What can be set, with its defaults.

use std::time::Duration;

/// Bounds on one frame. They hold while the frame is still incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest command line or header line, without its line end. 8 KiB.
    pub line_bytes_max: usize,
    /// Most header lines in a frame. 128.
    pub headers_max: usize,
    /// Command and header lines together, with line ends. 64 KiB.
    pub head_bytes_max: usize,
    /// Largest body. 16 MiB.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line_bytes_max: 8 << 10, headers_max: 128, head_bytes_max: 64 << 10, body_bytes_max: 16 << 20 }
    }
}

/// One listener's STOMP settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StompConfig {
    /// Bounds on one frame.
    pub limits: Limits,
    /// Largest body of all: one over `limits.body_bytes_max` is passed on in pieces. Only where `content-length`
    /// tells its size. 4 GiB.
    pub large_body_bytes_max: u64,
    /// How long a client may take to send CONNECT. 10 s.
    pub connect_timeout: Duration,
    /// How often the gateway offers to send a heart-beat; zero: never. 10 s.
    pub heartbeat_send: Duration,
    /// How often the gateway wants to hear from the client; zero: never. 10 s.
    pub heartbeat_receive: Duration,
    /// A client is silent after this many percent of the agreed interval. 200.
    pub heartbeat_grace_percent: u32,
    /// Subscriptions a connection. 1024.
    pub subscriptions_max: usize,
    /// Unacknowledged messages a subscription if SUBSCRIBE has no `prefetch-count`. 1000.
    pub prefetch_default: u64,
    /// Highest `prefetch-count`; what is above is lowered to it. 65,535.
    pub prefetch_max: u64,
    /// Frames of a connection that await their answer from the gateway. 65,536.
    pub pending_max: usize,
    /// SEND, ACK and NACK frames of a transaction: bounds what is noted for an ABORT. The gateway has limits of
    /// its own. 1,000,000.
    pub transaction_frames_max: usize,
    /// Bytes kept of what a client sends before it saw CONNECTED. 1 MiB.
    pub early_bytes_max: usize,
    /// The `server` header of CONNECTED.
    pub server: String,
}

impl Default for StompConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            large_body_bytes_max: 4 << 30,
            connect_timeout: Duration::from_secs(10),
            heartbeat_send: Duration::from_secs(10),
            heartbeat_receive: Duration::from_secs(10),
            heartbeat_grace_percent: 200,
            subscriptions_max: 1024,
            prefetch_default: 1000,
            prefetch_max: 65_535,
            pending_max: 65_536,
            transaction_frames_max: 1_000_000,
            early_bytes_max: 1 << 20,
            server: concat!("evergate/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
