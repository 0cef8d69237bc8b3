//! Attach (part 2, 2.6.3): what a link is for, what the gateway is asked, what the client is answered.

use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{Action, Address, AddressKind, Attach as Request, Attached, Output, QueueSpec, Time};

use super::channel::{Channel, Link};
use super::context::{Context, Place};
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::source::{consume, temporary_topic};
use crate::error::{AmqpError, FRAMING_ERROR, Fault, HANDLE_IN_USE, INVALID_FIELD, RESOURCE_LIMIT_EXCEEDED};
use crate::performative::{Attach, AttachReply, write_attach};
use crate::terminus::{Target, Terminus};
use crate::transaction::encode_coordinator;

/// What our `attach` repeats of the client's.
pub(super) struct Answer {
    name: Arc<str>,
    snd_settle_mode: u8,
    rcv_settle_mode: u8,
    /// The client's own end: its source if it sends, its target if it receives.
    theirs: Option<Bytes>,
    /// Our max-message-size.
    message_bytes_max: u64,
}

impl Answer {
    fn new(name: Arc<str>, attach: &Attach<'_>, message_bytes_max: u64) -> Self {
        let theirs = if attach.receiver { attach.target } else { attach.source };
        Self {
            name,
            snd_settle_mode: attach.snd_settle_mode,
            // As receiver we settle first; as sender we serve a client that settles second.
            rcv_settle_mode: if attach.receiver { attach.rcv_settle_mode } else { 0 },
            theirs: theirs.map(Bytes::copy_from_slice),
            message_bytes_max,
        }
    }

    /// Our `attach`; without our end it says that the link will not be (2.6.3).
    fn write(
        &self,
        channel: u16,
        handle: u32,
        receiver: bool,
        ours: Option<&Bytes>,
        context: &mut Context,
        out: &mut Output,
    ) {
        let (source, target) = if receiver { (self.theirs.as_ref(), ours) } else { (ours, self.theirs.as_ref()) };
        let reply = AttachReply {
            name: &self.name,
            handle,
            receiver,
            snd_settle_mode: self.snd_settle_mode,
            rcv_settle_mode: self.rcv_settle_mode,
            source: source.map(AsRef::as_ref),
            target: target.map(AsRef::as_ref),
            message_bytes_max: self.message_bytes_max,
        };
        write_attach(context.buf(out), channel, &reply);
    }

    pub fn refuse(&self, channel: u16, handle: u32, receiver: bool, context: &mut Context, out: &mut Output) {
        self.write(channel, handle, receiver, None, context, out);
    }
}

impl Channel {
    pub(super) fn attach(&mut self, attach: &Attach<'_>, context: &mut Context, out: &mut Output) -> Result<(), Fault> {
        let handle = attach.handle;
        if handle >= context.config.links_per_session_max {
            // 2.7.2: a handle over handle-max is a framing error.
            let error = AmqpError::new(FRAMING_ERROR, "the handle is over handle-max");
            return Err(Fault::Connection(error));
        }
        let refuse = |condition, text| Err(Fault::Session(AmqpError::new(condition, text)));
        if self.links.contains_key(&handle) {
            return refuse(HANDLE_IN_USE, "the handle is in use");
        }
        if handle > self.peer_handle_max {
            return refuse(RESOURCE_LIMIT_EXCEEDED, "a handle that the client itself excluded by handle-max");
        }
        if attach.snd_settle_mode > 2 || attach.rcv_settle_mode > 1 {
            return refuse(INVALID_FIELD, "there is no such settle mode");
        }
        let Some(id) = context.next_link() else {
            return refuse(RESOURCE_LIMIT_EXCEEDED, "too many links on this connection");
        };
        let name: Arc<str> = attach.name.as_ref().into();
        let answer = Answer::new(name.clone(), attach, context.config.large_message_bytes_max);
        let place = Place { channel: self.number, handle, link: id };
        context.names.insert((name.clone(), attach.receiver), place);
        if attach.receiver {
            let link = Outgoing::new(id, name.clone(), answer, attach);
            self.links.insert(handle, Link::Outgoing(Box::new(link)));
        } else {
            let link = Incoming::new(id, name.clone(), answer, attach.initial_delivery_count);
            self.links.insert(handle, Link::Incoming(Box::new(link)));
        }
        let attached = if attach.receiver {
            self.attach_outgoing(place, attach, context, out)
        } else {
            self.attach_incoming(place, attach, context, out)
        };
        attached.map_err(|error| Fault::Link(handle, error))
    }

    fn attach_incoming(
        &mut self,
        place: Place,
        attach: &Attach<'_>,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<(), AmqpError> {
        let bytes = attach.target.ok_or_else(|| AmqpError::new(INVALID_FIELD, "a sender's link needs a target"))?;
        let target = match Terminus::target(bytes)? {
            Target::Terminus(target) => target,
            Target::Coordinator(accepted) => {
                accepted?;
                return self.attach_coordinator(place.handle, attach, context, out);
            }
        };
        let Some(Link::Incoming(link)) = self.links.get_mut(&place.handle) else { return Ok(()) };
        if !target.dynamic {
            link.destination = target.destination()?;
            link.target = target;
            self.incoming_ready(place.handle, context, out);
            return Ok(());
        }
        link.target = target;
        link.target.check_dynamic()?;
        if link.target.is_topic() {
            let topic = temporary_topic(context, place.link);
            link.target.address = Some(topic.to_string());
            link.destination = Some(topic);
            self.incoming_ready(place.handle, context, out);
            return Ok(());
        }
        // The queue lives as long as its creating link: a consumer without credit holds it.
        link.dynamic = true;
        context.consumers.insert(place.link.consumer(), place);
        out.actions.push(Action::Attach(Request::new(place.link.consumer(), QueueSpec::temporary())));
        Ok(())
    }

    fn attach_coordinator(
        &mut self,
        handle: u32,
        attach: &Attach<'_>,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<(), AmqpError> {
        let source = attach.source.map(Terminus::source).transpose()?.transpose()?;
        if let Some(Link::Incoming(link)) = self.links.get_mut(&handle) {
            link.coordinator = true;
            if let Some(answer) = &mut link.answer {
                answer.message_bytes_max = context.config.message_bytes_max;
            }
            link.source_rejects = source.is_none_or(|source| source.may_come_to("amqp:rejected:list"));
        }
        self.incoming_ready(handle, context, out);
        Ok(())
    }

    /// Answers a publisher and gives it credit.
    fn incoming_ready(&mut self, handle: u32, context: &mut Context, out: &mut Output) {
        let Some(Link::Incoming(link)) = self.links.get_mut(&handle) else { return };
        if let Some(answer) = link.answer.take() {
            let target = if link.coordinator { encode_coordinator() } else { link.target.encode_target() };
            answer.write(self.number, handle, true, Some(&target), context, out);
        }
        self.grant(handle, context, out);
    }

    fn attach_outgoing(
        &mut self,
        place: Place,
        attach: &Attach<'_>,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<(), AmqpError> {
        let Some(Link::Outgoing(link)) = self.links.get_mut(&place.handle) else { return Ok(()) };
        let request = consume(link, attach, context)?;
        context.consumers.insert(place.link.consumer(), place);
        out.actions.push(Action::Attach(request));
        Ok(())
    }

    /// The gateway attached the consumer: answer, then what waited for it.
    pub(super) fn attach_granted(
        &mut self,
        now: Time,
        handle: u32,
        attached: &Attached,
        context: &mut Context,
        out: &mut Output,
    ) {
        let number = self.number;
        let detach = match self.links.get_mut(&handle) {
            Some(Link::Incoming(link)) => {
                let queue = Address { kind: AddressKind::Queue, name: attached.queue.clone() };
                link.target.address = Some(queue.to_string());
                link.destination = Some(queue);
                let detach = link.detach;
                self.incoming_ready(handle, context, out);
                detach
            }
            Some(Link::Outgoing(link)) => {
                link.describe_source(attached);
                if let Some(answer) = link.answer.take() {
                    let source = link.source.encode_source();
                    answer.write(number, handle, false, Some(&source), context, out);
                }
                let detach = link.detach;
                if detach.is_none() {
                    link.issue_credit(context, out);
                    self.pump(now, handle, context, out);
                }
                detach
            }
            _ => None,
        };
        if let Some(closed) = detach {
            self.detach_by_client(handle, closed, context, out);
        }
    }
}
