"""MQTT 3.1 with an off-the-shelf client: everything that 3.1.1's tests show of quality of service and sessions."""

import itertools
import queue
import threading

import paho.mqtt.client as mqtt
import pytest

from interop.clients.paho import Paho
from interop.messages import Sent

_names = itertools.count(1)


class Mqtt31:
    def __init__(self, gateway, client_id, clean=True, will=None):
        self.inbox, self.subacks, self.gone = queue.Queue(), queue.Queue(), queue.Queue()
        self._connected = threading.Event()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv31, clean_session=clean
        )
        self.client.on_connect = lambda *arguments: self._on_connect(arguments[3])
        self.client.on_message = lambda client, data, message: self.inbox.put(message)
        self.client.on_subscribe = lambda client, data, number, reasons, properties: self.subacks.put(reasons)
        self.client.on_disconnect = lambda *_: self.gone.put(True)
        if will:
            self.client.will_set(*will)
        self.client.connect("127.0.0.1", gateway.ports["mqtt"])
        self.client.loop_start()
        assert self._connected.wait(10)

    def _on_connect(self, reason):
        self.reason = reason
        self._connected.set()

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        return [reason.value for reason in self.subacks.get(timeout=10)]

    def drop(self):
        self.client.reconnect_delay_set(600, 600)
        self.client._sock_close()
        self.client.loop_stop()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def client(gateway):
    opened = Mqtt31(gateway, f"old-{next(_names)}")
    yield opened
    opened.close()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_quality_of_service_both_ways(gateway, client, topic_address, qos):
    assert client.subscribe(topic_address.mqtt, qos) == [qos]
    for number in range(10):
        info = client.client.publish(topic_address.mqtt, str(number), qos=qos)
    info.wait_for_publish(10)
    messages = [client.inbox.get(timeout=5) for _ in range(10)]
    assert [message.payload for message in messages] == [str(number).encode() for number in range(10)]
    assert {message.qos for message in messages} == {qos}


def test_a_session_without_clean_session_is_kept(gateway, topic_address):
    name = f"kept-{next(_names)}"
    first = Mqtt31(gateway, name, clean=False)
    first.subscribe(topic_address.mqtt, 1)
    first.close()
    sender = Paho(gateway, 5)
    sender.publish(topic_address, Sent(b"while away", durable=True))
    sender.close()
    second = Mqtt31(gateway, name, clean=False)
    assert second.inbox.get(timeout=5).payload == b"while away"
    second.close()


def test_retained_messages_and_wills(gateway, client, topic_address):
    client.subscribe(topic_address.mqtt, 1)
    Mqtt31(gateway, f"dying-{next(_names)}", will=(topic_address.mqtt, b"gone", 1, True)).drop()
    assert client.inbox.get(timeout=5).payload == b"gone"
    late = Mqtt31(gateway, f"late-{next(_names)}")
    late.subscribe(topic_address.mqtt, 1)
    message = late.inbox.get(timeout=5)
    assert (message.payload, message.retain) == (b"gone", True)
    late.close()


def test_client_ids_longer_than_23_characters_are_taken(gateway):
    client = Mqtt31(gateway, "a-client-id-of-more-than-23-characters")
    assert not client.reason.is_failure
    client.close()


def test_a_refused_subscription_closes_the_connection(client):
    # 3.1's SUBACK has no code for it.
    client.client.subscribe("$queue/$session/other", 1)
    assert client.gone.get(timeout=5)
    assert client.subacks.empty()
