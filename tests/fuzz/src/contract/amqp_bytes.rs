//! AMQP bytes: openings, seeds, and whether what a session writes can be read.

use bytes::{Bytes, BytesMut};
use evergate_amqp10::{AmqpConfig, AmqpSession};
use evergate_model::Value;

use crate::codec::{
    AMQP_HEADER, FRAME_AMQP, FRAME_SASL, ListWriter, Reader, SASL_HEADER, begin_frame, end_frame, frame_size,
    parse_frame, put_descriptor, put_string,
};
use crate::performative::code;

/// A new session.
pub fn session() -> AmqpSession {
    AmqpSession::new(AmqpConfig::default(), crate::formats(), 7)
}

/// A frame around `body`.
pub fn frame(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let mut buf = BytesMut::new();
    let start = begin_frame(&mut buf, kind, channel);
    buf.extend_from_slice(body);
    end_frame(&mut buf, start, 0);
    buf.to_vec()
}

fn list(descriptor: u8, fields: &[Value<'_>]) -> Vec<u8> {
    let mut buf = BytesMut::new();
    let mut list = ListWriter::described(&mut buf, descriptor);
    for field in fields {
        list.value(field);
    }
    list.close();
    buf.to_vec()
}

/// Both protocol headers, with SASL before them if `sasl`, open, and a session on channel 0.
pub fn opening(sasl: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if sasl {
        bytes.extend(SASL_HEADER);
        let plain = [Value::Symbol("PLAIN".into()), Value::Binary(b"\0u\0p"[..].into())];
        bytes.extend(frame(FRAME_SASL, 0, &list(0x41, &plain)));
    }
    bytes.extend(AMQP_HEADER);
    let open = [Value::text("c"), Value::text("h"), Value::Uint(65_536), Value::Ushort(3), Value::Uint(60_000)];
    bytes.extend(frame(FRAME_AMQP, 0, &list(code::OPEN, &open)));
    bytes.extend(frame(FRAME_AMQP, 0, &begin()));
    bytes
}

fn begin() -> Vec<u8> {
    list(code::BEGIN, &[Value::Null, Value::Uint(0), Value::Uint(10_000), Value::Uint(10_000)])
}

/// An attach; the client receives from `address` or sends to it.
pub fn attach(
    name: &str,
    handle: u32,
    receiver: bool,
    address: Option<&str>,
    capability: Option<&str>,
    durable: u32,
) -> Vec<u8> {
    let mut buf = BytesMut::new();
    let terminus = |buf: &mut BytesMut, descriptor: u8, address: Option<&str>| {
        let mut list = ListWriter::described(buf, descriptor);
        list.option(address, put_string).uint(durable).null().null().flag(false).null();
        if descriptor == code::SOURCE {
            list.null().null().null().null();
        }
        list.symbols(capability.as_slice()).close();
    };
    let (source, target) = if receiver { (address, None) } else { (None, address) };
    ListWriter::described(&mut buf, code::ATTACH)
        .field(|buf| put_string(buf, name))
        .uint(handle)
        .flag(receiver)
        .value(&Value::Ubyte(2))
        .value(&Value::Ubyte(0))
        .field(|buf| terminus(buf, code::SOURCE, source))
        .field(|buf| terminus(buf, code::TARGET, target))
        .null()
        .null()
        .uint(0)
        .close();
    buf.to_vec()
}

/// Credit for a link that receives.
pub fn flow(handle: u32, credit: u32, drain: bool) -> Vec<u8> {
    let [zero, window] = [Value::Uint(0), Value::Uint(10_000)];
    let session = [zero.clone(), window.clone(), zero.clone(), window];
    let link = [Value::Uint(handle), zero, Value::Uint(credit), Value::Null, Value::Bool(drain)];
    list(code::FLOW, &[&session[..], &link].concat())
}

/// A transfer with `message` behind it.
pub fn transfer(handle: u32, id: u32, settled: bool, more: bool, message: &[u8]) -> Vec<u8> {
    let tag = Value::Binary(id.to_be_bytes().to_vec().into());
    let fields = [Value::Uint(handle), Value::Uint(id), tag, Value::Uint(0), Value::Bool(settled), Value::Bool(more)];
    let mut bytes = list(code::TRANSFER, &fields);
    bytes.extend_from_slice(message);
    bytes
}

fn disposition(first: u32, last: u32, settled: bool, outcome: u8) -> Vec<u8> {
    let mut buf = BytesMut::new();
    ListWriter::described(&mut buf, code::DISPOSITION)
        .flag(true)
        .uint(first)
        .uint(last)
        .flag(settled)
        .field(|buf| {
            put_descriptor(buf, outcome);
            buf.extend_from_slice(&[0x45]);
        })
        .close();
    buf.to_vec()
}

/// Messages with every section and every kind of body.
pub fn messages() -> Vec<Vec<u8>> {
    let header =
        list(0x70, &[Value::Bool(true), Value::Ubyte(5), Value::Uint(60_000), Value::Bool(true), Value::Uint(0)]);
    let properties = list(
        0x73,
        &[
            Value::Uuid([7; 16]),
            Value::Binary(b"user"[..].into()),
            Value::text("/topic/a/b"),
            Value::text("subject"),
            Value::text("queue://r"),
            Value::Ulong(300),
            Value::Symbol("text/plain".into()),
            Value::Symbol("gzip".into()),
            Value::Timestamp(1_800_000_000_000),
            Value::Timestamp(1),
            Value::text("group"),
            Value::Uint(3),
            Value::text("reply-group"),
        ],
    );
    // x-opt-jms-dest; then keys of every simple type's width.
    let annotations = b"\0Sr\xc1\x14\x02\xa3\x0ex-opt-jms-dest\x51\x01".to_vec();
    let application =
        b"\0St\xc1\x1e\x08\xa1\x01a\x41\xa1\x01b\x82\0\0\0\0\0\0\0\0\xa1\x01c\x83\0\0\0\0\0\0\0\x01\xa1\x01d\xa0"
            .to_vec();
    let application = {
        let mut whole = application;
        whole.extend_from_slice(b"\x01\xff");
        whole[4] = (whole.len() - 5) as u8;
        whole
    };
    let bodies: [&[u8]; 6] = [
        b"\0Su\xa0\x04data",
        b"\0Su\xa0\x01a\0Su\xa0\x01b",
        b"\0Sw\xa1\x04text",
        b"\0Sw\xc1\x0a\x02\xa1\x01k\xc0\x04\x02\x41\x54\x07",
        b"\0Sv\xc0\x05\x02\x52\x01\x42\x40",
        b"\0Sw\xe0\x04\x02\x52\x01\x02",
    ];
    let mut messages: Vec<Vec<u8>> = bodies.iter().map(|body| body.to_vec()).collect();
    messages.push([&header[..], &annotations, &properties, &application, bodies[0], b"\0Sx\xc1\x01\0"].concat());
    messages.push([&properties[..], &application, bodies[2]].concat());
    messages
}

/// The bodies of frames that a client sends after its session began.
pub fn talk() -> Vec<Vec<u8>> {
    let mut talk = vec![
        attach("s", 0, false, Some("/queue/q"), None, 0),
        attach("t", 1, false, None, None, 0),
        attach("r", 2, true, Some("/queue/q"), None, 0),
        attach("d", 3, true, Some("/topic/a/#"), None, 2),
        attach("g|1", 4, true, Some("a/b"), Some("shared"), 0),
        flow(2, 10, false),
        flow(3, 5, true),
        transfer(0, 0, false, false, &messages()[0]),
        transfer(1, 1, false, true, b""),
        transfer(1, 1, true, false, &messages()[6]),
        disposition(0, 3, true, code::ACCEPTED),
        disposition(1, 1, false, code::RELEASED),
        disposition(2, 2, true, code::REJECTED),
        disposition(3, 9, true, code::MODIFIED),
        list(code::DETACH, &[Value::Uint(2), Value::Bool(true)]),
        list(code::DETACH, &[Value::Uint(3)]),
    ];
    talk.extend(
        messages().iter().enumerate().map(|(id, message)| transfer(0, id as u32 + 2, id % 2 == 0, false, message)),
    );
    talk.extend([begin(), list(code::END, &[]), list(code::CLOSE, &[])]);
    talk
}

/// A stream of frames' bodies, from which [`framed`] makes frames: so that a change of a body's length
/// needs no change elsewhere.
pub fn records(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut records = Vec::new();
    for body in bodies {
        records.extend([0, body.len() as u8, (body.len() >> 8) as u8]);
        records.extend_from_slice(body);
    }
    records
}

/// The frames that `records` describes: channel, length, body.
pub fn framed(mut records: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while let Some((&[channel, low, high], rest)) = records.split_first_chunk::<3>() {
        let length = usize::from(low) | usize::from(high & 0x0f) << 8;
        let (body, rest) = rest.split_at(length.min(rest.len()));
        frames.extend(frame(FRAME_AMQP, u16::from(channel % 8), body));
        records = rest;
    }
    frames
}

/// A frame that a session wrote.
pub struct Reply {
    /// Its performative's code; 0 if it is empty.
    pub code: u64,
    /// What follows the performative.
    pub payload: Bytes,
}

/// Every AMQP frame in `wire`, which a session wrote; protocol headers and SASL are left out.
pub fn replies(wire: &[u8]) -> Vec<Reply> {
    let mut bytes = Bytes::copy_from_slice(wire);
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        if bytes.starts_with(b"AMQP") {
            let header = bytes.split_to(8);
            assert!(header == AMQP_HEADER[..] || header == SASL_HEADER[..], "{header:?}");
            continue;
        }
        let size = frame_size(&bytes, u32::MAX).expect("a frame's size").expect("a whole frame");
        assert!(size <= bytes.len(), "a session writes whole frames");
        let whole = bytes.split_to(size);
        let frame = parse_frame(&whole).expect("a frame's header");
        let body = whole.slice(frame.body_at..);
        if body.is_empty() {
            replies.push(Reply { code: 0, payload: body });
            continue;
        }
        let mut reader = Reader::new(&body);
        let (code, _) = crate::codec::Fields::described(&mut reader).expect("a performative");
        let payload = body.slice(body.len() - reader.rest().len()..);
        if frame.kind == FRAME_AMQP {
            assert!(payload.is_empty() || code == u64::from(code::TRANSFER), "only a transfer has a payload");
            replies.push(Reply { code, payload });
        }
    }
    replies
}

/// The payloads of all transfers, one after the other.
pub fn transferred(wire: &[u8]) -> Bytes {
    let mut whole = BytesMut::new();
    for reply in replies(wire) {
        if reply.code == u64::from(code::TRANSFER) {
            whole.extend_from_slice(&reply.payload);
        }
    }
    whole.freeze()
}
