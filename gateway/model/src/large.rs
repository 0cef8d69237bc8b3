//! Bodies that are too large for memory: they stand in the journal in pieces, in a queue of their own.

use std::fmt;
use std::sync::Arc;

/// The queues that hold the pieces of large bodies are named so. Clients do not reach them by name.
pub const BODY_PREFIX: &str = "$body/";

/// Told the name of a body's queue when nothing refers to the body any more.
pub type OnRelease = Arc<dyn Fn(&Arc<str>) + Send + Sync>;

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
    on_release: Option<OnRelease>,
}

impl LargeBody {
    /// A body whose pieces are deleted by `on_release`.
    pub fn new(queue: Arc<str>, bytes: u64, payload_bytes: u64, on_release: OnRelease) -> Self {
        Self { queue, bytes, payload_bytes, on_release: Some(on_release) }
    }

    /// As a store reads it back: it names the body and keeps nothing alive.
    pub fn named(queue: Arc<str>, bytes: u64, payload_bytes: u64) -> Self {
        Self { queue, bytes, payload_bytes, on_release: None }
    }
}

impl Drop for LargeBody {
    fn drop(&mut self) {
        if let Some(on_release) = &self.on_release {
            on_release(&self.queue);
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
