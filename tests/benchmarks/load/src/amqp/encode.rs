//! Described lists, as the opening of a connection needs them.

/// Descriptors (AMQP 1.0, parts 2.7, 2.8, 3.2, 3.5, 5.3).
pub mod code {
    /// A frame without a body; no descriptor.
    pub const EMPTY: u8 = 0;
    pub const OPEN: u8 = 0x10;
    pub const BEGIN: u8 = 0x11;
    pub const ATTACH: u8 = 0x12;
    pub const FLOW: u8 = 0x13;
    pub const TRANSFER: u8 = 0x14;
    pub const DISPOSITION: u8 = 0x15;
    pub const CLOSE: u8 = 0x18;
    pub const ACCEPTED: u8 = 0x24;
    pub const SOURCE: u8 = 0x28;
    pub const TARGET: u8 = 0x29;
    pub const MECHANISMS: u8 = 0x40;
    pub const INIT: u8 = 0x41;
    pub const OUTCOME: u8 = 0x44;
    pub const HEADER: u8 = 0x70;
    pub const DATA: u8 = 0x75;
}

#[derive(Default)]
pub struct Fields {
    count: u32,
    bytes: Vec<u8>,
}

impl Fields {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn value(mut self, encoded: &[u8]) -> Self {
        self.count += 1;
        self.bytes.extend_from_slice(encoded);
        self
    }

    pub fn null(self) -> Self {
        self.value(&[0x40])
    }

    pub fn boolean(self, value: bool) -> Self {
        self.value(&[if value { 0x41 } else { 0x42 }])
    }

    pub fn ubyte(self, value: u8) -> Self {
        self.value(&[0x50, value])
    }

    pub fn ushort(self, value: u16) -> Self {
        let [a, b] = value.to_be_bytes();
        self.value(&[0x60, a, b])
    }

    pub fn uint(self, value: u32) -> Self {
        let [a, b, c, d] = value.to_be_bytes();
        self.value(&[0x70, a, b, c, d])
    }

    pub fn string(self, value: &str) -> Self {
        self.sized(0xa1, value.as_bytes())
    }

    pub fn symbol(self, value: &str) -> Self {
        self.sized(0xa3, value.as_bytes())
    }

    pub fn binary(self, value: &[u8]) -> Self {
        self.sized(0xa0, value)
    }

    fn sized(self, constructor: u8, value: &[u8]) -> Self {
        let mut bytes = vec![constructor, value.len() as u8];
        bytes.extend_from_slice(value);
        self.value(&bytes)
    }

    /// The list, described by `code`.
    pub fn list(self, code: u8) -> Vec<u8> {
        let mut out = vec![0x00, 0x53, code, 0xd0];
        out.extend((self.bytes.len() as u32 + 4).to_be_bytes());
        out.extend(self.count.to_be_bytes());
        out.extend(self.bytes);
        out
    }
}

/// A frame on channel 0. `kind`: 0 AMQP, 1 SASL.
pub fn frame(kind: u8, performative: &[u8], out: &mut Vec<u8>) {
    out.extend((performative.len() as u32 + 8).to_be_bytes());
    out.extend([2, kind, 0, 0]);
    out.extend_from_slice(performative);
}
