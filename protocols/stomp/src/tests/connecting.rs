use evergate_model::{Access, Action, Close, Credentials, Event, Session, Time};

use super::harness::Client;
use crate::StompConfig;
use crate::codec::Command;

#[test]
fn the_highest_common_version_is_spoken() {
    for (accept, version) in [("1.0,1.1,1.2", "1.2"), ("1.1,1.0", "1.1"), ("1.0", "1.0"), ("9.9, 1.1", "1.1")] {
        let mut client = Client::new(StompConfig::default());
        client.send(&format!("STOMP\naccept-version:{accept}\nlogin:u\npasscode:p:w\n\n\0"));
        let Action::Authenticate(Credentials::Password { user, password }) = client.actions.remove(0) else {
            panic!("no password")
        };
        assert_eq!((&*user, &password[..]), ("u", &b"p:w"[..]));
        client.event(Event::Authenticated(Access::Granted("u".into())));
        let frame = client.frame();
        assert_eq!(frame.command, Command::Connected);
        assert_eq!(frame.headers.get("version"), Some(version));
        assert_eq!(frame.headers.get("heart-beat").is_some(), version != "1.0");
        assert_eq!(client.session.peer().protocol, format!("STOMP {version}"));
    }
}

#[test]
fn connecting_can_fail_in_each_of_these_ways() {
    let table = [
        ("CONNECT\naccept-version:2.0\n\n\0", "none of the versions 2.0 is supported"),
        ("SEND\ndestination:q\n\nx\0", "SEND before CONNECT"),
        ("CONNECT\naccept-version:1.2\nheart-beat:x\n\n\0", "heart-beat must be two numbers of milliseconds: x"),
    ];
    for (text, message) in table {
        let mut client = Client::new(StompConfig::default());
        client.send(text);
        assert_eq!(client.error().0, message);
        assert!(client.actions.is_empty());
    }
    let mut client = Client::connected("1.2");
    client.send("CONNECT\n\n\0");
    assert_eq!(client.error().0, "this connection is connected already");
    let mut client = Client::new(StompConfig::default());
    client.send("CONNECT\n\n\0");
    client.event(Event::Authenticated(Access::Denied));
    assert_eq!(client.error().0, "access refused");
    assert_eq!(client.close, Some(Close::Unauthorized));
}

#[test]
fn frames_sent_before_connected_are_kept_up_to_the_limit() {
    let mut client = Client::new(StompConfig { early_bytes_max: 29, ..StompConfig::default() });
    client.send("CONNECT\n\n\0SEND\ndestination:q\n\nx\0SE");
    client.send("ND\n");
    assert_eq!(client.actions.len(), 1);
    client.event(Event::Authenticated(Access::Granted("".into())));
    client.send("destination:q\n\ny\0");
    client.actions.remove(0);
    assert_eq!(&client.publish().message.body[..], b"x");
    assert_eq!(&client.publish().message.body[..], b"y");
    let mut client = Client::new(StompConfig { early_bytes_max: 29, ..StompConfig::default() });
    client.send("CONNECT\n\n\0");
    client.send(&"\n".repeat(30));
    assert_eq!(client.error().0, "more than 29 bytes sent without waiting for the answer");
}

#[test]
fn a_client_that_never_connects_is_closed_in_time() {
    let mut client = Client::new(StompConfig::default());
    client.timeout_at(1_000);
    assert_eq!(client.session.next_timeout(), Some(Time(11_000)));
    client.send("CONN");
    client.timeout_at(10_999);
    assert_eq!(client.close, None);
    client.timeout_at(11_000);
    assert_eq!(client.close, Some(Close::Silent));
}

#[test]
fn heartbeats_go_both_ways_and_silence_is_noticed_with_grace() {
    let mut client = Client::new(StompConfig::default());
    client.send("CONNECT\naccept-version:1.2\nheart-beat:4000,20000\n\n\0");
    client.event(Event::Authenticated(Access::Granted("".into())));
    assert_eq!(client.frame().headers.get("heart-beat"), Some("10000,10000"));
    // We send every max(10 s, 20 s), a quarter early; the client every max(4 s, 10 s), twice that is allowed.
    assert_eq!(client.session.next_timeout(), Some(Time(16_000)));
    client.timeout_at(16_000);
    assert_eq!(&client.bytes()[..], b"\n");
    client.now = Time(20_999);
    client.send("\n");
    client.timeout_at(40_998);
    assert_eq!(client.close, None);
    client.timeout_at(40_999);
    assert_eq!(client.close, Some(Close::Silent));
}

#[test]
fn a_publisher_that_waits_for_the_gateway_is_not_silent() {
    let mut client = Client::new(StompConfig::default());
    client.send("CONNECT\naccept-version:1.2\nheart-beat:1000,0\n\n\0");
    client.event(Event::Authenticated(Access::Granted("".into())));
    client.send("SEND\ndestination:q\n\n\0");
    client.actions.remove(0);
    let token = client.publish().token;
    client.timeout_at(100_000);
    assert_eq!(client.close, None);
    client.published(token);
    client.timeout_at(120_000);
    assert_eq!(client.close, Some(Close::Silent));
}
