//! Transactions (part 4): the coordinator's links, and what becomes of deliveries when a transaction ends.

use std::collections::HashMap;

use bytes::Bytes;
use evergate_model::{Action, Close, Outcome, Output, Settle, Token, TransactionError, TransactionId};

use super::AmqpSession;
use super::channel::{Channel, Link};
use super::context::{Context, LinkId, Place};
use super::settlement::Run;
use crate::error::{AmqpError, NOT_ALLOWED, ROLLBACK, UNKNOWN_ID, commit_refused};
use crate::performative::{TransactionRef, put_declared, put_outcome, write_disposition};
use crate::transaction::Control;

/// A request to the gateway that it has not answered.
struct Asking {
    request: Request,
    /// The control message that waits for the answer; none if its link was detached.
    waits: Option<(Place, u32)>,
}

enum Request {
    Begin,
    Commit(TransactionId),
    /// `Some`: it was to be committed, and this is why it was not.
    Rollback(TransactionId, Option<AmqpError>),
}

/// The transactions of a connection.
#[derive(Default)]
pub(super) struct Transactions {
    /// Those that work may be done in, and the links of their coordinators.
    open: HashMap<TransactionId, LinkId>,
    asking: HashMap<Token, Asking>,
    /// Links on which a delivery of a transaction has arrived in part.
    pub(super) in_part: HashMap<LinkId, TransactionId>,
}

impl Transactions {
    /// The transaction that a client names, if work may be done in it.
    pub fn find(&self, named: TransactionRef) -> Result<TransactionId, AmqpError> {
        named.filter(|id| self.open.contains_key(id)).ok_or_else(unknown)
    }

    /// Whether a delivery of it is still being sent.
    fn is_in_part(&self, id: TransactionId) -> bool {
        self.open.contains_key(&id) && self.in_part.values().any(|transaction| *transaction == id)
    }
}

fn unknown() -> AmqpError {
    AmqpError::new(UNKNOWN_ID, "there is no such transaction")
}

impl Context {
    /// A whole message on a coordinator's link. An error detaches the link.
    pub fn control(
        &mut self,
        place: Place,
        delivery_id: u32,
        settled: bool,
        payload: &Bytes,
        out: &mut Output,
    ) -> Result<Result<(), AmqpError>, AmqpError> {
        if settled {
            // 4.2, 4.3: the controller is required to read the outcome.
            return Err(AmqpError::new(NOT_ALLOWED, "a message to the coordinator cannot be sent settled"));
        }
        let control = match Control::read(payload, self.config.depth_max)? {
            Ok(control) => control,
            Err(error) => return Ok(Err(error)),
        };
        let request = match control {
            Control::Declare => Request::Begin,
            Control::Discharge { transaction: None, .. } => return Ok(Err(unknown())),
            Control::Discharge { transaction: Some(id), .. } if self.transactions.is_in_part(id) => {
                // 4.4.1: no such discharge; the control link ends.
                self.transactions.open.remove(&id);
                self.ask(Request::Rollback(id, None), None, out);
                return Err(AmqpError::new(ROLLBACK, "a delivery of the transaction has not been sent to its end"));
            }
            Control::Discharge { transaction: Some(id), fail } => match self.transactions.open.remove(&id) {
                // Nobody rolls back what is not his.
                None if fail => return Ok(Err(unknown())),
                // In doubt: discharged before, here or on a lost connection. The gateway remembers outcomes.
                None | Some(_) if !fail => Request::Commit(id),
                _ => Request::Rollback(id, None),
            },
        };
        self.ask(request, Some((place, delivery_id)), out);
        Ok(Ok(()))
    }

    fn ask(&mut self, request: Request, waits: Option<(Place, u32)>, out: &mut Output) {
        let token = self.next_token();
        out.actions.push(match &request {
            Request::Begin => Action::Begin { token },
            Request::Commit(transaction) => Action::Commit { transaction: *transaction, token },
            Request::Rollback(transaction, _) => Action::Rollback { transaction: *transaction, token },
        });
        self.transactions.asking.insert(token, Asking { request, waits });
    }

    /// 4.1: a coordinator's link takes its transactions with it.
    pub fn abandon_transactions(&mut self, link: LinkId, out: &mut Output) {
        let abandoned: Vec<TransactionId> =
            self.transactions.open.iter().filter(|(_, owner)| **owner == link).map(|(id, _)| *id).collect();
        for id in abandoned {
            self.transactions.open.remove(&id);
            self.ask(Request::Rollback(id, None), None, out);
        }
    }
}

impl AmqpSession {
    /// The gateway's answer to `Begin`.
    pub(super) fn begun(&mut self, token: Token, result: Result<TransactionId, TransactionError>, out: &mut Output) {
        let Some(Asking { waits: Some((place, delivery)), .. }) = self.context.transactions.asking.remove(&token)
        else {
            return;
        };
        match result {
            Ok(id) if self.controls(place) => {
                self.context.transactions.open.insert(id, place.link);
                self.answer(place, delivery, Ok(Some(id)), out);
            }
            // The controller went while the gateway was asked.
            Ok(id) => self.context.ask(Request::Rollback(id, None), None, out),
            // There is nothing yet that could be rolled back.
            Err(error) => self.answer(place, delivery, Err(&commit_refused(&error)), out),
        }
    }

    /// The gateway's answer to `Commit`.
    pub(super) fn committed(&mut self, token: Token, result: Result<(), TransactionError>, out: &mut Output) {
        let Some(Asking { request: Request::Commit(id), waits }) = self.context.transactions.asking.remove(&token)
        else {
            return;
        };
        match result {
            Ok(()) => {
                self.resolve(id, true, out);
                if let Some((place, delivery)) = waits {
                    self.answer(place, delivery, Ok(None), out);
                }
            }
            // Rejected, and detached with an error, both mean rolled back (4.3). That is not known.
            Err(TransactionError::Unavailable) => {
                let error = (&TransactionError::Unavailable).into();
                self.close(&error, Close::Gateway("a commit is in doubt".into()), out);
            }
            // What it holds is given back before the controller hears of it.
            Err(error) => self.context.ask(Request::Rollback(id, Some(commit_refused(&error))), waits, out),
        }
    }

    /// The gateway's answer to `Rollback`. False: the token is of something else.
    pub(super) fn rolled_back(&mut self, token: Token, out: &mut Output) -> bool {
        let Some(asking) = self.context.transactions.asking.remove(&token) else { return false };
        if let Request::Rollback(id, error) = asking.request {
            self.resolve(id, false, out);
            if let Some((place, delivery)) = asking.waits {
                let result = error.as_ref().map_or(Ok(None), Err);
                self.answer(place, delivery, result, out);
            }
        }
        true
    }

    /// Whether the link of a coordinator is still there.
    fn controls(&mut self, place: Place) -> bool {
        self.channel(place.channel).is_some_and(|(channel, _)| channel.has_incoming(place))
    }

    /// The outcome of a control message: declared, accepted, or rejected.
    fn answer(
        &mut self,
        place: Place,
        delivery: u32,
        result: Result<Option<TransactionId>, &AmqpError>,
        out: &mut Output,
    ) {
        if !self.controls(place) {
            return;
        }
        let Some((channel, context)) = self.channel(place.channel) else { return };
        channel.answer_control(place.handle, delivery, result, context, out);
    }

    /// A transaction has ended: its deliveries are settled, or the client's again.
    fn resolve(&mut self, id: TransactionId, committed: bool, out: &mut Output) {
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            if let Some((channel, context)) = self.channel(number) {
                channel.resolve(id, committed, context, out);
            }
        }
    }
}

impl Channel {
    fn has_incoming(&self, place: Place) -> bool {
        matches!(self.links.get(&place.handle), Some(Link::Incoming(link)) if link.id == place.link)
    }

    /// Settles a control message, and gives its credit back.
    pub(super) fn answer_control(
        &mut self,
        handle: u32,
        delivery: u32,
        result: Result<Option<TransactionId>, &AmqpError>,
        context: &mut Context,
        out: &mut Output,
    ) {
        let Some(Link::Incoming(link)) = self.links.get_mut(&handle) else { return };
        link.pending = link.pending.saturating_sub(1);
        let number = self.number;
        match result {
            Ok(Some(id)) => {
                write_disposition(context.buf(out), number, true, (delivery, delivery), |buf| put_declared(buf, id));
            }
            Ok(None) => write_disposition(context.buf(out), number, true, (delivery, delivery), |buf| {
                put_outcome(buf, &Outcome::Accept, None);
            }),
            // 4.2, 4.3: a controller that cannot be told by «rejected» is told by the end of the link.
            Err(error) if !link.source_rejects => return self.detach_for(handle, error, true, context, out),
            Err(error) => context.refuse(out, number, delivery, None, error),
        }
        self.grant(handle, context, out);
    }

    /// What became of the deliveries that were settled in a transaction (4.4.2).
    fn resolve(&mut self, id: TransactionId, committed: bool, context: &mut Context, out: &mut Output) {
        let of_it: Vec<u64> = self
            .unsettled
            .iter()
            .filter(|(_, entry)| entry.retired.as_ref().is_some_and(|retired| retired.transaction == id))
            .map(|(number, _)| *number)
            .collect();
        let mut runs: Vec<Run<(Outcome, bool)>> = Vec::new();
        for number in of_it {
            let Some(entry) = self.unsettled.get_mut(&number) else { continue };
            let Some(retired) = entry.retired.take() else { continue };
            if !committed && !retired.settled {
                continue; // the client's again, as before
            }
            let run = Run::new(number, entry, (retired.outcome, retired.settled));
            self.unsettled.remove(&number);
            if !runs.last_mut().is_some_and(|last| last.extend(&run)) {
                runs.push(run);
            }
        }
        for run in runs {
            self.end_run(&run, committed, context, out);
        }
    }

    fn end_run(&mut self, run: &Run<(Outcome, bool)>, committed: bool, context: &mut Context, out: &mut Output) {
        let number = self.number;
        let Some(Link::Outgoing(link)) = self.links.get_mut(&run.handle) else { return };
        let (outcome, settled) = &run.word;
        if !committed {
            // The client has forgotten it already: back to the queue, and marked as delivered before.
            let outcome = Outcome::Modify { failed: true, undeliverable_here: false };
            out.actions.push(Action::Settle(Settle::new(link.id.consumer(), run.seqs.0, run.seqs.1, outcome)));
        } else if !settled {
            let ids = (run.ids.0 as u32, run.ids.1 as u32);
            write_disposition(context.buf(out), number, false, ids, |buf| put_outcome(buf, outcome, None));
        }
        link.settled_some(run.count(), context, out);
    }
}
