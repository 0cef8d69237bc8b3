//! The journal's message codec: any bytes are an error or a message that encodes to bytes which decode to it.
#![no_main]

use bytes::Bytes;
use evergate_fuzz::formats;
use evergate_journal::codec::{decode_message, decode_notes, encode_message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let data = Bytes::copy_from_slice(data);
    let _ = decode_notes(&data);
    let Ok(message) = decode_message(&data) else { return };
    let again = decode_message(&encode_message(&message).into()).expect("we decode what we encode");
    assert_eq!(again.meta, message.meta);
    assert_eq!((again.encoding, &again.head, &again.body), (message.encoding, &message.head, &message.body));
    assert_eq!(again.annotations, message.annotations);
    // A damaged store must not bring a reader down either.
    let _ = formats().view(&message);
});
