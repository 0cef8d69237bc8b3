//! Bodies that are too large for memory: they stand in the journal in pieces, in a queue of their own.

use std::fmt;
use std::sync::Arc;

/// The queues that hold the pieces of large bodies are named so. Clients do not reach them by name.
pub const BODY_PREFIX: &str = "$body/";

/// Told the name of a body's queue when nothing refers to the body any more. By default nobody is.
#[derive(Clone, Default)]
pub struct OnRelease(Option<Arc<Told>>);

type Told = dyn Fn(&Arc<str>) + Send + Sync;

impl OnRelease {
    /// Calls `told` with the name. It may be called from anywhere, so it only passes the name on.
    pub fn new(told: impl Fn(&Arc<str>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }
}

impl fmt::Debug for OnRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRelease")
    }
}

/// The body of a message that is not in memory. Its pieces are the messages of a queue, in order; see
/// [`Attach::body`](crate::Attach::body) for how they are read. Shared by all who hold the message; when the last of
/// them has let go, the pieces are deleted.
pub struct LargeBody {
    /// The queue of the pieces.
    pub queue: Arc<str>,
    /// Bytes of all pieces: the body as its publisher's encoding has it.
    pub bytes: u64,
    /// Bytes of the content, without the framing of the publisher's encoding: what other protocols deliver.
    pub payload_bytes: u64,
    on_release: OnRelease,
}

impl LargeBody {
    /// A body whose pieces are deleted by `on_release`.
    pub fn new(queue: Arc<str>, bytes: u64, payload_bytes: u64, on_release: OnRelease) -> Self {
        Self { queue, bytes, payload_bytes, on_release }
    }

    /// As a store reads it back: it names the body and keeps nothing alive.
    pub fn named(queue: Arc<str>, bytes: u64, payload_bytes: u64) -> Self {
        Self { queue, bytes, payload_bytes, on_release: OnRelease::default() }
    }
}

impl Drop for LargeBody {
    fn drop(&mut self) {
        // A task that panics lets go of what is still stored.
        if let Some(told) = self.on_release.0.as_ref().filter(|_| !std::thread::panicking()) {
            told(&self.queue);
        }
    }
}

impl PartialEq for LargeBody {
    fn eq(&self, other: &Self) -> bool {
        (&self.queue, self.bytes, self.payload_bytes) == (&other.queue, other.bytes, other.payload_bytes)
    }
}

impl Eq for LargeBody {}

impl fmt::Debug for LargeBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LargeBody({}, {} bytes, {} of content)", self.queue, self.bytes, self.payload_bytes)
    }
}
