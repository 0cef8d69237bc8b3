//! Which protocols there are, and a session of each.

use evergate_amqp10::{Amqp10Format, AmqpConfig, AmqpSession};
use evergate_model::{Encoding, Formats, Session};
use evergate_mqtt::{MqttConfig, MqttFormat, MqttSession};
use evergate_stomp::{StompConfig, StompFormat, StompSession};

use crate::config::Protocol;

/// The formats of all protocols.
pub fn formats() -> Formats {
    Formats::default()
        .with(Encoding::Mqtt5, &MqttFormat)
        .with(Encoding::Amqp10, &Amqp10Format)
        .with(Encoding::Stomp, &StompFormat)
}

/// The protocols' settings, and the formats through which they read each other's messages.
pub struct Protocols {
    mqtt: MqttConfig,
    amqp: AmqpConfig,
    stomp: StompConfig,
    formats: Formats,
}

impl Protocols {
    /// With these settings.
    pub fn new((mqtt, amqp, stomp): (MqttConfig, AmqpConfig, StompConfig)) -> Self {
        Self { mqtt, amqp, stomp, formats: formats() }
    }

    /// How the protocols read each other's messages.
    pub fn formats(&self) -> Formats {
        self.formats
    }

    /// A session for a new connection.
    ///
    /// # Panics
    /// For `Protocol::Http`, which is no messaging protocol: its WebSockets say which one they carry.
    pub fn session(&self, protocol: Protocol, id: u64) -> Box<dyn Session> {
        match protocol {
            Protocol::Mqtt => Box::new(MqttSession::new(self.mqtt.clone(), self.formats, id)),
            Protocol::Amqp => Box::new(AmqpSession::new(self.amqp.clone(), self.formats, id)),
            Protocol::Stomp => Box::new(StompSession::new(self.stomp.clone(), self.formats, id)),
            Protocol::Http => unreachable!("HTTP connections are served, not driven"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use evergate_model::{Address, Body, Message, Meta, Value, View};

    use super::*;
    use crate::config::Config;
    use crate::serve::protocol_settings;

    #[test]
    fn the_configurations_defaults_are_the_protocols_own() {
        let (mqtt, amqp, stomp) = protocol_settings(&Config::default());
        // Topic and properties come on top of the largest message.
        let room = mqtt.max_packet_bytes - MqttConfig::default().max_packet_bytes;
        assert_eq!(MqttConfig { max_packet_bytes: mqtt.max_packet_bytes - room, ..mqtt }, MqttConfig::default());
        assert_eq!(amqp, AmqpConfig::default());
        assert_eq!(stomp, StompConfig::default());
    }

    /// What a responder is sent and sends back, in its own encoding.
    type Compose = fn(Meta, &View<'_>) -> Message;

    #[test]
    fn ids_that_are_bytes_come_back_through_every_protocol() {
        let (formats, meta) = (formats(), || Meta::new(Address::queue("q")));
        let protocols: [Compose; 2] = [evergate_amqp10::compose, evergate_stomp::compose];
        for id in [&b"\0\x01\xff"[..], b"\xc3( no text", b"text"] {
            let mut view = View::new(Body::Binary(Cow::Borrowed(b"")));
            view.correlation_id = Some(Value::Binary(id.into()));
            for there in protocols.map(|compose| compose(meta(), &view)) {
                for back in protocols.map(|compose| compose(meta(), &formats.view(&there))) {
                    assert_eq!(formats.view(&back).correlation_id, view.correlation_id);
                }
            }
        }
    }
}
