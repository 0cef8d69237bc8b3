//! BEGIN, COMMIT and ABORT. The names of transactions are the client's, each for its connection alone.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use evergate_model::{Action, ConsumerId, Output, Token, TransactionError, TransactionId};

use super::fault::Fault;
use super::subscription::{Held, Phase};
use super::{StompSession, required};
use crate::codec::{Command, Frame};

/// A transaction that the client began and did not end.
#[derive(Debug)]
struct Transaction {
    state: State,
    /// SEND, ACK and NACK frames in it.
    frames: usize,
    taken: HashMap<ConsumerId, Taken>,
}

/// What ACK and NACK of a consumer's deliveries took in a transaction.
#[derive(Debug)]
struct Taken {
    held: Vec<Held>,
    /// All are within.
    range: RangeInclusive<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The gateway has not named it yet; the BEGIN frame's token.
    Awaited(Token),
    Begun(TransactionId),
}

/// An ABORT that awaits its answer: nothing goes on before, since what the transaction took may be
/// acknowledged anew.
#[derive(Debug)]
struct Abort {
    token: Token,
    taken: HashMap<ConsumerId, Taken>,
}

#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: HashMap<Arc<str>, Transaction>,
    /// COMMITs that await their answer, and the names they had.
    committing: HashMap<Token, Arc<str>>,
    aborting: Option<Abort>,
}

impl Transactions {
    /// Whether an ABORT awaits its answer.
    pub(super) fn is_aborting(&self) -> bool {
        self.aborting.is_some()
    }

    /// Whether the frame is for a transaction that the gateway has not named yet.
    pub(super) fn must_wait(&self, frame: &Frame) -> bool {
        let concerned =
            matches!(frame.command, Command::Send | Command::Ack | Command::Nack | Command::Commit | Command::Abort);
        concerned
            && frame
                .headers
                .get("transaction")
                .and_then(|name| self.open.get(name))
                .is_some_and(|transaction| matches!(transaction.state, State::Awaited(_)))
    }

    /// Counts a frame into the transaction that it names. `None`: it names none.
    pub(super) fn enlist(&mut self, frame: &Frame, frames_max: usize) -> Result<Option<TransactionId>, Fault> {
        let Some(name) = frame.headers.get("transaction") else {
            return Ok(None);
        };
        let Some(Transaction { state: State::Begun(id), frames, .. }) = self.open.get_mut(name) else {
            return Err(unknown(frame, name));
        };
        *frames += 1;
        if *frames > frames_max {
            return Err(Fault::refused(format!("transaction {name} has more than {frames_max} frames")));
        }
        Ok(Some(*id))
    }

    /// Whether an open transaction may have taken some of the consumer's deliveries of this range.
    pub(super) fn touches(&self, consumer: ConsumerId, range: &RangeInclusive<u64>) -> bool {
        self.open
            .values()
            .filter_map(|transaction| transaction.taken.get(&consumer))
            .any(|taken| taken.range.start() <= range.end() && range.start() <= taken.range.end())
    }

    /// Notes what an ACK or NACK took, in case it is aborted.
    pub(super) fn note_taken(
        &mut self,
        frame: &Frame,
        consumer: ConsumerId,
        held: Vec<Held>,
        range: &RangeInclusive<u64>,
    ) {
        let named = frame.headers.get("transaction").and_then(|name| self.open.get_mut(name));
        let Some(transaction) = named else {
            return;
        };
        let taken =
            transaction.taken.entry(consumer).or_insert_with(|| Taken { held: Vec::new(), range: range.clone() });
        taken.range = (*taken.range.start()).min(*range.start())..=(*taken.range.end()).max(*range.end());
        taken.held.extend(held);
    }

    fn end(&mut self, frame: &Frame) -> Result<(Arc<str>, TransactionId, Transaction), Fault> {
        let name = required(frame, "transaction")?;
        match self.open.remove_entry(name) {
            Some((name, transaction)) => match transaction.state {
                State::Begun(id) => Ok((name, id, transaction)),
                State::Awaited(_) => Err(unknown(frame, &name)), // not reached: such frames wait
            },
            None => Err(unknown(frame, name)),
        }
    }
}

fn unknown(frame: &Frame, name: &str) -> Fault {
    Fault::refused(format!("{}: there is no transaction {name}", frame.command.as_str()))
}

impl StompSession {
    pub(super) fn on_begin(&mut self, frame: &Frame, out: &mut Output) -> Result<(), Fault> {
        let name: Arc<str> = required(frame, "transaction")?.into();
        if self.transactions.open.contains_key(&name) {
            return Err(Fault::refused(format!("BEGIN: there is a transaction {name} already")));
        }
        let token = self.pending.add(frame.headers.get("receipt").map(str::to_owned));
        let transaction = Transaction { state: State::Awaited(token), frames: 0, taken: HashMap::new() };
        self.transactions.open.insert(name, transaction);
        out.actions.push(Action::Begin { token });
        Ok(())
    }

    pub(super) fn on_begun(
        &mut self,
        token: Token,
        result: Result<TransactionId, TransactionError>,
    ) -> Result<(), Fault> {
        let begun = self.transactions.open.iter_mut().find(|(_, open)| open.state == State::Awaited(token));
        let Some((name, transaction)) = begun else {
            return Ok(());
        };
        match result {
            Ok(id) => {
                transaction.state = State::Begun(id);
                self.pending.answer(token);
                Ok(())
            }
            Err(reason) => {
                let mut fault = Fault::refused(format!("transaction {name} cannot begin: {reason}"));
                fault.receipt = self.pending.take_receipt(token);
                Err(fault)
            }
        }
    }

    pub(super) fn on_commit(&mut self, frame: &Frame, out: &mut Output) -> Result<(), Fault> {
        let (name, transaction, _) = self.transactions.end(frame)?;
        let token = self.pending.add(frame.headers.get("receipt").map(str::to_owned));
        self.transactions.committing.insert(token, name);
        out.actions.push(Action::Commit { transaction, token });
        Ok(())
    }

    pub(super) fn on_committed(&mut self, token: Token, result: Result<(), TransactionError>) -> Result<(), Fault> {
        let Some(name) = self.transactions.committing.remove(&token) else {
            return Ok(());
        };
        result.map(|()| self.pending.answer(token)).map_err(|reason| {
            let mut fault = Fault::refused(format!("transaction {name} was not committed: {reason}"));
            fault.receipt = self.pending.take_receipt(token);
            fault
        })
    }

    pub(super) fn on_abort(&mut self, frame: &Frame, out: &mut Output) -> Result<(), Fault> {
        let (_, id, transaction) = self.transactions.end(frame)?;
        let token = self.pending.add(frame.headers.get("receipt").map(str::to_owned));
        self.transactions.aborting = Some(Abort { token, taken: transaction.taken });
        out.actions.push(Action::Rollback { transaction: id, token });
        Ok(())
    }

    /// If this answers an ABORT: what was acknowledged in the transaction is unacknowledged again.
    pub(super) fn on_aborted(&mut self, token: Token) {
        let Some(abort) = self.transactions.aborting.take_if(|abort| abort.token == token) else {
            return;
        };
        for (consumer, taken) in &abort.taken {
            let subscription = self.subscriptions.get_mut(consumer);
            if let Some(subscription) = subscription.filter(|found| found.phase == Phase::Attached) {
                subscription.give_back(&taken.held);
            }
        }
    }
}
