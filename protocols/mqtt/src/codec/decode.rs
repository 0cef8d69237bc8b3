//! Bytes to packets, strictly.

use bytes::{Bytes, BytesMut};

use super::packet::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, LastWill, Packet, Publish, Qos, RetainHandling, Suback,
    Subscribe, SubscribeFilter, Unsuback, Unsubscribe, Version,
};
use super::property::Place;
use super::{DecodeError, MessageProperties, Properties, Reader, ReasonCode};

/// How large packets may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A whole PUBLISH, fixed header included.
    pub publish_bytes: usize,
    /// A whole packet of any other type.
    pub control_bytes: usize,
}

/// A message shorter than this is copied, so that it does not keep the whole read buffer alive for as
/// long as it is queued.
const COPY_BELOW_BYTES: usize = 2048;

/// Takes one packet from `input`, or leaves an incomplete one there. `version` is what CONNECT agreed
/// on; before that, any.
pub fn decode(input: &mut BytesMut, version: Version, limits: Limits) -> Result<Option<Packet>, DecodeError> {
    let Some(&first) = input.first() else { return Ok(None) };
    let (kind, flags) = (first >> 4, first & 0x0F);
    check_flags(kind, flags, version)?;
    let Some((length, header_len)) = remaining_length(&input[1..], version)? else { return Ok(None) };
    let limit = if kind == 3 { limits.publish_bytes } else { limits.control_bytes };
    if 1 + header_len + length > limit {
        return Err(DecodeError::new(ReasonCode::PACKET_TOO_LARGE, "the packet is larger than the limit"));
    }
    if input.len() < 1 + header_len + length {
        return Ok(None);
    }
    let frame = input.split_to(1 + header_len + length).freeze().slice(1 + header_len..);
    let mut reader = Reader::new(&frame);
    let packet = match kind {
        1 => Packet::Connect(Box::new(connect(&mut reader, &frame)?)),
        2 => connack(&mut reader, version)?,
        3 => publish(&mut reader, &frame, flags, version)?,
        4 => ack(&mut reader, AckKind::Puback, version)?,
        5 => ack(&mut reader, AckKind::Pubrec, version)?,
        6 => ack(&mut reader, AckKind::Pubrel, version)?,
        7 => ack(&mut reader, AckKind::Pubcomp, version)?,
        8 => subscribe(&mut reader, version)?,
        9 => suback(&mut reader, &frame, version)?,
        10 => unsubscribe(&mut reader, version)?,
        11 => unsuback(&mut reader, &frame, version)?,
        12 => Packet::Pingreq,
        13 => Packet::Pingresp,
        14 => {
            let (reason, properties) = reason_and_properties(&mut reader, Place::DISCONNECT, version)?;
            Packet::Disconnect(Disconnect { reason, properties })
        }
        15 if version == Version::V5 => {
            let (reason, properties) = reason_and_properties(&mut reader, Place::AUTH, version)?;
            Packet::Auth(Auth { reason, properties })
        }
        _ => return Err(DecodeError::malformed("an unknown packet type")),
    };
    if !reader.is_empty() {
        return Err(DecodeError::malformed("bytes are left after the packet's last field"));
    }
    Ok(Some(packet))
}

/// Reserved flag bits have the values that the specification gives. [MQTT-2.1.3-1]
fn check_flags(kind: u8, flags: u8, version: Version) -> Result<(), DecodeError> {
    let right = match kind {
        0 => return Err(DecodeError::malformed("packet type 0")),
        3 if flags & 0x06 == 0x06 => return Err(DecodeError::malformed("QoS 3")), // [MQTT-3.3.1-4]
        3 if flags & 0x0E == 0x08 => return Err(DecodeError::malformed("DUP with QoS 0")), // [MQTT-3.3.1-2]
        3 => true,
        // 3.1, sections 2.1, 3.6, 3.8 and 3.10: these may be sent again, with DUP.
        6 | 8 | 10 if version == Version::V3 => flags & !0x08 == 0x02,
        6 | 8 | 10 => flags == 0x02, // [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]
        _ => flags == 0,
    };
    if right { Ok(()) } else { Err(DecodeError::malformed("reserved flags of the fixed header")) }
}

/// The remaining length and how many bytes it takes; `None` if it is not there yet. MQTT 5 wants the
/// shortest form; some 3.1.1 clients pad it.
fn remaining_length(bytes: &[u8], version: Version) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            if version == Version::V5 && i > 0 && *byte == 0 {
                return Err(DecodeError::malformed("the remaining length is longer than it need be"));
            }
            return Ok(Some((value, i + 1)));
        }
    }
    if bytes.len() >= 4 {
        return Err(DecodeError::malformed("the remaining length is longer than 4 bytes"));
    }
    Ok(None)
}

fn properties(reader: &mut Reader<'_>, place: Place, version: Version) -> Result<Properties, DecodeError> {
    if version == Version::V5 { Properties::read(reader, place) } else { Ok(Properties::default()) }
}

/// A reason code and properties, either of which may be left out at the end of the packet.
fn reason_and_properties(
    reader: &mut Reader<'_>,
    place: Place,
    version: Version,
) -> Result<(ReasonCode, Properties), DecodeError> {
    if version != Version::V5 || reader.is_empty() {
        return Ok((ReasonCode::SUCCESS, Properties::default()));
    }
    let reason = ReasonCode(reader.u8()?);
    if reader.is_empty() {
        return Ok((reason, Properties::default()));
    }
    Ok((reason, Properties::read(reader, place)?))
}

fn connect(reader: &mut Reader<'_>, frame: &Bytes) -> Result<Connect, DecodeError> {
    let name = reader.text()?;
    let level = reader.u8()?;
    let version = match (name, level) {
        ("MQIsdp", 3) => Version::V3,
        ("MQTT", 4) => Version::V4,
        ("MQTT", 5) => Version::V5,
        ("MQTT" | "MQIsdp", level) => {
            // [MQTT-3.1.2-2]: answered in the form nearest to what the client may know.
            let connect = Some(if level > 5 { Version::V5 } else { Version::V4 });
            let reason = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
            return Err(DecodeError { connect, ..DecodeError::new(reason, "this protocol version is not known") });
        }
        _ => {
            let reason = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
            return Err(DecodeError::new(reason, "the protocol name is not MQTT")); // [MQTT-3.1.2-1]
        }
    };
    connect_fields(reader, frame, version).map_err(|error| DecodeError { connect: Some(version), ..error })
}

fn connect_fields(reader: &mut Reader<'_>, frame: &Bytes, version: Version) -> Result<Connect, DecodeError> {
    let flags = reader.u8()?;
    let keep_alive = reader.u16()?;
    let has = |bit: u8| flags & bit != 0;
    if has(0x01) {
        return Err(DecodeError::malformed("the reserved connect flag is set")); // [MQTT-3.1.2-3]
    }
    let Some(will_qos) = Qos::from_number(flags >> 3 & 0x03) else {
        return Err(DecodeError::malformed("the will's QoS is 3")); // [MQTT-3.1.2-12]
    };
    if !has(0x04) && (will_qos != Qos::AtMostOnce || has(0x20)) {
        return Err(DecodeError::malformed("will flags without a will")); // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    }
    if version != Version::V5 && has(0x40) && !has(0x80) {
        return Err(DecodeError::malformed("a password without a user name")); // 3.1.1 [MQTT-3.1.2-22]
    }
    let properties = properties(reader, Place::CONNECT, version)?;
    let client_id = reader.text()?.to_owned();
    let will = if has(0x04) {
        let properties = if version == Version::V5 {
            MessageProperties::read(reader, frame, Place::WILL)?
        } else {
            MessageProperties::default()
        };
        let topic = topic_name(reader.text()?)?;
        let payload = reader.shared_binary(frame)?;
        Some(LastWill { topic: topic.into(), qos: will_qos, retain: has(0x20), properties, payload })
    } else {
        None
    };
    // 3.1, section 3.1: the flags may be set and the fields missing.
    let ends_early = |reader: &Reader<'_>| version == Version::V3 && reader.is_empty();
    let user = if has(0x80) && !ends_early(reader) { Some(reader.text()?.to_owned()) } else { None };
    let password = if has(0x40) && !ends_early(reader) { Some(reader.shared_binary(frame)?) } else { None };
    if !reader.is_empty() {
        return Err(DecodeError::malformed("bytes are left after the packet's last field"));
    }
    Ok(Connect { version, clean_start: has(0x02), keep_alive, client_id, will, user, password, properties })
}

fn connack(reader: &mut Reader<'_>, version: Version) -> Result<Packet, DecodeError> {
    let flags = reader.u8()?;
    if flags > 1 {
        return Err(DecodeError::malformed("reserved connect acknowledge flags")); // [MQTT-3.2.2-1]
    }
    let reason = ReasonCode(reader.u8()?);
    let properties = properties(reader, Place::CONNACK, version)?;
    Ok(Packet::Connack(Connack { session_present: flags == 1, reason, properties }))
}

/// Wildcards have no place in a topic name. [MQTT-3.3.2-2]
fn topic_name(topic: &str) -> Result<&str, DecodeError> {
    if topic.is_empty() || topic.contains(['+', '#']) {
        return Err(DecodeError::new(ReasonCode::TOPIC_NAME_INVALID, "the topic is empty or has a wildcard"));
    }
    Ok(topic)
}

fn publish(reader: &mut Reader<'_>, frame: &Bytes, flags: u8, version: Version) -> Result<Packet, DecodeError> {
    let qos = Qos::from_number(flags >> 1 & 0x03).ok_or(DecodeError::malformed("QoS 3"))?;
    let topic = reader.text()?;
    let packet_id = if qos == Qos::AtMostOnce { 0 } else { reader.packet_id()? };
    let mut properties = if version == Version::V5 {
        MessageProperties::read(reader, frame, Place::PUBLISH)?
    } else {
        MessageProperties::default()
    };
    if !topic.is_empty() || version != Version::V5 {
        topic_name(topic)?;
    } else if properties.alias.is_none() {
        return Err(DecodeError::protocol("neither a topic nor a topic alias"));
    }
    let mut payload = frame.slice(reader.rest());
    if payload.len() + properties.head.len() < COPY_BELOW_BYTES {
        properties.head = Bytes::copy_from_slice(&properties.head);
        payload = Bytes::copy_from_slice(&payload);
    }
    let (dup, retain) = (flags & 0x08 != 0, flags & 0x01 != 0);
    Ok(Packet::Publish(Publish { dup, qos, retain, topic: topic.into(), packet_id, properties, payload }))
}

fn ack(reader: &mut Reader<'_>, kind: AckKind, version: Version) -> Result<Packet, DecodeError> {
    let packet_id = reader.packet_id()?;
    let (reason, properties) = reason_and_properties(reader, Place(kind as u8), version)?;
    Ok(Packet::Ack(Ack { kind, packet_id, reason, properties }))
}

fn subscribe(reader: &mut Reader<'_>, version: Version) -> Result<Packet, DecodeError> {
    let packet_id = reader.packet_id()?;
    let properties = properties(reader, Place::SUBSCRIBE, version)?;
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let filter = reader.text()?.to_owned();
        let options = reader.u8()?;
        let reserved = if version == Version::V5 { 0xC0 } else { 0xFC };
        if options & reserved != 0 {
            return Err(DecodeError::malformed("reserved subscription options")); // [MQTT-3.8.3-5]
        }
        let Some(qos) = Qos::from_number(options & 0x03) else {
            return Err(DecodeError::malformed("the subscription's QoS is 3"));
        };
        let retain_handling = match options >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::protocol("retain handling 3")),
        };
        let (no_local, retain_as_published) = (options & 0x04 != 0, options & 0x08 != 0);
        filters.push(SubscribeFilter { filter, qos, no_local, retain_as_published, retain_handling });
    }
    if filters.is_empty() {
        return Err(DecodeError::protocol("a SUBSCRIBE without a filter")); // [MQTT-3.8.3-2]
    }
    Ok(Packet::Subscribe(Subscribe { packet_id, filters, properties }))
}

fn codes(reader: &mut Reader<'_>, frame: &Bytes) -> Vec<ReasonCode> {
    frame[reader.rest()].iter().copied().map(ReasonCode).collect()
}

fn suback(reader: &mut Reader<'_>, frame: &Bytes, version: Version) -> Result<Packet, DecodeError> {
    let packet_id = reader.packet_id()?;
    let properties = properties(reader, Place::SUBACK, version)?;
    Ok(Packet::Suback(Suback { packet_id, codes: codes(reader, frame), properties }))
}

fn unsubscribe(reader: &mut Reader<'_>, version: Version) -> Result<Packet, DecodeError> {
    let packet_id = reader.packet_id()?;
    let properties = properties(reader, Place::UNSUBSCRIBE, version)?;
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(reader.text()?.to_owned());
    }
    if filters.is_empty() {
        return Err(DecodeError::protocol("an UNSUBSCRIBE without a filter")); // [MQTT-3.10.3-2]
    }
    Ok(Packet::Unsubscribe(Unsubscribe { packet_id, filters, properties }))
}

fn unsuback(reader: &mut Reader<'_>, frame: &Bytes, version: Version) -> Result<Packet, DecodeError> {
    let packet_id = reader.packet_id()?;
    let properties = properties(reader, Place::UNSUBACK, version)?;
    // Before MQTT 5 it has no payload.
    let codes = if version == Version::V5 { codes(reader, frame) } else { Vec::new() };
    Ok(Packet::Unsuback(Unsuback { packet_id, codes, properties }))
}
