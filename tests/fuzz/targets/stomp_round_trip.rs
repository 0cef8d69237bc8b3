//! STOMP's codec: arbitrary bytes never panic, chunks do not matter, and a frame that was read comes
//! back as it was.
#![no_main]

use bytes::BytesMut;
use evergate_fuzz::contract::input::{Input, join};
use evergate_fuzz::contract::{seeds, stomp_bytes};
use evergate_stomp::Limits;
use evergate_stomp::codec::{Decoder, Frame, Version, encode};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { line_bytes_max: 1024, headers_max: 32, head_bytes_max: 4096, body_bytes_max: 4096 };

fn decode(mut stream: &[u8], version: Option<Version>, input: Input<'_>) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::new(LIMITS);
    if let Some(version) = version {
        decoder.set_version(version);
    }
    let mut choices = input.choices();
    let (mut frames, mut bytes) = (Vec::new(), BytesMut::new());
    while !stream.is_empty() {
        bytes.extend_from_slice(choices.chunk(&mut stream));
        loop {
            match decoder.decode(&mut bytes) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

/// Inputs to start from.
fn plant() {
    seeds::plant(stomp_bytes::seeds().into_iter().map(|(version, bytes)| {
        let number = stomp_bytes::VERSIONS.iter().position(|known| *known == version).unwrap_or(0) as u8;
        join(number + 1, &[5, 1, 30], &bytes)
    }));
}

/// Plan: 0, before CONNECT; 1 to 3, a version.
fn run(data: &[u8]) {
    let Some(input) = Input::new(data) else { return };
    let version = usize::from(input.plan & 3).checked_sub(1).map(|at| stomp_bytes::VERSIONS[at]);
    let whole = decode(input.stream, version, Input { script: &[], ..input });
    let parts = decode(input.stream, version, input);
    assert_eq!(whole, parts, "the frames depend on the chunks");
    for frame in &whole.0 {
        let mut bytes = BytesMut::new();
        let spoken = version.unwrap_or(Version::V1_2);
        encode(frame, spoken, &mut bytes);
        let mut back = stomp_bytes::read(&bytes, spoken);
        let mut back = back.pop().expect("a written frame can be read");
        if frame.headers.get("content-length").is_none() && !frame.body.is_empty() {
            // The writer adds it.
            back.headers = back.headers.iter().filter(|(name, _)| *name != "content-length").collect();
        }
        if stomp_bytes::can_write(frame, spoken) {
            assert_eq!(*frame, back);
        }
    }
}

fuzz_target!(init: plant(), |data: &[u8]| run(data));
