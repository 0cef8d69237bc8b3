//! AMQP 1.0: settled by the sender, or unsettled durable messages, accepted by the receiver in batches.

mod encode;
mod frame;

use std::io::{self, Read, Write};
use std::net::TcpStream;

use self::encode::{Fields, code, frame};
use self::frame::{Performative, message_body, next};
use crate::{Confirms, Consumer, Decoder, Encoder, PREFETCH, Plan, Progress, Publisher, READ_BYTES, connect, wrong};

const SASL: &[u8] = b"AMQP\x03\x01\x00\x00";
const AMQP: &[u8] = b"AMQP\x00\x01\x00\x00";
/// Transfers that a session takes before it says that it takes more.
const INCOMING_WINDOW: u32 = 0x0fff_ffff;

pub fn publisher(plan: &Plan, pair: u32) -> io::Result<Publisher> {
    if plan.destinations != 1 {
        return Err(wrong("AMQP has one destination here"));
    }
    let mut stream = hello(plan, &format!("{}-{pair}-p", plan.name))?;
    attach(&mut stream, plan, pair, false)?;
    let mut credit = Credit::new(plan.durable);
    // The first credit comes in a frame of its own, behind the attach.
    let mut progress = Progress::default();
    while progress.credit.is_none_or(|credit| credit == 0) {
        let received = read_frame(&mut stream)?;
        credit.read(&received, &mut progress)?;
    }
    Ok(Publisher {
        stream,
        encoder: Box::new(Transfers { next: 0, durable: plan.durable }),
        credit: progress.credit.unwrap_or(0),
        confirms: Box::new(credit),
    })
}

pub fn consumer(plan: &Plan, pair: u32) -> io::Result<Consumer> {
    let mut stream = hello(plan, &format!("{}-{pair}-c", plan.name))?;
    attach(&mut stream, plan, pair, true)?;
    let mut out = Vec::new();
    flow(0, &mut out);
    stream.write_all(&out)?;
    Ok(Consumer {
        stream,
        buffer: READ_BYTES,
        decoder: Box::new(Deliveries { accept: plan.durable, received: 0, granted: 0 }),
        goodbye: Box::new(|mut stream| {
            let mut out = Vec::new();
            frame(0, &Fields::new().list(code::CLOSE), &mut out);
            stream.write_all(&out)?;
            loop {
                let received = read_frame(&mut stream)?;
                if next(&received)?.is_some_and(|(performative, _)| performative.code == code::CLOSE) {
                    return Ok(());
                }
            }
        }),
    })
}

fn hello(plan: &Plan, container: &str) -> io::Result<TcpStream> {
    let mut stream = connect(plan)?;
    stream.write_all(SASL)?;
    header(&mut stream, SASL)?;
    expect(&mut stream, code::MECHANISMS)?;
    let mut out = Vec::new();
    let init = Fields::new().symbol("PLAIN").binary(b"\0guest\0guest").list(code::INIT);
    frame(1, &init, &mut out);
    stream.write_all(&out)?;
    expect(&mut stream, code::OUTCOME)?;
    stream.write_all(AMQP)?;
    header(&mut stream, AMQP)?;
    out.clear();
    let open = Fields::new().string(container).string("127.0.0.1").uint(65536).ushort(1).list(code::OPEN);
    frame(0, &open, &mut out);
    let begin = Fields::new().null().uint(0).uint(INCOMING_WINDOW).uint(INCOMING_WINDOW).uint(16).list(code::BEGIN);
    frame(0, &begin, &mut out);
    stream.write_all(&out)?;
    expect(&mut stream, code::OPEN)?;
    expect(&mut stream, code::BEGIN)?;
    Ok(stream)
}

fn attach(stream: &mut TcpStream, plan: &Plan, pair: u32, receiver: bool) -> io::Result<()> {
    let queue = format!("/queue/{}-{pair}", plan.name);
    // Terminus durability: of the queue, where the broker makes it on attach.
    let terminus = Fields::new().string(&queue).uint(if plan.durable { 2 } else { 0 });
    let other = Fields::new();
    let (source, target) = if receiver { (terminus, other) } else { (other, terminus) };
    let settled_by_sender = u8::from(!plan.durable);
    let mut fields = Fields::new()
        .string(&format!("{}-{pair}-{}", plan.name, if receiver { 'c' } else { 'p' }))
        .uint(0)
        .boolean(receiver)
        .ubyte(settled_by_sender)
        .ubyte(0)
        .value(&source.list(code::SOURCE))
        .value(&target.list(code::TARGET));
    if !receiver {
        fields = fields.null().null().uint(0);
    }
    let mut out = Vec::new();
    frame(0, &fields.list(code::ATTACH), &mut out);
    stream.write_all(&out)?;
    expect(stream, code::ATTACH)
}

/// Credit for `PREFETCH` messages behind those received.
fn flow(received: u32, out: &mut Vec<u8>) {
    let fields = Fields::new()
        .uint(received)
        .uint(INCOMING_WINDOW)
        .uint(0)
        .uint(INCOMING_WINDOW)
        .uint(0)
        .uint(received)
        .uint(PREFETCH)
        .list(code::FLOW);
    frame(0, &fields, out);
}

fn header(stream: &mut TcpStream, expected: &[u8]) -> io::Result<()> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    if bytes == expected { Ok(()) } else { Err(wrong(format!("protocol header {bytes:?}"))) }
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut bytes = size.to_vec();
    bytes.resize((u32::from_be_bytes(size) as usize).clamp(8, 1 << 20), 0);
    stream.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

fn expect(stream: &mut TcpStream, code: u8) -> io::Result<()> {
    let bytes = read_frame(stream)?;
    match next(&bytes)? {
        Some((performative, _)) if performative.code == code => Ok(()),
        _ => Err(unexpected(&bytes)),
    }
}

fn unexpected(bytes: &[u8]) -> io::Error {
    wrong(format!("unexpected frame: {}", String::from_utf8_lossy(bytes).escape_debug()))
}

struct Transfers {
    next: u32,
    durable: bool,
}

impl Encoder for Transfers {
    fn message(&mut self, _: usize, body: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        // size, data offset, type, channel; transfer: handle 0, delivery-id, delivery-tag, message-format 0, settled.
        out.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0, 0x00, 0x53, code::TRANSFER, 0xc0, 15, 5, 0x43, 0x70]);
        out.extend_from_slice(&self.next.to_be_bytes());
        out.extend_from_slice(&[0xa0, 4]);
        out.extend_from_slice(&self.next.to_be_bytes());
        out.extend_from_slice(&[0x43, if self.durable { 0x42 } else { 0x41 }]);
        if self.durable {
            out.extend_from_slice(&[0x00, 0x53, code::HEADER, 0xc0, 2, 1, 0x41]);
        }
        out.extend_from_slice(&[0x00, 0x53, code::DATA, 0xb0]);
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(body);
        let size = (out.len() - start) as u32;
        out[start..start + 4].copy_from_slice(&size.to_be_bytes());
        self.next += 1;
    }

    fn goodbye(&mut self, out: &mut Vec<u8>) {
        frame(0, &Fields::new().list(code::CLOSE), out);
    }
}

/// What a publisher may send: the lesser of link credit and session window.
struct Credit {
    durable: bool,
    link: u64,
    session: u64,
}

impl Credit {
    fn new(durable: bool) -> Self {
        Self { durable, link: 0, session: 0 }
    }

    fn apply(&mut self, performative: &Performative, progress: &mut Progress) -> io::Result<()> {
        match performative.code {
            code::FLOW => {
                let number = |index| performative.number(index);
                self.session = number(0).unwrap_or(0) + number(1).unwrap_or(0);
                if let Some(credit) = number(6) {
                    self.link = number(5).unwrap_or(0) + credit;
                }
                progress.credit = Some(self.link.min(self.session));
            }
            code::DISPOSITION => {
                let first = performative.number(1).ok_or_else(|| wrong("disposition without first"))?;
                let last = performative.number(2).unwrap_or(first);
                if performative.described(4) != Some(code::ACCEPTED) {
                    return Err(wrong("a message was not accepted"));
                }
                progress.confirm(first..last + 1);
            }
            code::CLOSE if performative.number(0).is_none() && performative.described(0).is_none() => {}
            _ => return Err(wrong(format!("publisher got performative {:#x}", performative.code))),
        }
        Ok(())
    }
}

impl Confirms for Credit {
    fn confirms_messages(&self) -> bool {
        self.durable
    }

    fn read(&mut self, bytes: &[u8], progress: &mut Progress) -> io::Result<usize> {
        let mut taken = 0;
        while let Some((performative, size)) = next(&bytes[taken..])? {
            if performative.code != code::EMPTY {
                self.apply(&performative, progress).map_err(|error| {
                    wrong(format!("{error}: {}", String::from_utf8_lossy(&bytes[taken..taken + size]).escape_debug()))
                })?;
            }
            taken += size;
        }
        Ok(taken)
    }
}

struct Deliveries {
    accept: bool,
    received: u32,
    /// Where `received` stood when credit was last given.
    granted: u32,
}

impl Decoder for Deliveries {
    fn read(&mut self, bytes: &[u8], message: &mut dyn FnMut(&[u8]), out: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        let mut accepted: Option<(u64, u64)> = None;
        while let Some((performative, size)) = next(&bytes[taken..])? {
            match performative.code {
                code::TRANSFER => {
                    let id = performative.number(1).ok_or_else(|| wrong("transfer without delivery-id"))?;
                    accepted = Some((accepted.map_or(id, |(first, _)| first), id));
                    message(message_body(performative.payload).ok_or_else(|| wrong("no data section"))?);
                    self.received += 1;
                }
                code::FLOW | code::EMPTY => {}
                _ => return Err(unexpected(&bytes[taken..taken + size])),
            }
            taken += size;
        }
        if let Some((first, last)) = accepted.filter(|_| self.accept) {
            let fields = Fields::new()
                .boolean(true)
                .uint(first as u32)
                .uint(last as u32)
                .boolean(true)
                .value(&Fields::new().list(code::ACCEPTED))
                .list(code::DISPOSITION);
            frame(0, &fields, out);
        }
        if self.received - self.granted >= PREFETCH / 2 {
            self.granted = self.received;
            flow(self.received, out);
        }
        Ok(taken)
    }
}
