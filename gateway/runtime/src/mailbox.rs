//! A queue of things for one task. Many push, one takes all at once.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Without a bound of its own: who pushes is bounded by windows, credit, and requests that may be open.
#[derive(Debug)]
pub struct Mailbox<T> {
    // parking_lot Mutex: never held across await.
    items: Mutex<Vec<T>>,
    filled: Notify,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { items: Mutex::new(Vec::new()), filled: Notify::new() }
    }
}

impl<T> Mailbox<T> {
    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.items.lock().is_empty()
    }

    /// Appends one.
    pub fn push(&self, item: T) {
        self.extend([item]);
    }

    /// Appends several, next to each other.
    pub fn extend(&self, items: impl IntoIterator<Item = T>) {
        let was_empty = {
            let mut held = self.items.lock();
            let was_empty = held.is_empty();
            held.extend(items);
            was_empty && !held.is_empty()
        };
        // The one who takes empties it, so only the first push after that must wake.
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Moves everything to the end of `taken`. Returns whether there was anything.
    pub fn take(&self, taken: &mut Vec<T>) -> bool {
        let mut held = self.items.lock();
        let any = !held.is_empty();
        if taken.is_empty() {
            std::mem::swap(taken, &mut held);
        } else {
            taken.append(&mut held);
        }
        any
    }

    /// Waits until something was pushed since it was last emptied. May return without cause.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}
