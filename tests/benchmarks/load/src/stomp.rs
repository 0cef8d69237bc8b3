//! STOMP 1.2: without receipts and acknowledgements, or persistent with a receipt each and acknowledged in batches.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use memchr::memchr;

use crate::bystand::filter;
use crate::{Confirms, Consumer, Decoder, Encoder, PREFETCH, Plan, Progress, Publisher, READ_BYTES, connect, wrong};

pub fn publisher(plan: &Plan, pair: u32) -> io::Result<Publisher> {
    let receipt = if plan.durable { "\npersistent:true\nreceipt:" } else { "" };
    let head =
        |number| format!("SEND\ndestination:{}\ncontent-length:{}{receipt}", queue(plan, pair, number), plan.body);
    Ok(Publisher {
        stream: hello(plan)?,
        encoder: Box::new(Send {
            heads: (0..plan.destinations).map(|number| head(number).into_bytes()).collect(),
            receipt: plan.durable.then_some(0),
        }),
        confirms: Box::new(Receipts { durable: plan.durable }),
        credit: u64::MAX,
    })
}

pub fn consumer(plan: &Plan, pair: u32) -> io::Result<Consumer> {
    let mut stream = hello(plan)?;
    let ack = if plan.durable { "client" } else { "auto" };
    for number in 0..plan.destinations {
        let queue = queue(plan, pair, number);
        subscribe(&mut stream, number, &queue, &format!("ack:{ack}\nprefetch-count:{PREFETCH}\n"))?;
    }
    Ok(Consumer {
        stream,
        buffer: READ_BYTES,
        decoder: Box::new(Messages { acknowledge: plan.durable }),
        goodbye: Box::new(|mut stream| {
            stream.write_all(b"DISCONNECT\nreceipt:d\n\n\0")?;
            expect(&mut stream, "RECEIPT")
        }),
    })
}

/// A connection whose subscriptions have a queue each, and get nothing.
pub fn bystander(plan: &Plan, connection: u32) -> io::Result<TcpStream> {
    let mut stream = hello(plan)?;
    for number in 0..plan.filters {
        subscribe(&mut stream, number.into(), &format!("/topic/{}", filter(plan, connection, number)), "")?;
    }
    Ok(stream)
}

fn subscribe(stream: &mut TcpStream, id: u64, destination: &str, headers: &str) -> io::Result<()> {
    write!(stream, "SUBSCRIBE\nid:{id}\ndestination:{destination}\n{headers}receipt:s\n\n\0")?;
    expect(stream, "RECEIPT")
}

fn queue(plan: &Plan, pair: u32, number: u64) -> String {
    let Plan { name, destinations, .. } = plan;
    if *destinations == 1 { format!("/queue/{name}-{pair}") } else { format!("/queue/{name}-{pair}-{number}") }
}

fn hello(plan: &Plan) -> io::Result<TcpStream> {
    let mut stream = connect(plan)?;
    stream.write_all(b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nheart-beat:0,0\n\n\0")?;
    expect(&mut stream, "CONNECTED")?;
    Ok(stream)
}

/// Reads one frame byte by byte: nothing behind it is taken.
fn expect(stream: &mut TcpStream, command: &str) -> io::Result<()> {
    let mut frame = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        match byte[0] {
            0 => break,
            b'\n' if frame.is_empty() => {}
            other => frame.push(other),
        }
    }
    let text = String::from_utf8_lossy(&frame);
    if text.lines().next() == Some(command) { Ok(()) } else { Err(wrong(format!("expected {command}, got {text}"))) }
}

/// A whole frame: command and headers, body, and the bytes taken with the line ends before it.
struct Frame<'a> {
    head: &'a [u8],
    body: &'a [u8],
    size: usize,
}

/// The frame at the front, if it is whole.
fn next(bytes: &[u8]) -> Option<Frame<'_>> {
    let first = bytes.iter().position(|byte| !matches!(byte, b'\n' | b'\r'))?;
    let mut line = first;
    let mut length = None;
    loop {
        let end = line + memchr(b'\n', &bytes[line..])?;
        if end == line {
            break;
        }
        if let Some(value) = bytes[line..end].strip_prefix(b"content-length:") {
            length = std::str::from_utf8(value).ok()?.parse::<usize>().ok();
        }
        line = end + 1;
    }
    let start = line + 1;
    let length = length.or_else(|| memchr(0, &bytes[start..]))?;
    // The NUL behind the body.
    bytes.get(start + length)?;
    Some(Frame { head: &bytes[first..line], body: &bytes[start..start + length], size: start + length + 1 })
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| line.strip_prefix(name))
}

struct Send {
    /// Of each destination.
    heads: Vec<Vec<u8>>,
    receipt: Option<u64>,
}

impl Encoder for Send {
    fn message(&mut self, destination: usize, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.heads[destination]);
        if let Some(receipt) = &mut self.receipt {
            *receipt += 1;
            let _ = write!(out, "{receipt}");
        }
        out.extend_from_slice(b"\n\n");
        out.extend_from_slice(body);
        out.push(0);
    }

    fn goodbye(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"DISCONNECT\nreceipt:d\n\n\0");
    }
}

struct Receipts {
    durable: bool,
}

impl Confirms for Receipts {
    fn confirms_messages(&self) -> bool {
        self.durable
    }

    fn read(&mut self, bytes: &[u8], progress: &mut Progress) -> io::Result<usize> {
        let mut taken = 0;
        while let Some(Frame { head, size, .. }) = next(&bytes[taken..]) {
            if !head.starts_with(b"RECEIPT\n") {
                return Err(wrong(format!("publisher got {}", String::from_utf8_lossy(head))));
            }
            let receipt = header(head, b"receipt-id:").and_then(|id| std::str::from_utf8(id).ok()?.parse::<u64>().ok());
            // The goodbye's receipt is no number.
            if let Some(receipt) = receipt {
                progress.confirm(receipt - 1..receipt);
            }
            taken += size;
        }
        Ok(taken)
    }
}

struct Messages {
    acknowledge: bool,
}

impl Decoder for Messages {
    fn read(&mut self, bytes: &[u8], message: &mut dyn FnMut(&[u8]), out: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        let mut last = None;
        while let Some(Frame { head, body, size }) = next(&bytes[taken..]) {
            if !head.starts_with(b"MESSAGE\n") {
                return Err(wrong(format!("consumer got {}", String::from_utf8_lossy(head))));
            }
            message(body);
            last = Some(head);
            taken += size;
        }
        // `client`: one acknowledgement stands for all before it.
        if let Some(head) = last.filter(|_| self.acknowledge) {
            let id = header(head, b"ack:").ok_or_else(|| wrong("MESSAGE without ack"))?;
            out.extend_from_slice(b"ACK\nid:");
            out.extend_from_slice(id);
            out.extend_from_slice(b"\n\n\0");
        }
        Ok(taken)
    }
}
