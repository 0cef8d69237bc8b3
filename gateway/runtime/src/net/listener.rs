//! Listening on a TCP port: errors that say who has it, a limit on connections, and an accept that
//! neither fails nor spins.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::port_owner::port_owner;

#[cfg(test)]
mod tests;

/// Pause after an accept that failed for want of descriptors or memory: the cause is not gone at once.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A flood of refused connections is told so often.
const TELL_EACH: Duration = Duration::from_secs(1);

/// Why a listener could not start.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("{address} is in use{}", owner.as_deref().map(|owner| format!(" by {owner}")).unwrap_or_default())]
    InUse {
        /// Where.
        address: SocketAddr,
        /// Process id and command, if they could be found.
        owner: Option<String>,
    },
    /// This machine has no such address.
    #[error("{0} is not an address of this machine")]
    NotHere(SocketAddr),
    /// A port below 1024 without the right to it.
    #[error("this user may not listen on {0}: ports below 1024 need a privilege")]
    NotAllowed(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
}

/// How many connections of a kind may be open over all listeners. Clones share the count.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    permits: Arc<Semaphore>,
    /// As operators know it.
    name: &'static str,
    refusals: Arc<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    count: AtomicU64,
    // std-like Mutex: never held across await.
    told: Mutex<Option<Instant>>,
}

/// One connection's place in the limit, given back when dropped.
#[derive(Debug)]
pub struct ConnectionPermit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl ConnectionLimit {
    /// At most so many at a time; the name is that of the setting, or says what they are.
    pub fn new(connections_max: usize, name: &'static str) -> Self {
        let permits = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { permits, name, refusals: Arc::default() }
    }

    /// A limit of its own, whose refusals are counted with these.
    #[must_use]
    pub fn beside(&self, connections_max: usize, name: &'static str) -> Self {
        Self { refusals: self.refusals.clone(), ..Self::new(connections_max, name) }
    }

    /// How many connections were refused because a limit was reached.
    pub fn refused(&self) -> u64 {
        self.refusals.count.load(Ordering::Relaxed)
    }

    /// A place for this peer, if there is one. Who is refused is counted, and told in the log.
    pub fn take(&self, peer: SocketAddr) -> Option<ConnectionPermit> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        if permit.is_none() {
            let refused = self.refusals.count.fetch_add(1, Ordering::Relaxed) + 1;
            let mut told = self.refusals.told.lock();
            if told.is_none_or(|told| told.elapsed() >= TELL_EACH) {
                *told = Some(Instant::now());
                tracing::warn!(%peer, limit = self.name, refused, "a connection was refused: its limit is reached");
            }
        }
        permit.map(ConnectionPermit)
    }
}

/// A connection, fresh from the port.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, without Nagle's delay.
    pub stream: TcpStream,
    /// Who connected.
    pub peer: SocketAddr,
    /// Keep it as long as the connection lives.
    pub permit: ConnectionPermit,
}

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    limit: ConnectionLimit,
}

impl Listener {
    /// Starts listening.
    pub async fn bind(address: SocketAddr, limit: ConnectionLimit) -> Result<Self, BindError> {
        let bound = async {
            let socket = TcpListener::bind(address).await?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address, limit })
        };
        bound.await.map_err(|source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address, owner: port_owner(address.port()) },
            io::ErrorKind::AddrNotAvailable => BindError::NotHere(address),
            io::ErrorKind::PermissionDenied => BindError::NotAllowed(address),
            _ => BindError::Other { address, source },
        })
    }

    /// Where it listens; the real port if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection. Cancel-safe. Connections over the limit are closed at once and counted; an
    /// accept that fails is logged and tried again.
    pub async fn accept(&self) -> Accepted {
        loop {
            let (stream, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.wait_after(&error).await;
                    continue;
                }
            };
            let Some(permit) = self.limit.take(peer) else { continue };
            // Small frames must not wait for each other. It fails only if the peer is gone already,
            // which the first read finds out.
            let _ = stream.set_nodelay(true);
            return Accepted { stream, peer, permit };
        }
    }

    async fn wait_after(&self, error: &io::Error) {
        // The peer went away while it was in the backlog: no reason to wait.
        let gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        );
        if !gone {
            tracing::warn!(listener = %self.address, %error, "cannot accept a connection; trying again");
            tokio::time::sleep(BACK_OFF).await;
        }
    }
}
