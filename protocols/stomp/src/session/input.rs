//! Bytes to frames, and each frame to whom it concerns.

use bytes::BytesMut;
use evergate_model::{Output, Time};

use super::fault::Fault;
use super::{Phase, StompSession};
use crate::codec::{Command, Decoded, Frame};

impl StompSession {
    /// Keeps what cannot be processed yet, because the driver need not call again when the answer is there.
    pub(super) fn hold(&mut self, input: &mut BytesMut, out: &mut Output) {
        self.held.unsplit(input.split());
        let max = match self.phase {
            Phase::Authenticating => self.config.early_bytes_max,
            // Waits for an answer that comes soon: room for a frame more.
            _ => self.config.early_bytes_max + self.config.limits.body_bytes_max,
        };
        if self.held.len() > max {
            self.fail(Fault::refused(format!("more than {max} bytes sent without waiting for the answer")), out);
        }
    }

    /// Processes whole frames until there are no more, or one must wait.
    pub(super) fn process(&mut self, now: Time, input: &mut BytesMut, out: &mut Output) {
        while !self.is_paused() && matches!(self.phase, Phase::AwaitConnect | Phase::Connected) {
            match self.decoder.next(input) {
                Ok(Some(Decoded::Frame(frame))) => self.on_frame(now, frame, out),
                Ok(Some(Decoded::Large(frame, length))) => self.on_large_head(now, frame, length, out),
                Ok(Some(Decoded::Piece(bytes))) => self.on_piece(bytes, out),
                Ok(Some(Decoded::End)) => self.on_large_end(out),
                Ok(None) => return,
                Err(error) => self.fail(Fault::refused(error.to_string()), out),
            }
        }
        if matches!(self.phase, Phase::Disconnecting | Phase::Failing | Phase::Closed) {
            input.clear(); // nothing may follow DISCONNECT or an ERROR
        }
    }

    pub(super) fn on_frame(&mut self, now: Time, frame: Frame, out: &mut Output) {
        let receipt = frame.headers.get("receipt").map(str::to_owned);
        let result = self.dispatch(now, frame, out);
        if let Err(mut fault) = result {
            fault.receipt = fault.receipt.or(receipt);
            self.fail(fault, out);
        }
    }

    fn dispatch(&mut self, now: Time, frame: Frame, out: &mut Output) -> Result<(), Fault> {
        let connecting = matches!(frame.command, Command::Connect | Command::Stomp);
        match (self.phase, connecting) {
            (Phase::AwaitConnect, true) => return self.on_connect(now, &frame, out),
            (Phase::AwaitConnect, false) => {
                // CONNECTED: the decoder lets no other through.
                return Err(Fault::refused(format!("{} before CONNECT", frame.command.as_str())));
            }
            (_, true) => return Err(Fault::refused("this connection is connected already")),
            (_, false) => {}
        }
        if self.pending.len() >= self.config.pending_max {
            return Err(Fault::refused(format!("more than {} frames await their answer", self.config.pending_max)));
        }
        if self.transactions.must_wait(&frame) {
            self.stalled = Some(frame);
            return Ok(());
        }
        match frame.command {
            Command::Send => self.stalled = self.on_send(now, frame, out)?,
            Command::Subscribe => self.on_subscribe(&frame, out)?,
            Command::Unsubscribe => self.on_unsubscribe(&frame, out)?,
            Command::Ack | Command::Nack => self.on_ack(&frame, out)?,
            Command::Begin => self.on_begin(&frame, out)?,
            Command::Commit => self.on_commit(&frame, out)?,
            Command::Abort => self.on_abort(&frame, out)?,
            Command::Disconnect => {
                let token = self.pending.add(frame.headers.get("receipt").map(str::to_owned));
                self.pending.answer(token);
                self.phase = Phase::Disconnecting;
                self.flush_receipts(out);
            }
            // Handled above, or only a server may send it.
            Command::Connect
            | Command::Stomp
            | Command::Connected
            | Command::Message
            | Command::Receipt
            | Command::Error => {
                return Err(Fault::refused(format!("a client cannot send {}", frame.command.as_str())));
            }
        }
        Ok(())
    }
}
