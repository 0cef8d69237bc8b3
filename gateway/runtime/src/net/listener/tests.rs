use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

async fn listen(connections_max: usize) -> Listener {
    Listener::bind("127.0.0.1:0".parse().unwrap(), ConnectionLimit::new(connections_max, "connections_max"))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_port_in_use_names_the_address_and_its_owner() {
    let first = listen(1).await;
    let error =
        Listener::bind(first.address(), ConnectionLimit::new(1, "connections_max")).await.unwrap_err().to_string();
    assert!(error.contains(&first.address().to_string()), "{error}");
    if cfg!(target_os = "linux") {
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    // 192.0.2.0/24 is for documentation (RFC 5737): nobody has it.
    let error =
        Listener::bind("192.0.2.1:0".parse().unwrap(), ConnectionLimit::new(1, "connections_max")).await.unwrap_err();
    assert_eq!(error.to_string(), "192.0.2.1:0 is not an address of this machine");
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed_and_counted_and_a_freed_place_is_used() {
    let listener = listen(1).await;
    let _first = TcpStream::connect(listener.address()).await.unwrap();
    let accepted = listener.accept().await;
    assert!(accepted.stream.nodelay().unwrap());

    let mut second = TcpStream::connect(listener.address()).await.unwrap();
    assert!(timeout(Duration::from_millis(200), listener.accept()).await.is_err());
    assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(listener.limit.refused(), 1);

    drop(accepted);
    let _third = TcpStream::connect(listener.address()).await.unwrap();
    timeout(Duration::from_secs(5), listener.accept()).await.unwrap();
}

#[tokio::test]
async fn a_limit_beside_another_has_places_of_its_own_and_counts_refusals_with_it() {
    let peer = "127.0.0.1:1".parse().unwrap();
    let clients = ConnectionLimit::new(1, "connections_max");
    let web = clients.beside(1, "HTTP");
    let (first, second) = (clients.take(peer), web.take(peer));
    assert!(first.is_some() && second.is_some());
    assert!(clients.take(peer).is_none() && web.take(peer).is_none());
    assert_eq!((clients.refused(), web.refused()), (2, 2));
}

#[tokio::test]
async fn an_accept_that_fails_for_want_of_descriptors_backs_off() {
    let listener = listen(1).await;
    let began = Instant::now();
    listener.wait_after(&io::ErrorKind::ConnectionAborted.into()).await;
    assert!(began.elapsed() < BACK_OFF);
    listener.wait_after(&io::Error::other("too many open files")).await;
    assert!(began.elapsed() >= BACK_OFF);
}
