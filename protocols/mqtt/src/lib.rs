//! MQTT 3.1, 3.1.1 and 5: codec, sans-IO session, conversion to and from the hub's vocabulary.
//!
//! [`MqttSession`] is one connection: bytes and events in, bytes and actions out. [`MqttFormat`] reads
//! messages that MQTT clients published for consumers of other protocols. [`codec`] stands alone.

pub mod codec;
mod config;
mod format;
mod session;

pub use config::MqttConfig;
pub use format::{MqttFormat, QUEUE_PREFIX};
pub use session::MqttSession;
