"""Headers of a SEND that ask something of the gateway (docs/protocols/stomp.md)."""

import time

import pytest

from interop.clients.stomp_py import StompPy
from interop.coming import bodies, coming
from interop.messages import Address, Sent
from lib.gateway import Gateway

POLICIES = """
[[policy]]
match = "small/+"
messages_max = 2
on_full = "reject"

[[policy]]
match = "closed/+"
auto_create = false

[[policy]]
match = "once/+"
dedup_count = 100
"""


@pytest.fixture(scope="module")
def strict():
    """A gateway with policies."""
    started = Gateway()
    (started.directory / "evergate.toml").write_text(POLICIES)
    with started:
        yield started


@pytest.fixture
def client(gateway):
    opened = StompPy(gateway)
    yield opened
    opened.close()


@pytest.fixture
def strict_client(strict):
    opened = StompPy(strict)
    yield opened
    opened.close()


def send(client, address, body, **headers):
    headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    send_as(client, address, body, headers)


def send_as(client, address, body, headers):
    client.confirmed(lambda receipt: client.connection.send(
        address.canonical, body, headers={"receipt": receipt, "persistent": "true", **headers}))


@pytest.mark.parametrize("name", ["ttl", "expiration"])
def test_a_message_expires_after_a_while(client, queue_address, name):
    send(client, queue_address, "short", **{name: 300})
    send(client, queue_address, "long", **{name: 600_000})
    time.sleep(0.6)
    before = time.time()
    client.subscribe(queue_address)
    frame = client.receive_raw()
    assert frame.body == b"long"
    assert 590 < int(frame.headers["expires"]) / 1000 - before < 601


@pytest.mark.parametrize("header", ["delay", "AMQ_SCHEDULED_DELAY", "deliver-at"])
def test_delivery_is_scheduled(client, queue_address, header):
    client.subscribe(queue_address)
    sent = time.time()
    send_as(client, queue_address, "later", {header: str(int(sent * 1000) + 1500 if header == "deliver-at" else 1500)})
    send(client, queue_address, "now")
    assert client.receive_raw().body == b"now"
    later = client.receive_raw()
    assert later.body == b"later"
    assert time.time() - sent >= 1.4
    assert abs(int(later.headers["deliver-at"]) / 1000 - sent - 1.5) < 1


def test_what_waits_is_delivered_by_priority(client, queue_address):
    for priority in (1, 9, 5, 9):
        send(client, queue_address, str(priority), priority=priority)
    client.subscribe(queue_address)
    assert bodies(client, 4) == ["9", "9", "5", "1"]


@pytest.mark.parametrize("header", ["group-id", "JMSXGroupID"])
def test_messages_of_a_group_go_to_one_consumer_in_order(gateway, client, queue_address, header):
    consumers = [StompPy(gateway), StompPy(gateway)]
    for consumer in consumers:
        consumer.subscribe(queue_address, **{"prefetch-count": "1"})
    for number in range(20):
        send_as(client, queue_address, str(number), {header: f"g{number % 2}"})
    found = coming(20, *(consumer.receive_body for consumer in consumers))
    for consumer in consumers:
        consumer.close()
    assert sorted(int(body) for part in found for body in part) == list(range(20))
    for group in (0, 1):
        holders = [[int(body) for body in part if int(body) % 2 == group] for part in found]
        assert [] in holders, f"group {group} went to both"
        assert sorted(holders, key=len)[1] == list(range(group, 20, 2))


@pytest.mark.parametrize("header", ["dedup-id", "_AMQ_DUPL_ID"])
def test_a_duplicate_is_confirmed_and_not_stored(strict_client, header):
    address = Address("queue", f"once/{header}")
    for body, identity in (("first", "a"), ("again", "a"), ("other", "b")):
        send_as(strict_client, address, body, {header: identity})
    strict_client.subscribe(address)
    assert bodies(strict_client, 2) == ["first", "other"]


def test_a_full_queue_that_refuses_is_an_error_with_the_receipt(strict_client):
    address = Address("queue", "small/1")
    for number in range(2):
        send(strict_client, address, str(number))
    strict_client.connection.send(address.canonical, "too much", headers={"receipt": "mine", "persistent": "true"})
    error = strict_client.errors.get(timeout=5)
    assert error.headers["message"].endswith("small/1 is full: it holds as much as its policy allows")
    assert error.headers["receipt-id"] == "mine"
    assert strict_client.disconnected.wait(5)


def test_a_queue_that_does_not_come_into_being_is_an_error_with_the_receipt(strict_client):
    strict_client.connection.send("/queue/closed/1", "nowhere", headers={"receipt": "mine"})
    error = strict_client.errors.get(timeout=5)
    assert "there is no such destination" in error.headers["message"]
    assert error.headers["receipt-id"] == "mine"


@pytest.mark.parametrize(
    "headers, message",
    [
        ({"persistent": "true", "discardable": "true"}, "a message is persistent or discardable, not both"),
        ({"AMQ_SCHEDULED_CRON": "0 * * * *"}, "AMQ_SCHEDULED_CRON: delivery that repeats is not supported"),
        ({"ttl": "soon"}, "ttl must be a number of milliseconds: soon"),
    ],
)
def test_what_cannot_be_done_is_refused(gateway, queue_address, headers, message):
    client = StompPy(gateway)
    client.connection.send(queue_address.canonical, "x", headers=headers)
    assert client.errors.get(timeout=5).headers["message"] == message
    assert client.disconnected.wait(5)


def test_other_protocols_are_told_what_was_asked(open_client, client, queue_address):
    mqtt = open_client("paho-mqtt-5")
    mqtt.subscribe(queue_address)
    send(client, queue_address, "x", group_id="g", dedup_id="d", priority=7)
    received = mqtt.receive()
    mqtt.close()
    assert received.priority == 7
    assert {name: received.properties.get(name) for name in ("group-id", "dedup-id")} == {
        "group-id": "g",
        "dedup-id": "d",
    }


def test_a_discardable_message_arrives_while_there_is_room(client, queue_address):
    client.subscribe(queue_address)
    client.publish(queue_address, Sent(b"x", properties={"discardable": "true"}))
    assert client.receive_raw().headers["discardable"] == "true"
