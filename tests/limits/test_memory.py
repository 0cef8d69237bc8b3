"""Memory that one client may take: names, retained messages. And dead letters, where others took every place."""

import re
import socket

import paho.mqtt.client as mqtt
import pytest
from proton import Delivery, Message
from proton.utils import BlockingConnection

from badinput.measure import growth
from badinput.mqtt import PINGREQ, connect5, publish5
from limits.gateways import gateways
from limits.test_limits import MIB, connect, subscribe, until

LONG = "n" * 65_535
ALIAS = bytes.fromhex("230001")


@pytest.fixture
def start():
    with gateways() as started:
        yield lambda **limits: started({f"EVERGATE__LIMITS__{key.upper()}": str(value) for key, value in limits.items()})


@pytest.mark.parametrize("by_alias", [True, False], ids=["by an alias", "in full"])
@pytest.mark.parametrize("qos", [0, 1])
def test_long_topics_take_no_more_memory_than_queues_may(start, qos, by_alias):
    gateway = start(queue_resident_bytes_max="4 MiB")
    # It is away, and what comes is kept for it.
    away = connect(gateway, client_id="away", clean_session=False)
    subscribe(away, "#")
    away.disconnect()
    with growth(gateway) as grown, socket.create_connection(("127.0.0.1", gateway.ports["mqtt"])) as peer:
        peer.settimeout(60)
        replies = peer.makefile("rb")
        peer.sendall(connect5())
        read(replies)
        peer.sendall(publish5(LONG, b"", props=ALIAS))
        for number in range(1, 3001):
            topic = "" if by_alias else LONG
            peer.sendall(publish5(topic, b"", qos, number if qos else None, ALIAS if by_alias else b""))
            if qos:
                assert read(replies)[:2] == number.to_bytes(2, "big")
        peer.sendall(PINGREQ)
        read(replies)
        assert grown() < 100


def read(replies):
    """What a packet has behind its head; a short one."""
    return replies.read(replies.read(2)[1])


class Retaining:
    """An MQTT 5 client that retains."""

    def __init__(self, gateway):
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.answers = []
        self.client.on_publish = lambda _, __, ___, reason, props: self.answers.append(
            (reason.value, getattr(props, "ReasonString", ""))
        )
        self.client.connect("127.0.0.1", gateway.ports["mqtt"])
        self.client.loop_start()

    def retain(self, topic, body):
        before = len(self.answers)
        self.client.publish(topic, body, qos=1, retain=True)
        until(lambda: len(self.answers) > before, "PUBACK")
        return self.answers[-1]


def memory_used(gateway):
    return int(re.search(r"^evergate_memory_used_bytes (\d+)", gateway.get("/metrics")[1], re.M)[1])


def test_retained_messages_up_to_the_limit_are_kept_and_one_byte_more_is_refused_also_after_a_restart(start):
    gateway = start(retained_bytes_max=MIB)
    client = Retaining(gateway)
    half = MIB // 2 - 256 - 2  # the mark that the publisher wanted it retained
    for topic in ("a", "b"):
        assert client.retain(topic, bytes(half))[0] in (0, 0x10)
    assert client.retain("b", bytes(half + 1)) == (
        0x97,
        "the retained messages would take more than the limit allows (1048576 bytes)",
    )
    gateway.stop()
    gateway.start()
    assert MIB <= memory_used(gateway) < MIB + 10_000
    client = Retaining(gateway)
    assert client.retain("c", b"x")[0] == 0x97
    assert client.retain("a", b"")[0] in (0, 0x10)
    assert memory_used(gateway) < MIB // 2 + 10_000
    assert client.retain("c", bytes(half))[0] in (0, 0x10)


def test_dead_letters_find_room_where_clients_took_every_queue(start):
    gateway = start(queues_max=2)  # one of them is `_ADMIN`
    amqp = BlockingConnection(f"127.0.0.1:{gateway.ports['amqp']}", timeout=10)
    amqp.create_sender("/queue/only").send(Message(body="x", durable=True))
    receiver = amqp.create_receiver("/queue/only", credit=1)
    receiver.receive()
    receiver.settle(Delivery.REJECTED)
    letters = amqp.create_receiver("/queue/_DMQ", credit=1)
    assert letters.receive().body == "x"
    amqp.close()
