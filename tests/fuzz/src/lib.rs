//! What the session targets share: a gateway small enough to fuzz with, and consumers of every protocol.

pub mod contract;
mod gateway;
pub mod handshake;

// The AMQP codec is private to its crate and not worth a public interface for tests alone: `contract`
// compiles its sources once more.
#[allow(dead_code, unused_imports)]
#[path = "../../../protocols/amqp10/src/codec/mod.rs"]
mod codec;
#[allow(dead_code)]
#[path = "../../../protocols/amqp10/src/error.rs"]
mod error;
#[allow(dead_code, unused_imports)]
#[path = "../../../protocols/amqp10/src/message/mod.rs"]
mod message;
#[allow(dead_code, unused_imports)]
#[path = "../../../protocols/amqp10/src/performative/mod.rs"]
mod performative;

use std::sync::LazyLock;

use evergate_amqp10::{Amqp10Format, AmqpConfig, AmqpSession};
use evergate_model::{Encoding, Formats, Session};
use evergate_mqtt::{MqttConfig, MqttFormat, MqttSession};
use evergate_stomp::{StompConfig, StompFormat, StompSession};

use gateway::Line;

/// All formats.
pub static FORMATS: LazyFormats = LazyFormats(LazyLock::new(|| {
    Formats::default()
        .with(Encoding::Amqp10, &Amqp10Format)
        .with(Encoding::Mqtt5, &MqttFormat)
        .with(Encoding::Stomp, &StompFormat)
}));

/// Made at first use.
pub struct LazyFormats(LazyLock<Formats>);

impl LazyFormats {
    /// The formats.
    pub fn get(&self) -> Formats {
        *self.0
    }
}

/// One consumer a protocol, through their handshakes, with a subscription.
fn consumers() -> [Line; 3] {
    let formats = FORMATS.get();
    let mut lines = [
        Line::new(Box::new(MqttSession::new(MqttConfig::default(), formats, 2))),
        Line::new(Box::new(AmqpSession::new(AmqpConfig::default(), formats, 3))),
        Line::new(Box::new(StompSession::new(StompConfig::default(), formats, 4))),
    ];
    for (line, bytes) in lines.iter_mut().zip([handshake::MQTT, handshake::AMQP, handshake::STOMP]) {
        line.receive(bytes);
        line.answer();
        line.answer();
        assert!(line.is_consuming(), "the handshake of {:?} no longer leads to a consumer", line.peer().protocol);
    }
    lines
}

/// Feeds `data` to the session in pieces, answers what it asks, delivers what it publishes to itself and to
/// a consumer of each protocol. The first byte chooses how.
pub fn drive(session: Box<dyn Session>, greeting: &[u8], data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let mut line = Line::new(session);
    if choice & 1 == 1 {
        line.receive(greeting);
        line.answer();
    }
    let mut others = consumers();
    let piece = match choice >> 2 {
        0 => data.len().max(1),
        n => usize::from(n),
    };
    for bytes in data.chunks(piece) {
        line.receive(bytes);
        if choice & 2 == 0 {
            line.answer();
        }
        for message in line.take_published() {
            line.deliver(&message);
            for other in &mut others {
                other.deliver(&message);
                assert!(!other.is_closed(), "a consumer ended because of what another client published");
            }
        }
        if line.is_closed() {
            break;
        }
    }
    line.answer();
    line.wait();
    line.stop();
}
