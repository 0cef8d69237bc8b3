//! What a session asks, carried to the directory, the shards, or the authenticator.

use std::sync::Arc;

use evergate_core::{DirectoryCommand, SessionEvent, Waiting};
use evergate_model::{
    ADMIN_NAME, Access, Action, Address, AddressKind, AttachAccess, AttachError, Event, Lifetime, Message, Publish,
    PublishError, TransactionId, Will,
};

use super::Driver;
use crate::gateway::Gateway;
use crate::publisher;

impl Driver {
    pub(super) fn request(&mut self, action: Action) {
        let session = self.id;
        match action {
            Action::Publish(publish) => self.publish(publish),
            Action::MayPublish { to, token } => {
                let result = self.check_address(&to).map(|()| 0);
                self.tell(Event::Published { token, result });
            }
            Action::Piece { body, bytes } => self.add_to_body(body, &bytes),
            Action::Abandon { body } => self.publisher.abandon_body(body),
            Action::Credit(credit) => {
                // Credit for a consumer that is gone concerns nobody.
                self.consumers.forward(&self.gateway, credit.consumer, action);
            }
            Action::Settle(settle) if settle.transaction.is_some() => {
                let Some(transaction) = settle.transaction else { return };
                let place = self.consumers.place(settle.consumer);
                self.publisher.settle_in(transaction, settle, place, &mut self.published);
                // A detach that follows must not overtake it.
                publisher::carry_out(&self.gateway, &mut self.published);
            }
            Action::Settle(ref settle) => {
                let (consumer, token) = (settle.consumer, settle.token);
                self.forward_or_done(consumer, action, token);
            }
            Action::Mark { consumer, token, .. } => self.forward_or_done(consumer, action, token),
            Action::Attach(attach) if *attach.queue.name == *ADMIN_NAME => {
                // Nor does anybody browse it: requests are their senders' own.
                let (consumer, result) = (attach.consumer, Err(AttachError::InUse));
                self.mailbox.push(SessionEvent::Attached { consumer, result });
            }
            Action::Attach(attach) => {
                self.consumers.attaching(attach.consumer, &attach.queue);
                let window_bytes = self.gateway.config.delivery_window_bytes;
                if attach.access == AttachAccess::TakeOver {
                    self.directory.fence(&self.gateway, &attach.queue.name, attach.consumer);
                }
                self.directory.push(&self.gateway, DirectoryCommand::Attach { session, attach, window_bytes });
            }
            Action::Detach { consumer, delete, lifetime } => {
                self.consumers.detaching(consumer, if delete { Some(Lifetime::Attached) } else { lifetime });
                let command = DirectoryCommand::Detach { session, consumer, delete, lifetime };
                self.directory.push(&self.gateway, command);
            }
            Action::Bind { consumer, binding, retained, token } => {
                let command = DirectoryCommand::Bind { session, consumer, binding, retained, token };
                self.directory.push(&self.gateway, command);
            }
            Action::Unbind { consumer, filter, token } => {
                let command = DirectoryCommand::Unbind { session, consumer, filter, token };
                self.directory.push(&self.gateway, command);
            }
            Action::Begin { token } => {
                let transaction = TransactionId(self.gateway.next_message_id().0);
                self.publisher.begin(self.gateway.clock.now(), transaction, token, &mut self.published);
            }
            Action::Commit { transaction, token } => self.publisher.commit(transaction, token, &mut self.published),
            Action::Rollback { transaction, token } => {
                self.publisher.rollback(transaction, token, &mut self.published);
                // What is asked next of its deliveries stands behind it.
                publisher::carry_out(&self.gateway, &mut self.published);
            }
            Action::Will(will) => self.will = will,
            Action::Authenticate(credentials) => {
                let (authenticator, mailbox) = (self.authenticator.clone(), self.mailbox.clone());
                tokio::spawn(async move {
                    let access = authenticator.check(credentials).await;
                    if access == Access::Denied {
                        tracing::info!(id = session.0, "name or password refused");
                    }
                    mailbox.push(SessionEvent::Event(Event::Authenticated(access)));
                });
            }
        }
    }

    /// A consumer that is gone holds nothing: there is nothing to wait for.
    fn forward_or_done(
        &mut self,
        consumer: evergate_model::ConsumerId,
        action: Action,
        token: Option<evergate_model::Token>,
    ) {
        if !self.consumers.forward(&self.gateway, consumer, action)
            && let Some(token) = token
        {
            self.tell(Event::Done(token));
        }
    }

    fn publish(&mut self, publish: Publish) {
        let Publish { token, mut message, mut retain, mark, transaction, large } = publish;
        if let Some(end) = large {
            self.end_body(end, &mut message);
        }
        let body = large.map(|end| end.body);
        self.has_served_others |= body.is_none();
        if let Err(error) = self.check(&message, retain) {
            body.into_iter().for_each(|body| self.publisher.abandon_body(body));
            if let Some(transaction) = transaction {
                self.publisher.refused_in(transaction, &error, &mut self.published);
            }
            self.gateway.count_refused();
            self.tell(Event::Published { token, result: Err(error) });
            return;
        }
        self.direct(&mut message, &mut retain);
        let mark = mark.and_then(|(consumer, number)| {
            let (shard, queue) = self.consumers.place(consumer)?;
            Some((shard, queue, number))
        });
        let message = self.gateway.admit(message);
        let waiting = Waiting { token, message, retain, mark, body };
        match transaction {
            None => self.publisher.submit(waiting),
            Some(transaction) => {
                let memory_is_exhausted = self.gateway.memory.is_exhausted();
                self.publisher.publish_in(transaction, waiting, memory_is_exhausted, &mut self.published);
            }
        }
    }

    /// Whether the peer may publish this. Every message of a client that goes in is checked here, its will too.
    pub(super) fn check(&self, message: &Message, retain: bool) -> Result<(), PublishError> {
        let limit_bytes = self.gateway.config.message_bytes_max;
        let in_memory = (message.head.len() + message.body.len()) as u64;
        // Retained messages are held in memory.
        if in_memory > limit_bytes || (retain && message.meta.large().is_some()) {
            return Err(PublishError::TooLarge { limit_bytes });
        }
        self.check_address(&message.meta.address)
    }

    /// The connection ended without a goodbye.
    pub(super) fn publish_will(&self, mut will: Will) {
        if let Err(error) = self.check(&will.message, will.retain) {
            let (client_id, to) = (self.connection.peer.lock().client_id.clone(), &will.message.meta.address);
            tracing::warn!(id = self.id.0, %client_id, %to, %error, "a will was refused");
            self.gateway.count_refused();
            return;
        }
        self.direct(&mut will.message, &mut will.retain);
        self.gateway.publish_will(will, self.consumers.session());
    }

    fn check_address(&self, to: &Address) -> Result<(), PublishError> {
        if to.is_reserved() && !self.is_for_requests(to) {
            return Err(PublishError::Reserved);
        }
        // What is in the queue of a session or a subscription comes through its bindings alone.
        if to.kind == AddressKind::Queue && Address::is_private_queue(&to.name) {
            return Err(PublishError::NotFound);
        }
        Ok(())
    }

    /// A request goes to who serves it and to nobody else, also if it was sent to the topic: no subscription receives
    /// it, and it is not retained. It says who asks.
    fn direct(&self, message: &mut Message, retain: &mut bool) {
        if *message.meta.address.name == *ADMIN_NAME {
            message.meta.address = Address::queue(ADMIN_NAME);
            message.meta.rare_mut().asked_by = Some(Arc::new(self.connection.peer.lock().clone()));
            *retain = false;
        }
    }

    /// Whether requests to the administration go there, and the peer may make some.
    fn is_for_requests(&self, to: &Address) -> bool {
        &*to.name == ADMIN_NAME && self.authenticator.may_administrate(&self.connection.peer.lock().user)
    }
}

impl Gateway {
    /// Gives a message its id, its ingress time and its share of the memory budget.
    pub(crate) fn admit(self: &Arc<Self>, mut message: Message) -> Arc<Message> {
        message.meta.id = self.next_message_id();
        message.meta.ingress = self.clock.now();
        message.permit = Some(self.take_memory(message.size_bytes()));
        Arc::new(message)
    }
}
