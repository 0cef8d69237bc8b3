"""Publishers with confirms and consumers with acknowledgements, over three off-the-shelf clients.

A publisher has `send(number, body)`; it calls `on_confirm(number)`. A consumer calls
`on_delivery(body, redelivered, token)` and has `acknowledge(tokens)`; it calls `on_settled(tokens)` if the
protocol answers acknowledgements. Both have `lost` (set when the connection is gone) and `close`. Opening
raises OSError or one of its kind while the gateway is down. Nothing reconnects by itself: the worker does.
"""

import itertools
import threading
from collections import deque

import paho.mqtt.client as mqtt
import stomp
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from proton import Message
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container, DurableSubscription, EventInjector

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
        self.client.connect("127.0.0.1", gateway.ports["mqtt"], clean_start=clean, properties=properties)
        self.client.loop_start()
        if not opened.wait(OPEN_SECONDS):
            self.close()
            raise Refused("no CONNACK")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


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


class MqttConsumer(MqttBase):
    """On a topic its session persists: it is the durable subscription."""

    def __init__(self, gateway, address, on_delivery, on_settled):
        topic = address.kind == "topic"
        subscribed = threading.Event()
        super().__init__(
            gateway,
            f"consumer-{address.name}" if topic else f"consumer-{next(_names)}",
            clean=not topic,
            on_subscribe=lambda *_: subscribed.set(),
            on_message=lambda client, data, message: on_delivery(message.payload, message.dup, message.mid),
        )
        self.client.subscribe(address.mqtt, qos=1)
        if not subscribed.wait(OPEN_SECONDS):
            self.close()
            raise Refused("no SUBACK")

    def acknowledge(self, tokens):
        for packet_id in tokens:
            self.client.ack(packet_id, 1)


# --- STOMP with receipts ---------------------------------------------------------------------------------


class StompBase(stomp.ConnectionListener):
    def __init__(self, gateway, client_id=None):
        self.lost = threading.Event()
        self.connection = stomp.Connection12(
            [("127.0.0.1", gateway.ports["stomp"])], auto_decode=False, reconnect_attempts_max=1, timeout=OPEN_SECONDS
        )
        self.connection.set_listener("", self)
        try:
            self.connection.connect(wait=True, headers={"client-id": client_id} if client_id else {})
        except stomp.exception.StompException as error:
            raise Refused(str(error)) from error

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
        self._guarded(self.connection.disconnect)


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


class AmqpBase(MessagingHandler):
    """One container, on a thread of its own; other threads reach it through its injector."""

    def __init__(self, gateway, container_id, **options):
        super().__init__(auto_accept=False, auto_settle=True, **options)
        self.lost = threading.Event()
        self.opened = threading.Event()
        self._url = f"127.0.0.1:{gateway.ports['amqp']}"
        self._injector = EventInjector()
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

    def on_connection_error(self, event):
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


class AmqpConsumer(AmqpBase):
    """On a topic a durable subscription, by the link's name."""

    def __init__(self, gateway, address, on_delivery, on_settled):
        self._address = address
        self._on_delivery = on_delivery
        self._acknowledged = deque()
        topic = address.kind == "topic"
        container_id = f"consumer-{address.name}" if topic else f"consumer-{next(_names)}"
        super().__init__(gateway, container_id, prefetch=100)

    def open_link(self, container):
        topic = self._address.kind == "topic"
        options = {"name": f"s-{self._address.name}", "options": DurableSubscription()} if topic else {}
        container.create_receiver(self.connection, self._address.canonical, **options)

    def on_message(self, event):
        message = event.message
        redelivered = message.delivery_count > 0 or not message.first_acquirer
        self._on_delivery(bytes(message.body), redelivered, event.delivery)

    def acknowledge(self, tokens):
        self._acknowledged.extend(tokens)
        self.wake()

    def on_wake(self, event):
        while self._acknowledged:
            self.accept(self._acknowledged.popleft())


PROTOCOLS = {
    "mqtt": (MqttPublisher, MqttConsumer),
    "stomp": (StompPublisher, StompConsumer),
    "amqp": (AmqpPublisher, AmqpConsumer),
}
