//! Any bytes are frames, an error, or the start of a frame, however they are cut into pieces.
#![no_main]

use bytes::BytesMut;
use evergate_stomp::Limits;
use evergate_stomp::codec::{Decoder, Frame, FrameError, Version};
use libfuzzer_sys::fuzz_target;

fn frames(version: Version, pieces: &[&[u8]]) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(version);
    let (mut input, mut found) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, data)) = data.split_first() else { return };
    let (head, tail) = data.split_at(usize::from(*cut).min(data.len()));
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let bytewise: Vec<&[u8]> = data.chunks(1).collect();
        let whole = frames(version, &[data]);
        assert_eq!(whole, frames(version, &[head, tail]));
        assert_eq!(whole, frames(version, &bytewise));
    }
});
