//! An MQTT session under any bytes, with a gateway that answers and delivers.
#![no_main]

use evergate_fuzz::{FORMATS, drive, handshake};
use evergate_mqtt::{MqttConfig, MqttSession};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    drive(Box::new(MqttSession::new(MqttConfig::default(), FORMATS.get(), 1)), handshake::MQTT, data);
});
