//! A way to the server that can be cut, or that says for a while that the server is starting.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

/// A client asks whether it may encrypt: its length and a code.
const ENCRYPT: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Listens until it is dropped.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// Pieces that may still pass to the server, counted by all connections.
    left: AtomicI64,
    /// Whether the last piece still arrives, and only its answer does not.
    is_answer_lost: std::sync::atomic::AtomicBool,
    /// Connections to refuse.
    refusals: AtomicU32,
}

impl Proxy {
    /// In front of the server at this address.
    pub async fn start(url: &str) -> Self {
        let config: tokio_postgres::Config = url.parse().expect("an address");
        let tokio_postgres::config::Host::Tcp(host) = &config.get_hosts()[0] else { panic!("a network address") };
        let server = (host.clone(), config.get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(State { left: i64::MAX.into(), ..State::default() });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, server.clone(), shared.clone()));
            }
        });
        Self { port, state, task }
    }

    /// The address of the same database by this way.
    pub fn url(&self, url: &str) -> String {
        let (_, database) = url.rsplit_once('/').expect("the address ends with a database");
        let (user, _) = url.rsplit_once('@').expect("the address has a user");
        format!("{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends every connection after so many more pieces.
    pub fn cut_after(&self, pieces: i64, is_answer_lost: bool) {
        self.state.is_answer_lost.store(is_answer_lost, Ordering::SeqCst);
        self.state.left.store(pieces, Ordering::SeqCst);
    }

    /// Answers so many connections as a server does that is starting.
    pub fn refuse(&self, connections: u32) {
        self.state.refusals.store(connections, Ordering::SeqCst);
    }

    /// How many of them are left.
    pub fn refusals_left(&self) -> u32 {
        self.state.refusals.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, server: (String, u16), state: Arc<State>) {
    let mut piece = vec![0; 64 * 1024];
    let is_refused = state.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if is_refused.is_ok() {
        let length = client.read(&mut piece).await.unwrap_or_default();
        if piece[..length] == ENCRYPT {
            // As a server without TLS: the client goes on in clear.
            let _ = client.write_all(b"N").await;
            let _ = client.read(&mut piece).await;
        }
        let fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
        let mut answer = vec![b'E'];
        answer.extend((fields.len() as u32 + 4).to_be_bytes());
        answer.extend(fields);
        let _ = client.write_all(&answer).await;
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    // Small pieces would wait for each other otherwise.
    for socket in [&client, &server] {
        socket.set_nodelay(true).expect("a socket's option");
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    while let Ok(length @ 1..) = from_client.read(&mut piece).await {
        let left = state.left.fetch_sub(1, Ordering::SeqCst);
        if left <= 0 {
            answers.abort();
            if left == 0 && state.is_answer_lost.load(Ordering::SeqCst) {
                let _ = to_server.write_all(&piece[..length]).await;
                // The server acts on it before it sees the end.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            break;
        }
        if to_server.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    if !answers.is_finished() {
        answers.abort();
    }
}
