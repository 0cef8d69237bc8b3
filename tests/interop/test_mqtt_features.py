"""What user properties ask for, and what is told back (docs/protocols/mqtt.md). MQTT 5."""

import itertools
import queue
import time

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from interop.clients.mqtt5 import Mqtt5, user_properties
from interop.clients.paho import Paho
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
match = "stream/+"
stream = true

[[policy]]
match = "once/+"
dedup_count = 100
"""

_names = itertools.count(1)


@pytest.fixture(scope="module")
def strict():
    started = Gateway()
    (started.directory / "evergate.toml").write_text(POLICIES)
    with started:
        yield started


@pytest.fixture
def client(gateway):
    opened = Mqtt5(gateway)
    yield opened
    opened.close()


@pytest.fixture
def other(gateway):
    opened = Mqtt5(gateway)
    yield opened
    opened.close()


@pytest.fixture
def strict_client(strict):
    opened = Mqtt5(strict)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", ["delay", "deliver_at"])
def test_delivery_is_scheduled(client, topic_address, name):
    client.ask(topic_address.mqtt)
    sent = time.time()
    client.send(topic_address.mqtt, "later", **{name: int(sent * 1000) + 1500 if name == "deliver_at" else 1500})
    client.send(topic_address.mqtt, "now")
    assert client.receive_raw().payload == b"now"
    assert client.receive_raw().payload == b"later"
    assert time.time() - sent >= 1.4


def test_the_message_expiry_interval_is_lowered_by_the_wait(client, other, queue_address):
    client.publish(queue_address, Sent(b"x", durable=True, ttl_seconds=60))
    time.sleep(2)
    other.ask(queue_address.mqtt)
    assert 40 <= other.receive_raw().properties.MessageExpiryInterval <= 58


def test_an_expired_message_is_not_delivered(client, other, queue_address):
    client.publish(queue_address, Sent(b"x", durable=True, ttl_seconds=1))
    client.publish(queue_address, Sent(b"y", durable=True))
    time.sleep(1.5)
    other.ask(queue_address.mqtt)
    assert bodies(other, 1) == ["y"]


def test_a_duplicate_is_confirmed_and_not_stored(strict_client):
    for body, identity in (("first", "a"), ("again", "a"), ("other", "b")):
        assert strict_client.send("$queue/once/1", body, dedup_id=identity) < 0x80
    strict_client.ask("$queue/once/1")
    assert bodies(strict_client, 2) == ["first", "other"]


def test_a_full_queue_that_refuses_is_quota_exceeded(strict_client):
    assert [strict_client.send("$queue/small/1", str(number)) for number in range(3)] == [0, 0, 0x97]
    assert strict_client.send("$queue/other/1", "the connection is still there") == 0


def test_a_queue_that_does_not_come_into_being_is_topic_name_invalid(strict_client):
    assert strict_client.send("$queue/closed/1", "nowhere") == 0x90


@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt_3_1_1_is_disconnected_since_it_has_no_word_for_no(strict, qos):
    client = Paho(strict, 4)
    gone = queue.Queue()
    client.client.on_disconnect = lambda *_: (client.client.disconnect(), gone.put(True))
    client.client.publish("$queue/closed/1", "nowhere", qos=qos)
    assert gone.get(timeout=5)
    client.client.loop_stop()


def test_a_selector_takes_from_a_queue_what_it_selects(client, other, queue_address):
    for number, colour in enumerate(("red", "blue", "red")):
        client.send(queue_address.mqtt, str(number), colour=colour)
    assert client.ask(queue_address.mqtt, selector="colour = 'red'") == (1, None)
    assert bodies(client, 2) == ["0", "2"]
    other.ask(queue_address.mqtt)
    assert bodies(other, 1) == ["1"]


@pytest.mark.parametrize("prefix", ["", "$share/group/"])
def test_a_selector_filters_topics(client, other, topic_address, prefix):
    assert client.ask(f"{prefix}{topic_address.mqtt}/+", selector="colour = 'red'")[0] == 1
    for colour in ("red", "blue"):
        other.send(f"{topic_address.mqtt}/x", colour, colour=colour)
    assert bodies(client, 1) == ["red"]


def test_a_selector_outlives_the_connection(gateway, other, topic_address):
    name = f"selects-{next(_names)}"
    client = Mqtt5(gateway, client_id=name, clean=False, expiry_seconds=600)
    client.ask(topic_address.mqtt, selector="colour = 'red'")
    client.close()
    for colour in ("red", "blue"):
        other.send(topic_address.mqtt, colour, colour=colour)
    client = Mqtt5(gateway, client_id=name, clean=False, expiry_seconds=600)
    for colour in ("blue", "red"):
        other.send(topic_address.mqtt, f"{colour} again", colour=colour)
    assert bodies(client, 2) == ["red", "red again"]
    client.close()


def test_a_bad_selector_is_refused_with_its_column(client, topic_address):
    code, text = client.ask(topic_address.mqtt, selector="colour = = 'red'")
    assert code == 0x83
    assert text.startswith("selector: ") and text.endswith("at column 10")


def test_consumers_of_higher_priority_are_served_first(client, other, queue_address):
    client.ask(queue_address.mqtt, consumer_priority="-1")
    other.ask(queue_address.mqtt, consumer_priority="5")
    for number in range(3):
        client.send(queue_address.mqtt, str(number))
    assert coming(3, client.receive_body, other.receive_body) == [[], ["0", "1", "2"]]


def test_a_stream_is_read_from_where_the_client_says(strict):
    writer = Mqtt5(strict)
    for number in range(5):
        writer.send("$queue/stream/m", str(number))
    writer.close()

    def read(start, count):
        reader = Mqtt5(strict)
        assert reader.ask("$queue/stream/m", x_stream_offset=start)[0] == 1
        messages = [reader.receive_raw(5) for _ in range(count)]
        reader.close()
        return [int(message.payload) for message in messages], [
            user_properties(message)["x-stream-offset"] for message in messages
        ]

    found, places = read("first", 5)
    assert found == [0, 1, 2, 3, 4]
    assert read("last", 1)[0] == [4]
    assert read(f"offset={places[3]}", 2) == (found[3:], places[3:])
    assert read("timestamp=0", 5)[0] == found


def test_a_dead_letter_tells_where_from_and_why(gateway, client, queue_address):
    client.send(queue_address.mqtt, "x", colour="red")
    stomp = StompPy(gateway)
    stomp.subscribe(queue_address)
    frame = stomp.receive_raw(settle=False)
    stomp.confirmed(lambda receipt: stomp.connection.nack(frame.headers["ack"], receipt=receipt, reason="no such part"))
    stomp.close()
    client.ask("$queue/_DMQ")
    told = user_properties(client.receive_raw())
    while told.get("dead-letter-origin") != queue_address.canonical:  # other tests' dead letters
        told = user_properties(client.receive_raw())
    assert (told["colour"], told["dead-letter-queue"]) == ("red", queue_address.name)
    assert "no such part" in told["dead-letter-reason"]


def test_redeliveries_are_counted(gateway, client, queue_address):
    client.send(queue_address.mqtt, "x")
    stomp = StompPy(gateway)
    stomp.subscribe(queue_address)
    stomp.connection.nack(stomp.receive_raw(settle=False).headers["ack"], requeue="true")
    assert stomp.receive_raw(settle=False).headers["delivery-count"] == "1"
    stomp.drop()
    client.ask(queue_address.mqtt)
    message = client.receive_raw()
    assert message.dup
    assert int(user_properties(message)["delivery-count"]) >= 1


def test_a_will_expires_from_its_publication_on(gateway, client, topic_address):
    client.ask(topic_address.mqtt)
    properties = Properties(PacketTypes.WILLMESSAGE)
    properties.MessageExpiryInterval = 60
    will = {"topic": topic_address.mqtt, "payload": b"gone", "qos": 1, "properties": properties}
    vanishing = Mqtt5(gateway, client_id=f"vanishing-{next(_names)}", will=will)
    time.sleep(2)
    vanishing.drop()
    message = client.receive_raw()
    assert (message.payload, message.properties.MessageExpiryInterval) == (b"gone", 60)


@pytest.mark.parametrize("handling, greeted", [(0, [True, True]), (1, [True, False]), (2, [False, False])])
def test_retain_handling_says_who_is_greeted(gateway, client, topic_address, handling, greeted):
    # 3.8.3.1: 0 always, 1 if the subscription is new, 2 never.
    client.publish(topic_address, Sent(b"kept", durable=True), retain=True)
    subscriber = Paho(gateway, 5)
    for expected in greeted:
        subscriber.subscribe(topic_address, retainHandling=handling)
        [came] = coming(int(expected), subscriber.receive_raw)
        assert [message.retain for message in came] == [True] * expected
    subscriber.close()


@pytest.mark.parametrize("as_published", [True, False])
def test_retain_as_published_keeps_the_flag(gateway, client, topic_address, as_published):
    subscriber = Paho(gateway, 5)
    subscriber.subscribe(topic_address, retainAsPublished=as_published)
    client.publish(topic_address, Sent(b"live", durable=True), retain=True)
    assert subscriber.receive_raw().retain == as_published  # [MQTT-3.3.1-12], [MQTT-3.3.1-13]
    subscriber.close()


def test_no_local_leaves_out_what_the_client_itself_sends(gateway, client, topic_address):
    subscriber = Paho(gateway, 5)
    subscriber.subscribe(topic_address, noLocal=True)
    subscriber.publish(topic_address, Sent(b"mine", durable=True))
    client.publish(topic_address, Sent(b"theirs", durable=True))
    assert subscriber.receive().body == b"theirs"  # [MQTT-3.8.3-3]
    with pytest.raises(queue.Empty):
        subscriber.receive(0.3)
    subscriber.close()


def test_a_group_shares_a_wildcard(gateway, topic_address):
    members = [Mqtt5(gateway), Mqtt5(gateway)]
    for member in members:
        assert member.ask(f"$share/group/{topic_address.mqtt}/#")[0] == 1
    sender = Mqtt5(gateway)
    for number in range(40):
        sender.send(f"{topic_address.mqtt}/{number % 3}", str(number))
    found = coming(40, *(member.receive_body for member in members))
    assert sorted(found[0] + found[1], key=int) == [str(number) for number in range(40)]
    for opened in [*members, sender]:
        opened.close()


def test_other_protocols_find_what_was_asked_in_their_own_places(gateway, client, queue_address):
    client.send(queue_address.mqtt, "x", JMSXGroupID="g", priority=7, dedup_id="d", delay=0)
    stomp = StompPy(gateway)
    stomp.subscribe(queue_address)
    headers = stomp.receive_raw().headers
    assert (headers["group-id"], headers["priority"], headers["dedup-id"]) == ("g", "7", "d")
    assert "delay" not in headers
    stomp.close()


def test_mqtt_js_subscribes_with_a_selector_and_is_told_of_its_group(open_client, client, queue_address):
    mqtt_js = open_client("mqttjs-ws")
    mqtt_js.subscribe(queue_address, userProperties={"selector": "colour = 'red'"})
    for colour in ("blue", "red"):
        client.send(queue_address.mqtt, colour, colour=colour, group_id="g")
    received = mqtt_js.receive()
    mqtt_js.close()
    assert (received.body, received.properties["group-id"]) == (b"red", "g")


def test_a_queue_of_a_topic_is_addressed_as_such(client):
    address = Address("queue", f"plain-{next(_names)}")
    client.send(address.mqtt, "x")
    client.ask(address.mqtt)
    assert client.receive_raw().topic == address.mqtt


@pytest.mark.parametrize("prefix", ["", "$share/group/"])
@pytest.mark.parametrize(
    "pattern, matching, others",
    [
        ("$glob/{}/*/order-[0-9]", ["{}/eu/order-1"], ["{}/eu/order-x", "{}/a/b/order-1"]),
        ("$regex/{}/(eu|us)/[a-z]*", ["{}/eu/x", "{}/us/y"], ["{}/uk/x", "{}/eu/1"]),
    ],
)
def test_patterns_pick_up_topics_that_come_later(client, other, topic_address, prefix, pattern, matching, others):
    # Paho refuses a filter with a + or # that does not fill its level: its users write {1,} for +.
    base = topic_address.name
    assert client.ask(prefix + pattern.format(base))[0] == 1
    for name in [*others, *matching]:
        other.send(name.format(base), name)
    assert bodies(client, len(matching)) == matching
    client.unsubscribe(prefix + pattern.format(base))
    other.send(matching[0].format(base), "no more")
    assert bodies(client, 0) == []


def test_a_pattern_outlives_the_connection(gateway, other, topic_address):
    name = f"pattern-{next(_names)}"
    client = Mqtt5(gateway, client_id=name, clean=False, expiry_seconds=600)
    client.ask(f"$glob/{topic_address.mqtt}/*")
    client.ask(f"$share/group/$regex/{topic_address.mqtt}-shared/.*")
    client.close()
    other.send(f"{topic_address.mqtt}/x", "own")
    other.send(f"{topic_address.mqtt}-shared/x", "shared")
    client = Mqtt5(gateway, client_id=name, clean=False, expiry_seconds=600)
    assert sorted(bodies(client, 2)) == ["own", "shared"]
    client.close()


def test_a_bad_pattern_is_topic_filter_invalid(client):
    assert client.ask("$regex/(")[0] == 0x8F
