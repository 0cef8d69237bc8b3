//! MQTT 3.1.1: QoS 0 to a clean session, or QoS 1 to a persistent one.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::bystand::filter;
use crate::{Confirms, Consumer, Decoder, Encoder, Plan, Progress, Publisher, READ_BYTES, connect, wrong};

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBACK: u8 = 0x90;
/// In one SUBSCRIBE.
const FILTERS_MAX: usize = 100;
const DISCONNECT: [u8; 2] = [0xe0, 0];

pub fn publisher(plan: &Plan, pair: u32) -> io::Result<Publisher> {
    let stream = hello(plan, &format!("{}-{pair}-p", plan.name), !plan.sessions)?;
    let topic = |number| {
        let mut bytes = Vec::new();
        text(&topic(plan, pair, number), &mut bytes);
        bytes
    };
    Ok(Publisher {
        stream,
        encoder: Box::new(Publish {
            topics: (0..plan.destinations).map(topic).collect(),
            packet_id: plan.durable.then_some(0),
        }),
        confirms: Box::new(Pubacks { durable: plan.durable, count: 0 }),
        credit: u64::MAX,
    })
}

/// A session that persists if messages are durable; but not for queues, which are there without it.
pub fn consumer(plan: &Plan, pair: u32) -> io::Result<Consumer> {
    let client = format!("{}-{pair}-c", plan.name);
    let persists = plan.durable && !plan.queues;
    let mut stream = hello(plan, &client, !persists)?;
    // A session that comes back may be sent messages at once; it is subscribed already.
    if !(persists && plan.later) {
        subscribe_to_all(&mut stream, plan, pair)?;
    }
    let again = Plan { address: plan.address.clone(), ..Plan::default() };
    Ok(Consumer {
        stream,
        decoder: Box::new(Publishes),
        buffer: READ_BYTES,
        goodbye: Box::new(move |mut stream| {
            stream.write_all(&DISCONNECT)?;
            // Closed with something unread, the socket would be reset, and acknowledgements on their way be lost.
            let _ = io::copy(&mut stream, &mut io::sink());
            drop(stream);
            // A persistent session ends when its client comes back with a clean one.
            if persists {
                hello(&again, &client, true)?.write_all(&DISCONNECT)?;
            }
            Ok(())
        }),
    })
}

/// A persistent session that is subscribed and away. A queue needs none.
pub fn prepare(plan: &Plan, pair: u32) -> io::Result<()> {
    if plan.queues {
        return Ok(());
    }
    let mut stream = hello(plan, &format!("{}-{pair}-c", plan.name), false)?;
    subscribe_to_all(&mut stream, plan, pair)?;
    stream.write_all(&DISCONNECT)
}

/// One of many: with little memory.
pub fn subscriber(plan: &Plan, number: u32) -> io::Result<Consumer> {
    let mut stream = hello(plan, &format!("{}-{number}-s", plan.name), true)?;
    subscribe_to_all(&mut stream, plan, 0)?;
    let goodbye = |mut stream: TcpStream| stream.write_all(&DISCONNECT);
    Ok(Consumer { stream, decoder: Box::new(Publishes), buffer: 16 * 1024, goodbye: Box::new(goodbye) })
}

/// A connection with subscriptions of one session, that gets nothing.
pub fn bystander(plan: &Plan, connection: u32) -> io::Result<TcpStream> {
    let mut stream = hello(plan, &format!("{}-{connection}-b", plan.name), true)?;
    let filters: Vec<_> = (0..plan.filters).map(|number| filter(plan, connection, number)).collect();
    subscribe(&mut stream, &filters, 1)?;
    Ok(stream)
}

fn subscribe_to_all(stream: &mut TcpStream, plan: &Plan, pair: u32) -> io::Result<()> {
    let filters: Vec<_> = (0..plan.destinations).map(|number| topic(plan, pair, number)).collect();
    subscribe(stream, &filters, u8::from(plan.durable))
}

fn subscribe(stream: &mut TcpStream, filters: &[String], qos: u8) -> io::Result<()> {
    for filters in filters.chunks(FILTERS_MAX) {
        let mut body = vec![0, 1];
        for filter in filters {
            text(filter, &mut body);
            body.push(qos);
        }
        stream.write_all(&packet(0x82, &body))?;
        let suback = expect(stream, SUBACK)?;
        if suback.len() != 2 + filters.len() || suback[2..].iter().any(|code| *code > 1) {
            return Err(wrong("SUBSCRIBE refused"));
        }
    }
    Ok(())
}

fn topic(plan: &Plan, pair: u32, number: u64) -> String {
    let prefix = if plan.queues { "$queue/" } else { "" };
    let Plan { name, destinations, .. } = plan;
    if *destinations == 1 { format!("{prefix}{name}/{pair}") } else { format!("{prefix}{name}/{pair}/{number}") }
}

fn hello(plan: &Plan, client: &str, clean: bool) -> io::Result<TcpStream> {
    let mut stream = connect(plan)?;
    let mut body = b"\0\x04MQTT\x04".to_vec();
    // User name, password; clean session if asked; no keep-alive.
    body.extend([0xc0 | u8::from(clean) << 1, 0, 0]);
    for field in [client, "guest", "guest"] {
        text(field, &mut body);
    }
    stream.write_all(&packet(0x10, &body))?;
    match expect(&mut stream, CONNACK)?.as_slice() {
        [_, 0] => Ok(stream),
        other => Err(wrong(format!("CONNECT refused: {other:?}"))),
    }
}

fn text(value: &str, out: &mut Vec<u8>) {
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value.as_bytes());
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    length(body.len(), &mut out);
    out.extend(body);
    out
}

fn length(mut value: usize, out: &mut Vec<u8>) {
    while value >= 128 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads one short packet of the opening.
fn expect(stream: &mut TcpStream, kind: u8) -> io::Result<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    if head[0] != kind || head[1] > 127 {
        return Err(wrong(format!("expected packet {kind:#x}, got {head:?}")));
    }
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// The packet at the front, if it is whole: first byte, body, bytes taken.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let mut size = 0;
    for (index, byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        size |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let start = index + 2;
            return Some((bytes[0], bytes.get(start..start + size)?, start + size));
        }
    }
    None
}

struct Publish {
    topics: Vec<Vec<u8>>,
    packet_id: Option<u16>,
}

impl Encoder for Publish {
    fn message(&mut self, destination: usize, body: &[u8], out: &mut Vec<u8>) {
        let topic = &self.topics[destination];
        let qos = self.packet_id.is_some();
        out.push(PUBLISH | u8::from(qos) << 1);
        length(topic.len() + 2 * usize::from(qos) + body.len(), out);
        out.extend_from_slice(topic);
        if let Some(id) = &mut self.packet_id {
            *id = id.wrapping_add(1).max(1);
            out.extend_from_slice(&id.to_be_bytes());
        }
        out.extend_from_slice(body);
    }

    fn goodbye(&mut self, out: &mut Vec<u8>) {
        out.extend(DISCONNECT);
    }
}

struct Pubacks {
    durable: bool,
    count: u64,
}

impl Pubacks {
    /// The message that a packet id stands for: of those that it could be, the nearest to the number confirmed.
    fn message(&self, id: &[u8]) -> io::Result<u64> {
        const IDS: u64 = 65535;
        let id: [u8; 2] = id.try_into().map_err(|_| wrong("PUBACK of a bad size"))?;
        let place = u64::from(u16::from_be_bytes(id)).checked_sub(1).ok_or_else(|| wrong("packet id 0"))?;
        let nearest = self.count + (place + IDS - self.count % IDS) % IDS;
        Ok(if nearest > self.count + IDS / 2 && nearest >= IDS { nearest - IDS } else { nearest })
    }
}

impl Confirms for Pubacks {
    fn confirms_messages(&self) -> bool {
        self.durable
    }

    fn read(&mut self, bytes: &[u8], progress: &mut Progress) -> io::Result<usize> {
        let mut taken = 0;
        while let Some((first, id, size)) = next(&bytes[taken..]) {
            if first != PUBACK {
                return Err(wrong(format!("publisher got packet {first:#x}")));
            }
            let message = self.message(id)?;
            progress.confirm(message..message + 1);
            self.count += 1;
            taken += size;
        }
        Ok(taken)
    }
}

struct Publishes;

impl Decoder for Publishes {
    fn read(&mut self, bytes: &[u8], message: &mut dyn FnMut(&[u8]), out: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        while let Some((first, body, size)) = next(&bytes[taken..]) {
            if first & 0xf0 != PUBLISH || body.len() < 4 {
                return Err(wrong(format!("consumer got packet {first:#x}")));
            }
            let mut start = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            if first & 0x06 != 0 {
                let id = body.get(start..start + 2).ok_or_else(|| wrong("PUBLISH too short"))?;
                out.extend_from_slice(&[PUBACK, 2, id[0], id[1]]);
                start += 2;
            }
            message(body.get(start..).ok_or_else(|| wrong("PUBLISH too short"))?);
            taken += size;
        }
        Ok(taken)
    }
}
