"""Subscribers that do not keep up: the others do not notice, policy says what becomes of the slow one, and `_LOG` tells."""

import json
import time

import paho.mqtt.client as mqtt
import pytest

from limits.gateways import gateways
from limits.test_limits import confirmed, connect, publish, stays, subscribe, until


@pytest.fixture
def start():
    with gateways() as started:
        yield lambda **settings: started({f"EVERGATE__{name}": str(value) for name, value in settings.items()})


def asleep(gateway, name, topic, qos=1, **options):
    """A client that subscribes and then reads nothing."""
    client = connect(gateway, client_id=name, **options)
    subscribe(client, topic, qos)
    client.loop_stop()
    return client


def events(watcher, text):
    """Of the one who sleeps: one that reads may be slow as well."""
    found = [json.loads(line) for line in watcher.received]
    return [event for event in found if text in event["event"] and "sleeper" in json.dumps(event)]


def body(number, size=4096):
    return number.to_bytes(4, "big") + bytes(size - 4)


def numbers(client):
    return [int.from_bytes(message[:4], "big") for message in client.received]


@pytest.mark.parametrize("clean", [True, False], ids=["clean session", "persistent session"])
def test_what_a_slow_subscriber_leaves_standing_holds_up_nobody_and_comes_when_it_reads_again(start, clean):
    gateway = start(LIMITS__QUEUE_RESIDENT_BYTES_MAX="4 MiB")
    watcher, reader, publisher = connect(gateway), connect(gateway), connect(gateway)
    subscribe(watcher, "_LOG/#", 0)
    subscribe(reader, "news")
    sleeper = asleep(gateway, "sleeper", "news", clean_session=clean)
    # 32 MiB: eight times what one queue may keep in memory.
    infos = [publish(publisher, "news", body(number)) for number in range(8000)]
    until(lambda: confirmed(infos) == 8000, "all are confirmed though one subscriber reads nothing", 60)
    until(lambda: numbers(reader) == list(range(8000)), "the other subscriber has all, in order", 60)
    until(lambda: events(watcher, "do not keep up"), "the event log tells")
    [event] = events(watcher, "do not keep up")
    assert (event["level"], event["queue"]) == ("warn", "$session/sleeper")
    assert "sleeper" in event["clients"] and event["bytes"] >= 4 << 20
    sleeper.loop_start()
    until(lambda: numbers(sleeper) == list(range(8000)), "it gets all of it once it reads, in order", 60)
    until(lambda: events(watcher, "keep up with a queue again"), "and the event log tells that, too")


def test_a_slow_subscriber_of_qos_0_misses_what_publishers_of_qos_1_do_not_wait_for(start):
    gateway = start(LIMITS__QUEUE_MESSAGES_MAX=100, LIMITS__DELIVERY_WINDOW_BYTES=4096)
    watcher, reader, publisher = connect(gateway), connect(gateway), connect(gateway)
    subscribe(watcher, "_LOG/#", 0)
    subscribe(reader, "news")
    sleeper = asleep(gateway, "sleeper", "news", qos=0)
    for first in range(0, 6000, 50):
        infos = [publish(publisher, "news", body(number)) for number in range(first, first + 50)]
        until(lambda infos=infos: confirmed(infos) == 50, "publishers do not wait")
    until(lambda: numbers(reader) == list(range(6000)), "the subscriber that reads misses nothing", 60)
    until(lambda: events(watcher, "a queue is full"), "the event log tells")
    assert {event["queue"] for event in events(watcher, "a queue is full")} == {"$session/sleeper"}
    sleeper.loop_start()

    def comes():
        publish(publisher, "news", body(6000))
        return 6000 in numbers(sleeper)

    until(comes, "what is published once it reads")
    assert len(set(numbers(sleeper))) < 6001 and numbers(sleeper) == sorted(numbers(sleeper))


WINDOW, FULL, SENT = 10, 50, 120


def with_a_gap(got):
    """What is kept where the oldest go: those that the subscriber was sent already, and the newest of the rest."""
    sent = next(number for number in range(FULL) if number not in got)
    assert sent >= WINDOW
    return list(range(sent)) + list(range(SENT - FULL + sent, SENT))


@pytest.mark.parametrize("policy", ["block", "reject", "drop-oldest", "dead-letter-oldest", "disconnect"])
def test_each_policy_for_the_full_queue_of_a_slow_subscriber(start, policy):
    gateway = start(
        POLICY=f'[{{match = "$session/sleeper", messages_max = {FULL}, on_full = "{policy}"}}]',
        MQTT__DELIVERY_WINDOW_MESSAGES=WINDOW,
    )
    watcher = connect(gateway)
    subscribe(watcher, "_LOG/#", 0)
    sleeper = asleep(gateway, "sleeper", "news", clean_session=False)
    publisher = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    answers = []
    publisher.on_publish = lambda _, __, ___, reason, ____: answers.append(reason.value)
    publisher.max_inflight_messages_set(SENT)
    publisher.connect("127.0.0.1", gateway.ports["mqtt"])
    publisher.loop_start()
    for number in range(SENT):
        publisher.publish("news", body(number, 64), qos=1)
        # One by one up to the bound: what is under way already may go beyond it.
        until(lambda number=number: len(answers) > min(number, FULL - 1), "the queue fills")

    if policy in ("block", "disconnect"):
        stays(lambda: len(answers) < SENT, 0.5)
    else:
        until(lambda: len(answers) == SENT, "every publish is answered")
    refused = [answer for answer in answers if answer == 0x97]
    assert bool(refused) == (policy == "reject")
    if policy == "disconnect":
        until(lambda: events(watcher, "connection closed"), "the event log tells who was disconnected")
        [event] = events(watcher, "connection closed")
        assert event["client_id"] == "sleeper" and "does not keep up" in event["close"]
    if policy in ("block", "disconnect"):
        until(lambda: events(watcher, "a queue is full"), "the event log tells")

    if policy == "disconnect":
        sleeper = connect(gateway, client_id="sleeper", clean_session=False)
    else:
        sleeper.loop_start()
    whole = list(range(SENT))
    kept = {
        "block": whole,
        "disconnect": whole,
        "reject": [number for number, answer in enumerate(answers) if answer != 0x97],
    }.get(policy)
    until(lambda: len(set(numbers(sleeper))) >= len(kept or whole[:FULL]), "all that was kept", 20)
    time.sleep(0.2)
    got = list(dict.fromkeys(numbers(sleeper)))
    assert got == (kept if kept else with_a_gap(got))
    if policy == "dead-letter-oldest":
        letters = connect(gateway)
        subscribe(letters, "$queue/_DMQ")
        until(lambda: len(letters.received) == SENT - FULL, "the others are dead letters")
    publisher.loop_stop()
