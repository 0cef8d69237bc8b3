//! Whatever a client does with transactions, no message is lost and none is there twice.

use std::collections::BTreeSet;

use evergate_model::TransactionId;
use proptest::prelude::*;

use super::client::{AttachFrame, Client, Node, begin, data, detach, disposition, flow, performative, transfer};
use super::controller::{COORDINATOR, RECEIVER, SENDER, control, coordinator, discharge, id_of, posting, retiring};
use super::gateway::Gateway;
use crate::AmqpConfig;
use crate::performative::code;

#[derive(Clone, Copy, Debug)]
enum Step {
    Declare,
    /// Of the transaction of this number.
    Discharge(u64, bool),
    Publish,
    Post(u64),
    Credit(u32),
    Settle(u32, u32, bool),
    Retire(u32, u32, bool, u64),
    Reattach,
    EndCoordinator,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Declare),
        2 => (1..5u64, any::<bool>()).prop_map(|(id, fail)| Step::Discharge(id, fail)),
        3 => Just(Step::Publish),
        3 => (1..5u64).prop_map(Step::Post),
        3 => (1..6u32).prop_map(Step::Credit),
        2 => (0..12u32, 0..12u32, any::<bool>()).prop_map(|(first, last, settled)| Step::Settle(first, last, settled)),
        4 => (0..12u32, 0..12u32, any::<bool>(), 1..5u64).prop_map(|(a, b, settled, id)| Step::Retire(a, b, settled, id)),
        1 => Just(Step::Reattach),
        1 => Just(Step::EndCoordinator),
    ]
}

/// A client with its links in session 0, and what it published for certain.
struct World {
    client: Client,
    gateway: Gateway,
    next_id: u32,
    published: BTreeSet<Vec<u8>>,
    /// By transaction, until it is decided.
    posted: Vec<(u64, Vec<u8>)>,
    /// Open, as far as the controller knows.
    open: BTreeSet<u64>,
    last: u64,
    received: u32,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            client: Client::running(AmqpConfig { unsettled_per_link_max: 6, ..AmqpConfig::default() }),
            gateway: Gateway::default(),
            next_id: 0,
            published: BTreeSet::new(),
            posted: Vec::new(),
            open: BTreeSet::new(),
            last: 0,
            received: 0,
        };
        world.links();
        world
    }

    /// Attaches what is not attached.
    fn links(&mut self) {
        self.client.send(0, &coordinator("tx", COORDINATOR, &[], &[]));
        self.client.send(0, &AttachFrame { name: "s", ..AttachFrame::sender(SENDER, Node::at("q")) }.bytes());
        self.client.send(0, &AttachFrame { name: "r", ..AttachFrame::receiver(RECEIVER, Node::at("q")) }.bytes());
        self.run();
    }

    fn run(&mut self) {
        self.gateway.run(&mut self.client);
        let replies = self.client.replies();
        self.received += replies.iter().filter(|reply| reply.code == code::TRANSFER).count() as u32;
        if replies.iter().any(|reply| reply.code == code::END) {
            // Two transactions for one delivery: the session is over, and its transactions with it.
            self.roll_back_all();
            self.client.send(0, &performative(code::END, &[]));
            self.client.send(0, &begin(1000));
            (self.next_id, self.received) = (0, 0);
            self.links();
        } else if replies.iter().any(|reply| reply.code == code::DETACH && reply.item(2).is_some()) {
            // A transaction that is not there: the receiver is detached.
            self.client.send(0, &detach(RECEIVER, true));
            self.client.send(0, &AttachFrame { name: "r", ..AttachFrame::receiver(RECEIVER, Node::at("q")) }.bytes());
            self.run();
        }
    }

    fn roll_back_all(&mut self) {
        self.posted.clear();
        self.open.clear();
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn step(&mut self, step: Step, number: usize) {
        let id = if matches!(step, Step::Declare | Step::Discharge(..) | Step::Publish | Step::Post(_)) {
            self.id()
        } else {
            0
        };
        let body = number.to_be_bytes();
        match step {
            Step::Declare => {
                self.client.send(0, &transfer(COORDINATOR, id, false, &control(code::DECLARE, &[])));
                self.last += 1;
                self.open.insert(self.last);
            }
            Step::Discharge(of, fail) => {
                self.client.send(0, &transfer(COORDINATOR, id, false, &discharge(TransactionId(of), fail)));
                if self.open.remove(&of) {
                    let (decided, rest) = std::mem::take(&mut self.posted).into_iter().partition(|(by, _)| *by == of);
                    self.posted = rest;
                    let decided: Vec<(u64, Vec<u8>)> = decided;
                    self.published.extend(decided.into_iter().filter(|_| !fail).map(|(_, body)| body));
                }
            }
            Step::Publish => {
                self.client.send(0, &transfer(SENDER, id, false, &data(&body)));
                self.published.insert(data(&body));
            }
            Step::Post(of) => {
                self.client.send(0, &posting(id, false, &id_of(TransactionId(of)), &body));
                if self.open.contains(&of) {
                    self.posted.push((of, data(&body)));
                }
            }
            Step::Credit(credit) => self.client.send(0, &flow(RECEIVER, self.received, credit, false)),
            Step::Settle(first, last, settled) => {
                self.client.send(0, &disposition(first, Some(last), settled, Some(code::ACCEPTED)));
            }
            Step::Retire(first, last, settled, of) => {
                self.client.send(0, &retiring(first, last, settled, TransactionId(of), code::ACCEPTED));
            }
            Step::Reattach => {
                self.client.send(0, &detach(RECEIVER, true));
                self.run();
                let frame = AttachFrame { name: "r", ..AttachFrame::receiver(RECEIVER, Node::at("q")) };
                self.client.send(0, &frame.bytes());
            }
            Step::EndCoordinator => {
                self.client.send(0, &detach(COORDINATOR, true));
                self.roll_back_all();
                self.client.send(0, &coordinator("tx", COORDINATOR, &[], &[]));
            }
        }
        self.run();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_message_is_accepted_once_or_still_there(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut world = World::new();
        for (number, step) in steps.into_iter().enumerate() {
            world.step(step, number);
            prop_assert!(world.client.closed().is_none());
        }
        // What is undecided is undone, what is in the client's hands goes back.
        world.client.send(0, &performative(code::END, &[]));
        world.gateway.run(&mut world.client);
        let mut all = world.gateway.backlog("q");
        all.extend(world.gateway.accepted.iter().cloned());
        let once: BTreeSet<Vec<u8>> = all.iter().cloned().collect();
        prop_assert_eq!(all.len(), once.len(), "twice");
        prop_assert_eq!(once, world.published);
    }
}
