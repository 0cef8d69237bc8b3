//! One connection: protocol headers, SASL, open and close; what is on a channel goes to that channel.

mod attach;
mod channel;
mod context;
mod flow;
mod handshake;
mod incoming;
mod large;
mod outgoing;
mod sending;
mod session;
mod settlement;
mod source;
mod stall;
mod stream;
mod transactions;
mod window;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evergate_model::{Close, Formats, Output, Time};

use self::channel::Channel;
use self::context::Context;
use self::handshake::Phase;
use crate::codec::{FRAME_AMQP, FRAME_SASL, begin_frame, end_frame, frame_size, parse_frame};
use crate::config::AmqpConfig;
use crate::error::{AmqpError, FRAMING_ERROR, Fault, NOT_ALLOWED, RESOURCE_LIMIT_EXCEEDED, STOLEN};
use crate::performative::{Attach, Performative, write_begin, write_close, write_end};

/// A channel number in use.
enum Slot {
    Live(Box<Channel>),
    /// We sent `end` with an error and discard what comes until the peer's (2.5.4).
    Ending,
}

/// One AMQP 1.0 connection, server side.
pub struct AmqpSession {
    context: Context,
    phase: Phase,
    channels: HashMap<u16, Slot>,
    /// Highest channel number, as both sides agreed.
    channel_max: u16,
    user: Arc<str>,
    /// What arrived while credentials were being checked, or is left of it.
    stash: BytesMut,
    opened: bool,
    handshake_until: Option<Time>,
    heard_at: Time,
    /// Bytes of large messages that await their commit.
    pieces_bytes: u64,
    wrote_at: Time,
    /// How often the peer wants to hear from us, in milliseconds.
    heartbeat_millis: Option<u64>,
}

impl AmqpSession {
    /// A session for a new connection. `conn_id` is unique in the gateway; it is part of the names of
    /// temporary topics. Call `timeout` at once (`next_timeout` says so): it starts the clock.
    pub fn new(config: AmqpConfig, formats: Formats, conn_id: u64) -> Self {
        Self {
            context: Context::new(config, formats, conn_id),
            phase: Phase::Start,
            channels: HashMap::new(),
            channel_max: 0,
            user: "".into(),
            stash: BytesMut::new(),
            opened: false,
            handshake_until: None,
            heard_at: Time(0),
            pieces_bytes: 0,
            wrote_at: Time(0),
            heartbeat_millis: None,
        }
    }

    /// Says why and closes.
    fn close(&mut self, error: &AmqpError, close: Close, out: &mut Output) {
        if self.phase.is_amqp() {
            if !self.opened {
                // Close may only follow open (2.4.1).
                self.write_open(out);
            }
            write_close(self.context.buf(out), Some(error));
        }
        self.finish(close, out);
    }

    fn finish(&mut self, close: Close, out: &mut Output) {
        self.phase = Phase::Closed;
        self.channels.clear();
        self.stash.clear();
        out.close = Some(close);
    }

    fn broken(&mut self, error: &AmqpError, out: &mut Output) {
        let close = Close::ProtocolError(format!("{}: {}", error.condition, error.description));
        self.close(error, close, out);
    }

    /// Takes whole frames and headers off `input`.
    fn consume(&mut self, now: Time, input: &mut BytesMut, out: &mut Output) {
        loop {
            match self.phase {
                Phase::Start | Phase::SaslDone => {
                    if !self.take_header(input, out) {
                        return;
                    }
                }
                Phase::Authenticating { .. } => {
                    self.keep(input, out);
                    return;
                }
                Phase::Closed => {
                    input.clear();
                    return;
                }
                Phase::SaslInit | Phase::SaslResponse | Phase::Open | Phase::Running => {
                    let bytes_max = if self.phase.is_amqp() {
                        self.context.config.frame_bytes_max.max(512)
                    } else {
                        self.context.config.sasl_frame_bytes_max
                    };
                    match frame_size(input, bytes_max) {
                        Ok(Some(size)) if size <= input.len() => {
                            let frame = input.split_to(size).freeze();
                            self.frame(now, &frame, out);
                        }
                        Ok(_) => return,
                        Err(error) => return self.broken(&AmqpError::new(FRAMING_ERROR, error.to_string()), out),
                    }
                }
            }
        }
    }

    /// Keeps what comes while credentials are checked; a client may send its open without waiting, but
    /// no more than that.
    fn keep(&mut self, input: &mut BytesMut, out: &mut Output) {
        let bytes_max = self.context.config.frame_bytes_max.max(512) as usize;
        if self.stash.len() + input.len() > bytes_max {
            let error = AmqpError::new(RESOURCE_LIMIT_EXCEEDED, "too much sent before authentication");
            return self.broken(&error, out);
        }
        self.stash.unsplit(input.split());
    }

    fn frame(&mut self, now: Time, bytes: &Bytes, out: &mut Output) {
        let frame = match parse_frame(bytes) {
            Ok(frame) => frame,
            Err(error) => return self.broken(&AmqpError::new(FRAMING_ERROR, error.to_string()), out),
        };
        let expected = if self.phase.is_amqp() { FRAME_AMQP } else { FRAME_SASL };
        if frame.kind != expected {
            return self.broken(&AmqpError::new(FRAMING_ERROR, "a frame of another layer"), out);
        }
        let body = &bytes[frame.body_at..];
        if body.is_empty() && self.phase.is_amqp() {
            return; // a sign of life
        }
        let performative = match Performative::decode(body) {
            Ok(performative) => performative,
            Err(error) => return self.broken(&error.into(), out),
        };
        let payload = match &performative {
            Performative::Transfer(transfer) => bytes.slice(bytes.len() - transfer.payload_bytes..),
            _ => Bytes::new(),
        };
        if let Err(fault) = self.performative(now, frame.channel, performative, payload, out) {
            self.fault(frame.channel, fault, out);
        }
    }

    fn performative(
        &mut self,
        now: Time,
        channel: u16,
        performative: Performative<'_>,
        payload: Bytes,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let misplaced = || Fault::Connection(AmqpError::new(NOT_ALLOWED, "this performative has no place here"));
        match (self.phase, performative) {
            (Phase::SaslInit, Performative::SaslInit { mechanism, response }) => {
                self.sasl_init(&mechanism, response.as_deref(), out);
                Ok(())
            }
            (Phase::SaslResponse, Performative::SaslResponse(response)) => {
                self.sasl_plain(&response, out);
                Ok(())
            }
            (Phase::Open, Performative::Open(open)) => self.open(now, &open, out),
            (Phase::Open | Phase::Running, Performative::Close) => {
                if !self.opened {
                    self.write_open(out);
                }
                write_close(self.context.buf(out), None);
                self.finish(Close::Goodbye, out);
                Ok(())
            }
            (Phase::Running, Performative::Begin(begin)) => {
                let unfit = |text| Err(Fault::Connection(AmqpError::new(NOT_ALLOWED, text)));
                if channel > self.channel_max {
                    let error = AmqpError::new(FRAMING_ERROR, "the channel number is over channel-max");
                    return Err(Fault::Connection(error));
                }
                if begin.remote_channel.is_some() {
                    return unfit("we began no session that this could answer");
                }
                if self.channels.contains_key(&channel) {
                    return unfit("the channel has a session already");
                }
                let live = Channel::new(channel, &begin, &mut self.context);
                let handle_max = self.context.config.links_per_session_max.saturating_sub(1);
                write_begin(self.context.buf(out), channel, live.incoming.frames, handle_max);
                self.channels.insert(channel, Slot::Live(Box::new(live)));
                Ok(())
            }
            (Phase::Running, performative) => {
                if let Performative::Attach(attach) = &performative {
                    self.steal(attach, out);
                }
                let ended = matches!(performative, Performative::End);
                match self.channels.get_mut(&channel) {
                    Some(Slot::Live(live)) if ended => {
                        live.end(&mut self.context, out);
                        self.channels.remove(&channel);
                        write_end(self.context.buf(out), channel, None);
                        Ok(())
                    }
                    Some(Slot::Live(live)) => live.performative(now, performative, payload, &mut self.context, out),
                    Some(Slot::Ending) => {
                        if ended {
                            self.channels.remove(&channel);
                        }
                        Ok(())
                    }
                    None => Err(Fault::Connection(AmqpError::new(NOT_ALLOWED, "there is no session on this channel"))),
                }
            }
            _ => Err(misplaced()),
        }
    }

    /// 2.6.1: a link name is used once in each direction; attaching it again takes it from the older link.
    fn steal(&mut self, attach: &Attach<'_>, out: &mut Output) {
        let key = (Arc::from(attach.name.as_ref()), attach.receiver);
        let Some(place) = self.context.names.get(&key).copied() else { return };
        if let Some((channel, context)) = self.channel(place.channel) {
            let error = AmqpError::new(STOLEN, "a link of this name was attached again");
            channel.detach_for(place.handle, &error, true, context, out);
        }
    }

    /// Ends what the fault reaches.
    fn fault(&mut self, channel: u16, fault: Fault, out: &mut Output) {
        match fault {
            Fault::Connection(error) => self.broken(&error, out),
            Fault::Session(error) => {
                if let Some(slot) = self.channels.get_mut(&channel)
                    && let Slot::Live(live) = slot
                {
                    live.end(&mut self.context, out);
                    *slot = Slot::Ending;
                    write_end(self.context.buf(out), channel, Some(&error));
                }
            }
            Fault::Link(handle, error) => {
                if let Some(Slot::Live(live)) = self.channels.get_mut(&channel) {
                    live.detach_for(handle, &error, true, &mut self.context, out);
                }
            }
        }
    }

    fn channel(&mut self, number: u16) -> Option<(&mut Channel, &mut Context)> {
        match self.channels.get_mut(&number) {
            Some(Slot::Live(live)) => Some((live, &mut self.context)),
            _ => None,
        }
    }

    /// An empty frame: a sign of life.
    fn beat(&mut self, out: &mut Output) {
        let buf = self.context.buf(out);
        let start = begin_frame(buf, FRAME_AMQP, 0);
        end_frame(buf, start, 0);
    }
}

#[cfg(test)]
impl AmqpSession {
    /// Bytes of messages that have arrived in part.
    pub(crate) fn assembly_bytes(&self) -> u64 {
        self.context.assembly_bytes
    }

    /// Bytes of large bodies on their way to clients.
    pub(crate) fn held_bytes(&self) -> usize {
        let live = self.channels.values().filter_map(|slot| match slot {
            Slot::Live(channel) => Some(channel),
            Slot::Ending => None,
        });
        live.flat_map(|channel| channel.links.values()).map(channel::Link::held_bytes).sum()
    }
}
