//! Headers, SASL, open, channels, time.

use std::time::Duration;

use evergate_model::{Access, Action, Close, Credentials, Event, Session, Time, Value};

use super::client::{AttachFrame, Client, Node, begin, data, frame, open, performative, transfer};
use crate::AmqpConfig;
use crate::codec::{AMQP_HEADER, FRAME_AMQP, FRAME_SASL, SASL_HEADER};
use crate::performative::code;

fn sasl_init(mechanism: &str, response: Option<&[u8]>) -> Vec<u8> {
    let response = response.map_or(Value::Null, |bytes| Value::Binary(bytes.into()));
    frame(FRAME_SASL, 0, &performative(code::SASL_INIT, &[Value::Symbol(mechanism.into()), response])).to_vec()
}

fn at_sasl() -> Client {
    let mut client = Client::new(AmqpConfig::default());
    client.bytes(&SASL_HEADER);
    let wire = client.take_wire();
    assert_eq!(wire[..8], SASL_HEADER);
    assert!(wire.windows(5).any(|w| w == b"PLAIN"));
    client
}

#[test]
fn plain_credentials_are_handed_over_and_the_rest_is_pipelined() {
    let mut client = at_sasl();
    let mut bytes = sasl_init("PLAIN", Some(b"\0me\0secret"));
    bytes.extend_from_slice(&AMQP_HEADER);
    bytes.extend_from_slice(&frame(FRAME_AMQP, 0, &open("c")));
    bytes.extend_from_slice(&frame(FRAME_AMQP, 0, &begin(10))[..5]);
    client.bytes(&bytes);
    let Action::Authenticate(Credentials::Password { user, password }) = client.actions().remove(0) else { panic!() };
    assert_eq!((&*user, &password[..]), ("me", &b"secret"[..]));
    assert!(client.take_wire().is_empty());
    client.event(Event::Authenticated(Access::Granted("me".into())));
    let mut wire = client.take_wire();
    let outcome = wire.split_to(wire.len().min(wire.windows(8).position(|w| w == AMQP_HEADER).unwrap()));
    assert!(outcome.ends_with(&[0x50, 0]));
    client.bytes(&frame(FRAME_AMQP, 0, &begin(10))[5..]);
    assert_eq!(client.reply().code, code::BEGIN);
    assert_eq!(&*client.session.peer().user, "me");
    assert_eq!(&*client.session.peer().client_id, "c");
}

#[test]
fn refused_credentials_get_the_outcome_auth() {
    for (mechanism, response) in
        [("ANONYMOUS", None), ("PLAIN", Some(&b"\0a\0b"[..])), ("PLAIN", Some(&b"a\0a\0b"[..]))]
    {
        let mut client = at_sasl();
        client.bytes(&sasl_init(mechanism, response));
        client.event(Event::Authenticated(Access::Denied));
        assert_eq!(client.reply().field(0), Value::Ubyte(1));
        assert_eq!(client.closed(), Some(Close::Unauthorized));
    }
    // Unknown mechanism, no NULs, acting as somebody else: not even asked.
    for (mechanism, response) in
        [("EXTERNAL", &b""[..]), ("PLAIN", b"ab"), ("PLAIN", b"root\0a\0b"), ("PLAIN", b"\0\xff\0b")]
    {
        let mut client = at_sasl();
        client.bytes(&sasl_init(mechanism, Some(response)));
        assert_eq!(client.reply().field(0), Value::Ubyte(1));
        assert_eq!((client.closed(), client.actions().len()), (Some(Close::Unauthorized), 0));
    }
}

#[test]
fn plain_without_credentials_is_asked_for_them() {
    let mut client = at_sasl();
    client.bytes(&sasl_init("PLAIN", None));
    assert_eq!(client.reply().code, code::SASL_CHALLENGE);
    let response = performative(code::SASL_RESPONSE, &[Value::Binary(b"\0a\0b"[..].into())]);
    client.bytes(&frame(FRAME_SASL, 0, &response));
    assert!(matches!(client.actions()[..], [Action::Authenticate(Credentials::Password { .. })]));
}

#[test]
fn other_headers_are_answered_with_ours() {
    for header in [&b"AMQP\x00\x00\x09\x01"[..], b"AMQP\x02\x01\x00\x00", b"GET / HT", b"MQTT", b"AMQP\x01\x01\x00\x00"]
    {
        let mut client = Client::new(AmqpConfig::default());
        client.bytes(header);
        assert_eq!(client.take_wire()[..], SASL_HEADER, "{header:?}");
        assert!(matches!(client.closed(), Some(Close::ProtocolError(_))));
    }
    let mut client = Client::new(AmqpConfig::default());
    client.bytes(&AMQP_HEADER);
    client.event(Event::Authenticated(Access::Denied));
    assert_eq!(client.take_wire()[..], SASL_HEADER, "anonymous is not granted: SASL is needed");
    assert_eq!(client.closed(), Some(Close::Unauthorized));
}

#[test]
fn open_tells_our_limits_and_names() {
    let mut client = Client::new(AmqpConfig::default());
    client.handshake();
    client.send(0, &open("c"));
    let reply = client.reply();
    assert_eq!(reply.field(0), Value::text("evergate"));
    assert_eq!((reply.field(2), reply.field(3)), (Value::Uint(65_536), Value::Ushort(254)));
    assert_eq!(reply.field(4), Value::Uint(30_000), "half of when we act");
    assert!(reply.item(7).is_some() && reply.item(9).is_some());
    client.send(0, &performative(code::CLOSE, &[]));
    assert_eq!(client.reply().code, code::CLOSE);
    assert_eq!(client.closed(), Some(Close::Goodbye));
}

#[test]
fn an_error_before_open_is_told_after_our_open() {
    let mut client = Client::new(AmqpConfig::default());
    client.handshake();
    client.send(0, &begin(1));
    let replies = client.replies();
    assert_eq!((replies[0].code, replies[1].code), (code::OPEN, code::CLOSE));
    let fields = [Value::text("c"), Value::Null, Value::Uint(511)];
    let mut client = Client::new(AmqpConfig::default());
    client.handshake();
    client.send(0, &performative(code::OPEN, &fields));
    assert_eq!(client.replies()[1].condition(0), "amqp:invalid-field");
}

#[test]
fn a_handshake_that_does_not_end_is_cut_off() {
    let mut client = Client::new(AmqpConfig::default());
    assert_eq!(client.session.next_timeout(), Some(Time(0)), "the clock starts at once");
    client.wait(0);
    let until = client.session.next_timeout().unwrap();
    assert_eq!(until, client.now.after(Duration::from_secs(10)));
    client.bytes(b"AMQP");
    client.wait(9_999);
    assert_eq!(client.closed(), None);
    client.wait(1);
    assert_eq!(client.closed(), Some(Close::Silent));
    assert_eq!(client.session.next_timeout(), None);
}

#[test]
fn a_silent_peer_is_closed_and_a_patient_one_gets_empty_frames() {
    let mut client = Client::new(AmqpConfig::default());
    client.handshake();
    let fields = [Value::text("c"), Value::Null, Value::Null, Value::Null, Value::Uint(10_000)];
    client.send(0, &performative(code::OPEN, &fields));
    client.replies();
    assert_eq!(client.session.next_timeout(), Some(Time(client.now.0 + 5_000)));
    client.wait(5_000);
    assert_eq!(client.reply().code, 0, "an empty frame");
    client.bytes(&[0, 0, 0, 8, 2, 0, 0, 0]);
    client.wait(59_999);
    client.replies();
    assert_eq!(client.closed(), None);
    client.wait(1);
    assert_eq!(client.reply().condition(0), "amqp:resource-limit-exceeded");
    assert_eq!(client.closed(), Some(Close::Silent));
}

#[test]
fn a_peer_is_not_silent_while_its_publishes_are_unanswered() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &AttachFrame::sender(0, Node::at("q")).bytes());
    client.send(0, &transfer(0, 0, false, &data(b"x")));
    let Action::Publish(publish) = client.actions().remove(0) else { panic!() };
    client.wait(60_000);
    assert_eq!(client.closed(), None);
    client.event(Event::Published { token: publish.token, result: Ok(1) });
    client.wait(60_000);
    assert_eq!(client.closed(), Some(Close::Silent));
}

#[test]
fn a_peer_is_not_silent_while_its_pieces_await_their_commit() {
    let mut client = Client::running(AmqpConfig::default());
    client.pieces_pending(1);
    for _ in 0..3 {
        client.wait(60_000);
        assert_eq!(client.closed(), None);
    }
    client.pieces_pending(0);
    client.wait(60_000);
    assert_eq!(client.closed(), Some(Close::Silent));
}

#[test]
fn an_idle_time_out_that_we_cannot_serve_is_refused() {
    for (millis, refused) in [(99, true), (100, false)] {
        let mut client = Client::new(AmqpConfig::default());
        client.handshake();
        let fields = [Value::text("c"), Value::Null, Value::Null, Value::Null, Value::Uint(millis)];
        client.send(0, &performative(code::OPEN, &fields));
        assert_eq!(client.closed().is_some(), refused, "{millis}");
    }
}

#[test]
fn channels_end_at_the_agreed_number() {
    for (channel, ok) in [(3, true), (4, false), (u16::MAX, false)] {
        let mut client = Client::new(AmqpConfig::default());
        client.handshake();
        client.send(0, &performative(code::OPEN, &[Value::text("c"), Value::Null, Value::Null, Value::Ushort(3)]));
        client.replies();
        client.send(channel, &begin(1));
        let reply = client.reply();
        if ok {
            assert_eq!((reply.code, reply.channel, reply.field(0)), (code::BEGIN, channel, Value::Ushort(channel)));
        } else {
            assert_eq!(reply.condition(0), "amqp:connection:framing-error");
        }
    }
}

#[test]
fn a_session_ends_and_its_channel_is_free_again() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &performative(code::END, &[]));
    assert_eq!(client.reply().code, code::END);
    client.send(0, &begin(1));
    assert_eq!(client.reply().code, code::BEGIN);
    client.send(0, &begin(1));
    assert_eq!(client.reply().condition(0), "amqp:not-allowed", "begun twice");
    assert!(client.closed().is_some());
}

#[test]
fn after_our_end_the_session_is_deaf_until_the_clients() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &transfer(9, 0, false, &data(b"x")));
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(0)), (code::END, "amqp:session:unattached-handle".into()));
    client.send(0, &transfer(9, 1, false, &data(b"x")));
    client.send(0, &performative(code::END, &[]));
    assert_eq!(client.replies(), []);
    client.send(0, &begin(1));
    assert_eq!(client.reply().code, code::BEGIN);
}

#[test]
fn stopping_is_told_to_the_peer() {
    let mut client = Client::running(AmqpConfig::default());
    client.event(Event::Stopping { reason: "maintenance".into() });
    assert_eq!(client.reply().condition(0), "amqp:connection:forced");
    assert!(matches!(client.closed(), Some(Close::Gateway(_))));
    client.event(Event::Stopping { reason: "again".into() });
    assert_eq!(client.replies(), []);
}

#[test]
fn the_default_limits_are_those_in_the_docs() {
    let config = AmqpConfig::default();
    assert_eq!((config.frame_bytes_max, config.channel_max, config.links_per_session_max), (65_536, 254, 1024));
    assert_eq!((config.message_bytes_max, config.depth_max, config.link_credit), (16 << 20, 32, 500));
}

#[test]
fn without_an_idle_time_out_silence_is_no_reason() {
    let mut client = Client::running(AmqpConfig { idle_timeout: Duration::ZERO, ..AmqpConfig::default() });
    assert_eq!(client.session.next_timeout(), None);
    client.wait(1_000_000);
    assert_eq!(client.closed(), None);
}
