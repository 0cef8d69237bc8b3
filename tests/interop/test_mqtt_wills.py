"""When a will is published: its delay, the end of its session, takeovers, and a gateway that stops."""

import itertools
import json
import time

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from interop.clients.mqtt5 import Mqtt5
from interop.clients.paho import Paho
from interop.messages import Address
from lib.gateway import Gateway

_names = itertools.count(1)
DELAY = 3


@pytest.fixture
def watcher(gateway, topic_address):
    opened = Mqtt5(gateway)
    opened.ask(topic_address.mqtt)
    yield opened
    opened.close()


def leaver(gateway, topic, name, expiry_seconds=100, delay=DELAY):
    """A client with a will that waits."""
    properties = Properties(PacketTypes.WILLMESSAGE)
    properties.WillDelayInterval = delay
    will = {"topic": topic, "payload": b"gone", "qos": 1, "properties": properties}
    client = Mqtt5(gateway, client_id=name, expiry_seconds=expiry_seconds, will=will)
    client.client.reconnect_delay_set(600, 600)  # it stays away
    return client


def seconds_until_it_comes(watcher):
    started = time.monotonic()
    assert watcher.receive_body(DELAY + 5) == "gone"
    return time.monotonic() - started


def nothing_comes(watcher, seconds):
    time.sleep(seconds)
    assert watcher.inbox.empty()


def name():
    return f"leaver-{next(_names)}"


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "taken over"])
def test_mqtt_3_1_3_9_a_session_resumed_in_time_has_no_will_published(gateway, watcher, topic_address, lost):
    client_id = name()
    client = leaver(gateway, topic_address.mqtt, client_id)
    if lost:
        client.drop()
        time.sleep(0.3)
    again = Paho(gateway, 5, client_id=client_id, clean=False, expiry_seconds=100)
    assert again.session_present
    nothing_comes(watcher, DELAY + 1)
    again.close()


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "taken over"])
def test_a_clean_start_ends_the_session_and_the_will_comes_at_once(gateway, watcher, topic_address, lost):
    client_id = name()
    client = leaver(gateway, topic_address.mqtt, client_id)
    if lost:
        client.drop()
        time.sleep(0.3)
    again = Paho(gateway, 5, client_id=client_id)
    assert seconds_until_it_comes(watcher) < 1
    nothing_comes(watcher, DELAY + 1)
    again.close()


@pytest.mark.parametrize("expiry, least, most", [(0, 0, 1), (1, 0.5, 2.5), (100, DELAY - 0.5, DELAY + 2)])
def test_a_disconnect_that_shortens_the_session_shortens_the_wait(
    gateway, watcher, topic_address, expiry, least, most
):
    client = leaver(gateway, topic_address.mqtt, name())
    properties = Properties(PacketTypes.DISCONNECT)
    properties.SessionExpiryInterval = expiry
    reason = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
    client.client.disconnect(reasoncode=reason, properties=properties)
    assert least <= seconds_until_it_comes(watcher) < most


def test_wills_are_published_by_a_gateway_that_stops(topic_address):
    with Gateway() as own:
        name, topic = "keeper", topic_address.mqtt
        keeper = Paho(own, 5, client_id=name, clean=False, expiry_seconds=100)
        keeper.subscribe(topic_address)
        keeper.drop()
        waits = leaver(own, topic, "waits", delay=60)
        waits.drop()
        time.sleep(0.3)
        connected = leaver(own, topic, "connected", delay=60)
        assert own.stop() == 0
        connected.drop()
        own.start()
        keeper = Paho(own, 5, client_id=name, clean=False, expiry_seconds=100)
        assert [keeper.receive_raw().payload for _ in range(2)] == [b"gone", b"gone"]
        keeper.close()


def test_at_a_takeover_the_one_before_has_left_first(gateway, topic_address):
    client_id = name()
    watcher = Mqtt5(gateway)
    watcher.ask(f"_PRESENCE/{client_id}", qos=0)
    first = Paho(gateway, 5, client_id=client_id)
    first.client.reconnect_delay_set(600, 600)
    second = Paho(gateway, 5, client_id=client_id)
    told = [json.loads(watcher.receive_body(5)) for _ in range(3)]
    assert [event["event"] for event in told] == ["connected", "left", "connected"]
    assert told[0]["connection"] == told[1]["connection"] != told[2]["connection"]
    assert told[1]["reason"] == "taken over"
    first.drop()
    second.close()
    watcher.close()
