//! A STOMP session under any bytes, with a gateway that answers and delivers.
#![no_main]

use evergate_fuzz::{FORMATS, drive, handshake};
use evergate_stomp::{StompConfig, StompSession};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    drive(Box::new(StompSession::new(StompConfig::default(), FORMATS.get(), 1)), handshake::STOMP, data);
});
