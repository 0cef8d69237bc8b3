//! AMQP's codec, performatives and messages: arbitrary bytes never panic, and what was read comes back
//! as it was.
#![no_main]

use evergate_fuzz::contract::{amqp_bytes, amqp_decode, seeds};
use libfuzzer_sys::fuzz_target;

/// Inputs to start from.
fn plant() {
    seeds::plant(amqp_bytes::messages().into_iter().chain(amqp_bytes::talk()).chain([amqp_bytes::opening(true)]));
}

fuzz_target!(init: plant(), |data: &[u8]| amqp_decode::check(data));
