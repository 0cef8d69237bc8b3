//! Drives a session: the peer's bytes in, its requests to the gateway, the answers back.

use bytes::BytesMut;
use evergate_model::{Close, ConsumerId, Event, Output, Session, Time};

use super::gateway::Gateway;
use super::input::{Choices, Input};

/// When a run begins.
pub const START: Time = Time(1_700_000_000_000);

/// When the gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// After each chunk.
    Prompt,
    /// After the last chunk, but for what the peer's bytes have to wait for: so the outcome does not
    /// depend on the chunks.
    Late,
}

/// A session and all it said so far.
pub struct Driver<'a, S> {
    /// The session.
    pub session: S,
    /// Its gateway.
    pub gateway: Gateway<'a>,
    /// What the peer was sent.
    pub wire: Vec<u8>,
    /// Why it closed.
    pub close: Option<Close>,
    /// Its requests as text, if wanted.
    pub log: Option<Vec<String>>,
    now: Time,
    input: BytesMut,
    input_bytes: u64,
    actions: u64,
}

impl<'a, S: Session> Driver<'a, S> {
    /// A new connection.
    pub fn new(mut session: S, choices: Choices<'a>) -> Self {
        let mut out = Output::default();
        session.timeout(START, &mut out);
        let mut driver = Self {
            session,
            gateway: Gateway::new(choices),
            wire: Vec::new(),
            close: None,
            log: None,
            now: START,
            input: BytesMut::new(),
            input_bytes: 0,
            actions: 0,
        };
        driver.take(out);
        driver
    }

    fn take(&mut self, mut out: Output) {
        out.wire.take().iter().for_each(|segment| self.wire.extend_from_slice(segment));
        for action in out.actions {
            self.actions += 1;
            if let Some(log) = &mut self.log {
                log.push(format!("{action:?}"));
            }
            self.gateway.act(action);
        }
        self.close = self.close.take().or(out.close);
        let wire_max = 16 * 1024 + 64 * self.input_bytes + self.gateway.delivered_bytes_max();
        assert!(self.wire.len() as u64 <= wire_max, "{} bytes written, {wire_max} expected", self.wire.len());
        assert!(self.actions <= 64 + self.input_bytes * 2 + self.gateway.delivered_bytes_max() / 1024);
    }

    /// The peer sends `bytes`.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.close.is_some() {
            return;
        }
        self.input.extend_from_slice(bytes);
        self.input_bytes += bytes.len() as u64;
        let mut out = Output::default();
        self.session.received(self.now, &mut self.input, &mut out);
        self.take(out);
    }

    /// Tells the session the next answer of the gateway. False: there is none.
    fn answer(&mut self) -> bool {
        match self.gateway.events.pop_front() {
            Some(event) if self.close.is_none() => {
                self.tell(event);
                true
            }
            _ => false,
        }
    }

    /// Tells the session of `event`.
    pub fn tell(&mut self, event: Event) {
        self.gateway.told(&event);
        let mut out = Output::default();
        self.session.handle(self.now, event, &mut out);
        self.take(out);
    }

    /// Tells the session all answers of the gateway.
    pub fn answer_all(&mut self) {
        while self.answer() {}
    }

    /// Tells it what the peer's bytes have to wait for: whether it may come in, and with MQTT, whether it may have
    /// its will, and the queue of its session.
    fn answer_gates(&mut self) {
        let mqtt = self.session.peer().protocol.starts_with("MQTT");
        while match self.gateway.events.front() {
            Some(Event::Authenticated(_)) => true,
            Some(Event::Published { .. }) => mqtt && self.gateway.consumers().next().is_none(),
            Some(Event::Attached { consumer: ConsumerId(0), .. }) => mqtt,
            _ => false,
        } && self.answer()
        {}
    }

    fn wait(&mut self, millis: u64) {
        self.now = Time(self.now.0 + millis);
        if self.close.is_none() && self.session.next_timeout().is_some_and(|at| at <= self.now) {
            let mut out = Output::default();
            self.session.timeout(self.now, &mut out);
            self.take(out);
        }
    }

    /// The peer sends `stream` in chunks of the choices' sizes.
    pub fn run(&mut self, mut stream: &[u8], choices: &mut Choices<'_>, answers: Answers) {
        while !stream.is_empty() && self.close.is_none() {
            let chunk = choices.chunk(&mut stream);
            self.receive(chunk);
            match answers {
                Answers::Late => self.answer_gates(),
                Answers::Prompt => {
                    let pace = choices.next();
                    self.wait(u64::from(pace / 4) * 50);
                    if pace % 4 == 3 {
                        self.gateway.disturb();
                    }
                    if pace % 4 == 2 {
                        self.answer();
                    } else {
                        self.answer_all();
                    }
                }
            }
        }
        self.answer_all();
        let _ = self.session.peer();
    }
}

/// Runs `stream` after `opening` through new sessions: as the input's plan says once with prompt answers,
/// or twice with late ones, in one chunk and in many, which must come to the same.
pub fn session<S: Session>(
    input: Input<'_>,
    opening: &[u8],
    stream: &[u8],
    new: impl Fn() -> S,
    check: impl Fn(&[u8]),
) {
    let mut choices = input.choices();
    if input.plan & 1 == 0 {
        let mut driver = Driver::new(new(), choices.clone());
        driver.receive(opening);
        driver.answer_all();
        driver.run(stream, &mut choices, Answers::Prompt);
        return check(&driver.wire);
    }
    let run = |choices: &mut Choices<'_>| {
        // The gateway says yes to everything: its choices would depend on the chunks' number.
        let mut driver = Driver::new(new(), Input { script: &[], ..input }.choices());
        driver.receive(opening);
        driver.answer_all();
        driver.log = Some(Vec::new());
        driver.run(stream, choices, Answers::Late);
        driver
    };
    let whole = run(&mut Input { script: &[], ..input }.choices());
    check(&whole.wire);
    let parts = run(&mut choices);
    assert_eq!(whole.log, parts.log, "the requests depend on the chunks");
    assert_eq!(whole.close, parts.close, "the end depends on the chunks");
    assert_eq!(whole.wire, parts.wire, "the answers depend on the chunks");
}
