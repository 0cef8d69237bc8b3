//! Reading confirms and messages from a connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gate::Gate;
use crate::result::Received;
use crate::source::{Latency, Sent};
use crate::{Confirms, Consumer, Decoder, PATIENCE, Progress, READ_BYTES, wrong};

/// Reads confirms until the connection ends.
pub fn read_confirms(
    mut stream: TcpStream,
    mut confirms: Box<dyn Confirms>,
    gate: &Gate,
    sent: &Arc<Sent>,
    start: Instant,
) -> io::Result<Latency> {
    // Silence is no error here: who waits for a confirm says so itself.
    stream.set_read_timeout(Some(PATIENCE * 100))?;
    let mut buffer = Buffer::new(READ_BYTES);
    let mut latency = Latency::default();
    let mut progress = Progress::default();
    loop {
        match buffer.fill(&mut stream) {
            Ok(0) => return Ok(latency),
            Ok(_) => {}
            // Some brokers close with a reset: no fault, whoever misses a confirm says so itself.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(latency),
            Err(error) => return Err(error),
        }
        let now = Instant::now();
        let taken = confirms.read(buffer.bytes(), &mut progress)?;
        buffer.take(taken);
        if let Some(credit) = progress.credit.take() {
            gate.set_credit(credit);
        }
        let mut count = 0;
        for range in progress.confirmed.drain(..) {
            count += range.end - range.start;
            sent.confirmed(range, now, start, &mut latency);
        }
        if count != 0 {
            gate.add_confirmed(count);
        }
    }
}

/// Reads messages until `is_done`; tells `progress` how many came with each read.
pub fn consume(
    consumer: &mut Consumer,
    start: Instant,
    received: &mut Received,
    is_done: impl Fn(&Received) -> bool,
    mut progress: impl FnMut(u64),
) -> io::Result<()> {
    let Consumer { stream, decoder, .. } = consumer;
    let mut buffer = Buffer::new(consumer.buffer);
    let mut out = Vec::new();
    while !is_done(received) {
        let count =
            buffer.fill(stream).map_err(|error| wrong(format!("after {} messages: {error}", received.count)))?;
        if count == 0 {
            return Err(wrong(format!("consumer's connection closed after {} messages", received.count)));
        }
        let before = received.count;
        let taken = read_messages(&mut **decoder, buffer.bytes(), received, start.elapsed(), &mut out)?;
        buffer.take(taken);
        stream.write_all(&out)?;
        out.clear();
        progress(received.count - before);
    }
    Ok(())
}

fn read_messages(
    decoder: &mut dyn Decoder,
    bytes: &[u8],
    received: &mut Received,
    now: Duration,
    out: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut fault = None;
    let taken = decoder.read(
        bytes,
        &mut |body| {
            if let Err(error) = received.add(body, now) {
                fault.get_or_insert(error);
            }
        },
        out,
    )?;
    fault.map_or(Ok(taken), Err)
}

/// Bytes read and not yet taken.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size], start: 0, end: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn take(&mut self, count: usize) {
        self.start += count;
    }

    fn fill(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = stream.read(&mut self.bytes[self.end..])?;
        self.end += count;
        Ok(count)
    }
}
