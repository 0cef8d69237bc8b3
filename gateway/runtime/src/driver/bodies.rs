//! Bodies that are too large for memory: what the session passes on in pieces becomes messages of the body's queue.

use std::sync::Arc;

use bytes::Bytes;
use evergate_core::{BodyLimits, DirectoryCommand};
use evergate_model::{BODY_PREFIX, LargeBody, LargeEnd, Message, OnRelease, Token};
use tokio::time::Instant;

use super::Driver;
use crate::gateway::Gateway;

/// Small enough that others do not wait long for a commit of one, large enough that what each costs does not matter.
pub const PIECE_BYTES: usize = 64 << 10;
/// Pieces of a connection that may be under way while there are no other messages. Beside others it is one.
const PIECES_ALONE: usize = 4;

impl Driver {
    pub(super) fn add_to_body(&mut self, body: Token, bytes: &Bytes) {
        let gateway = &self.gateway;
        let begin = || {
            let name = format!("{BODY_PREFIX}{:x}", gateway.next_message_id().0);
            LargeBody::new(name.into(), 0, 0, gateway.config.directory.on_release.clone())
        };
        let limits = BodyLimits { piece_bytes: PIECE_BYTES, bytes_max: gateway.config.large_message_bytes_max };
        for piece in self.publisher.add_to_body(body, bytes, limits, begin) {
            self.publisher.submit_piece(body, self.gateway.admit(piece));
        }
    }

    /// Puts pieces in line once their time has come.
    pub(super) fn send_pieces(&mut self) {
        if let Some(sent) = self.piece_sent
            && !self.publisher.has_pieces_under_way()
        {
            let now = Instant::now();
            self.gateway.paces.incoming.rest(now, now - sent);
            self.piece_sent = None;
        }
        while self.publisher.next_piece_bytes(PIECES_ALONE).is_some() {
            let (now, paces) = (Instant::now(), &self.gateway.paces);
            let has_others = paces.has_others(now);
            let at_once = if has_others { 1 } else { PIECES_ALONE };
            let Some(bytes) = self.publisher.next_piece_bytes(at_once) else { return };
            let at = *self.piece_at.get_or_insert_with(|| paces.incoming.book(now, bytes, has_others));
            if at > now {
                return;
            }
            self.piece_at = None;
            self.piece_sent = Some(now);
            self.publisher.send_piece();
        }
        // The body may have been abandoned meanwhile.
        self.piece_at = None;
    }

    /// Bodies make way for what was served since this was called last.
    pub(super) fn note_others(&mut self) {
        if std::mem::take(&mut self.has_served_others) {
            self.gateway.paces.note_other(Instant::now());
        }
    }

    /// All of it is there: its last piece goes, and the message is told where it is.
    pub(super) fn end_body(&mut self, end: LargeEnd, message: &mut Message) {
        if let Some(last) = self.publisher.end_body(end, message) {
            self.publisher.submit_piece(end.body, self.gateway.admit(last));
        }
    }
}

/// Tells the directory of a running gateway which bodies may go. While it stops nobody is told: a message that is
/// dropped then is still stored, and a restart finds out which bodies are wanted.
#[derive(Debug, Default)]
pub struct Releases(std::sync::OnceLock<std::sync::Weak<Gateway>>);

impl Releases {
    /// What bodies are given.
    pub fn on_release(self: &Arc<Self>) -> OnRelease {
        let releases = self.clone();
        OnRelease::new(move |name| {
            let gateway = releases.0.get().and_then(std::sync::Weak::upgrade);
            if let Some(gateway) = gateway.filter(|gateway| !gateway.is_stopping()) {
                gateway.directory.push(DirectoryCommand::Release { name: name.clone() });
            }
        })
    }

    /// The gateway runs.
    pub fn connect(&self, gateway: &Arc<Gateway>) {
        // Called once.
        let _ = self.0.set(Arc::downgrade(gateway));
    }
}
