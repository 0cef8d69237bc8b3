//! The codec's promises: bad frames and their words, limits at their edges, round trips.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{Command, Decoded, Decoder, Frame, FrameError, Headers, Version, encode};
use crate::Limits;

fn small() -> Limits {
    Limits { line_bytes_max: 40, headers_max: 3, head_bytes_max: 80, body_bytes_max: 10 }
}

fn decode_all(limits: Limits, version: Version, chunks: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::new(limits);
    decoder.set_version(version);
    let (mut input, mut frames) = (BytesMut::new(), Vec::new());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        while let Some(frame) = decoder.decode(&mut input)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn one(version: Version, bytes: &[u8]) -> Frame {
    let mut frames = decode_all(Limits::default(), version, &[bytes]).unwrap();
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

fn headers<'a>(pairs: &[(&'a str, &'a str)]) -> Headers {
    pairs.iter().copied().collect()
}

#[test]
fn a_small_body_does_not_keep_the_read_buffer_and_a_large_one_is_not_copied() {
    for (length, is_shared) in [(2047, false), (2048, true)] {
        let bytes = [&b"SEND\ndestination:/queue/q\n\n"[..], &vec![b'x'; length], b"\0"].concat();
        let mut decoder = Decoder::new(Limits::default());
        decoder.set_version(Version::V1_2);
        let mut input = BytesMut::from(&bytes[..]);
        let buffer = input.as_ptr_range();
        let frame = decoder.decode(&mut input).unwrap().unwrap();
        assert_eq!((frame.body.len(), input.len()), (length, 0));
        assert_eq!(buffer.contains(&frame.body.as_ptr()), is_shared, "{length}");
    }
}

#[test]
fn bad_frames_get_a_text_that_says_what_is_wrong() {
    use Version::{V1_0, V1_1, V1_2};
    let table: &[(Version, &[u8], &str)] = &[
        (V1_2, b"GET / HTTP/1.1\r\n", "unknown command \"GET / HTTP/1.1\""),
        (V1_2, b"send\n", "unknown command \"send\""),
        (V1_2, b"\rSEND\n", "unknown command \"\\rSEND\""),
        (V1_2, b"SEND\nno colon here\n\n\0", "a header line has no colon: \"no colon here\""),
        (V1_2, b"SEND\n:value\n\n\0", "a header has an empty name"),
        (V1_0, b"SEND\n : value\n\n\0", "a header has an empty name"),
        (V1_2, b"SEND\na:\\t\n\n\0", "undefined escape sequence in header \"a:\\\\t\""),
        (V1_2, b"SEND\na:x\\\n\n\0", "undefined escape sequence in header \"a:x\\\\\""),
        (V1_1, b"SEND\na:\\r\n\n\0", "undefined escape sequence in header \"a:\\\\r\""),
        (V1_2, b"SEND\na:x\ry\n\n\0", "carriage return within a header line"),
        (V1_2, b"SEND\na:\xff\n\n\0", "the headers are not UTF-8"),
        (V1_2, b"SEND\na:\0\n\n\0", "NUL before the empty line that ends the headers"),
        (V1_2, b"SEND\ncontent-length:-1\n\n\0", "content-length is not a number: \"-1\""),
        (V1_2, b"SEND\ncontent-length:\n\n\0", "content-length is not a number: \"\""),
        (V1_2, b"SEND\ncontent-length:1\n\nab\0", "no NUL after content-length bytes of body"),
        (V1_2, b"SEND\ncontent-length:99999999999999999999999\n\n", "the body is longer than 16777216 bytes"),
        (V1_2, b"ACK\nid:1\n\nx", "ACK frames must not have a body"),
        (V1_0, b"CONNECT\n\nx", "CONNECT frames must not have a body"),
    ];
    for (version, bytes, text) in table {
        let error = decode_all(Limits::default(), *version, &[bytes]).unwrap_err();
        assert_eq!(error.to_string(), *text, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_1_0_client_gets_no_header_whose_name_is_blank() {
    let head = bytes::Bytes::from_static(b" :a\nb:c\n");
    let written = |version| {
        let mut out = bytes::BytesMut::new();
        super::recode_head(&head, version, &mut out);
        out
    };
    assert_eq!(written(Version::V1_0)[..], b"b:c\n"[..]);
    assert_eq!(written(Version::V1_1)[..], head[..]);
    assert_eq!(written(Version::V1_2)[..], head[..]);
}

#[test]
fn line_ends_may_be_crlf_and_heartbeats_may_stand_between_frames() {
    let bytes = b"\n\r\nSEND\r\na:1\r\n\r\nbody\0\r\n\n\nACK\nid:2\n\n\0\n";
    let frames = decode_all(Limits::default(), Version::V1_2, &[bytes]).unwrap();
    assert_eq!(frames[0], Frame { command: Command::Send, headers: headers(&[("a", "1")]), body: "body".into() });
    assert_eq!(frames[1].headers, headers(&[("id", "2")]));
}

#[test]
fn a_body_with_content_length_may_hold_nul() {
    let frame = one(Version::V1_2, b"SEND\ncontent-length:3\n\na\0b\0");
    assert_eq!(&frame.body[..], b"a\0b");
}

#[test]
fn of_repeated_headers_the_first_wins() {
    let frame = one(Version::V1_2, b"SEND\nfoo:World\nfoo:Hello\n\n\0");
    assert_eq!(frame.headers.get("foo"), Some("World"));
}

#[test]
fn escapes_go_by_version() {
    assert_eq!(one(Version::V1_2, b"SEND\na\\c:\\r\\n\\c\\\\\n\n\0").headers, headers(&[("a:", "\r\n:\\")]));
    assert_eq!(one(Version::V1_1, b"SEND\na:\\n\\c\\\\\n\n\0").headers, headers(&[("a", "\n:\\")]));
    assert_eq!(one(Version::V1_0, b"SEND\na : \\n \n\n\0").headers, headers(&[("a", "\\n")]));
    assert_eq!(one(Version::V1_2, b"CONNECT\na:\\x:y\n\n\0").headers, headers(&[("a", "\\x:y")]));
}

#[test]
fn what_cannot_be_written_becomes_u_fffd_and_never_a_second_header() {
    let table = [
        (Version::V1_2, "a\\cb:\u{fffd}\\r\\n\\c\\\\x\n"),
        (Version::V1_1, "a\\cb:\u{fffd}\u{fffd}\\n\\c\\\\x\n"),
        (Version::V1_0, "a\u{fffd}b:\u{fffd}\u{fffd}\u{fffd}:\\x\n"),
    ];
    for (version, text) in table {
        let mut out = BytesMut::new();
        super::header("a:b", "\0\r\n:\\x", version, &mut out);
        assert_eq!(std::str::from_utf8(&out), Ok(text));
    }
}

#[test]
fn each_limit_holds_at_its_edge_and_before_the_frame_is_whole() {
    let line = |len: usize| format!("SEND\na:{}", "x".repeat(len - 2));
    let table = [
        (line(40), None),
        (format!("{}\r", line(40)), None),
        (line(41), Some(FrameError::LineTooLong(40))),
        ("X".repeat(41), Some(FrameError::LineTooLong(40))),
        ("SEND\na:1\nb:2\nc:3\n".to_owned(), None),
        ("SEND\na:1\nb:2\nc:3\nd:4\n".to_owned(), Some(FrameError::TooManyHeaders(3))),
        (format!("SEND\na:{0}\nb:{0}\n", "x".repeat(34)), None),
        (format!("SEND\na:{0}\nb:{0}\nc", "x".repeat(34)), None),
        (format!("SEND\na:{0}\nb:{0}\nc:x", "x".repeat(34)), Some(FrameError::HeadTooLarge(80))),
        ("SEND\n\n0123456789".to_owned(), None),
        ("SEND\n\n0123456789\0".to_owned(), None),
        ("SEND\n\n0123456789a".to_owned(), Some(FrameError::BodyTooLarge(10))),
        ("SEND\ncontent-length:10\n\n".to_owned(), None),
        ("SEND\ncontent-length:11\n\n".to_owned(), Some(FrameError::BodyTooLarge(10))),
    ];
    for (bytes, expected) in table {
        let whole = decode_all(small(), Version::V1_2, &[bytes.as_bytes()]);
        assert_eq!(whole.err(), expected, "{bytes:?}");
        let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
        assert_eq!(decode_all(small(), Version::V1_2, &single).err(), expected, "byte by byte: {bytes:?}");
    }
}

/// Bytes that look like frames often enough to reach every state.
fn wire_like() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(&b"SEND\n"[..]),
        Just(&b"ACK\r\n"[..]),
        Just(&b"MESSAGE\n"[..]),
        Just(&b"CONNECT\n"[..]),
        Just(&b"a:b\n"[..]),
        Just(&b"k\\c:\\n\\r\n"[..]),
        Just(&b"content-length:3\n"[..]),
        Just(&b"content-length:12\n"[..]),
        Just(&b"\nabcdefghi\0kl\0"[..]),
        Just(&b"\n"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\0"[..]),
        Just(&b"abc\0"[..]),
        Just(&b"\xff"[..]),
        Just(&b"\\"[..]),
    ];
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1_0), Just(Version::V1_1), Just(Version::V1_2)]
}

/// The frames before the first error, large ones put together, and that error.
fn outcome(bytes: &[u8], cuts: &[usize], version: Version) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(small()).with_large_bodies(15);
    decoder.set_version(version);
    let (mut input, mut frames, mut rest) = (BytesMut::new(), Vec::<Frame>::new(), bytes);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (chunk, after) = rest.split_at(cut.min(rest.len()));
        input.extend_from_slice(chunk);
        rest = after;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Decoded::Frame(frame) | Decoded::Large(frame, _))) => frames.push(frame),
                Ok(Some(Decoded::Piece(piece))) => {
                    let frame = frames.last_mut().expect("the head comes first");
                    frame.body = [&frame.body[..], &piece].concat().into();
                }
                Ok(Some(Decoded::End)) => {}
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), version in version()) {
        outcome(&bytes, &[], version);
    }

    #[test]
    fn any_chunking_gives_the_same_frames(
        bytes in wire_like(),
        cuts in prop::collection::vec(0usize..8, 0..40),
        version in version(),
    ) {
        let (whole, error) = outcome(&bytes, &[], version);
        let (pieces, piece_error) = outcome(&bytes, &cuts, version);
        prop_assert_eq!(whole, pieces);
        // Which of two faults is met first may differ, whether there is one may not.
        prop_assert_eq!(error.is_some(), piece_error.is_some());
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(
        pairs in prop::collection::vec(("[a-z:\\\\\n]{1,8}", "[ -~é\\\\:\r\n]{0,12}"), 0..8),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut sent = headers(&pairs);
        sent.push("content-length", &body.len().to_string());
        let frame = Frame { command: Command::Send, headers: sent, body: Bytes::from(body) };
        let mut bytes = BytesMut::new();
        encode(&frame, Version::V1_2, &mut bytes);
        prop_assert_eq!(one(Version::V1_2, &bytes), frame);
    }
}
