use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::thread::{JoinHandle, spawn};

use clap::CommandFactory;

use super::wire::{Packet, decode};
use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
    let cli = Cli::try_parse_from(["evergate", "--journal", "sqlite:x"]).unwrap();
    assert!(cli.command.is_none());
    let cli = Cli::try_parse_from(["evergate", "config", "check", "--config", "e.toml"]).unwrap();
    assert_eq!(cli.config, Some("e.toml".into()));
    assert!(Cli::try_parse_from(["evergate", "sub", "a", "--count", "0"]).is_err());
}

/// EVERGATE_PASSWORD, exported once for all, is no reason to refuse what needs no account.
#[test]
fn a_password_is_for_the_account_that_is_named_and_harmless_without_one() {
    let login = |arguments: &[&str]| {
        let cli = Cli::try_parse_from([&["evergate", "pub", "t", "b"], arguments].concat()).unwrap();
        let Some(Command::Pub(publish)) = cli.command else { panic!("pub") };
        publish.target.login().map(|(user, password)| (user.to_owned(), password.to_owned()))
    };
    let of = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
    assert_eq!(login(&["--password", "x"]), None);
    assert_eq!(login(&["--password", "x", "--url", "mqtt://gate"]), None);
    assert_eq!(login(&["--password", "x", "--user", "ada"]), of("ada", "x"));
    assert_eq!(login(&["--password", "x", "--url", "mqtt://ada@gate"]), of("ada", "x"));
    assert_eq!(login(&["--password", "x", "--url", "mqtt://ada:p%40w@gate"]), of("ada", "p@w"));
}

#[test]
fn a_hash_can_be_pasted_into_the_file_and_is_salted() {
    let lines = |password: &str| hash::user_lines("a \"b\"", &mut password.as_bytes()).unwrap();
    let (one, other) = (lines("secret\n"), lines("secret\n"));
    assert_ne!(one, other);
    let table: toml::Table = one.parse().unwrap();
    assert_eq!(table["user"][0]["name"].as_str(), Some("a \"b\""));
    assert!(table["user"][0]["password"].as_str().unwrap().starts_with("$argon2id$"));
    assert!(hash::user_lines("a", &mut "\n".as_bytes()).is_err());
}

#[test]
fn the_check_prints_the_listeners_and_no_password() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let checked = config::load(Some(file.path()), [], Some("postgres://ada:secret@db/evergate".into())).unwrap();
    let mut out = Vec::new();
    report(&mut out, &checked).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("OK\njournal  postgres://ada:…@db/evergate\nlistens  mqtt  127.0.0.1:1883\n"), "{out}");
}

#[test]
fn a_password_is_hidden_wherever_a_url_has_it() {
    for (url, shown) in [
        ("sqlite:./data", "sqlite:./data"),
        ("postgres://ada:sec@ret@db/d", "postgres://ada:…@db/d"),
        ("postgres://ada@db/d?sslmode=require", "postgres://ada@db/d?sslmode=require"),
        ("postgres://h/d?user=ada&password=secret", "postgres://h/d?user=…&password=…"),
        ("postgres://h/d?p%61ssword=secret&port=1", "postgres://h/d?p%61ssword=…&port=1"),
        ("postgres://h/d?password=sec@ret", "postgres://…"),
    ] {
        assert_eq!(without_password(url), shown);
    }
}

/// A gateway that plays these parts: waits for a packet that begins so, then answers.
fn gateway(parts: Vec<(u8, Vec<u8>)>) -> (Target, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::at(listener.local_addr().unwrap().port());
    let played = spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        for (first, answer) in parts {
            let packet = read_packet(&mut socket);
            assert_eq!(packet[0], first, "{packet:?}");
            seen.push(packet);
            socket.write_all(&answer).unwrap();
        }
        seen
    });
    (target, played)
}

fn read_packet(socket: &mut TcpStream) -> Vec<u8> {
    let mut packet = vec![0; 2];
    socket.read_exact(&mut packet).unwrap();
    assert!(packet[1] < 0x80, "the tests' packets are short");
    let mut rest = vec![0; usize::from(packet[1])];
    socket.read_exact(&mut rest).unwrap();
    packet.extend(rest);
    packet
}

const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];

#[test]
fn a_publish_ends_with_its_confirm() {
    let (target, played) = gateway(vec![(0x10, CONNACK.to_vec()), (0x33, vec![0x40, 2, 0, 1]), (0xE0, vec![])]);
    client::publish(&target, "a/b", b"body", true).unwrap();
    assert_eq!(played.join().unwrap()[1], b"\x33\x0c\0\x03a/b\0\x01\0body");
}

#[test]
fn a_refusal_is_told_in_the_gateways_words() {
    let refusal = b"\x40\x0b\0\x01\x87\x07\x1f\0\x04nope".to_vec();
    let (target, _played) = gateway(vec![(0x10, CONNACK.to_vec()), (0x32, refusal)]);
    let error = client::publish(&target, "_DMQ", b"", false).unwrap_err().to_string();
    assert_eq!(error, "the gateway refused the message: nope");

    let (target, _played) = gateway(vec![(0x10, vec![0x20, 3, 0, 0x86, 0])]);
    let error = client::publish(&target, "a", b"", false).unwrap_err().to_string();
    assert!(error.contains("wrong user or password"), "{error}");
}

#[test]
fn a_subscription_prints_lines_acknowledges_them_and_stops_at_its_count() {
    let mut answer = b"\x90\x04\0\x01\0\x01".to_vec();
    answer.extend(b"\x32\x0c\0\x03a/b\0\x07\0one!");
    answer.extend(b"\x30\x07\0\x01c\0two");
    let (target, played) = gateway(vec![(0x10, CONNACK.to_vec()), (0x82, answer), (0x40, vec![]), (0xE0, vec![])]);
    let mut out = Vec::new();
    client::subscribe(&target, "#", Some(2), &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "a/b one!\nc two\n");
    let seen = played.join().unwrap();
    // Receive maximum 2: no more than are wanted are on their way.
    assert!(seen[0].windows(3).any(|window| window == [0x21, 0, 2]), "{:?}", seen[0]);
    assert_eq!(seen[2], [0x40, 2, 0, 7]);
}

#[test]
fn without_a_gateway_the_error_says_how_to_start_one() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = client::publish(&Target::at(port), "a", b"", false).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("no gateway answers at 127.0.0.1:{port}: start one with `evergate`")),
        "{error}"
    );
}

#[test]
fn packets_are_decoded_from_any_split_and_never_beyond_their_end() {
    let whole = b"\x32\x0c\0\x03a/b\0\x07\0one!";
    for end in 0..whole.len() {
        assert_eq!(decode(&whole[..end]).unwrap(), None, "{end}");
    }
    let publish = Packet::Publish { topic: "a/b".into(), body: b"one!".to_vec(), packet_id: Some(7) };
    assert_eq!(decode(whole).unwrap(), Some((publish, whole.len())));
    for wrong in [
        &b"\x32\x01\0"[..],
        b"\x30\xff\xff\xff\xff\x01",
        b"\x00\x00",
        b"\x20\x03\0\0\x09",
        b"HTTP/1.1 400 Bad Request....",
    ] {
        assert!(!matches!(decode(wrong), Ok(Some(_))), "{wrong:?}");
    }
}
