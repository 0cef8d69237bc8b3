"""What the gateway itself publishes: `_LOG`, `_PRESENCE`, `$SYS`. Read by clients of every protocol."""

import itertools
import json
import queue
import time

import pytest

from interop.clients.paho import Paho
from interop.clients.stomp_py import StompPy
from interop.messages import Address, Sent
from lib.gateway import Gateway

_names = itertools.count(1)


def topic(name):
    return Address("topic", name)


def until(client, wanted, seconds=10):
    """The first message that `wanted` takes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            received = client.receive(0.5)
        except queue.Empty:
            continue
        if wanted(received):
            return received
    raise AssertionError("it did not come")


@pytest.mark.parametrize("kind", ["paho-mqtt-3.1.1", "paho-mqtt-5", "stomp.py", "qpid-proton"])
def test_presence_tells_who_comes_and_goes_and_why(gateway, open_client, kind):
    watcher = open_client(kind)
    watcher.subscribe(topic("_PRESENCE/#"))
    name = f"here/{next(_names)}"
    visitor = Paho(gateway, 5, client_id=name)

    def tells(event):
        return lambda received: (told := json.loads(received.body))["client_id"] == name and told["event"] == event

    came = json.loads(until(watcher, tells("connected")).body)
    assert (came["protocol"], came["listener"]) == ("MQTT 5", "mqtt")
    visitor.close()
    left = json.loads(until(watcher, tells("left")).body)
    assert left["reason"] == "goodbye"
    assert left["connection"] == came["connection"]
    watcher.close()


def test_presence_is_one_level_for_any_client_id(gateway):
    watcher = Paho(gateway, 5)
    name = f"a+b/{next(_names)}#"
    watcher.subscribe(topic("_PRESENCE/" + name.replace("+", "%2B").replace("/", "%2F").replace("#", "%23")))
    visitor = Paho(gateway, 5, client_id=name)
    assert json.loads(watcher.receive().body)["client_id"] == name
    visitor.close()
    watcher.close()


def test_the_log_is_a_topic_and_a_file():
    with Gateway(environment={"EVERGATE__MQTT__SYS_INTERVAL_SECONDS": "1"}) as gateway:
        watcher = Paho(gateway, 5)
        watcher.subscribe(topic("_LOG/#"))
        first, second = Paho(gateway, 5, client_id="twin"), None
        try:
            second = Paho(gateway, 5, client_id="twin")  # takes over: that is logged
            received = until(watcher, lambda message: json.loads(message.body).get("client_id") == "twin")
            told = json.loads(received.body)
            assert told["level"] == "info"
            assert told["event"] == "connection closed"
            assert abs(told["at_ms"] / 1000 - time.time()) < 60
            events = gateway.events
            assert told in events
            assert any("is ready" in event["event"] for event in events)
        finally:
            for client in (first, second, watcher):
                if client:
                    client.close()


def test_sys_topics_are_retained_and_follow_what_happens():
    with Gateway(environment={"EVERGATE__MQTT__SYS_INTERVAL_SECONDS": "1"}) as gateway:
        watcher = Paho(gateway, 4)
        watcher.subscribe(topic("$SYS/#"))
        assert watcher.receive_raw().retain
        others = [Paho(gateway, 5) for _ in range(3)]
        until_topic = lambda raw: raw.topic == "$SYS/broker/clients/connected" and raw.payload == b"4"
        deadline = time.monotonic() + 10
        while not until_topic(watcher.receive_raw(5)):
            assert time.monotonic() < deadline
        for client in [*others, watcher]:
            client.close()


def test_sys_counts_a_large_message_once_and_no_queue_of_the_gateways_own():
    environment = {"EVERGATE__MQTT__SYS_INTERVAL_SECONDS": "1", "EVERGATE__LIMITS__MESSAGE_BYTES_MAX": "64 KiB"}
    with Gateway(environment=environment) as gateway:
        publisher = StompPy(gateway)
        publisher.publish(Address("queue", "films"), Sent(b"x" * 300_000))
        watcher = Paho(gateway, 5)
        watcher.subscribe(topic("$SYS/broker/#"))
        # The message; its queue, and the watcher's session.
        wanted, figures = {"messages/stored": b"1", "queues/count": b"2"}, {}
        deadline = time.monotonic() + 10
        while not (figures.items() >= wanted.items() and 300_000 <= int(figures["store/messages/bytes"]) < 301_000):
            assert time.monotonic() < deadline, figures
            raw = watcher.receive_raw(5)
            figures[raw.topic.removeprefix("$SYS/broker/")] = raw.payload
        publisher.close()
        watcher.close()


@pytest.mark.parametrize("name", ["_LOG/info", "_PRESENCE/x"])
def test_clients_cannot_publish_there(gateway, name):
    client = Paho(gateway, 5)
    reasons = queue.Queue()
    client.client.on_publish = lambda client, data, packet_id, reason, properties: reasons.put(reason)
    client.client.publish(name, b"forged", qos=1)
    assert str(reasons.get(timeout=10)) == "Not authorized"
    client.close()
