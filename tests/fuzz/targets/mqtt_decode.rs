//! Any bytes are packets, an error, or the start of a packet; what decodes encodes to the same packet.
#![no_main]

use bytes::{Bytes, BytesMut};
use evergate_mqtt::codec::{Limits, Version, decode, encode};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { publish_bytes: 1 << 20, control_bytes: 1 << 16 };

fuzz_target!(|data: &[u8]| {
    for version in [Version::V3, Version::V4, Version::V5] {
        let mut input = BytesMut::from(data);
        while let Ok(Some(packet)) = decode(&mut input, version, LIMITS) {
            let mut bytes = BytesMut::new();
            encode(&packet, version, &mut bytes);
            let again = decode(&mut bytes, version, LIMITS).expect("we decode what we encode").expect("whole");
            assert_eq!(again, packet);
            assert_eq!(Bytes::from(bytes), Bytes::new(), "nothing is left over");
        }
    }
});
