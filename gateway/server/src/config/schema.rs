//! Every key and its default. `docs/configuration.md` says the same in words; a test compares the two.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use evergate_model::{Policy, QueueSettings};
use serde::{Deserialize, Serialize};

use super::units::{Addresses, ByteSize, address};

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where durable state lives.
    pub journal: Journal,
    /// Plain listeners.
    pub listen: Listen,
    /// Further listeners, those with TLS among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listener: Vec<Listener>,
    /// Certificates of the listeners with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<User>,
    /// Who needs no account.
    pub auth: Auth,
    /// The HTTP and WebSocket port.
    pub http: Http,
    /// How queues behave, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<Policy>,
    /// Queues that are there from the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<Queue>,
    /// Bounds of the whole gateway.
    pub limits: Limits,
    /// Bounds of MQTT.
    pub mqtt: Mqtt,
    /// Bounds of AMQP.
    pub amqp: Amqp,
    /// Bounds of STOMP.
    pub stomp: Stomp,
    /// Logging.
    pub log: Log,
}

/// `[journal]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// `sqlite:DIRECTORY` or `postgres://…`.
    pub url: String,
}

impl Default for Journal {
    fn default() -> Self {
        Self { url: "sqlite:./evergate-data".into() }
    }
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// MQTT.
    pub mqtt: Addresses,
    /// AMQP.
    pub amqp: Addresses,
    /// STOMP.
    pub stomp: Addresses,
    /// HTTP and WebSocket.
    pub http: Addresses,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            mqtt: Addresses::loopback(1883),
            amqp: Addresses::loopback(5672),
            stomp: Addresses::loopback(61613),
            http: Addresses::loopback(15672),
        }
    }
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// MQTT 5, 3.1.1 and 3.1.
    Mqtt,
    /// AMQP.
    Amqp,
    /// STOMP.
    Stomp,
    /// HTTP, and all of them over WebSocket.
    Http,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mqtt => "mqtt",
            Self::Amqp => "amqp",
            Self::Stomp => "stomp",
            Self::Http => "http",
        })
    }
}

/// `[[listener]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where.
    #[serde(deserialize_with = "address")]
    pub address: SocketAddr,
    /// Encrypted, with the certificate of `[tls]`.
    #[serde(default)]
    pub tls: bool,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file.
    pub certificate: PathBuf,
    /// PEM file.
    pub key: PathBuf,
    /// PEM file: clients must show a certificate that it signed.
    pub client_ca: Option<PathBuf>,
}

/// `[[user]]`
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Name.
    pub name: String,
    /// Argon2 hash, from `evergate user hash`.
    pub password: String,
    /// May send requests to the administration (`_ADMIN`).
    #[serde(default)]
    pub admin: bool,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The hash belongs in no log.
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `[[queue]]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Topic filters with levels.
    pub bind: Vec<String>,
    /// Globs over topics.
    pub bind_glob: Vec<String>,
    /// Regular expressions over topics.
    pub bind_regex: Vec<String>,
    /// Only these messages come through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How it behaves; over all policies.
    pub settings: Policy,
}

/// `[auth]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Clients without a name come in on every listener.
    pub anonymous: bool,
}

/// `[http]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Further names that the port answers to: `name` or `name:port`.
    pub allowed_hosts: Vec<String>,
    /// Pages of other sites that may use it: `https://name[:port]`.
    pub allowed_origins: Vec<String>,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections over all listeners.
    pub connections_max: u32,
    /// For TLS, HTTP headers and the protocol's own opening, each.
    pub handshake_seconds: u32,
    /// Largest message that is held in memory whole.
    pub message_bytes_max: ByteSize,
    /// Largest message of all.
    pub large_message_bytes_max: ByteSize,
    /// Bytes of a larger message that await their commit.
    pub large_message_window_bytes: ByteSize,
    /// How fast larger messages come in, over all, while other messages are on their way.
    pub large_message_in_bytes_per_second: ByteSize,
    /// How fast they go out.
    pub large_message_out_bytes_per_second: ByteSize,
    /// Memory for messages.
    pub memory_bytes_max: ByteSize,
    /// Messages of a queue.
    pub queue_messages_max: u64,
    /// Bytes of a queue.
    pub queue_bytes_max: ByteSize,
    /// Bytes of a queue that are held in memory.
    pub queue_resident_bytes_max: ByteSize,
    /// Queues, subscriptions among them.
    pub queues_max: u32,
    /// Retained messages.
    pub retained_max: u32,
    /// Bytes of those.
    pub retained_bytes_max: ByteSize,
    /// Publishes of a connection that await their answer.
    pub publish_window_messages: u32,
    /// The same in bytes.
    pub publish_window_bytes: ByteSize,
    /// Messages published and deliveries settled in one transaction.
    pub transaction_messages_max: u32,
    /// Bytes published in one transaction.
    pub transaction_bytes_max: ByteSize,
    /// How long a transaction may stay open.
    pub transaction_age_seconds_max: u32,
    /// Transactions that a connection may have open.
    pub transactions_per_connection_max: u32,
    /// So many of the newest committed transactions are remembered, for clients that lost the answer.
    pub transaction_outcomes_max: u32,
    /// So long.
    pub transaction_outcome_seconds: u32,
    /// Bytes sent to a connection and not yet taken by it.
    pub delivery_window_bytes: ByteSize,
    /// Bytes that wait to be written to a connection before it is no longer read.
    pub outbox_bytes_max: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            handshake_seconds: 10,
            message_bytes_max: ByteSize(16 << 20),
            large_message_bytes_max: ByteSize(4 << 30),
            large_message_window_bytes: ByteSize(512 << 10),
            large_message_in_bytes_per_second: ByteSize(32 << 20),
            large_message_out_bytes_per_second: ByteSize(32 << 20),
            memory_bytes_max: ByteSize(512 << 20),
            queue_messages_max: QueueSettings::MESSAGES_MAX,
            queue_bytes_max: ByteSize(QueueSettings::BYTES_MAX),
            queue_resident_bytes_max: ByteSize(64 << 20),
            queues_max: 100_000,
            retained_max: 100_000,
            retained_bytes_max: ByteSize(128 << 20),
            publish_window_messages: 512,
            publish_window_bytes: ByteSize(32 << 20),
            transaction_messages_max: 10_000,
            transaction_bytes_max: ByteSize(64 << 20),
            transaction_age_seconds_max: 300,
            transactions_per_connection_max: 256,
            transaction_outcomes_max: 100_000,
            transaction_outcome_seconds: 3600,
            delivery_window_bytes: ByteSize(256 << 10),
            outbox_bytes_max: ByteSize(4 << 20),
        }
    }
}

impl Limits {
    /// They never leave memory: at least half of it is for others.
    pub fn retained_bytes_in_force(&self) -> u64 {
        self.retained_bytes_max.0.min(self.memory_bytes_max.0 / 2)
    }
}

/// `[mqtt]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// QoS 1 and 2 publishes that a client may have unacknowledged.
    pub receive_maximum: u16,
    /// QoS 1 and 2 deliveries that a client is sent unacknowledged.
    pub delivery_window_messages: u16,
    /// Highest topic alias; 0: none.
    pub topic_alias_max: u16,
    /// Longest session expiry granted.
    pub session_expiry_seconds_max: u32,
    /// How often the figures under `$SYS/` are published; 0: never.
    pub sys_interval_seconds: u32,
    /// Longest keep-alive; 0: any.
    pub keep_alive_seconds_max: u16,
    /// Subscriptions of a session.
    pub subscriptions_max: u32,
    /// Filters of one SUBSCRIBE or UNSUBSCRIBE.
    pub filters_per_packet_max: u32,
    /// Levels of a topic or filter.
    pub topic_levels_max: u32,
    /// Longest client identifier.
    pub client_id_bytes_max: u32,
    /// Largest packet that is no PUBLISH.
    pub control_packet_bytes_max: ByteSize,
    /// Requests of a client that wait for the gateway.
    pub pending_requests_max: u32,
    /// QoS 1 publishes of a session that are known when they come again; 0: none.
    pub resend_window_messages: u16,
    /// The same of all sessions.
    pub resend_window_messages_total: u32,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            receive_maximum: 1024,
            delivery_window_messages: 1024,
            topic_alias_max: 64,
            session_expiry_seconds_max: u32::MAX,
            sys_interval_seconds: 10,
            keep_alive_seconds_max: 0,
            subscriptions_max: 1024,
            filters_per_packet_max: 256,
            topic_levels_max: 128,
            client_id_bytes_max: 1024,
            control_packet_bytes_max: ByteSize(256 << 10),
            pending_requests_max: 4096,
            resend_window_messages: 1024,
            resend_window_messages_total: 1_000_000,
        }
    }
}

/// `[amqp]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Amqp {
    /// Largest frame.
    pub frame_bytes_max: ByteSize,
    /// Highest channel number.
    pub channel_max: u16,
    /// Links of a session.
    pub links_per_session_max: u32,
    /// Unsettled deliveries of a link.
    pub unsettled_per_link_max: u32,
    /// Bytes of messages that have arrived in part, of a connection.
    pub assembly_bytes_max: ByteSize,
    /// How deep values may nest in a message.
    pub depth_max: u32,
    /// Transfer frames that a session may send before its window is widened.
    pub incoming_window: u32,
    /// Largest SASL frame.
    pub sasl_frame_bytes_max: ByteSize,
    /// Credit of a publisher's link.
    pub link_credit: u32,
    /// A peer silent for this long is disconnected.
    pub idle_timeout_seconds: u32,
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            frame_bytes_max: ByteSize(64 << 10),
            channel_max: 254,
            links_per_session_max: 1024,
            unsettled_per_link_max: 10_000,
            assembly_bytes_max: ByteSize(64 << 20),
            depth_max: 32,
            incoming_window: 2048,
            sasl_frame_bytes_max: ByteSize(4096),
            link_credit: 500,
            idle_timeout_seconds: 60,
        }
    }
}

/// `[stomp]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stomp {
    /// Header lines of a frame.
    pub headers_max: u32,
    /// Longest header line.
    pub line_bytes_max: ByteSize,
    /// All header lines together.
    pub head_bytes_max: ByteSize,
    /// Heart-beats offered and wanted; 0: none.
    pub heartbeat_seconds: u32,
    /// Subscriptions of a connection.
    pub subscriptions_max: u32,
    /// Unacknowledged messages of a subscription that names no number.
    pub prefetch_messages: u32,
    /// Highest number that a subscription may name.
    pub prefetch_messages_max: u32,
    /// Frames of a connection that wait for the gateway.
    pub pending_frames_max: u32,
    /// Bytes kept of what a client sends before it saw CONNECTED.
    pub early_bytes_max: ByteSize,
}

impl Default for Stomp {
    fn default() -> Self {
        Self {
            headers_max: 128,
            line_bytes_max: ByteSize(8 << 10),
            head_bytes_max: ByteSize(64 << 10),
            heartbeat_seconds: 10,
            subscriptions_max: 1024,
            prefetch_messages: 1000,
            prefetch_messages_max: 65_535,
            pending_frames_max: 65_536,
            early_bytes_max: ByteSize(1 << 20),
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// What is logged: `info`, or by target, `warn,evergate_runtime=debug`.
    pub filter: String,
    /// For people or for machines.
    pub format: LogFormat,
    /// Where events are written as JSON. Empty: beside the embedded journal; with PostgreSQL nowhere. `off`: nowhere.
    pub events_file: String,
    /// At this size the file of events becomes the one before, and a new one begins.
    pub events_bytes_max: ByteSize,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".into(),
            format: LogFormat::Text,
            events_file: String::new(),
            events_bytes_max: ByteSize(16 << 20),
        }
    }
}

impl Config {
    /// The file of events, if there is to be one.
    pub fn event_file(&self) -> Option<PathBuf> {
        match self.log.events_file.as_str() {
            "off" => None,
            "" => Some(Path::new(self.journal.url.strip_prefix("sqlite:")?).join("events.jsonl")),
            path => Some(path.into()),
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
