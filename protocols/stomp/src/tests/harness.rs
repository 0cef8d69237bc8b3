//! A client's end of a session, and the gateway's answers.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evergate_model::{
    Access, Action, Address, Attached, Close, ConsumerId, Delivery, Encoding, Event, Formats, Message, Meta, Output,
    Seq, Session, Time, Token,
};

use crate::codec::{Command, Decoder, Frame, Version};
use crate::{Limits, StompConfig, StompFormat, StompSession};

/// A session, and all it said so far.
pub(super) struct Client {
    pub(super) session: StompSession,
    pub(super) now: Time,
    pub(super) actions: Vec<Action>,
    pub(super) close: Option<Close>,
    /// What the session has left of what it was sent.
    pub(super) input: BytesMut,
    wire: BytesMut,
    decoder: Decoder,
    seq: u64,
}

impl Client {
    pub(super) fn new(config: StompConfig) -> Self {
        Self::with_formats(config, Formats::default())
    }

    pub(super) fn with_formats(config: StompConfig, others: Formats) -> Self {
        let formats = others.with(Encoding::Stomp, &StompFormat);
        Self {
            session: StompSession::new(config, formats, 7),
            now: Time(1_000),
            actions: Vec::new(),
            close: None,
            input: BytesMut::new(),
            wire: BytesMut::new(),
            decoder: Decoder::new(Limits::default()),
            seq: 0,
        }
    }

    /// Connected in that version, with client-id `me`.
    pub(super) fn connected(version: &str) -> Self {
        Self::connected_with(StompConfig::default(), version)
    }

    pub(super) fn connected_with(config: StompConfig, version: &str) -> Self {
        Self::new(config).connect(version)
    }

    pub(super) fn connect(mut self, version: &str) -> Self {
        self.send(&format!("CONNECT\naccept-version:{version}\nhost:h\nclient-id:me\n\n\0"));
        assert!(matches!(self.actions.remove(0), Action::Authenticate(_)));
        self.event(Event::Authenticated(Access::Granted("".into())));
        let spoken = match version {
            "1.0" => Version::V1_0,
            "1.1" => Version::V1_1,
            _ => Version::V1_2,
        };
        self.decoder.set_version(spoken);
        assert_eq!(self.frame().command, Command::Connected);
        self
    }

    pub(super) fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        self.call(|session, now, out| session.received(now, &mut input, out));
        self.input = input;
    }

    pub(super) fn event(&mut self, event: Event) {
        self.call(|session, now, out| session.handle(now, event, out));
    }

    /// So many bytes of large messages await their commit.
    pub(super) fn pieces_pending(&mut self, bytes: u64) {
        self.call(|session, now, out| session.pieces_pending(now, bytes, out));
    }

    pub(super) fn timeout_at(&mut self, now: u64) {
        self.now = Time(now);
        self.call(Session::timeout);
    }

    fn call(&mut self, act: impl FnOnce(&mut StompSession, Time, &mut Output)) {
        let mut out = Output::default();
        act(&mut self.session, self.now, &mut out);
        self.actions.append(&mut out.actions);
        for segment in out.wire.take() {
            self.wire.extend_from_slice(&segment);
        }
        self.close = self.close.take().or(out.close);
    }

    /// The next frame that the client got; there must be one.
    pub(super) fn frame(&mut self) -> Frame {
        self.try_frame().expect("a frame")
    }

    pub(super) fn try_frame(&mut self) -> Option<Frame> {
        self.decoder.decode(&mut self.wire).expect("what the gateway sends is well formed")
    }

    /// Raw bytes that the client got.
    pub(super) fn bytes(&mut self) -> Bytes {
        self.wire.split().freeze()
    }

    /// The next so many of them.
    pub(super) fn bytes_of(&mut self, count: usize) -> Bytes {
        self.wire.split_to(count).freeze()
    }

    /// The next frame is an ERROR and the connection closes: its message and receipt-id.
    pub(super) fn error(&mut self) -> (String, Option<String>) {
        self.decoder.set_version(Version::V1_2);
        let frame = self.frame();
        assert_eq!(frame.command, Command::Error);
        assert!(self.close.is_some());
        assert!(!frame.body.is_empty());
        let get = |name| frame.headers.get(name).map(str::to_owned);
        (get("message").unwrap(), get("receipt-id"))
    }

    pub(super) fn receipt(&mut self) -> Option<String> {
        let frame = self.try_frame()?;
        assert_eq!(frame.command, Command::Receipt);
        frame.headers.get("receipt-id").map(str::to_owned)
    }

    /// Subscribes, and the gateway says yes; the Attach.
    pub(super) fn subscribed(&mut self, headers: &str) -> evergate_model::Attach {
        self.send(&format!("SUBSCRIBE\n{headers}\n\n\0"));
        let Action::Attach(attach) = self.actions.pop().expect("an action") else { panic!("no Attach") };
        self.attached(attach.consumer, "$tmp/1");
        attach
    }

    pub(super) fn attached(&mut self, consumer: ConsumerId, queue: &str) {
        let attached = Attached { queue: queue.into(), ..Attached::default() };
        self.event(Event::Attached { consumer, result: Ok(attached) });
    }

    pub(super) fn published(&mut self, token: Token) {
        self.event(Event::Published { token, result: Ok(1) });
    }

    /// Takes the oldest action, a Publish.
    pub(super) fn publish(&mut self) -> evergate_model::Publish {
        match self.actions.remove(0) {
            Action::Publish(publish) => publish,
            other => panic!("{other:?}"),
        }
    }

    /// Delivers a message with the next place in its queue; the frame, if there was one.
    pub(super) fn deliver(&mut self, consumer: ConsumerId, message: Message) -> Option<Frame> {
        self.seq += 1;
        self.deliver_seq(consumer, message, self.seq)
    }

    pub(super) fn deliver_seq(&mut self, consumer: ConsumerId, message: Message, seq: u64) -> Option<Frame> {
        self.event(Event::Deliver(Delivery {
            consumer,
            seq: Seq(seq),
            message: Arc::new(message),
            failed_count: 0,
            redelivered: false,
            retained: false,
        }));
        self.try_frame()
    }
}

pub(super) fn plain(text: &'static str) -> Message {
    Message::new(Meta::new(Address::queue("q")), Encoding::Plain, Bytes::new(), Bytes::from_static(text.as_bytes()))
}
