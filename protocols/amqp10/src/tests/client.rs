//! A client made of bytes: it writes frames by hand and reads ours without our decoder's structures.

use bytes::{Bytes, BytesMut};
use evergate_model::{Access, Action, Close, Event, Formats, Output, Session, Time, Value};

use crate::codec::{
    AMQP_HEADER, FRAME_AMQP, Fields, Item, ListWriter, Reader, begin_frame, end_frame, parse_frame, put_descriptor,
    put_string, put_value,
};
use crate::performative::code;
use crate::{AmqpConfig, AmqpSession};

/// One frame from the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub channel: u16,
    pub code: u8,
    /// The performative, described list.
    pub body: Bytes,
    pub payload: Bytes,
}

impl Reply {
    /// Field `n` if it is simple; null if it is absent.
    pub fn field(&self, n: usize) -> Value<'_> {
        match self.item(n) {
            Some(Item::Simple(value)) => value,
            None => Value::Null,
            Some(other) => panic!("field {n} is {other:?}"),
        }
    }

    pub fn item(&self, n: usize) -> Option<Item<'_>> {
        let mut reader = Reader::new(&self.body);
        let (_, mut fields) = Fields::described(&mut reader).unwrap();
        for _ in 0..n {
            fields.skip().unwrap();
        }
        fields.item().unwrap()
    }

    /// Field `n`, a described list: its descriptor and its fields.
    pub fn described(&self, n: usize) -> Option<(u64, Vec<String>)> {
        let Item::Described { descriptor: Value::Ulong(code), value } = self.item(n)? else { panic!("not described") };
        let Item::List(items) = Reader::new(value).item().unwrap() else { panic!("no list") };
        Some((code, items.map(|item| show(&item.unwrap())).collect()))
    }

    /// The condition of the error in field `n`.
    pub fn condition(&self, n: usize) -> String {
        self.described(n).map(|(_, fields)| fields[0].clone()).unwrap_or_default()
    }
}

pub fn show(item: &Item<'_>) -> String {
    match item {
        Item::Simple(value) => value.to_text().into_owned(),
        other => format!("{other:?}"),
    }
}

pub struct Client {
    pub session: AmqpSession,
    pub now: Time,
    pub out: Output,
    input: BytesMut,
    wire: BytesMut,
}

impl Client {
    pub fn new(config: AmqpConfig) -> Self {
        Self::with_formats(config, Formats::default().with(evergate_model::Encoding::Amqp10, &crate::Amqp10Format))
    }

    pub fn with_formats(config: AmqpConfig, formats: Formats) -> Self {
        Self {
            session: AmqpSession::new(config, formats, 7),
            now: Time(1_000_000),
            out: Output::default(),
            input: BytesMut::new(),
            wire: BytesMut::new(),
        }
    }

    /// Open, with a session on channel 0.
    pub fn running(config: AmqpConfig) -> Self {
        let mut client = Self::new(config);
        client.handshake();
        client.send(0, &open("client-1"));
        client.send(0, &begin(1000));
        let codes: Vec<u8> = client.replies().iter().map(|reply| reply.code).collect();
        assert_eq!(codes, [code::OPEN, code::BEGIN]);
        client
    }

    /// Up to the AMQP header, without SASL.
    pub fn handshake(&mut self) {
        self.bytes(&AMQP_HEADER);
        assert!(matches!(self.actions()[..], [Action::Authenticate(_)]));
        self.event(Event::Authenticated(Access::Granted("".into())));
        assert_eq!(self.take_wire()[..], AMQP_HEADER);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.session.received(self.now, &mut self.input, &mut self.out);
    }

    pub fn send(&mut self, channel: u16, performative: &[u8]) {
        self.bytes(&frame(FRAME_AMQP, channel, performative));
    }

    pub fn event(&mut self, event: Event) {
        self.session.handle(self.now, event, &mut self.out);
    }

    /// So many bytes of large messages await their commit.
    pub fn pieces_pending(&mut self, bytes: u64) {
        self.session.pieces_pending(self.now, bytes, &mut self.out);
    }

    pub fn wait(&mut self, millis: u64) {
        self.now = Time(self.now.0 + millis);
        self.session.timeout(self.now, &mut self.out);
    }

    pub fn session_assembly_bytes(&self) -> u64 {
        self.session.assembly_bytes()
    }

    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out.actions)
    }

    pub fn closed(&mut self) -> Option<Close> {
        self.out.close.take()
    }

    pub fn take_wire(&mut self) -> BytesMut {
        for segment in self.out.wire.take() {
            self.wire.extend_from_slice(&segment);
        }
        self.wire.split()
    }

    /// Every whole frame that the server wrote; empty frames have code 0.
    pub fn replies(&mut self) -> Vec<Reply> {
        let mut wire = self.take_wire();
        let mut replies = Vec::new();
        while !wire.is_empty() {
            let size = u32::from_be_bytes(wire[..4].try_into().unwrap()) as usize;
            let bytes = wire.split_to(size).freeze();
            let frame = parse_frame(&bytes).unwrap();
            let body = bytes.slice(frame.body_at..);
            if body.is_empty() {
                replies.push(Reply { channel: frame.channel, code: 0, payload: body.clone(), body });
                continue;
            }
            let mut reader = Reader::new(&body);
            let (code, _) = Fields::described(&mut reader).unwrap();
            let payload = body.slice(body.len() - reader.rest().len()..);
            replies.push(Reply { channel: frame.channel, code: code as u8, body: body.clone(), payload });
        }
        replies
    }

    /// The frames that the server wrote, but those that only open the session's window.
    pub fn replies_but_windows(&mut self) -> Vec<Reply> {
        let mut replies = self.replies();
        replies.retain(|reply| reply.code != code::FLOW || reply.field(4) != Value::Null);
        replies
    }

    /// The one of these.
    pub fn reply(&mut self) -> Reply {
        let mut replies = self.replies_but_windows();
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0)
    }
}

pub fn frame(kind: u8, channel: u16, body: &[u8]) -> BytesMut {
    let mut buf = BytesMut::new();
    let start = begin_frame(&mut buf, kind, channel);
    buf.extend_from_slice(body);
    end_frame(&mut buf, start, 0);
    buf
}

/// A performative of simple fields.
pub fn performative(code: u8, fields: &[Value<'_>]) -> BytesMut {
    let mut buf = BytesMut::new();
    let mut list = ListWriter::described(&mut buf, code);
    for field in fields {
        list.value(field);
    }
    list.close();
    buf
}

pub fn open(container: &str) -> BytesMut {
    performative(code::OPEN, &[Value::text(container)])
}

pub fn begin(window: u32) -> BytesMut {
    performative(code::BEGIN, &[Value::Null, Value::Uint(0), Value::Uint(window), Value::Uint(1000)])
}

/// A source or target.
#[derive(Clone, Default, Debug)]
pub struct Node {
    pub address: Option<&'static str>,
    pub durable: u32,
    pub dynamic: bool,
    pub copy: bool,
    pub capabilities: &'static [&'static str],
    pub expiry_policy: Option<&'static str>,
    pub timeout: u32,
    /// The descriptor of the lifetime-policy.
    pub lifetime: Option<u8>,
    /// Descriptors and values.
    pub filters: Vec<(Value<'static>, Value<'static>)>,
}

impl Node {
    pub fn at(address: &'static str) -> Self {
        Self { address: Some(address), ..Self::default() }
    }

    fn write(&self, buf: &mut BytesMut, code: u8) {
        let mut list = ListWriter::described(buf, code);
        list.option(self.address, put_string).uint(self.durable);
        list.option(self.expiry_policy, |buf, policy| put_value(buf, &Value::Symbol(policy.into())));
        list.uint(self.timeout).flag(self.dynamic).option(self.lifetime, |buf, policy| {
            let mut map = crate::codec::MapWriter::new(buf);
            put_string_symbol(map.buf, "lifetime-policy");
            put_descriptor(map.buf, policy);
            map.raw(2, &[0x45]);
            map.close();
        });
        if code == code::SOURCE {
            list.option(self.copy.then_some("copy"), |buf, mode| put_value(buf, &Value::Symbol(mode.into())));
            if self.filters.is_empty() {
                list.null();
            } else {
                list.field(|buf| {
                    let mut map = crate::codec::MapWriter::new(buf);
                    for (number, (descriptor, value)) in self.filters.iter().enumerate() {
                        put_string_symbol(map.buf, &format!("f{number}"));
                        map.buf.extend_from_slice(&[0]);
                        put_value(map.buf, descriptor);
                        put_value(map.buf, value);
                        map.raw(2, &[]);
                    }
                    map.close();
                });
            }
            list.null().null();
        }
        list.symbols(self.capabilities).close();
    }
}

fn put_string_symbol(buf: &mut BytesMut, text: &str) {
    put_value(buf, &Value::Symbol(text.into()));
}

/// An attach; `receiver`: the client's role.
pub struct AttachFrame {
    pub name: &'static str,
    pub handle: u32,
    pub receiver: bool,
    pub snd: u8,
    pub rcv: u8,
    pub source: Option<Node>,
    pub target: Option<Node>,
    pub message_bytes_max: u64,
    pub desired: &'static [&'static str],
    pub properties: &'static [(&'static str, Value<'static>)],
}

impl AttachFrame {
    pub fn sender(handle: u32, target: Node) -> Self {
        Self {
            name: "s",
            handle,
            receiver: false,
            snd: 2,
            rcv: 0,
            source: Some(Node::default()),
            target: Some(target),
            message_bytes_max: 0,
            desired: &[],
            properties: &[],
        }
    }

    pub fn receiver(handle: u32, source: Node) -> Self {
        Self {
            name: "r",
            handle,
            receiver: true,
            snd: 2,
            rcv: 0,
            source: Some(source),
            target: Some(Node::default()),
            message_bytes_max: 0,
            desired: &[],
            properties: &[],
        }
    }

    pub fn bytes(&self) -> BytesMut {
        let mut buf = BytesMut::new();
        ListWriter::described(&mut buf, code::ATTACH)
            .field(|buf| put_string(buf, self.name))
            .uint(self.handle)
            .flag(self.receiver)
            .value(&Value::Ubyte(self.snd))
            .value(&Value::Ubyte(self.rcv))
            .option(self.source.as_ref(), |buf, node| node.write(buf, code::SOURCE))
            .option(self.target.as_ref(), |buf, node| node.write(buf, code::TARGET))
            .null()
            .null()
            .uint(0)
            .value(&Value::Ulong(self.message_bytes_max))
            .null()
            .symbols(self.desired)
            .option(Some(self.properties).filter(|properties| !properties.is_empty()), |buf, properties| {
                let mut map = crate::codec::MapWriter::new(buf);
                for (key, value) in properties {
                    map.pair(&Value::Symbol((*key).into()), value);
                }
                map.close();
            })
            .close();
        buf
    }
}

pub fn detach(handle: u32, closed: bool) -> BytesMut {
    performative(code::DETACH, &[Value::Uint(handle), Value::Bool(closed)])
}

/// A link flow with a wide session window.
pub fn flow(handle: u32, delivery_count: u32, credit: u32, drain: bool) -> BytesMut {
    window_flow(1_000_000, Some((handle, delivery_count, credit, drain)))
}

/// A flow; the window counts from id 0.
pub fn window_flow(window: u32, link: Option<(u32, u32, u32, bool)>) -> BytesMut {
    let mut fields = vec![Value::Uint(0), Value::Uint(window), Value::Uint(0), Value::Uint(1000)];
    if let Some((handle, count, credit, drain)) = link {
        fields.extend([Value::Uint(handle), Value::Uint(count), Value::Uint(credit), Value::Null, Value::Bool(drain)]);
    }
    performative(code::FLOW, &fields)
}

/// A whole delivery in one frame.
pub fn transfer(handle: u32, id: u32, settled: bool, message: &[u8]) -> BytesMut {
    part(handle, Some(id), settled, false, message)
}

/// One frame of a delivery.
pub fn part(handle: u32, id: Option<u32>, settled: bool, more: bool, message: &[u8]) -> BytesMut {
    let (id, tag) = match id {
        Some(id) => (Value::Uint(id), Value::Binary(id.to_be_bytes().to_vec().into())),
        None => (Value::Null, Value::Null),
    };
    let mut buf = performative(
        code::TRANSFER,
        &[Value::Uint(handle), id, tag, Value::Uint(0), Value::Bool(settled), Value::Bool(more)],
    );
    buf.extend_from_slice(message);
    buf
}

/// The client's word, as receiver, with an outcome without fields.
pub fn disposition(first: u32, last: Option<u32>, settled: bool, outcome: Option<u8>) -> BytesMut {
    let mut buf = BytesMut::new();
    ListWriter::described(&mut buf, code::DISPOSITION)
        .flag(true)
        .uint(first)
        .option(last, |buf, last| put_value(buf, &Value::Uint(last)))
        .flag(settled)
        .option(outcome, |buf, outcome| {
            put_descriptor(buf, outcome);
            buf.extend_from_slice(&[0x45]);
        })
        .close();
    buf
}

/// A message with a data section.
pub fn data(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x53, 0x75, 0xb0];
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A durable message with a data section.
pub fn durable(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x53, 0x70, 0xc0, 0x02, 0x01, 0x41];
    bytes.extend_from_slice(&data(body));
    bytes
}
