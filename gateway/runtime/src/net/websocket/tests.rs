use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::*;
use crate::net::{Stream, WebRules, check_web_rules, serve_http};

type Client = WebSocketStream<TcpStream>;

const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// A gateway's HTTP port that hands each WebSocket to the test.
async fn port() -> (SocketAddr, mpsc::UnboundedReceiver<WebSocket>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (send, sockets) = mpsc::unbounded_channel();
    let handler = move |mut request: Request| {
        let send = send.clone();
        async move {
            let (response, upgrade) = match Upgrade::begin(&mut request, MESSAGE_BYTES_MAX) {
                Ok(begun) => begun,
                Err(refused) => return refused.into_response(),
            };
            tokio::spawn(async move { send.send(upgrade.finish().await.unwrap()) });
            response
        }
    };
    let rules = Arc::new(WebRules::new(address, &[], &[]));
    let router =
        Router::new().route("/ws", any(handler)).layer(axum::middleware::from_fn_with_state(rules, check_web_rules));
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve_http(Stream::Tcp(socket), router.clone(), Duration::from_millis(300)));
        }
    });
    (address, sockets)
}

async fn connect(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Client, tungstenite::Error> {
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let socket = TcpStream::connect(address).await.unwrap();
    client_async(request, socket).await.map(|(client, response)| {
        assert!(response.headers().contains_key("sec-websocket-protocol"));
        client
    })
}

async fn pair(protocols: &str) -> (Client, WebSocket) {
    let (address, mut sockets) = port().await;
    let client = connect(address, &[("sec-websocket-protocol", protocols)]).await.unwrap();
    (client, sockets.recv().await.unwrap())
}

fn status(error: &tungstenite::Error) -> u16 {
    match error {
        tungstenite::Error::Http(response) => response.status().as_u16(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn messages_are_one_stream_of_bytes_whatever_their_boundaries() {
    let (mut client, mut server) = pair("mqtt").await;
    for piece in [&b"he"[..], b"", b"llo", b" world"] {
        client.send(Message::Binary(Bytes::copy_from_slice(piece))).await.unwrap();
    }
    let mut read = [0; 11];
    server.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello world");
}

#[tokio::test]
async fn a_long_write_arrives_whole() {
    let (mut client, mut server) = pair("amqp").await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        server.write_all(&sent).await.unwrap();
        server.flush().await.unwrap();
        server
    });
    let mut received = Vec::new();
    while received.len() < expected.len() {
        match client.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => received.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    assert!(received == expected);
    writer.await.unwrap();
}

#[tokio::test]
async fn several_slices_go_in_one_message() {
    let (mut client, mut server) = pair("mqtt").await;
    let slices = [io::IoSlice::new(b"one "), io::IoSlice::new(b"message")];
    assert!(server.is_write_vectored());
    assert_eq!(server.write_vectored(&slices).await.unwrap(), 11);
    server.flush().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"one message")));
}

#[tokio::test]
async fn text_is_taken_for_stomp_and_refused_elsewhere() {
    let (mut client, mut server) = pair("v12.stomp, v11.stomp").await;
    assert_eq!(server.subprotocol(), Subprotocol::Stomp12);
    client.send(Message::text("CONNECT")).await.unwrap();
    let mut read = [0; 7];
    server.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"CONNECT");

    let (mut client, mut server) = pair("mqtt").await;
    client.send(Message::text("CONNECT")).await.unwrap();
    assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn the_first_subprotocol_of_the_client_that_we_speak_is_chosen() {
    for (offered, chosen) in [
        ("soap, v10.stomp, mqtt", Subprotocol::Stomp10),
        ("v11.stomp", Subprotocol::Stomp11),
        ("amqp,mqtt", Subprotocol::Amqp),
        ("mqttv3.1", Subprotocol::Mqtt31),
    ] {
        let (_client, server) = pair(offered).await;
        assert_eq!(server.subprotocol(), chosen, "{offered}");
    }
}

#[tokio::test]
async fn other_requests_are_answered_with_what_is_missing() {
    let (address, _sockets) = port().await;
    let refused = connect(address, &[("sec-websocket-protocol", "soap")]).await.unwrap_err();
    assert_eq!(status(&refused), 400);
    let refused = connect(address, &[]).await.unwrap_err();
    assert_eq!(status(&refused), 400);

    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.ends_with("connect with a WebSocket client\n"), "{answer}");
}

#[tokio::test]
async fn foreign_pages_and_rebound_names_get_403() {
    let (address, _sockets) = port().await;
    let mqtt = ("sec-websocket-protocol", "mqtt");
    let refused = connect(address, &[mqtt, ("origin", "http://evil.example")]).await.unwrap_err();
    assert_eq!(status(&refused), 403);
    let refused = connect(address, &[mqtt, ("host", "evil.example")]).await.unwrap_err();
    assert_eq!(status(&refused), 403);
    connect(address, &[mqtt, ("origin", &format!("http://localhost:{}", address.port()))]).await.unwrap();
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection() {
    let (mut client, mut server) = pair("mqtt").await;
    let large = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
    let sender = tokio::spawn(async move { client.send(Message::Binary(large)).await });
    let error = server.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    drop(server);
    let _ = sender.await.unwrap();
}

#[tokio::test]
async fn a_ping_is_answered() {
    let (mut client, mut server) = pair("mqtt").await;
    client.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    client.send(Message::Binary(Bytes::from_static(b"x"))).await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'x');
    server.flush().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
}

#[tokio::test]
async fn a_flood_of_pings_leaves_others_their_turn() {
    let (mut client, mut server) = pair("mqtt").await;
    let pings = 10 * MESSAGES_A_TURN;
    for _ in 0..pings {
        client.feed(Message::Ping(Bytes::new())).await.unwrap();
    }
    client.send(Message::Binary(Bytes::from_static(b"x"))).await.unwrap();
    let mut turns = 0;
    let byte = std::future::poll_fn(|cx| {
        turns += 1;
        let mut byte = [0];
        let read = ready!(Pin::new(&mut server).poll_read(cx, &mut ReadBuf::new(&mut byte)));
        Poll::Ready(read.map(|()| byte[0]))
    });
    assert_eq!(byte.await.unwrap(), b'x');
    assert!(turns >= 10, "{pings} pings in {turns} turns");
}

#[tokio::test]
async fn a_close_of_the_peer_is_answered_and_is_the_end_of_the_stream() {
    let (mut client, mut server) = pair("mqtt").await;
    client.close(None).await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    // RFC 6455, section 5.5.1: also if nobody shuts the connection properly.
    drop(server);
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn a_stream_that_the_peer_closed_can_be_shut_down() {
    let (mut client, mut server) = pair("mqtt").await;
    client.close(None).await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    server.shutdown().await.unwrap();
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_by_the_close_code() {
    // Client frames without a mask to speak of: its key is 0.
    let too_long = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    for (protocols, frame, code) in [
        ("mqtt", &b"\x82\x01x"[..], CloseCode::Protocol),           // no mask
        ("mqtt", b"\x83\x80\0\0\0\0", CloseCode::Protocol),         // a reserved opcode
        ("mqtt", b"\x81\x81\0\0\0\0x", CloseCode::Unsupported),     // text
        ("v12.stomp", b"\x81\x81\0\0\0\0\xff", CloseCode::Invalid), // text that is none
        ("amqp", &too_long, CloseCode::Size),
    ] {
        let (mut client, mut server) = pair(protocols).await;
        client.get_mut().write_all(frame).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(server);
        match client.next().await {
            Some(Ok(Message::Close(Some(close)))) => assert_eq!(close.code, code, "{frame:?}"),
            other => panic!("{frame:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn shutdown_sends_a_close_frame_after_what_was_written() {
    let (mut client, mut server) = pair("mqtt").await;
    server.write_all(b"bye").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"bye")));
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn headers_that_never_end_are_given_up() {
    let (address, _sockets) = port().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /ws HTTP/1.1\r\nHost: localh").await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await;
    closed.expect("the server should have given up").unwrap();
}
