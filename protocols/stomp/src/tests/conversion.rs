use std::borrow::Cow;

use bytes::Bytes;
use evergate_model::{Address, Annotation, Body, Encoding, Format, Message, Meta, Time, Value, View};

use super::harness::{Client, plain};
use crate::StompFormat;
use crate::format::from_view;

#[test]
fn a_message_passes_from_stomp_to_stomp_as_it_was() {
    let mut client = Client::connected("1.2");
    client.send(
        "SEND\ndestination:/queue/q\nb:1\\n\na:2\nmessage-id:mine\ncorrelation-id:c\npersistent:true\n\
         priority:7\nexpires:5000\nreceipt:r\ncontent-type:text/plain\nredelivered:true\n\nhi\0",
    );
    let message = client.publish().message;
    assert_eq!(
        &message.head[..],
        b"original-message-id:mine\nb:1\\n\na:2\ncorrelation-id:c\ncontent-type:text/plain\n".as_slice()
    );
    assert_eq!((message.meta.durable, message.meta.priority), (true, 7));
    assert_eq!(message.meta.expires_at, Some(Time(5000)));
    let consumer = client.subscribed("id:s\ndestination:q\nack:client").consumer;
    client.bytes();
    let frame = client.deliver(consumer, message).unwrap();
    let headers: Vec<_> = frame.headers.iter().collect();
    assert_eq!(
        headers,
        [
            ("destination", "/queue/q"),
            ("message-id", "7-0-1"),
            ("subscription", "s"),
            ("ack", "7-0-1"),
            ("content-length", "2"),
            ("persistent", "true"),
            ("priority", "7"),
            ("expires", "5000"),
            ("original-message-id", "mine"),
            ("b", "1\n"),
            ("a", "2"),
            ("correlation-id", "c"),
            ("content-type", "text/plain"),
        ]
    );
    assert_eq!(&frame.body[..], b"hi");
}

#[test]
fn the_view_has_each_property_in_its_place_and_the_first_of_repeated_ones() {
    let head =
        "original-message-id:m\nreply-to:/queue/r\nx:1\nsubject:s\nx:2\ngroup-sequence:nine\ncontent-type:text/plain\n";
    let message =
        Message::new(Meta::new(Address::queue("q")), Encoding::Stomp, Bytes::from(head), Bytes::from_static(b"hi"));
    let view = StompFormat.view(&message);
    assert_eq!(view.message_id, Some(Value::text("m")));
    assert_eq!((view.reply_to.as_deref(), view.subject.as_deref()), (Some("/queue/r"), Some("s")));
    assert_eq!(view.application, [("x".into(), Value::text("1")), ("group-sequence".into(), Value::text("nine"))]);
    assert_eq!(view.body, Body::Text("hi".into()));
}

#[test]
fn a_view_becomes_headers_and_comes_back_as_itself() {
    let body = Bytes::from_static(b"\0bytes");
    let mut view = View::new(Body::Binary(Cow::Borrowed(&body)));
    view.message_id = Some(Value::text("m:1"));
    view.subject = Some("line\r\nline".into());
    view.application = vec![("k".into(), Value::Long(-3)), ("content-length".into(), Value::text("999"))];
    let (head, sent) = from_view(&view, &body);
    assert_eq!(&head[..], b"original-message-id:m\\c1\nsubject:line\\r\\nline\nk:-3\n");
    assert_eq!(sent.as_ptr(), body.as_ptr(), "the body is not copied");
    let message = Message::new(Meta::new(Address::queue("q")), Encoding::Stomp, head, sent);
    let back = StompFormat.view(&message);
    assert_eq!((back.message_id, back.subject), (view.message_id, view.subject));
    assert_eq!(back.application, [("k".into(), Value::text("-3"))]);
}

#[test]
fn an_application_property_does_not_repeat_the_header_of_a_field() {
    let mut view = View::new(Body::Binary(Cow::Borrowed(b"")));
    view.reply_to = Some("/queue/mine".into());
    view.application = vec![("reply-to".into(), Value::text("/queue/other")), ("subject".into(), Value::text("s"))];
    let (head, _) = from_view(&view, &Bytes::new());
    assert_eq!(&head[..], b"reply-to:/queue/mine\nsubject:s\n");
}

#[test]
fn binary_ids_are_marked_and_come_back_as_the_same_bytes() {
    let mut view = View::new(Body::Binary(Cow::Borrowed(b"")));
    view.message_id = Some(Value::Binary(b"mine"[..].into()));
    view.correlation_id = Some(Value::Binary(b"\0\x01\xff"[..].into()));
    let (head, body) = from_view(&view, &Bytes::new());
    assert_eq!(
        &head[..],
        b"original-message-id:ID\\cAMQP_BINARY\\c6D696E65\ncorrelation-id:ID\\cAMQP_BINARY\\c0001FF\n"
    );
    let message = Message::new(Meta::new(Address::queue("q")), Encoding::Stomp, head, body);
    let back = StompFormat.view(&message);
    assert_eq!((back.message_id, back.correlation_id), (view.message_id, view.correlation_id));
    for text in ["ID:AMQP_BINARY:0", "ID:AMQP_BINARY:0g", "AMQP_BINARY:00", "ID:AMQP_BINARY:+1"] {
        let head = format!("correlation-id:{}\n", text.replace(':', "\\c"));
        let message = Message::new(Meta::new(Address::queue("q")), Encoding::Stomp, head.into(), Bytes::new());
        assert_eq!(StompFormat.view(&message).correlation_id, Some(Value::text(text)), "text that only looks like it");
    }
}

#[test]
fn older_versions_get_the_head_in_their_own_escapes() {
    for (version, line) in
        [("1.2", "k:a\\r\\n\\c\n"), ("1.1", "k:a\u{fffd}\\n\\c\n"), ("1.0", "k:a\u{fffd}\u{fffd}:\n")]
    {
        let mut client = Client::connected(version);
        let consumer = client.subscribed("id:s\ndestination:q").consumer;
        let head = Bytes::from_static(b"k:a\\r\\n\\c\n");
        let message = Message::new(Meta::new(Address::queue("q")), Encoding::Stomp, head, Bytes::new());
        client.bytes();
        let mut out = evergate_model::Output::default();
        let delivery = evergate_model::Delivery {
            consumer,
            seq: evergate_model::Seq(1),
            message: message.into(),
            failed_count: 1,
            redelivered: true,
            retained: false,
        };
        evergate_model::Session::handle(
            &mut client.session,
            Time(1),
            evergate_model::Event::Deliver(delivery),
            &mut out,
        );
        let wire: Vec<u8> = out.wire.take().into_iter().flatten().collect();
        let text = String::from_utf8(wire).unwrap();
        assert!(text.contains(line) && text.contains("\nredelivered:true\n"), "{version}: {text:?}");
    }
}

#[test]
fn the_gateways_annotations_come_before_what_the_publisher_wrote() {
    let mut client = Client::connected("1.2");
    let consumer = client.subscribed("id:s\ndestination:q").consumer;
    let note = Annotation { name: "dead-letter-reason".into(), value: "expired".into() };
    let frame = client.deliver(consumer, plain("x").readdressed(Address::queue("_DMQ"), [note])).unwrap();
    assert_eq!(frame.headers.get("dead-letter-reason"), Some("expired"));
    assert_eq!(frame.headers.get("destination"), Some("/queue/_DMQ"));
}
