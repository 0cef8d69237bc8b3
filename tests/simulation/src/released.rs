//! Bodies that nobody refers to any more, until the directory is told.

use std::sync::Arc;

use evergate_model::OnRelease;
use parking_lot::Mutex;

/// Of one node: a crash forgets it.
#[derive(Clone, Debug, Default)]
pub struct Released(Arc<Mutex<Vec<Arc<str>>>>);

impl Released {
    pub fn on_release(&self) -> OnRelease {
        let names = self.0.clone();
        OnRelease::new(move |name| names.lock().push(name.clone()))
    }

    pub fn take(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut *self.0.lock())
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}
