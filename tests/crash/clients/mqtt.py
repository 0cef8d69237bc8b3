"""MQTT with QoS 1, over paho."""

import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from crash.clients.common import OPEN_SECONDS, Refused, unique

BARRIER = b"barrier"


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
        super().__init__(gateway, unique("publisher"), on_publish=self._confirmed)

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
            f"consumer-{address.name}" if topic else unique("consumer"),
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
