//! One session (part 2, 2.5): windows, its links by handle, and which link a performative is for.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use evergate_model::{Action, AttachError, Attached, Output, PublishError, Time};

use super::context::{Context, LinkId, Place, Publishing};
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::settlement::Unsettled;
use super::stall::Unfinished;
use super::window::Window;
use crate::error::{AmqpError, Fault, NOT_ALLOWED, NOT_FOUND, UNATTACHED_HANDLE};
use crate::performative::{Begin, Detach, Performative, write_detach};

/// A handle in use.
pub(super) enum Link {
    /// The client sends.
    Incoming(Box<Incoming>),
    /// The client receives.
    Outgoing(Box<Outgoing>),
    /// The client detached; our answer follows when the gateway has let go.
    Detaching { id: LinkId, closed: bool },
    /// We detached; what comes is discarded until the client's answer (2.6.4).
    Detached,
}

impl Link {
    /// Whether it made a node that goes with it.
    fn node_is_deleted_on_close(&self) -> bool {
        match self {
            Self::Incoming(link) => link.target.is_deleted_on_close(),
            Self::Outgoing(link) => link.source.is_deleted_on_close(),
            Self::Detaching { .. } | Self::Detached => false,
        }
    }

    /// Whether the client's closing deletes the queue: such a node, or a subscription.
    fn is_deleted_on_close(&self) -> bool {
        self.node_is_deleted_on_close() || matches!(self, Self::Outgoing(link) if link.subscription)
    }
}

pub(super) struct Channel {
    pub number: u16,
    /// Tells this session from later ones on the same channel.
    pub epoch: u32,
    /// The highest handle that the client knows what to do with.
    pub peer_handle_max: u32,
    /// Transfer frames that the client may send.
    pub incoming: Window,
    pub next_outgoing_id: u32,
    /// Transfer frames that we may still send.
    pub remote_window: u32,
    /// Deliveries sent so far; its low half is the next delivery-id.
    pub deliveries: u64,
    /// Sent and not settled, by delivery number.
    pub unsettled: BTreeMap<u64, Unsettled>,
    pub links: BTreeMap<u32, Link>,
    /// Links that wait for the window.
    pub waiting: VecDeque<u32>,
}

impl Channel {
    pub fn new(number: u16, begin: &Begin, context: &mut Context) -> Self {
        context.last_epoch = context.last_epoch.wrapping_add(1);
        Self {
            number,
            epoch: context.last_epoch,
            peer_handle_max: begin.handle_max.unwrap_or(u32::MAX),
            incoming: Window::new(
                begin.next_outgoing_id,
                context.config.incoming_window,
                context.config.frame_bytes_max,
                context.config.large_message_window_bytes,
            ),
            next_outgoing_id: 0,
            remote_window: begin.incoming_window,
            deliveries: 0,
            unsettled: BTreeMap::new(),
            links: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    pub fn performative(
        &mut self,
        now: Time,
        performative: Performative<'_>,
        payload: Bytes,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<(), Fault> {
        match performative {
            Performative::Attach(attach) => self.attach(&attach, context, out),
            Performative::Flow(flow) => self.flow(now, &flow, context, out),
            Performative::Transfer(transfer) => {
                self.count_transfer(now, payload.len(), context, out)?;
                let handle = transfer.handle;
                match self.links.get_mut(&handle) {
                    Some(Link::Incoming(link)) if link.coordinator => {
                        let place = Place { channel: self.number, handle, link: link.id };
                        let answered = link
                            .control(place, &transfer, &payload, context, out)
                            .map_err(|error| Fault::Link(handle, error))?;
                        if let Some((delivery, error)) = answered {
                            self.answer_control(handle, delivery, Err(&error), context, out);
                        }
                        Ok(())
                    }
                    Some(Link::Incoming(link)) => {
                        let place = Place { channel: self.number, handle, link: link.id };
                        let replenish = link
                            .transfer(now, place, &transfer, payload, context, out)
                            .map_err(|error| Fault::Link(handle, error))?;
                        if link.has_begun() {
                            context.unfinished = Some(Unfinished::new(place));
                        }
                        if replenish {
                            self.grant(handle, context, out);
                        }
                        Ok(())
                    }
                    Some(Link::Outgoing(_)) => Err(Fault::Session(AmqpError::new(
                        NOT_ALLOWED,
                        "a transfer on a link whose receiver the client is",
                    ))),
                    Some(Link::Detaching { .. } | Link::Detached) => Ok(()),
                    None => Err(unattached(handle)),
                }
            }
            Performative::Disposition(disposition) => {
                let result = self.disposition(&disposition, context, out);
                self.serve(now, context, out);
                result
            }
            Performative::Detach(detach) => self.detach(&detach, context, out),
            _ => Err(Fault::Connection(AmqpError::new(NOT_ALLOWED, "this performative has no place in a session"))),
        }
    }

    /// The answer to a publish.
    pub fn published(
        &mut self,
        publishing: &Publishing,
        result: &Result<u32, PublishError>,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let handle = publishing.place.handle;
        let Some(Link::Incoming(link)) = self.links.get_mut(&handle) else { return Ok(()) };
        if link.id != publishing.place.link {
            return Ok(());
        }
        link.pending = link.pending.saturating_sub(1);
        match (result, publishing.settled) {
            (Ok(_), true) => {}
            (Ok(_), false) => context.confirm(out, self.number, publishing.delivery_id, publishing.transaction),
            (Err(error), false) => {
                let error = error.into();
                context.refuse(out, self.number, publishing.delivery_id, publishing.transaction, &error);
            }
            // Nobody waits for a word on a settled delivery; its loss is told by ending the link.
            (Err(error), true) => return Err(Fault::Link(handle, error.into())),
        }
        self.grant(handle, context, out);
        Ok(())
    }

    fn detach(&mut self, detach: &Detach, context: &mut Context, out: &mut Output) -> Result<(), Fault> {
        let handle = detach.handle;
        let closed = detach.closed;
        match self.links.get_mut(&handle) {
            None => return Err(unattached(handle)),
            Some(Link::Detaching { .. }) => {}
            Some(Link::Detached) => {
                self.links.remove(&handle);
            }
            // The gateway's answer to attach comes first, then detach.
            Some(Link::Incoming(link)) if link.answer.is_some() => link.detach = Some(closed),
            Some(Link::Outgoing(link)) if link.answer.is_some() => link.detach = Some(closed),
            Some(Link::Incoming(_) | Link::Outgoing(_)) => self.detach_by_client(handle, closed, context, out),
        }
        Ok(())
    }

    /// The client's detach of a link that is attached.
    pub fn detach_by_client(&mut self, handle: u32, closed: bool, context: &mut Context, out: &mut Output) {
        let Some(mut link) = self.links.remove(&handle) else { return };
        let delete = closed && link.is_deleted_on_close();
        match self.release(&mut link, context, out) {
            Some(id) => {
                out.actions.push(Action::Detach { consumer: id.consumer(), delete, lifetime: None });
                self.links.insert(handle, Link::Detaching { id, closed });
            }
            None => write_detach(context.buf(out), self.number, handle, closed, None),
        }
    }

    /// Forgets a link's part in shared tables. Its id, if it has a consumer in the gateway.
    fn release(&mut self, link: &mut Link, context: &mut Context, out: &mut Output) -> Option<LinkId> {
        let (id, name, receiver, consumes) = match link {
            Link::Incoming(link) => {
                link.release(context, out);
                if link.coordinator {
                    context.abandon_transactions(link.id, out);
                }
                (link.id, &link.name, false, link.dynamic)
            }
            Link::Outgoing(link) => {
                self.unsettled.retain(|_, unsettled| unsettled.link != link.id);
                if let Some(stream) = &mut link.stream {
                    stream.detach(out);
                }
                (link.id, &link.name, true, true)
            }
            Link::Detaching { .. } | Link::Detached => return None,
        };
        let key = (name.clone(), receiver);
        if context.names.get(&key).is_some_and(|place| place.link == id) {
            context.names.remove(&key);
        }
        consumes.then_some(id)
    }

    /// Ends a link because of an error. `held`: the gateway still has its consumer.
    pub fn detach_for(&mut self, handle: u32, error: &AmqpError, held: bool, context: &mut Context, out: &mut Output) {
        let Some(mut link) = self.links.remove(&handle) else { return };
        let asked = match &mut link {
            Link::Incoming(link) => {
                let asked = link.detach;
                if let Some(answer) = link.answer.take() {
                    answer.refuse(self.number, handle, true, context, out);
                }
                asked
            }
            Link::Outgoing(link) => {
                let asked = link.detach;
                if let Some(answer) = link.answer.take() {
                    answer.refuse(self.number, handle, false, context, out);
                }
                asked
            }
            Link::Detaching { .. } | Link::Detached => {
                self.links.insert(handle, link);
                return;
            }
        };
        if let Some(id) = self.release(&mut link, context, out)
            && context.consumers.remove(&id.consumer()).is_some()
            && held
        {
            let delete = link.node_is_deleted_on_close();
            out.actions.push(Action::Detach { consumer: id.consumer(), delete, lifetime: None });
        }
        write_detach(context.buf(out), self.number, handle, true, Some(error));
        if asked.is_none() {
            self.links.insert(handle, Link::Detached);
        }
    }

    /// The session ends, and all its links with it.
    pub fn end(&mut self, context: &mut Context, out: &mut Output) {
        for mut link in std::mem::take(&mut self.links).into_values() {
            if let Some(id) = self.release(&mut link, context, out) {
                context.consumers.remove(&id.consumer());
                let delete = link.node_is_deleted_on_close();
                out.actions.push(Action::Detach { consumer: id.consumer(), delete, lifetime: None });
            }
        }
        self.unsettled.clear();
    }

    /// The gateway's answer to an attach.
    pub fn attached(
        &mut self,
        now: Time,
        place: Place,
        result: Result<Attached, AttachError>,
        context: &mut Context,
        out: &mut Output,
    ) {
        let id = match self.links.get(&place.handle) {
            Some(Link::Incoming(link)) => link.id,
            Some(Link::Outgoing(link)) => link.id,
            _ => return,
        };
        if id != place.link {
            return;
        }
        match result {
            Ok(attached) => self.attach_granted(now, place.handle, &attached, context, out),
            Err(error) => {
                let resumes = matches!(self.links.get(&place.handle), Some(Link::Outgoing(link)) if link.resume);
                let error = match error {
                    AttachError::NotFound if resumes => {
                        AmqpError::new(NOT_FOUND, "there is no subscription of this name")
                    }
                    error => (&error).into(),
                };
                self.detach_for(place.handle, &error, false, context, out);
            }
        }
    }

    /// The gateway has let go of a consumer.
    pub fn detached(&mut self, place: Place, context: &mut Context, out: &mut Output) {
        if let Some(Link::Detaching { id, closed }) = self.links.get(&place.handle)
            && *id == place.link
        {
            write_detach(context.buf(out), self.number, place.handle, *closed, None);
            self.links.remove(&place.handle);
        }
    }

    /// The gateway took a consumer away.
    pub fn lost(&mut self, place: Place, error: &AmqpError, context: &mut Context, out: &mut Output) {
        match self.links.get(&place.handle) {
            Some(Link::Incoming(link)) if link.id == place.link => {}
            Some(Link::Outgoing(link)) if link.id == place.link => {}
            // The client's own detach crossed it.
            Some(Link::Detaching { id, .. }) if *id == place.link => return self.detached(place, context, out),
            _ => return,
        }
        self.detach_for(place.handle, error, false, context, out);
    }
}

pub(super) fn unattached(handle: u32) -> Fault {
    Fault::Session(AmqpError::new(UNATTACHED_HANDLE, format!("no link is attached with the handle {handle}")))
}
