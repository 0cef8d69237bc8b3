//! MQTT's packets as bytes. Pure functions: no state, no I/O.
//!
//! Payloads and the properties that travel with a message are slices of what was read; names are
//! copied once. A frame's size is checked from its fixed header, before its body is waited for.

mod decode;
mod encode;
mod error;
mod packet;
mod property;
mod reader;

#[cfg(test)]
mod tests;

pub use decode::{Limits, decode};
pub use encode::{PublishHead, encode, publish_len, put_publish, put_text, put_var_int, var_int_len};
pub use error::{DecodeError, ReasonCode};
pub use packet::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, LastWill, Packet, Publish, Qos, RetainHandling, Suback,
    Subscribe, SubscribeFilter, Unsuback, Unsubscribe, Version,
};
pub use property::{MessageProperties, Properties, Property, PropertyValue, id};
pub(crate) use property::{RawValue, next_property};
pub(crate) use reader::Reader;
