//! Bytes that wait to be written to a socket.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// How many segments one write hands to the kernel.
const SEGMENTS_MAX: usize = 32;

/// What a segment costs beside its bytes: its place in the queue, which may be half empty.
const SEGMENT_BYTES: usize = 2 * size_of::<Bytes>();

/// Segments in order.
#[derive(Debug, Default)]
pub struct WriteQueue {
    segments: VecDeque<Bytes>,
    bytes: usize,
    /// TLS and WebSocket keep what they are given until they are told to flush.
    unflushed: bool,
}

impl WriteQueue {
    pub fn extend(&mut self, segments: VecDeque<Bytes>) {
        self.bytes += segments.iter().map(Bytes::len).sum::<usize>();
        if self.segments.is_empty() {
            self.segments = segments;
        } else {
            self.segments.extend(segments);
        }
    }

    /// Whether everything is written and flushed.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && !self.unflushed
    }

    /// Memory that it takes. A peer that asks for many short answers and reads none must not get more of
    /// it than one that asks for long ones.
    pub fn len_bytes(&self) -> usize {
        self.bytes + self.segments.len() * SEGMENT_BYTES
    }

    /// Writes some of it, or flushes. Cancel-safe: what is written is taken off at once. Returns how much.
    pub async fn write_some(&mut self, socket: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<usize> {
        if self.segments.is_empty() {
            socket.flush().await?;
            self.unflushed = false;
            return Ok(0);
        }
        let mut slices = [IoSlice::new(&[]); SEGMENTS_MAX];
        let mut count = 0;
        for (slice, segment) in slices.iter_mut().zip(&self.segments) {
            *slice = IoSlice::new(segment);
            count += 1;
        }
        let written = socket.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.unflushed = true;
        self.advance(written);
        Ok(written)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(front) = self.segments.front_mut() {
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.segments.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_segments_count_with_what_they_cost() {
        let mut queue = WriteQueue::default();
        for _ in 0..1000 {
            queue.extend(VecDeque::from([Bytes::from_static(b"\xd0\0")]));
        }
        assert_eq!(queue.len_bytes(), 1000 * (2 + SEGMENT_BYTES));
        queue.advance(2 * 999 + 1);
        assert_eq!(queue.len_bytes(), 1 + SEGMENT_BYTES);
        queue.advance(1);
        assert_eq!(queue.len_bytes(), 0);
    }
}
