"""The cells of docs/addresses.md that the matrix does not reach: typed ids, typed properties, bodies that are values."""

import json
import queue
import socket
import time
import uuid

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from proton import Delivery, Message, symbol, timestamp, ulong

from interop.clients.paho import Paho
from interop.clients.proton_blocking import Proton
from interop.clients.stomp_py import StompPy
from interop.messages import Sent

UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
# An id that is bytes, as STOMP has it: it comes back as the same bytes.
BINARY_ID = "ID:AMQP_BINARY:00FF"
CONSUMERS = {"mqtt5": lambda gateway: Paho(gateway, 5), "stomp": StompPy, "amqp": Proton}


@pytest.fixture(params=CONSUMERS)
def consumer(request, gateway):
    opened = CONSUMERS[request.param](gateway)
    opened.family = request.param
    yield opened
    opened.close()


@pytest.fixture
def amqp(gateway):
    opened = Proton(gateway)
    yield opened
    opened.close()


def through(amqp, consumer, address, message):
    """What the consumer sees of a message that an AMQP client built by itself."""
    consumer.subscribe(address)
    amqp.connection.create_sender(address.canonical).send(message)
    return consumer.receive()


def in_family(consumer, **answers):
    return answers.get(consumer.family, answers.get("text"))


@pytest.mark.parametrize(
    "identity, text",
    [(UUID, str(UUID)), (ulong(18446744073709551615), "18446744073709551615"), ("plain", "plain"), (b"\0\xff", "AP8=")],
    ids=["uuid", "ulong", "string", "binary"],
)
def test_message_id(amqp, consumer, queue_address, identity, text):
    received = through(amqp, consumer, queue_address, Message(id=identity, body="x"))
    stomp = BINARY_ID if isinstance(identity, bytes) else text
    assert received.message_id == in_family(consumer, amqp=identity, stomp=stomp, text=text)


@pytest.mark.parametrize(
    "identity, text, data",
    [
        (UUID, str(UUID), str(UUID).encode()),
        (ulong(42), "42", b"42"),
        ("plain", "plain", b"plain"),
        (b"\0\xff", BINARY_ID, b"\0\xff"),
    ],
    ids=["uuid", "ulong", "string", "binary"],
)
def test_correlation_id(amqp, consumer, queue_address, identity, text, data):
    received = through(amqp, consumer, queue_address, Message(correlation_id=identity, body="x"))
    assert received.correlation_id == in_family(consumer, amqp=identity, mqtt5=data, stomp=text)


@pytest.mark.parametrize(
    "value, text",
    [
        (True, "true"),
        (-7, "-7"),
        (ulong(18446744073709551615), "18446744073709551615"),
        (1.5, "1.5"),
        (timestamp(1700000000123), "1700000000123"),
        (UUID, str(UUID)),
        (b"\0\xff", "AP8="),
        (symbol("sym"), "sym"),
        ("", ""),
    ],
    ids=["bool", "long", "ulong", "double", "timestamp", "uuid", "binary", "symbol", "empty"],
)
def test_application_property(amqp, consumer, queue_address, value, text):
    received = through(amqp, consumer, queue_address, Message(properties={"p": value}, body="x"))
    assert received.properties == {"p": in_family(consumer, amqp=value, text=text)}


@pytest.mark.parametrize(
    "body, inferred, data",
    [("text", False, b"text"), (b"\0\xff", False, b"\0\xff"), (b"\0\xff", True, b"\0\xff")],
    ids=["string value", "binary value", "data section"],
)
def test_body_of_text_or_bytes(amqp, consumer, queue_address, body, inferred, data):
    received = through(amqp, consumer, queue_address, Message(body=body, inferred=inferred))
    assert received.body == data


@pytest.mark.parametrize(
    "body", [42, True, [1, "two", None], {"a": {"b": [1.5]}}], ids=["number", "bool", "list", "map"]
)
@pytest.mark.parametrize("consumer", ["mqtt5", "stomp"], indirect=True)
def test_other_bodies_are_json(amqp, consumer, queue_address, body):
    received = through(amqp, consumer, queue_address, Message(body=body))
    assert json.loads(received.body) == body
    assert received.content_type == "application/json"


def test_binary_correlation_data_of_mqtt(gateway, consumer, queue_address):
    publisher = Paho(gateway, 5)
    consumer.subscribe(queue_address)
    properties = Properties(PacketTypes.PUBLISH)
    properties.CorrelationData = b"\0\xff"
    publisher.client.publish(queue_address.mqtt, b"x", qos=1, properties=properties).wait_for_publish(10)
    publisher.close()
    assert consumer.receive().correlation_id == in_family(consumer, amqp=b"\0\xff", mqtt5=b"\0\xff", stomp=BINARY_ID)


def test_a_request_finds_its_way_back(gateway, consumer, queue_address):
    """Reply-to and correlation id as one client library gives them are what the other side can use."""
    requester = Paho(gateway, 5)
    replies = type(queue_address)("topic", f"replies/{queue_address.name}")
    requester.subscribe(replies)
    consumer.subscribe(queue_address)
    requester.publish(queue_address, Sent(b"question", correlation_id="c-1", reply_to=replies, durable=True))
    question = consumer.receive()
    assert question.reply_to == in_family(consumer, mqtt5=replies.mqtt, text=replies.canonical)
    correlation = question.correlation_id
    correlation = correlation.decode() if isinstance(correlation, bytes) else correlation
    consumer.publish(replies, Sent(b"answer", correlation_id=correlation, durable=True))
    answer = requester.receive()
    assert (answer.body, answer.correlation_id) == (b"answer", b"c-1")
    requester.close()


def test_redelivered_is_told(amqp, consumer, queue_address):
    amqp.publish(queue_address, Sent(b"x", durable=True))
    amqp.subscribe(queue_address, credit=1)
    amqp.receive_raw()
    amqp.receiver.fetcher.unsettled[0].local.failed = True
    amqp.receiver.settle(Delivery.MODIFIED)
    amqp.unsubscribe()
    consumer.subscribe(queue_address)
    assert consumer.receive().redelivered


def test_an_expired_message_is_not_delivered(gateway, consumer, queue_address):
    publisher = StompPy(gateway)
    publisher.confirmed(lambda receipt: publisher.connection.send(
        queue_address.canonical, "old", headers={"receipt": receipt, "expires": str(int(time.time() * 1000) + 300)}))
    publisher.publish(queue_address, Sent(b"fresh"))
    publisher.close()
    time.sleep(0.6)
    consumer.subscribe(queue_address)
    assert consumer.receive().body == b"fresh"
    with pytest.raises(queue.Empty):
        consumer.receive(0.2)


def test_a_repeated_stomp_header_counts_once(gateway, consumer, queue_address):
    """[STOMP 1.2, Repeated Header Entries]: the first counts."""
    consumer.subscribe(queue_address)
    with socket.create_connection(("127.0.0.1", gateway.ports["stomp"]), timeout=5) as line:
        line.sendall(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        assert line.recv(1000).startswith(b"CONNECTED")
        line.sendall(f"SEND\ndestination:{queue_address.canonical}\ncolour:red\ncolour:blue\n\nx\0".encode())
        assert consumer.receive().properties == {"colour": "red"}
