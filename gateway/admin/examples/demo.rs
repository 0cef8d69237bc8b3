//! A made-up gateway behind the real HTTP interface, to work on the console without one.
//!
//! `cargo run -p evergate-admin --example demo -- 127.0.0.1:15672 127.0.0.1:9001`: the first address is served; what
//! comes for `/mqtt` goes on to the second, any MQTT broker's WebSocket listener. Environment: `DEMO_EMPTY=1` shows
//! no rows, `DEMO_NOT_READY=1` is not ready.

use std::env;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use evergate_admin::{
    AdminState, ConnectionRow, ConnectionState, DestinationKind, DestinationRow, JournalTotals, Memory, Node, Observe,
    Snapshot, Totals, router,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

struct Demo {
    started: Instant,
    started_at_ms: u64,
    empty: bool,
    ready: bool,
}

impl Observe for Demo {
    #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]
    fn snapshot(&self) -> Snapshot {
        let seconds = self.started.elapsed().as_secs_f64();
        // A rate that swings between 500 and 1,500 a second.
        let flow = (1_000.0 * seconds + 2_000.0 * (1.0 - (seconds / 4.0).cos())) as u64;
        let count = if self.empty { 0 } else { 400 };
        Snapshot {
            node: Node {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at_ms: self.started_at_ms,
                uptime_ms: self.started.elapsed().as_millis() as u64,
                journal: "sqlite".to_owned(),
            },
            totals: Totals {
                published: flow,
                delivered: flow * 2,
                confirmed: flow,
                settled: flow * 2,
                rejected: 3,
                dropped: 17,
            },
            destinations: (0..count).map(|i| destination(i, flow)).collect(),
            connections: (0..count / 8).map(|i| connection(i, flow, self.started_at_ms)).collect(),
            memory: Memory { used_bytes: 48_000_000 + flow % 9_000_000, max_bytes: 256 << 20 },
            journal: JournalTotals {
                commits_total: flow / 12,
                records_total: flow * 3,
                commit_seconds_sum: seconds * 0.21,
                commit_seconds_max: 0.034,
                pending: flow % 40,
            },
        }
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready { Ok(()) } else { Err("the journal's disk is full".to_owned()) }
    }
}

fn destination(i: u64, flow: u64) -> DestinationRow {
    let (kind, name) = match i % 4 {
        0 => (DestinationKind::Queue, format!("orders/region-{i}")),
        1 => (DestinationKind::Topic, format!("shop/eu/store-{i}/till")),
        2 => (DestinationKind::Subscription, format!("billing-{i}:shop/+/invoices/#")),
        _ => (DestinationKind::Session, format!("till-{i}")),
    };
    let flow = flow / (i + 1);
    let messages = if kind == DestinationKind::Topic { 0 } else { flow % 5_000 };
    DestinationRow {
        name,
        kind,
        messages,
        bytes: messages * 730,
        consumers: i % 3,
        unsettled: messages.min(20),
        published_total: flow,
        delivered_total: flow.saturating_sub(messages),
        settled_total: flow.saturating_sub(messages),
    }
}

fn connection(i: u64, flow: u64, since_ms: u64) -> ConnectionRow {
    let (protocol, listener) =
        [("MQTT 5", "mqtt"), ("AMQP 1.0", "amqp"), ("STOMP 1.2", "stomp"), ("MQTT 3.1.1", "websocket")]
            [(i % 4) as usize];
    let flow = flow / (i + 2);
    ConnectionRow {
        id: i,
        protocol: protocol.to_owned(),
        client_id: if i == 2 { String::new() } else { format!("till-{i:02}.store.example") },
        user: if i.is_multiple_of(3) { String::new() } else { "anna".to_owned() },
        remote: format!("192.0.2.{i}:{}", 50_000 + i),
        listener: listener.to_owned(),
        since_ms,
        published_total: flow,
        delivered_total: flow / 2,
        received_bytes: flow * 800,
        sent_bytes: flow * 420,
        state: if i == 1 { ConnectionState::Blocked } else { ConnectionState::Running },
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut addresses = env::args().skip(1);
    let public = addresses.next().unwrap_or_else(|| "127.0.0.1:15672".to_owned());
    let broker = addresses.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());

    let started_at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let demo = Demo {
        started: Instant::now(),
        started_at_ms,
        empty: env::var_os("DEMO_EMPTY").is_some(),
        ready: env::var_os("DEMO_NOT_READY").is_none(),
    };
    let (_stop, stopping) = watch::channel(false);
    let inner = TcpListener::bind("127.0.0.1:0").await?;
    let inner_address = inner.local_addr()?;
    let app = router(AdminState::new(Arc::new(demo), stopping));
    tokio::spawn(async move { axum::serve(inner, app).await });

    let front = TcpListener::bind(public).await?;
    println!("http://{}/", front.local_addr()?);
    loop {
        let (mut client, _) = front.accept().await?;
        let broker = broker.clone();
        tokio::spawn(async move {
            let mut start = [0; 10];
            let read = client.peek(&mut start).await?;
            let target = if start[..read].starts_with(b"GET /mqtt") { broker } else { inner_address.to_string() };
            let mut server = TcpStream::connect(target).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}
