//! Large and small messages, receipts and heart-beats in any order: what the client gets is whole frames, in the order
//! in which the gateway said them.

use evergate_model::{Action, ConsumerId, Event, Session, Token};
use proptest::prelude::*;

use super::harness::{Client, plain};
use super::large_out::{delivery, large};
use crate::StompConfig;
use crate::codec::Command;

#[derive(Clone, Debug)]
enum Step {
    Small,
    Large(usize),
    /// The current reader gets so many bytes.
    Piece(usize),
    /// The client sends something that wants a receipt.
    Send,
    /// The gateway answers the oldest of that.
    Answer,
    /// So much time passes.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Small),
        1 => (1usize..40).prop_map(Step::Large),
        4 => (1usize..20).prop_map(Step::Piece),
        1 => Just(Step::Send),
        1 => Just(Step::Answer),
        1 => (1u64..20_000).prop_map(Step::Wait),
    ]
}

#[derive(Debug, PartialEq)]
enum Said {
    Message(Vec<u8>),
    Receipt(String),
}

struct Run {
    client: Client,
    consumer: ConsumerId,
    seq: u64,
    expected: Vec<Said>,
    /// Bodies that were delivered and not read.
    bodies: Vec<Vec<u8>>,
    reader: Option<ConsumerId>,
    unanswered: Vec<(Token, String)>,
    sent: usize,
}

impl Run {
    fn new() -> Self {
        let mut client = Client::new(StompConfig::default()).connect("1.2\nheart-beat:0,1000");
        let consumer = client.subscribed("id:s\ndestination:q").consumer;
        client.actions.clear();
        let (expected, bodies, unanswered) = (Vec::new(), Vec::new(), Vec::new());
        Self { client, consumer, seq: 0, expected, bodies, reader: None, unanswered, sent: 0 }
    }

    fn carry(&mut self) {
        for action in std::mem::take(&mut self.client.actions) {
            match action {
                Action::Attach(attach) => {
                    assert_eq!(self.reader, None, "two frames at a time");
                    self.reader = Some(attach.consumer);
                }
                Action::Detach { consumer, .. } => {
                    self.client.event(Event::Detached { consumer });
                }
                Action::Publish(publish) => {
                    self.unanswered.push((publish.token, self.sent.to_string()));
                }
                Action::Credit(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn piece(&mut self, length: usize) {
        let Some(reader) = self.reader else { return };
        let body = &mut self.bodies[0];
        let piece: Vec<u8> = body.drain(..length.min(body.len())).collect();
        if body.is_empty() {
            self.bodies.remove(0);
            self.reader = None;
        }
        self.client.piece(reader, 1, &piece);
    }

    fn take(&mut self, step: &Step) {
        self.seq += 1;
        match step {
            Step::Small => {
                self.expected.push(Said::Message(b"small".to_vec()));
                self.client.event(delivery(self.consumer, self.seq, plain("small")));
            }
            Step::Large(length) => {
                let body: Vec<u8> = (0..*length).map(|at| (at + self.expected.len()) as u8).collect();
                self.expected.push(Said::Message(body.clone()));
                self.bodies.push(body);
                self.client.event(delivery(self.consumer, self.seq, large(*length as u64)));
            }
            Step::Piece(length) => self.piece(*length),
            Step::Send => {
                self.sent += 1;
                self.client.send(&format!("SEND\ndestination:q\nreceipt:{}\n\nx\0", self.sent));
            }
            Step::Answer if !self.unanswered.is_empty() => {
                let (token, receipt) = self.unanswered.remove(0);
                self.expected.push(Said::Receipt(receipt));
                self.client.published(token);
            }
            Step::Answer => {}
            Step::Wait(millis) => self.client.timeout_at(self.client.now.0 + millis),
        }
        self.carry();
    }
}

proptest! {
    #[test]
    fn frames_do_not_mix(steps in prop::collection::vec(step(), 1..80)) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
        }
        while run.reader.is_some() {
            run.take(&Step::Piece(7));
        }
        prop_assert!(run.bodies.is_empty() && run.client.close.is_none());
        prop_assert!(run.client.session.wants_input() && !run.client.session.holds_back(run.consumer));
        let mut said = Vec::new();
        while let Some(frame) = run.client.try_frame() {
            said.push(match frame.command {
                Command::Message => Said::Message(frame.body.to_vec()),
                Command::Receipt => Said::Receipt(frame.headers.get("receipt-id").unwrap_or_default().to_owned()),
                other => panic!("{other:?}"),
            });
        }
        prop_assert_eq!(said, run.expected);
        prop_assert!(run.client.bytes().iter().all(|byte| *byte == b'\n'));
    }
}
