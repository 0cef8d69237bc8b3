//! An AMQP session with an arbitrary client.
#![no_main]

use evergate_fuzz::contract::input::{Input, join};
use evergate_fuzz::contract::{amqp_bytes, drive, seeds};
use libfuzzer_sys::fuzz_target;

/// Inputs to start from.
fn plant() {
    let talk = amqp_bytes::talk();
    let all = amqp_bytes::records(&talk);
    let raw = [amqp_bytes::opening(true), amqp_bytes::framed(&all)].concat();
    let mut inputs = vec![join(0, &[], &raw), join(1, &[7, 1, 90], &raw), join(2, &[], &amqp_bytes::framed(&all))];
    // Links first, then each other performative.
    for body in &talk {
        let records = amqp_bytes::records(&[&talk[..7], std::slice::from_ref(body)].concat());
        inputs.extend([join(4, &[], &records), join(7, &[4, 3, 200], &records)]);
    }
    inputs.extend([join(4, &[], &all), join(5, &[50], &all)]);
    seeds::plant(inputs);
}

/// Plan: bit 0, how it is driven; then 0, raw bytes; 1, raw bytes after open and begin; 2 and 3, bodies
/// of frames after open and begin, without and with SASL.
fn run(data: &[u8]) {
    let Some(input) = Input::new(data) else { return };
    let how = input.plan >> 1 & 3;
    let opening = if how == 0 { Vec::new() } else { amqp_bytes::opening(how == 3) };
    let stream = if how < 2 { input.stream.to_vec() } else { amqp_bytes::framed(input.stream) };
    drive::session(input, &opening, &stream, amqp_bytes::session, |wire| {
        amqp_bytes::replies(wire);
    });
}

fuzz_target!(init: plant(), |data: &[u8]| run(data));
