"""paho-mqtt, 3.1.1 and 5."""

import queue
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from interop.messages import Received, from_named

SECONDS = 15


class Paho:
    def __init__(self, gateway, version, client_id="", clean=True, expiry_seconds=0, will=None, manual_ack=False,
                 keepalive=60):
        self.version = version
        self.inbox = queue.Queue()
        self._subscribed = {}
        self._connected = threading.Event()
        self.session_present = None
        self.reason = None
        protocol = mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311
        options = {} if version == 5 else {"clean_session": clean}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol, manual_ack=manual_ack, **options
        )
        self.client.max_inflight_messages_set(100)
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda client, data, message: self.inbox.put(message)
        self.client.on_subscribe = self._on_answer
        self.client.on_unsubscribe = self._on_answer
        if will:
            self.client.will_set(**will)
        connect = {}
        if version == 5:
            connect["clean_start"] = clean
            connect["properties"] = Properties(PacketTypes.CONNECT)
            connect["properties"].SessionExpiryInterval = expiry_seconds
        self.client.connect("127.0.0.1", gateway.ports["mqtt"], keepalive=keepalive, **connect)
        self.client.loop_start()
        if not self._connected.wait(SECONDS):
            raise TimeoutError("no CONNACK")
        if self.reason.is_failure:
            raise ConnectionError(str(self.reason))

    def _on_connect(self, client, data, flags, reason, properties):
        self.session_present = flags.session_present
        self.reason = reason
        self._connected.set()

    def _on_answer(self, client, data, packet_id, reasons, properties):
        self._subscribed.setdefault(packet_id, queue.Queue()).put(reasons)

    def _await(self, packet_id):
        reasons = self._subscribed.setdefault(packet_id, queue.Queue()).get(timeout=SECONDS)
        if not isinstance(reasons, list):
            reasons = [reasons]
        if any(reason.is_failure for reason in reasons):
            raise ConnectionError(f"refused: {reasons}")
        return reasons

    def subscribe(self, address, qos=1, **options):
        topic = address if isinstance(address, str) else address.mqtt
        if self.version == 5:
            result, packet_id = self.client.subscribe(topic, options=SubscribeOptions(qos=qos, **options))
        else:
            result, packet_id = self.client.subscribe(topic, qos=qos)
        return self._await(packet_id)

    def unsubscribe(self, address):
        result, packet_id = self.client.unsubscribe(address if isinstance(address, str) else address.mqtt)
        self._await(packet_id)

    def publish(self, address, sent, qos=None, retain=False):
        properties = None
        if self.version == 5:
            properties = Properties(PacketTypes.PUBLISH)
            if sent.content_type is not None:
                properties.ContentType = sent.content_type
            if sent.correlation_id is not None:
                properties.CorrelationData = sent.correlation_id.encode()
            if sent.reply_to is not None:
                properties.ResponseTopic = sent.reply_to.mqtt
            if sent.ttl_seconds is not None:
                properties.MessageExpiryInterval = sent.ttl_seconds
            named = {"message-id": sent.message_id, "subject": sent.subject, "priority": sent.priority}
            user = [(name, str(value)) for name, value in named.items() if value is not None]
            user += [(name, as_text(value)) for name, value in sent.properties.items()]
            if user:
                properties.UserProperty = user
        qos = (1 if sent.durable else 0) if qos is None else qos
        info = self.client.publish(address.mqtt, sent.body, qos=qos, retain=retain, properties=properties)
        info.wait_for_publish(SECONDS)
        if not info.is_published():
            raise TimeoutError("not confirmed")

    def receive_raw(self, seconds=SECONDS):
        return self.inbox.get(timeout=seconds)

    def receive(self, seconds=SECONDS):
        message = self.receive_raw(seconds)
        received = Received(
            body=message.payload, address=message.topic, durable=message.qos > 0, redelivered=message.dup
        )
        if self.version == 5:
            properties = message.properties
            received.content_type = getattr(properties, "ContentType", None)
            received.correlation_id = getattr(properties, "CorrelationData", None)
            received.reply_to = getattr(properties, "ResponseTopic", None)
            received.expires_in_seconds = getattr(properties, "MessageExpiryInterval", None)
            from_named(dict(getattr(properties, "UserProperty", [])), received)
        return received

    def drop(self):
        """The network goes away: no DISCONNECT."""
        self.client.on_disconnect = None
        self.client.reconnect_delay_set(600, 600)
        self.client._sock_close()  # paho has no public way to vanish
        self.client.loop_stop()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def as_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
