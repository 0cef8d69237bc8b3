//! Packets to bytes.

use bytes::{BufMut, BytesMut};

use super::packet::{Ack, AckKind, Connect, LastWill, Packet, Publish, Qos, Version};
use super::{MessageProperties, Properties, ReasonCode, id};

/// Appends a variable byte integer. `value` is at most 268,435,455.
pub fn put_var_int(buf: &mut BytesMut, mut value: u32) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            return buf.put_u8(byte);
        }
        buf.put_u8(byte | 0x80);
    }
}

/// How many bytes [`put_var_int`] takes.
pub fn var_int_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends a string of at most 65,535 bytes.
pub fn put_text(buf: &mut BytesMut, text: &str) {
    buf.put_u16(text.len() as u16);
    buf.put_slice(text.as_bytes());
}

/// All of a PUBLISH but its payload.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// It may have been sent before.
    pub dup: bool,
    /// Quality of service.
    pub qos: Qos,
    /// Retain flag.
    pub retain: bool,
    /// What stands before the topic: `$queue/` for a queue's message, else nothing.
    pub topic_prefix: &'a str,
    /// Topic name.
    pub topic: &'a str,
    /// Not written with QoS 0.
    pub packet_id: u16,
    /// Properties as they travel; not written in 3.1.1, like those below.
    pub head: &'a [u8],
    /// Message expiry interval, seconds.
    pub expiry: Option<u32>,
    /// Topic alias.
    pub alias: Option<u16>,
    /// Subscription identifiers.
    pub subscription_ids: &'a [u32],
}

impl PublishHead<'_> {
    fn properties_len(&self) -> usize {
        let ids: usize = self.subscription_ids.iter().map(|number| 1 + var_int_len(*number as usize)).sum();
        self.head.len() + ids + self.expiry.map_or(0, |_| 5) + self.alias.map_or(0, |_| 3)
    }

    fn remaining_len(&self, version: Version, payload_len: usize) -> usize {
        let mut length = 2 + self.topic_prefix.len() + self.topic.len() + payload_len;
        if self.qos != Qos::AtMostOnce {
            length += 2;
        }
        if version == Version::V5 {
            let properties = self.properties_len();
            length += var_int_len(properties) + properties;
        }
        length
    }
}

/// How long the whole packet is. More than 268,435,460 cannot be written.
pub fn publish_len(head: &PublishHead<'_>, version: Version, payload_len: usize) -> usize {
    let length = head.remaining_len(version, payload_len);
    1 + var_int_len(length) + length
}

/// Appends a PUBLISH up to its payload, which the caller appends.
pub fn put_publish(buf: &mut BytesMut, head: &PublishHead<'_>, version: Version, payload_len: usize) {
    buf.put_u8(0x30 | u8::from(head.dup) << 3 | (head.qos as u8) << 1 | u8::from(head.retain));
    put_var_int(buf, head.remaining_len(version, payload_len) as u32);
    buf.put_u16((head.topic_prefix.len() + head.topic.len()) as u16);
    buf.put_slice(head.topic_prefix.as_bytes());
    buf.put_slice(head.topic.as_bytes());
    if head.qos != Qos::AtMostOnce {
        buf.put_u16(head.packet_id);
    }
    if version == Version::V5 {
        put_var_int(buf, head.properties_len() as u32);
        if let Some(seconds) = head.expiry {
            buf.put_u8(id::MESSAGE_EXPIRY);
            buf.put_u32(seconds);
        }
        if let Some(alias) = head.alias {
            buf.put_u8(id::TOPIC_ALIAS);
            buf.put_u16(alias);
        }
        for number in head.subscription_ids {
            buf.put_u8(id::SUBSCRIPTION_ID);
            put_var_int(buf, *number);
        }
        buf.put_slice(head.head);
    }
}

/// Appends any packet.
pub fn encode(packet: &Packet, version: Version, buf: &mut BytesMut) {
    let mut body = BytesMut::new();
    let v5 = version == Version::V5;
    let put_properties = |body: &mut BytesMut, properties: &Properties| {
        if v5 {
            properties.put(body);
        }
    };
    let first = match packet {
        Packet::Publish(publish) => return put_whole_publish(publish, version, buf),
        Packet::Ack(ack) => return put_ack(ack, version, buf),
        Packet::Connect(connect) => {
            put_connect(connect, &mut body);
            0x10
        }
        Packet::Connack(connack) => {
            body.put_u8(u8::from(connack.session_present));
            body.put_u8(connack.reason.0);
            put_properties(&mut body, &connack.properties);
            0x20
        }
        Packet::Subscribe(subscribe) => {
            body.put_u16(subscribe.packet_id);
            put_properties(&mut body, &subscribe.properties);
            for filter in &subscribe.filters {
                put_text(&mut body, &filter.filter);
                let (no_local, as_published) = (u8::from(filter.no_local), u8::from(filter.retain_as_published));
                let handling = filter.retain_handling as u8;
                body.put_u8(filter.qos as u8 | no_local << 2 | as_published << 3 | handling << 4);
            }
            0x82
        }
        Packet::Suback(suback) => {
            body.put_u16(suback.packet_id);
            put_properties(&mut body, &suback.properties);
            body.extend(suback.codes.iter().map(|code| code.0));
            0x90
        }
        Packet::Unsubscribe(unsubscribe) => {
            body.put_u16(unsubscribe.packet_id);
            put_properties(&mut body, &unsubscribe.properties);
            for filter in &unsubscribe.filters {
                put_text(&mut body, filter);
            }
            0xA2
        }
        Packet::Unsuback(unsuback) => {
            body.put_u16(unsuback.packet_id);
            put_properties(&mut body, &unsuback.properties);
            if v5 {
                body.extend(unsuback.codes.iter().map(|code| code.0));
            }
            0xB0
        }
        Packet::Pingreq => 0xC0,
        Packet::Pingresp => 0xD0,
        Packet::Disconnect(disconnect) => {
            put_reason(disconnect.reason, &disconnect.properties, version, &mut body);
            0xE0
        }
        Packet::Auth(auth) => {
            put_reason(auth.reason, &auth.properties, version, &mut body);
            0xF0
        }
    };
    buf.put_u8(first);
    put_var_int(buf, body.len() as u32);
    buf.extend_from_slice(&body);
}

/// A reason code and properties, left out where they say nothing.
fn put_reason(reason: ReasonCode, properties: &Properties, version: Version, body: &mut BytesMut) {
    if version != Version::V5 || (reason == ReasonCode::SUCCESS && properties.0.is_empty()) {
        return;
    }
    body.put_u8(reason.0);
    if !properties.0.is_empty() {
        properties.put(body);
    }
}

fn put_ack(ack: &Ack, version: Version, buf: &mut BytesMut) {
    let flags = if ack.kind == AckKind::Pubrel { 0x02 } else { 0 };
    buf.put_u8((ack.kind as u8) << 4 | flags);
    let mut reason = BytesMut::new(); // stays empty, unallocated, for the usual success
    put_reason(ack.reason, &ack.properties, version, &mut reason);
    put_var_int(buf, 2 + reason.len() as u32);
    buf.put_u16(ack.packet_id);
    buf.extend_from_slice(&reason);
}

fn put_whole_publish(publish: &Publish, version: Version, buf: &mut BytesMut) {
    let head = PublishHead {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic_prefix: "",
        topic: &publish.topic,
        packet_id: publish.packet_id,
        head: &publish.properties.head,
        expiry: publish.properties.expiry,
        alias: publish.properties.alias,
        subscription_ids: &publish.properties.subscription_ids,
    };
    put_publish(buf, &head, version, publish.payload.len());
    buf.extend_from_slice(&publish.payload);
}

fn put_connect(connect: &Connect, body: &mut BytesMut) {
    let (name, level) = match connect.version {
        Version::V3 => ("MQIsdp", 3),
        Version::V4 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    put_text(body, name);
    body.put_u8(level);
    let mut flags = u8::from(connect.clean_start) << 1;
    if let Some(will) = &connect.will {
        flags |= 0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
    }
    flags |= u8::from(connect.password.is_some()) << 6 | u8::from(connect.user.is_some()) << 7;
    body.put_u8(flags);
    body.put_u16(connect.keep_alive);
    if connect.version == Version::V5 {
        connect.properties.put(body);
    }
    put_text(body, &connect.client_id);
    if let Some(will) = &connect.will {
        put_will(will, connect.version, body);
    }
    if let Some(user) = &connect.user {
        put_text(body, user);
    }
    if let Some(password) = &connect.password {
        body.put_u16(password.len() as u16);
        body.put_slice(password);
    }
}

fn put_will(will: &LastWill, version: Version, body: &mut BytesMut) {
    if version == Version::V5 {
        let MessageProperties { head, expiry, will_delay, .. } = &will.properties;
        let mut properties = BytesMut::new();
        if *will_delay > 0 {
            properties.put_u8(id::WILL_DELAY);
            properties.put_u32(*will_delay);
        }
        if let Some(seconds) = expiry {
            properties.put_u8(id::MESSAGE_EXPIRY);
            properties.put_u32(*seconds);
        }
        properties.put_slice(head);
        put_var_int(body, properties.len() as u32);
        body.extend_from_slice(&properties);
    }
    put_text(body, &will.topic);
    body.put_u16(will.payload.len() as u16);
    body.put_slice(&will.payload);
}
