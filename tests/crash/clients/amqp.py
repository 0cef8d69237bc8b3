"""AMQP 1.0 with unsettled deliveries, over proton."""

import itertools
import os
import threading
from collections import deque

from proton import Delivery, Link, Message
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container, DurableSubscription, EventInjector, LinkOption

from crash.clients.common import OPEN_SECONDS, Refused, unique


class Injector(EventInjector):
    """Proton's own never closes its pipe."""

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()
        self._released = False

    def trigger(self, event):
        with self._lock:
            if self._released:
                raise BrokenPipeError
            super().trigger(event)

    def close(self):
        with self._lock:
            if not self._released:
                super().close()

    def release(self):
        """When nobody reads it any more."""
        with self._lock:
            self._released = True
            for descriptor in self.pipe:
                os.close(descriptor)


class AmqpBase(MessagingHandler):
    """One container, on a thread of its own; other threads reach it through its injector."""

    def __init__(self, gateway, container_id, **options):
        super().__init__(auto_accept=False, auto_settle=True, **options)
        self.lost = threading.Event()
        self.opened = threading.Event()
        self._url = f"127.0.0.1:{gateway.ports['amqp']}"
        self._injector = Injector()
        self._container = Container(self)
        self._container.container_id = container_id
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.opened.wait(OPEN_SECONDS)
        if not self.opened.is_set() or self.lost.is_set():
            self.close()
            raise Refused("no attach")

    def _run(self):
        try:
            self._container.run()
        finally:
            self._injector.release()
            self.lost.set()
            self.opened.set()

    def on_start(self, event):
        event.container.selectable(self._injector)
        self.connection = event.container.connect(self._url, reconnect=False, allowed_mechs="ANONYMOUS")
        self.open_link(event.container)

    def on_link_opened(self, event):
        self.opened.set()

    def on_transport_error(self, event):
        self._end()

    def on_connection_remote_close(self, event):
        event.connection.close()  # not left to proton: that answers some errors with silence, and waits
        self._end()

    def on_link_error(self, event):
        self._end()

    def on_disconnected(self, event):
        self._end()

    def _end(self):
        self.lost.set()
        self.opened.set()
        self._injector.close()

    def on_wake(self, event):
        """Another thread has something for this one."""

    def on_finish(self, event):
        self.connection.close()
        self._injector.close()

    def wake(self, name="wake"):
        try:
            self._injector.trigger(ApplicationEvent(name))
        except OSError:
            self.lost.set()

    def close(self):
        self.wake("finish")
        self._thread.join(OPEN_SECONDS)


class AmqpPublisher(AmqpBase):
    def __init__(self, gateway, address, on_confirm):
        self._address = address.canonical
        self._on_confirm = on_confirm
        self._outbox = deque()
        self._sender = None
        super().__init__(gateway, unique("publisher"))

    def open_link(self, container):
        self._sender = container.create_sender(self.connection, self._address)

    def send(self, number, body):
        self._outbox.append((number, body))
        if len(self._outbox) == 1:
            self.wake()

    def on_wake(self, event):
        while self._sender.credit > 0 and self._outbox:
            number, body = self._outbox[0]
            self._sender.send(Message(body=body, inferred=True, durable=True), tag=str(number))
            self._outbox.popleft()

    on_sendable = on_wake

    def on_accepted(self, event):
        self._on_confirm(int(event.delivery.tag))

    def on_rejected(self, event):
        self._end()

    on_released = on_modified = on_rejected


class AnswerSettlements(LinkOption):
    """The consumer does not settle first: it waits for the gateway's word on what it accepted."""

    def apply(self, link):
        link.rcv_settle_mode = Link.RCV_SECOND


class AmqpConsumer(AmqpBase):
    """On a topic a durable subscription, by the link's name."""

    def __init__(self, gateway, address, on_delivery, on_settled):
        self._address = address
        self._on_delivery = on_delivery
        self._on_settled = on_settled
        self._acknowledged = deque()
        # Proton's objects stay on its own thread: others know them by number.
        self._numbers = itertools.count(1)
        self._deliveries = {}
        self._tokens = {}
        topic = address.kind == "topic"
        container_id = f"consumer-{address.name}" if topic else unique("consumer")
        super().__init__(gateway, container_id, prefetch=100)

    def open_link(self, container):
        topic = self._address.kind == "topic"
        name = f"s-{self._address.name}" if topic else None
        options = [AnswerSettlements(), *([DurableSubscription()] if topic else [])]
        container.create_receiver(self.connection, self._address.canonical, name=name, options=options)

    def on_message(self, event):
        message = event.message
        redelivered = message.delivery_count > 0 or not message.first_acquirer
        token = next(self._numbers)
        self._deliveries[token] = event.delivery
        self._tokens[event.delivery] = token
        self._on_delivery(bytes(message.body), redelivered, token)

    def acknowledge(self, tokens):
        self._acknowledged.extend(tokens)
        self.wake()

    def on_wake(self, event):
        while self._acknowledged:
            self._deliveries.pop(self._acknowledged.popleft()).update(Delivery.ACCEPTED)

    def on_settled(self, event):
        token = self._tokens.pop(event.delivery, None)
        if token and event.delivery.remote_state == Delivery.ACCEPTED:
            self._on_settled([token])
        event.delivery.settle()
