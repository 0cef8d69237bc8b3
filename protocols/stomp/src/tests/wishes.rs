//! Headers of a SEND that ask something of the gateway, and what MESSAGE tells of it.

use evergate_model::{Address, Delivery, Event, Message, Meta, Seq, Time};

use super::harness::{Client, plain};
use crate::codec::Frame;

/// The message that a SEND with these headers becomes, at time 1,000.
fn sent(headers: &str) -> Message {
    let mut client = Client::connected("1.2");
    client.send(&format!("SEND\ndestination:/queue/q\n{headers}\n\nx\0"));
    client.publish().message
}

fn delivered(message: Message, failed_count: u32) -> Frame {
    let mut client = Client::connected("1.2");
    let consumer = client.subscribed("id:s\ndestination:q").consumer;
    client.event(Event::Deliver(Delivery {
        consumer,
        seq: Seq(1),
        message: message.into(),
        failed_count,
        redelivered: failed_count > 0,
        retained: false,
    }));
    client.frame()
}

#[test]
fn a_message_expires_at_a_time_or_after_a_while() {
    let table = [
        ("expires:5000", Some(5000)),
        ("expires:0", None),
        ("ttl:500", Some(1500)),
        ("expiration:500", Some(1500)),
        ("expires:5000\nttl:500", Some(5000)),
        ("ttl:0", None),
        ("ttl:18446744073709551615", Some(u64::MAX)),
    ];
    for (headers, expected) in table {
        assert_eq!(sent(headers).meta.expires_at, expected.map(Time), "{headers}");
    }
    assert_eq!(delivered(sent("ttl:500"), 0).headers.get("expires"), Some("1500"));
}

#[test]
fn delivery_is_scheduled_for_a_time_or_after_a_while() {
    let table = [
        ("deliver-at:5000", Some(5000)),
        ("deliver-at:999", None),
        ("delay:500", Some(1500)),
        ("AMQ_SCHEDULED_DELAY:500", Some(1500)),
        ("delay:0", None),
    ];
    for (headers, expected) in table {
        let message = sent(headers);
        assert_eq!(message.meta.deliver_at(), expected.map(Time), "{headers}");
        assert!(message.head.is_empty(), "{headers} stays here");
    }
    assert_eq!(delivered(sent("delay:500"), 0).headers.get("deliver-at"), Some("1500"));
}

#[test]
fn group_identity_and_discardable_are_read_and_travel() {
    for header in ["group-id:g", "JMSXGroupID:g"] {
        let message = sent(header);
        assert_eq!(message.meta.group_id().map(|group| &**group), Some("g"));
        assert_eq!(&message.head[..], format!("{header}\n").as_bytes());
        let view = evergate_model::Format::view(&crate::StompFormat, &message);
        assert_eq!(view.group_id.as_deref(), Some("g"), "{header}");
    }
    for header in ["dedup-id:d", "_AMQ_DUPL_ID:d"] {
        let message = sent(header);
        assert_eq!(message.meta.dedup_id().map(|identity| &**identity), Some("d"));
        assert_eq!(&message.head[..], format!("{header}\n").as_bytes());
    }
    let message = sent("discardable:true");
    assert!(message.meta.is_discardable());
    assert_eq!(delivered(message, 0).headers.get("discardable"), Some("true"));
    assert_eq!(sent("persistent:true").meta.rare, None, "usual messages stay small");
}

#[test]
fn failed_deliveries_are_counted_for_the_consumer() {
    let frame = delivered(plain("x"), 0);
    assert_eq!((frame.headers.get("redelivered"), frame.headers.get("delivery-count")), (None, None));
    let frame = delivered(plain("x"), 3);
    assert_eq!((frame.headers.get("redelivered"), frame.headers.get("delivery-count")), (Some("true"), Some("3")));
}

#[test]
fn the_timestamp_is_the_publishers_or_else_the_gateways() {
    let with = |headers: &str| {
        let mut message = sent(headers);
        message.meta.ingress = Time(77);
        delivered(message, 0)
    };
    let stamps = |frame: &Frame| -> Vec<String> {
        frame.headers.iter().filter(|(name, _)| *name == "timestamp").map(|(_, value)| value.to_owned()).collect()
    };
    assert_eq!(stamps(&with("a:b")), ["77"]);
    assert_eq!(stamps(&with("my-timestamp:1\na:timestamp\\c1")), ["77"]);
    assert_eq!(stamps(&with("timestamp:12")), ["12"]);
    let mut other = Message::new(
        Meta::new(Address::queue("q")),
        evergate_model::Encoding::Plain,
        bytes::Bytes::new(),
        bytes::Bytes::new(),
    );
    other.meta.ingress = Time(78);
    assert_eq!(stamps(&delivered(other, 0)), ["78"]);
}
