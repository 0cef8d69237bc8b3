//! An AMQP 1.0 session (and through it the codec) under any bytes, with a gateway that answers and delivers.
#![no_main]

use evergate_amqp10::{AmqpConfig, AmqpSession};
use evergate_fuzz::{FORMATS, drive, handshake};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    drive(Box::new(AmqpSession::new(AmqpConfig::default(), FORMATS.get(), 1)), handshake::AMQP, data);
});
