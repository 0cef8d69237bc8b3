//! An MQTT session with an arbitrary client.
#![no_main]

use evergate_fuzz::contract::input::{Input, join};
use evergate_fuzz::contract::{drive, mqtt_bytes, seeds};
use libfuzzer_sys::fuzz_target;

/// Inputs to start from.
fn plant() {
    seeds::plant(mqtt_bytes::seeds().into_iter().flat_map(|(version, bytes)| {
        let number = mqtt_bytes::VERSIONS.iter().position(|known| *known == version).unwrap_or(0) as u8;
        let opening = if bytes[0] == 0x10 { 0 } else { number + 1 };
        [join(opening << 1, &[], &bytes), join(opening << 1 | 1, &[3, 1, 9], &bytes)]
    }));
}

/// Plan: bit 0, how it is driven; then 0, nothing is sent before; 1 to 3, CONNECT of a version.
fn run(data: &[u8]) {
    let Some(input) = Input::new(data) else { return };
    let version = usize::from(input.plan >> 1 & 3).checked_sub(1).map(|at| mqtt_bytes::VERSIONS[at]);
    let opening = version.map_or(Vec::new(), |version| mqtt_bytes::bytes(&mqtt_bytes::connect(version), version));
    drive::session(input, &opening, input.stream, mqtt_bytes::session, |wire| {
        if let Some(version) = version {
            mqtt_bytes::packets(wire, version);
        }
    });
}

fuzz_target!(init: plant(), |data: &[u8]| run(data));
