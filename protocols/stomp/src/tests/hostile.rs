//! Any frames in any order, against a gateway that answers when it likes: what the contract promises of a session
//! holds, and what is delivered is settled at most once.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use evergate_model::{
    Action, Attached, ConsumerId, Event, RollbackReason, Session, Settle, Token, TransactionError, TransactionId,
};
use proptest::prelude::*;

use super::harness::{Client, plain};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Held,
    InTransaction(TransactionId),
    Settled,
}

#[derive(Default)]
struct Gateway {
    answers: VecDeque<Event>,
    tokens: HashSet<Token>,
    transactions: u64,
    open: HashSet<TransactionId>,
    /// How many deliveries each consumer was sent, and what became of them.
    consumers: HashMap<ConsumerId, BTreeMap<u64, Delivery>>,
    credit: HashMap<ConsumerId, u64>,
}

impl Gateway {
    fn act(&mut self, action: Action, doomed: bool) {
        match action {
            Action::Begin { token } => {
                self.name(token);
                self.transactions += 1;
                let id = TransactionId(self.transactions);
                self.open.insert(id);
                self.answers.push_back(Event::Begun { token, result: Ok(id) });
            }
            Action::Commit { transaction, token } => {
                self.end(transaction, token);
                let failed = Err(TransactionError::RolledBack(RollbackReason::Limit, "doomed".into()));
                let result = if doomed { failed } else { Ok(()) };
                self.resolve(transaction, if doomed { Delivery::Held } else { Delivery::Settled });
                self.answers.push_back(Event::Committed { token, result });
            }
            Action::Rollback { transaction, token } => {
                self.end(transaction, token);
                self.resolve(transaction, Delivery::Held);
                self.answers.push_back(Event::Done(token));
            }
            Action::Publish(publish) => {
                self.name(publish.token);
                assert!(publish.transaction.is_none_or(|id| self.open.contains(&id)), "a publish in no transaction");
                self.answers.push_back(Event::Published { token: publish.token, result: Ok(1) });
            }
            Action::Settle(settle) => self.settle(&settle),
            Action::Attach(attach) => {
                self.consumers.insert(attach.consumer, BTreeMap::new());
                let result = Ok(Attached { queue: "$temporary/1".into(), ..Attached::default() });
                self.answers.push_back(Event::Attached { consumer: attach.consumer, result });
            }
            Action::Detach { consumer, .. } => {
                self.consumers.remove(&consumer);
                self.answers.push_back(Event::Detached { consumer });
            }
            Action::Credit(credit) => {
                let before = self.credit.insert(credit.consumer, credit.limit).unwrap_or(0);
                assert!(credit.limit > before, "credit does not shrink");
            }
            other => panic!("{other:?}"),
        }
    }

    fn name(&mut self, token: Token) {
        assert!(self.tokens.insert(token), "{token:?} names two requests");
    }

    fn end(&mut self, transaction: TransactionId, token: Token) {
        self.name(token);
        assert!(self.open.remove(&transaction), "the end of no transaction");
    }

    fn resolve(&mut self, transaction: TransactionId, outcome: Delivery) {
        for delivery in self.consumers.values_mut().flat_map(BTreeMap::values_mut) {
            if *delivery == Delivery::InTransaction(transaction) {
                *delivery = outcome;
            }
        }
    }

    fn settle(&mut self, settle: &Settle) {
        assert!(settle.transaction.is_none_or(|id| self.open.contains(&id)), "a settlement in no transaction");
        let Some(deliveries) = self.consumers.get_mut(&settle.consumer) else { panic!("nobody settles") };
        let mut some = false;
        for (_, delivery) in deliveries.range_mut(settle.first.0..=settle.last.0) {
            match *delivery {
                Delivery::Held => {
                    some = true;
                    *delivery = settle.transaction.map_or(Delivery::Settled, Delivery::InTransaction);
                }
                Delivery::Settled => {}
                Delivery::InTransaction(id) => panic!("settled while {id:?} has it"),
            }
        }
        assert!(some, "a settlement of nothing");
        if let Some(token) = settle.token {
            self.name(token);
            self.answers.push_back(Event::Done(token));
        }
    }
}

/// What happens next. The client knows the rules: what they forbid it to send is left out.
#[derive(Clone, Debug)]
enum Step {
    Begin(&'static str),
    End(&'static str, &'static str),
    Send(Option<&'static str>),
    /// ACK or NACK of the delivery of this consumer at this place.
    Ack(&'static str, u32, u64, Option<&'static str>),
    /// The gateway gives so many of its answers.
    Answer(usize),
    /// The gateway delivers to the consumer, at this place.
    Deliver(u32, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(vec!["a", "b"]);
    let place = || 1..10u64;
    prop_oneof![
        name().prop_map(Step::Begin),
        (prop::sample::select(vec!["COMMIT", "ABORT"]), name()).prop_map(|(how, name)| Step::End(how, name)),
        prop::option::of(name()).prop_map(Step::Send),
        (prop::sample::select(vec!["ACK", "NACK"]), 0..2u32, place(), prop::option::of(name()))
            .prop_map(|(command, consumer, seq, name)| Step::Ack(command, consumer, seq, name)),
        (0..3usize).prop_map(Step::Answer),
        (0..2u32, place()).prop_map(|(consumer, seq)| Step::Deliver(consumer, seq)),
        (0..2u32, place()).prop_map(|(consumer, seq)| Step::Deliver(consumer, seq)),
    ]
}

/// A client that keeps the rules, and a gateway that answers when it likes.
struct Run {
    client: Client,
    gateway: Gateway,
    doomed: bool,
    names: HashSet<&'static str>,
}

impl Run {
    fn new(doomed: bool) -> Self {
        let client = Client::connected("1.2");
        let mut run = Self { client, gateway: Gateway::default(), doomed, names: HashSet::new() };
        run.send("SUBSCRIBE\nid:0\ndestination:q\nack:client\nprefetch-count:2\n\n\0");
        run.send("SUBSCRIBE\nid:1\ndestination:q\nack:client-individual\nprefetch-count:2\n\n\0");
        run.answer(2);
        run
    }

    fn carry(&mut self) {
        for action in std::mem::take(&mut self.client.actions) {
            self.gateway.act(action, self.doomed);
        }
        self.client.bytes();
    }

    fn send(&mut self, frame: &str) {
        self.client.send(frame);
        self.carry();
    }

    fn answer(&mut self, count: usize) {
        for _ in 0..count {
            let Some(event) = self.gateway.answers.pop_front() else { return };
            self.client.event(event);
            self.carry();
        }
    }

    fn take(&mut self, step: &Step) {
        let known = match step {
            Step::Send(Some(name)) | Step::Ack(.., Some(name)) => self.names.contains(name),
            _ => true,
        };
        let header = |name: Option<&str>| name.map(|name| format!("transaction:{name}\n")).unwrap_or_default();
        // The driver does not read while the session wants no input.
        let reads = self.client.session.wants_input();
        match step {
            Step::Answer(count) => self.answer(*count),
            Step::Deliver(consumer, seq) => {
                let deliveries = self.gateway.consumers.get_mut(&ConsumerId(*consumer)).expect("two consumers");
                if deliveries.get(seq).is_none_or(|delivery| *delivery == Delivery::Settled) {
                    deliveries.insert(*seq, Delivery::Held);
                    self.client.deliver_seq(ConsumerId(*consumer), plain("x"), *seq);
                    self.carry();
                }
            }
            _ if !reads => {}
            Step::Begin(name) if self.names.insert(*name) => {
                self.send(&format!("BEGIN\ntransaction:{name}\nreceipt:r\n\n\0"));
            }
            Step::End(how, name) if self.names.remove(*name) => {
                self.send(&format!("{how}\ntransaction:{name}\nreceipt:r\n\n\0"));
            }
            Step::Send(name) if known => self.send(&format!("SEND\ndestination:q\n{}\n\0", header(*name))),
            Step::Ack(command, consumer, seq, name) if known => {
                let delivery = self.gateway.consumers[&ConsumerId(*consumer)].get(seq);
                if delivery == Some(&Delivery::Held) {
                    self.send(&format!("{command}\nid:7-{consumer}-{seq}\n{}receipt:r\n\n\0", header(*name)));
                }
            }
            Step::Begin(_) | Step::End(..) | Step::Send(_) | Step::Ack(..) => {}
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_client_sends_the_contract_holds(
        steps in prop::collection::vec(step(), 1..80),
        doomed in prop::bool::weighted(0.1),
    ) {
        let mut run = Run::new(doomed);
        for step in &steps {
            run.take(step);
            if run.client.close.is_some() {
                break;
            }
        }
        prop_assert!(run.client.close.is_none() || doomed, "{:?}", run.client.close);
        // In the end every delivery that is held can be acknowledged.
        while run.client.close.is_none() && !run.gateway.answers.is_empty() {
            run.answer(1);
        }
        if run.client.close.is_none() {
            for consumer in [0, 1] {
                for seq in 1..10 {
                    run.take(&Step::Ack("ACK", consumer, seq, None));
                    prop_assert!(run.client.close.is_none(), "{:?}", run.client.close);
                }
            }
            let held = |delivery: &Delivery| *delivery == Delivery::Held;
            prop_assert!(!run.gateway.consumers.values().flat_map(BTreeMap::values).any(held));
        }
    }
}
