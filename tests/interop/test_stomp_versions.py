"""STOMP 1.0 and 1.1: framing, acknowledgement and headers of each."""

import queue
import threading

import pytest
import stomp

CONNECTIONS = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}


class Client(stomp.ConnectionListener):
    def __init__(self, gateway, version):
        self.inbox, self.errors, self.receipts = queue.Queue(), queue.Queue(), queue.Queue()
        self.closed = threading.Event()
        self.connection = CONNECTIONS[version]([("127.0.0.1", gateway.ports["stomp"])], reconnect_attempts_max=1)
        self.connection.set_listener("", self)
        self.connection.connect(wait=True)

    def on_connected(self, frame):
        self.greeting = frame

    def on_message(self, frame):
        self.inbox.put(frame)

    def on_error(self, frame):
        self.errors.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_disconnected(self):
        self.closed.set()

    def close(self):
        if self.connection.is_connected():
            self.connection.disconnect()
            self.closed.wait(5)


@pytest.fixture(params=CONNECTIONS)
def version(request):
    return request.param


@pytest.fixture
def client(gateway, version):
    opened = Client(gateway, version)
    yield opened
    opened.close()


def ack(client, version, frame, **headers):
    if version == "1.0":
        client.connection.ack(frame.headers["message-id"], **headers)
    elif version == "1.1":
        client.connection.ack(frame.headers["message-id"], frame.headers["subscription"], **headers)
    else:
        client.connection.ack(frame.headers["ack"], **headers)


def subscribe(client, version, address, ack="client"):
    headers = {"receipt": "subscribed"}
    if version == "1.0":
        client.connection.subscribe(address.canonical, ack=ack, headers=headers)
    else:
        client.connection.subscribe(address.canonical, id="s", ack=ack, headers=headers)
    assert client.receipts.get(timeout=5) == "subscribed"


def test_the_version_is_what_the_client_asked_for(client, version):
    assert client.greeting.headers["version"] == version


def test_messages_are_acknowledged_in_the_words_of_the_version(gateway, client, version, queue_address):
    for number in range(3):
        client.connection.send(queue_address.canonical, str(number), headers={"persistent": "true"})
    subscribe(client, version, queue_address)
    frames = [client.inbox.get(timeout=5) for _ in range(3)]
    assert [frame.body for frame in frames] == ["0", "1", "2"]
    assert ("ack" in frames[0].headers, "subscription" in frames[0].headers) == (version == "1.2", version != "1.0")
    ack(client, version, frames[1], receipt="acked")
    assert client.receipts.get(timeout=5) == "acked"
    client.close()
    again = Client(gateway, version)
    subscribe(again, version, queue_address)
    assert again.inbox.get(timeout=5).body == "2", "an acknowledgement counts for what was sent before it"
    again.close()


def test_header_values_are_escaped_as_the_version_says(gateway, client, version, topic_address):
    receiver = Client(gateway, "1.2")
    subscribe(receiver, "1.2", topic_address, ack="auto")
    # stomp.py writes 1.0 headers as they are: a backslash is a backslash there.
    value = {"1.0": "a:b\\c", "1.1": "a:b\\c\nd", "1.2": "a:b\\c\nd"}[version]
    client.connection.send(topic_address.canonical, "x", headers={"key": value})
    assert receiver.inbox.get(timeout=5).headers["key"] == value
    receiver.close()


def test_what_a_version_cannot_write_never_becomes_a_second_header(gateway, client, version, topic_address):
    subscribe(client, version, topic_address, ack="auto")
    sender = Client(gateway, "1.2")
    sender.connection.send(topic_address.canonical, "x", headers={"key": "a\nforged:yes"})
    headers = client.inbox.get(timeout=5).headers
    assert headers["key"] == ("a\ufffdforged:yes" if version == "1.0" else "a\nforged:yes")
    assert "forged" not in headers
    sender.close()


def test_nack_is_for_1_1_and_later(client, version, queue_address):
    client.connection.send(queue_address.canonical, "x", headers={"persistent": "true"})
    subscribe(client, version, queue_address)
    frame = client.inbox.get(timeout=5)
    if version == "1.0":
        client.connection.send_frame("NACK", {"message-id": frame.headers["message-id"]})
        assert client.errors.get(timeout=5).headers["message"] == "STOMP 1.0 has no NACK"
        assert client.closed.wait(5), "an ERROR ends the connection"
        return
    arguments = [frame.headers["message-id"], "s"] if version == "1.1" else [frame.headers["ack"]]
    client.connection.nack(*arguments, receipt="nacked")
    assert client.receipts.get(timeout=5) == "nacked"


def test_heart_beats_are_for_1_1_and_later(client, version):
    assert ("heart-beat" in client.greeting.headers) == (version != "1.0")
