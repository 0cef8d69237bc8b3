//! The control packets as values.

use std::sync::Arc;

use bytes::Bytes;

use super::{MessageProperties, Properties, ReasonCode};

/// The protocol's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 3.1 («MQIsdp»), which 3.1.1's rules serve.
    V3,
    /// 3.1.1.
    V4,
    /// 5.0.
    V5,
}

/// Quality of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// At most once.
    #[default]
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The level of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::AtMostOnce,
            1 => Self::AtLeastOnce,
            2 => Self::ExactlyOnce,
            _ => return None,
        })
    }
}

/// A control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the specification's names
pub enum Packet {
    Connect(Box<Connect>),
    Connack(Connack),
    Publish(Publish),
    Ack(Ack),
    Subscribe(Subscribe),
    Suback(Suback),
    Unsubscribe(Unsubscribe),
    Unsuback(Unsuback),
    Pingreq,
    Pingresp,
    Disconnect(Disconnect),
    Auth(Auth),
}

/// CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The version it asks for.
    pub version: Version,
    /// Clean start; clean session in 3.1.1.
    pub clean_start: bool,
    /// Seconds; 0: none.
    pub keep_alive: u16,
    /// Client identifier, empty if the server is to choose.
    pub client_id: String,
    /// The will.
    pub will: Option<LastWill>,
    /// User name.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Bytes>,
    /// Properties.
    pub properties: Properties,
}

/// The will of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWill {
    /// Where it goes.
    pub topic: Arc<str>,
    /// How.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
    /// Its properties.
    pub properties: MessageProperties,
    /// Its payload.
    pub payload: Bytes,
}

/// CONNACK. In 3.1.1 `reason` holds the return code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// There was a session.
    pub session_present: bool,
    /// Accepted, or why not.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties,
}

/// PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// It may have been sent before.
    pub dup: bool,
    /// Quality of service.
    pub qos: Qos,
    /// Retain flag.
    pub retain: bool,
    /// Topic name; empty if an alias stands for it.
    pub topic: Arc<str>,
    /// 0 with QoS 0.
    pub packet_id: u16,
    /// Properties.
    pub properties: MessageProperties,
    /// Payload.
    pub payload: Bytes,
}

/// Which acknowledgement of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the specification's names
pub enum AckKind {
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which of them.
    pub kind: AckKind,
    /// Packet identifier.
    pub packet_id: u16,
    /// Reason code.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties,
}

/// Which retained messages a new subscription wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainHandling {
    /// All.
    #[default]
    Send = 0,
    /// All if the subscription is new.
    SendIfNew = 1,
    /// None.
    DoNotSend = 2,
}

/// One filter of a SUBSCRIBE with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// Topic filter as sent.
    pub filter: String,
    /// Maximum QoS.
    pub qos: Qos,
    /// Not what this client publishes itself.
    pub no_local: bool,
    /// Keep the publisher's retain flag.
    pub retain_as_published: bool,
    /// Retain handling.
    pub retain_handling: RetainHandling,
}

/// SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Packet identifier.
    pub packet_id: u16,
    /// At least one.
    pub filters: Vec<SubscribeFilter>,
    /// Properties.
    pub properties: Properties,
}

/// SUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suback {
    /// Packet identifier.
    pub packet_id: u16,
    /// One a filter, in order.
    pub codes: Vec<ReasonCode>,
    /// Properties.
    pub properties: Properties,
}

/// UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Packet identifier.
    pub packet_id: u16,
    /// At least one.
    pub filters: Vec<String>,
    /// Properties.
    pub properties: Properties,
}

/// UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuback {
    /// Packet identifier.
    pub packet_id: u16,
    /// One a filter, in order; not sent in 3.1.1.
    pub codes: Vec<ReasonCode>,
    /// Properties.
    pub properties: Properties,
}

/// DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties,
}

/// AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Where the exchange stands.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties,
}
