"""Publishers with confirms and consumers with acknowledgements, over three off-the-shelf clients.

A publisher has `send(number, body)`; it calls `on_confirm(number)`. A consumer calls
`on_delivery(body, redelivered, token)` and has `acknowledge(tokens)`; it calls `on_settled(tokens)` when the gateway
has answered, so that it has committed them. Both have `lost` (set when the connection is gone) and `close`, after which
no thread and no descriptor of theirs is left. Opening raises OSError or one of its kind while the gateway is down.
Nothing reconnects by itself: the worker does.
"""

import itertools
import logging
import os
import threading
from collections import deque

import paho.mqtt.client as mqtt
import stomp
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from proton import Delivery, Link, Message
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container, DurableSubscription, EventInjector, LinkOption

logging.getLogger("stomp.py").setLevel(logging.CRITICAL)  # that connections are lost is what is tested

OPEN_SECONDS = 5
_names = itertools.count(1)


class Refused(OSError):
    """The gateway does not take this connection now."""


# --- MQTT QoS 1 --------------------------------------------------------------------------------------


class MqttBase:
    def __init__(self, gateway, client_id, clean=True, **callbacks):
        self.lost = threading.Event()
        opened = threading.Event()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True,
            reconnect_on_failure=False,
        )
        self.client.max_inflight_messages_set(1000)
        self.client.on_connect = lambda *_: opened.set()
        self.client.on_disconnect = lambda *_: self.lost.set()
        # Before the connection is open: a session that resumes delivers at once.
        for name, callback in callbacks.items():
            setattr(self.client, name, callback)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if clean else 3600
        properties.ReceiveMaximum = 100
        try:
            self.client.connect("127.0.0.1", gateway.ports["mqtt"], clean_start=clean, properties=properties)
        except OSError:
            self.close()
            raise
        self.client.loop_start()
        if not opened.wait(OPEN_SECONDS):
            self.close()
            raise Refused("no CONNACK")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
        self.client._reset_sockets()  # noqa: SLF001 - paho leaves them to the garbage collector


class MqttPublisher(MqttBase):
    def __init__(self, gateway, address, on_confirm):
        self._numbers = {}
        self._early = set()
        self._lock = threading.Lock()
        self._on_confirm = on_confirm
        self._topic = address.mqtt
        super().__init__(gateway, f"publisher-{next(_names)}", on_publish=self._confirmed)

    def _confirmed(self, client, data, packet_id, reason, properties):
        if reason.is_failure:
            self.lost.set()
            return
        with self._lock:
            number = self._numbers.pop(packet_id, None)
            if number is None:
                self._early.add(packet_id)  # its PUBACK overtook the return of publish()
        if number is not None:
            self._on_confirm(number)

    def send(self, number, body):
        info = self.client.publish(self._topic, body, qos=1)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            self.lost.set()
        with self._lock:
            early = info.mid in self._early
            self._early.discard(info.mid)
            if not early:
                self._numbers[info.mid] = number
        if early:
            self._on_confirm(number)


BARRIER = b"barrier"


class MqttConsumer(MqttBase):
    """On a topic its session persists: it is the durable subscription.

    MQTT has no answer to PUBACK. But what a connection sends takes effect on one queue in that order, and is
    committed in that order. So the consumer publishes a barrier to the queue that it consumes: the confirm of
    that says that the PUBACKs before it are committed.
    """

    def __init__(self, gateway, address, on_delivery, on_settled):
        topic = address.kind == "topic"
        subscribed = threading.Event()
        self._on_delivery = on_delivery
        self._on_settled = on_settled
        self._topic = address.mqtt
        self._lock = threading.Lock()
        self._before_barrier = []  # acknowledged before the barrier that is on its way
        self._behind_barrier = []
        super().__init__(
            gateway,
            f"consumer-{address.name}" if topic else f"consumer-{next(_names)}",
            clean=not topic,
            on_subscribe=lambda *_: subscribed.set(),
            on_message=self._delivered,
            on_publish=self._passed,
        )
        self.client.subscribe(address.mqtt, qos=1)
        if not subscribed.wait(OPEN_SECONDS):
            self.close()
            raise Refused("no SUBACK")

    def _delivered(self, client, data, message):
        if message.payload == BARRIER:
            client.ack(message.mid, 1)
        else:
            self._on_delivery(message.payload, message.dup, message.mid)

    def acknowledge(self, tokens):
        for packet_id in tokens:
            self.client.ack(packet_id, 1)
        with self._lock:
            self._behind_barrier += tokens
        self._next_barrier()

    def _next_barrier(self):
        with self._lock:
            if self._before_barrier or not self._behind_barrier:
                return
            self._before_barrier, self._behind_barrier = self._behind_barrier, []
        self.client.publish(self._topic, BARRIER, qos=1)  # without the lock: paho holds one of its own in callbacks

    def _passed(self, client, data, packet_id, reason, properties):
        if reason.value != 0:  # «no matching subscribers» too: the barrier must pass through this very queue
            self.lost.set()
            return
        with self._lock:
            passed, self._before_barrier = self._before_barrier, []
        self._on_settled(passed)
        self._next_barrier()


# --- STOMP with receipts ---------------------------------------------------------------------------------


class StompBase(stomp.ConnectionListener):
    def __init__(self, gateway, client_id=None):
        self.lost = threading.Event()
        self.connection = stomp.Connection12(
            [("127.0.0.1", gateway.ports["stomp"])], auto_decode=False, reconnect_attempts_max=1, timeout=OPEN_SECONDS
        )
        self.connection.set_listener("", self)
        self._reader = None
        self.connection.transport.override_threading(self._read)
        try:
            self.connection.connect(wait=True, headers={"client-id": client_id} if client_id else {})
        except (stomp.exception.StompException, OSError) as error:
            self.close()
            raise Refused(str(error)) from error

    def _read(self, loop):
        self._reader = threading.Thread(target=loop, daemon=True)
        self._reader.start()
        return self._reader

    def on_disconnected(self):
        self.lost.set()

    def on_error(self, frame):
        self.lost.set()

    def _guarded(self, act, *arguments, **options):
        try:
            act(*arguments, **options)
        except (stomp.exception.StompException, OSError, AttributeError):  # stomp.py's socket may be None by then
            self.lost.set()

    def close(self):
        if self._reader and not self.lost.is_set():
            self._guarded(self.connection.disconnect)
            self.lost.wait(OPEN_SECONDS)
        self._guarded(self.connection.transport.disconnect_socket)
        if self._reader:
            self._reader.join(OPEN_SECONDS)


class StompPublisher(StompBase):
    def __init__(self, gateway, address, on_confirm):
        self._on_confirm = on_confirm
        self._destination = address.canonical
        super().__init__(gateway)

    def on_receipt(self, frame):
        receipt = frame.headers["receipt-id"]
        if receipt.isdigit():
            self._on_confirm(int(receipt))

    def send(self, number, body):
        self._guarded(
            self.connection.send, self._destination, body, headers={"persistent": "true", "receipt": str(number)}
        )


class StompConsumer(StompBase):
    """On a topic with `durable:true`. Acknowledges the last of a batch, with a receipt."""

    def __init__(self, gateway, address, on_delivery, on_settled):
        self._on_delivery = on_delivery
        self._on_settled = on_settled
        self._batches = {}
        self._receipts = itertools.count(1)
        self._subscribed = threading.Event()
        topic = address.kind == "topic"
        super().__init__(gateway, f"consumer-{address.name}" if topic else None)
        headers = {"receipt": "subscribed", "prefetch-count": "100", **({"durable": "true"} if topic else {})}
        self._guarded(
            self.connection.subscribe, address.canonical, id=f"s-{address.name}", ack="client", headers=headers
        )
        if not self._subscribed.wait(OPEN_SECONDS):
            self.close()
            raise Refused("no RECEIPT for SUBSCRIBE")

    def on_message(self, frame):
        self._on_delivery(frame.body, frame.headers.get("redelivered") == "true", frame.headers["ack"])

    def on_receipt(self, frame):
        receipt = frame.headers["receipt-id"]
        if receipt == "subscribed":
            self._subscribed.set()
        elif receipt in self._batches:
            self._on_settled(self._batches.pop(receipt))

    def acknowledge(self, tokens):
        receipt = f"a{next(self._receipts)}"
        self._batches[receipt] = list(tokens)
        self._guarded(self.connection.ack, tokens[-1], receipt=receipt)


# --- AMQP unsettled -----------------------------------------------------------------------------------------


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
        super().__init__(gateway, f"publisher-{next(_names)}")

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
        container_id = f"consumer-{address.name}" if topic else f"consumer-{next(_names)}"
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


PROTOCOLS = {
    "mqtt": (MqttPublisher, MqttConsumer),
    "stomp": (StompPublisher, StompConsumer),
    "amqp": (AmqpPublisher, AmqpConsumer),
}
