//! MQTT 3.1.1: QoS 0 to a clean session, or QoS 1 to a persistent one.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::{Confirms, Consumer, Decoder, Encoder, Plan, Progress, Publisher, connect, wrong};

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBACK: u8 = 0x90;
const DISCONNECT: [u8; 2] = [0xe0, 0];

pub fn publisher(plan: &Plan, pair: u32) -> io::Result<Publisher> {
    let stream = hello(plan, &format!("{}-{pair}-p", plan.name), true)?;
    let mut head = Vec::new();
    text(&topic(plan, pair), &mut head);
    Ok(Publisher {
        stream,
        encoder: Box::new(Publish { topic: head, packet_id: plan.durable.then_some(0) }),
        confirms: Box::new(Pubacks { durable: plan.durable }),
        credit: u64::MAX,
    })
}

pub fn consumer(plan: &Plan, pair: u32) -> io::Result<Consumer> {
    let client = format!("{}-{pair}-c", plan.name);
    let mut stream = hello(plan, &client, !plan.durable)?;
    let mut body = vec![0, 1];
    text(&topic(plan, pair), &mut body);
    body.push(u8::from(plan.durable));
    stream.write_all(&packet(0x82, &body))?;
    let suback = expect(&mut stream, SUBACK)?;
    if suback.last().is_none_or(|code| *code > 1) {
        return Err(wrong("SUBSCRIBE refused"));
    }
    let again = (plan.address.clone(), plan.durable);
    Ok(Consumer {
        stream,
        decoder: Box::new(Publishes),
        goodbye: Box::new(move |mut stream| {
            stream.write_all(&DISCONNECT)?;
            drop(stream);
            // A persistent session ends when its client comes back with a clean one.
            let (address, durable) = again;
            if durable {
                hello_at(&address, &client, true)?.write_all(&DISCONNECT)?;
            }
            Ok(())
        }),
    })
}

fn topic(plan: &Plan, pair: u32) -> String {
    format!("{}/{pair}", plan.name)
}

fn hello(plan: &Plan, client: &str, clean: bool) -> io::Result<TcpStream> {
    hello_at(&plan.address, client, clean)
}

fn hello_at(address: &str, client: &str, clean: bool) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
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
    topic: Vec<u8>,
    packet_id: Option<u16>,
}

impl Encoder for Publish {
    fn message(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let qos = self.packet_id.is_some();
        out.push(PUBLISH | u8::from(qos) << 1);
        length(self.topic.len() + 2 * usize::from(qos) + body.len(), out);
        out.extend_from_slice(&self.topic);
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
}

impl Confirms for Pubacks {
    fn confirms_messages(&self) -> bool {
        self.durable
    }

    fn read(&mut self, bytes: &[u8], progress: &mut Progress) -> io::Result<usize> {
        let mut taken = 0;
        while let Some((first, _, size)) = next(&bytes[taken..]) {
            if first != PUBACK {
                return Err(wrong(format!("publisher got packet {first:#x}")));
            }
            progress.confirmed += 1;
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
