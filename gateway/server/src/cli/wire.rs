//! As much of MQTT 5's encoding as the small client needs.

use std::io;

/// The packets that the gateway sends to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    ConnAck { reason: u8, text: String },
    Publish { topic: String, body: Vec<u8>, packet_id: Option<u16> },
    PubAck { reason: u8, text: String },
    SubAck { reason: u8, text: String },
    PingResp,
    Disconnect { reason: u8, text: String },
}

pub(super) const PINGREQ: [u8; 2] = [0xC0, 0];
pub(super) const DISCONNECT: [u8; 2] = [0xE0, 0];

const RECEIVE_MAXIMUM: u8 = 0x21;
const REASON_STRING: u8 = 0x1F;

/// Flags of CONNECT.
const CLEAN_START: u8 = 0b10;
const LOGIN: u8 = 0b1100_0000;

pub(super) fn connect(login: Option<(&str, &str)>, keep_alive_seconds: u16, receive_maximum: u16) -> Option<Vec<u8>> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5];
    body.push(CLEAN_START | if login.is_some() { LOGIN } else { 0 });
    body.extend(keep_alive_seconds.to_be_bytes());
    body.extend([3, RECEIVE_MAXIMUM]);
    body.extend(receive_maximum.to_be_bytes());
    put_text(&mut body, "")?; // client id: the gateway gives one
    if let Some((user, password)) = login {
        put_text(&mut body, user)?;
        put_text(&mut body, password)?;
    }
    framed(0x10, &body)
}

pub(super) fn subscribe(filter: &str) -> Option<Vec<u8>> {
    let mut body = vec![0, 1, 0];
    put_text(&mut body, filter)?;
    body.push(1); // QoS 1
    framed(0x82, &body)
}

pub(super) fn publish(topic: &str, message: &[u8], retain: bool) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(topic.len() + message.len() + 5);
    put_text(&mut body, topic)?;
    body.extend([0, 1, 0]);
    body.extend(message);
    framed(0x32 | u8::from(retain), &body)
}

pub(super) fn puback(packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [0x40, 2, high, low]
}

/// None: longer than 65,535 bytes.
fn put_text(body: &mut Vec<u8>, text: &str) -> Option<()> {
    body.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
    body.extend(text.as_bytes());
    Some(())
}

/// None: longer than MQTT's packets can be.
fn framed(first: u8, body: &[u8]) -> Option<Vec<u8>> {
    let mut packet = vec![first];
    let mut length = body.len();
    if length >= 1 << 28 {
        return None;
    }
    loop {
        let more = length > 0x7F;
        packet.push((length & 0x7F) as u8 | if more { 0x80 } else { 0 });
        length >>= 7;
        if !more {
            break;
        }
    }
    packet.extend(body);
    Some(packet)
}

/// The first packet in `bytes` and how many bytes it took; None: it is not whole yet.
pub(super) fn decode(bytes: &[u8]) -> io::Result<Option<(Packet, usize)>> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut reader = Reader(rest);
    let Ok(length) = reader.variable() else {
        return if rest.len() < 4 { Ok(None) } else { Err(broken()) };
    };
    if reader.0.len() < length {
        return Ok(None);
    }
    let taken = bytes.len() - reader.0.len() + length;
    let packet = body(first, Reader(&reader.0[..length]))?;
    Ok(Some((packet, taken)))
}

fn body(first: u8, mut reader: Reader<'_>) -> io::Result<Packet> {
    Ok(match first >> 4 {
        2 => {
            reader.take(1)?;
            let reason = reader.byte()?;
            Packet::ConnAck { reason, text: reader.reason_string()? }
        }
        3 => {
            let topic = reader.text()?;
            let packet_id = if first & 0b110 == 0 { None } else { Some(reader.number()?) };
            let properties = reader.variable()?;
            reader.take(properties)?;
            Packet::Publish { topic, body: reader.0.to_vec(), packet_id }
        }
        4 => {
            reader.number()?;
            // Reason and properties may be left out: success.
            let reason = reader.byte().unwrap_or(0);
            Packet::PubAck { reason, text: reader.reason_string().unwrap_or_default() }
        }
        9 => {
            reader.number()?;
            let text = reader.reason_string()?;
            Packet::SubAck { reason: reader.byte()?, text }
        }
        13 => Packet::PingResp,
        14 => {
            let reason = reader.byte().unwrap_or(0);
            Packet::Disconnect { reason, text: reader.reason_string().unwrap_or_default() }
        }
        _ => return Err(broken()),
    })
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is not MQTT 5")
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> io::Result<u16> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn variable(&mut self) -> io::Result<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken())
    }

    fn text(&mut self) -> io::Result<String> {
        let length = self.number()?;
        String::from_utf8(self.take(usize::from(length))?.to_vec()).map_err(|_| broken())
    }

    /// Reads a property list and gives its reason string, or nothing.
    fn reason_string(&mut self) -> io::Result<String> {
        let length = self.variable()?;
        let mut list = Reader(self.take(length)?);
        let mut found = String::new();
        while !list.0.is_empty() {
            // MQTT 5, table 2-4
            match list.byte()? {
                REASON_STRING => found = list.text()?,
                0x12 | 0x15 | 0x1A | 0x1C => {
                    list.text()?;
                }
                0x26 => {
                    list.text()?;
                    list.text()?;
                }
                0x16 => {
                    let length = list.number()?;
                    list.take(usize::from(length))?;
                }
                0x24 | 0x25 | 0x28 | 0x29 | 0x2A => {
                    list.byte()?;
                }
                0x13 | 0x21 | 0x22 => {
                    list.number()?;
                }
                0x11 | 0x27 => {
                    list.take(4)?;
                }
                _ => return Err(broken()),
            }
        }
        Ok(found)
    }
}
