//! What the targets share: a gateway small enough to fuzz with, sessions held to their contract, seeds.

pub mod contract;

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

use evergate_amqp10::Amqp10Format;
use evergate_model::{Encoding, Formats};
use evergate_mqtt::MqttFormat;
use evergate_stomp::StompFormat;

/// Every protocol's format.
pub fn formats() -> Formats {
    static ALL: LazyLock<Formats> = LazyLock::new(|| {
        Formats::default()
            .with(Encoding::Amqp10, &Amqp10Format)
            .with(Encoding::Mqtt5, &MqttFormat)
            .with(Encoding::Stomp, &StompFormat)
    });
    *ALL
}
