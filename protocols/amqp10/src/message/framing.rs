//! The body of another protocol's large message, framed as data sections while it passes by.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use evergate_model::ContentReader;

use super::sections::DATA;
use crate::codec::{put_binary_header, put_descriptor};

/// A section's descriptor, type and length.
const SECTION_HEADER_BYTES: u64 = 8;

/// A binary is no longer than this (part 1, 1.6.19).
const SECTION_BYTES_MAX: u32 = u32::MAX;

/// Puts content into data sections, as few as there can be.
pub(crate) struct Framing {
    content: Box<dyn ContentReader>,
    /// Content that was not framed yet.
    left: u64,
    /// What of it fits into the section that is open.
    section_left: u64,
    section_bytes_max: u32,
}

impl Framing {
    pub fn new(content: Box<dyn ContentReader>, payload_bytes: u64) -> Self {
        Self { content, left: payload_bytes, section_left: 0, section_bytes_max: SECTION_BYTES_MAX }
    }

    /// Bytes of so much content together with its framing.
    pub fn framed_bytes(payload_bytes: u64) -> u64 {
        payload_bytes + payload_bytes.div_ceil(SECTION_BYTES_MAX.into()) * SECTION_HEADER_BYTES
    }

    /// The next piece, as it goes to the client.
    pub fn frame(&mut self, piece: &Bytes) -> VecDeque<Bytes> {
        let mut framed = VecDeque::with_capacity(2);
        let Self { content, left, section_left, section_bytes_max } = self;
        content.read(piece, &mut |mut part| {
            // More than was announced is not there: it ends here.
            while !part.is_empty() && *left > 0 {
                if *section_left == 0 {
                    *section_left = (*left).min((*section_bytes_max).into());
                    framed.push_back(section_header(*section_left as usize));
                }
                let here = part.split_to(part.len().min(*section_left as usize));
                *left -= here.len() as u64;
                *section_left -= here.len() as u64;
                framed.push_back(here);
            }
        });
        framed
    }
}

fn section_header(length: usize) -> Bytes {
    let mut buf = BytesMut::with_capacity(SECTION_HEADER_BYTES as usize);
    put_descriptor(&mut buf, DATA);
    put_binary_header(&mut buf, length);
    buf.freeze()
}

#[cfg(test)]
mod tests {
    use evergate_model::{Encoding, Formats};

    use super::*;

    #[test]
    fn content_longer_than_a_binary_goes_in_several_sections() {
        for (length, sections) in [(10, 1), (11, 2), (20, 2), (21, 3)] {
            for size in [1, 3, 10, 25] {
                let content: Vec<u8> = (0..length).collect();
                let mut framing = Framing::new(Formats::default().content(Encoding::Stomp), length.into());
                framing.section_bytes_max = 10;
                let mut framed = Vec::new();
                for piece in content.chunks(size) {
                    framing.frame(&piece.to_vec().into()).iter().for_each(|part| framed.extend_from_slice(part));
                }
                let expected: Vec<u8> = content.chunks(10).flat_map(crate::tests::data).collect();
                assert_eq!((framed.len(), framed), (usize::from(length) + sections * 8, expected));
            }
        }
        let max = u64::from(u32::MAX);
        assert_eq!([max, max + 1].map(Framing::framed_bytes), [max + 8, max + 17]);
    }
}
