use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::support::{MadeUp, Served, serve, serve_with};
use crate::live::STREAMS_MAX;

/// The next event's data.
async fn event(reader: &mut BufReader<TcpStream>) -> serde_json::Value {
    let mut line = String::new();
    loop {
        line.clear();
        let read = timeout(Duration::from_secs(5), reader.read_line(&mut line)).await.expect("an event").unwrap();
        assert_ne!(read, 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

#[tokio::test]
async fn an_overview_comes_at_once() {
    // A busy machine is late now and then; who waits for a second to pass is so each time.
    let mut least = Duration::MAX;
    for _ in 0..5 {
        let served = serve(MadeUp::default()).await;
        let start = Instant::now();
        event(&mut BufReader::new(served.open_live("").await)).await;
        least = least.min(start.elapsed());
    }
    assert!(least < Duration::from_millis(500), "{least:?}");
}

#[tokio::test]
async fn overviews_come_each_second_and_with_what_was_asked_for() {
    let served = serve(MadeUp::default()).await;
    let start = Instant::now();
    let mut reader = BufReader::new(served.open_live("?limit=1&filter=orders").await);
    let first = event(&mut reader).await;
    assert_eq!(first["destinations"]["rows"].as_array().unwrap().len(), 1);
    assert_eq!(first["connections"]["matching"], 0);
    let second = event(&mut reader).await;
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(second["totals"]["published"].as_u64() > first["totals"]["published"].as_u64());
}

#[tokio::test]
async fn many_readers_share_a_snapshot() {
    let observe = Arc::new(MadeUp::default());
    let served = serve_with(Arc::clone(&observe), |state| state).await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(BufReader::new(served.open_live("").await));
    }
    for reader in &mut readers {
        event(reader).await;
    }
    let looks = observe.looks.load(Ordering::Relaxed);
    assert!(looks < 10, "{looks} snapshots for 20 readers");
}

#[tokio::test]
async fn streams_are_counted_and_a_place_comes_free_when_its_reader_goes() {
    let served = serve(MadeUp::default()).await;
    let mut readers = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut reader = BufReader::new(served.open_live("").await);
        event(&mut reader).await;
        readers.push(reader);
    }
    let answer = served.get("/api/live").await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["error"].is_string());
    readers.clear();
    // The server notices with its next write.
    let deadline = Instant::now() + Duration::from_secs(15);
    while !is_served(&served).await {
        assert!(Instant::now() < deadline, "no place came free");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether a new reader has a place.
async fn is_served(served: &Served) -> bool {
    let mut status = String::new();
    BufReader::new(served.open_live("").await).read_line(&mut status).await.unwrap();
    status.starts_with("HTTP/1.1 200")
}

#[tokio::test]
async fn a_stop_ends_the_streams() {
    let served = serve(MadeUp::default()).await;
    let mut reader = BufReader::new(served.open_live("").await);
    event(&mut reader).await;
    served.stop.send(true).unwrap();
    let mut rest = String::new();
    loop {
        rest.clear();
        let read = timeout(Duration::from_secs(10), reader.read_line(&mut rest)).await.expect("the end").unwrap();
        // The last chunk of a body that ended well. [RFC9112-7.1]
        if read == 0 || rest == "0\r\n" {
            return;
        }
    }
}

/// A reader that takes nothing is dropped, and until then the gateway makes no snapshots for it.
#[tokio::test]
async fn a_stalled_reader_is_dropped_and_never_buffers() {
    // Names this long make an overview larger than the sockets' own buffers.
    let observe = Arc::new(MadeUp { destinations: 1_000, name_bytes: 20_000, ..MadeUp::default() });
    let served = serve_with(Arc::clone(&observe), |state| state).await;
    let mut socket = served.open_live("").await;
    tokio::time::sleep(Duration::from_secs(13)).await;
    assert!(observe.looks.load(Ordering::Relaxed) <= 2, "snapshots were made for nobody");
    let mut taken = Vec::new();
    let end = timeout(Duration::from_secs(30), socket.read_to_end(&mut taken)).await.expect("dropped");
    assert!(end.is_err() || !taken.ends_with(b"0\r\n\r\n"), "the connection is cut, not ended");
    assert!(taken.len() < 15_000_000, "{} bytes were kept for the reader", taken.len());
}
