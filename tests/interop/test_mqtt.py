"""MQTT beyond the matrix: retained messages, wills, QoS 2, sessions, wildcards, sharing."""

import itertools
import queue

import pytest

from interop.clients.paho import Paho
from interop.coming import coming
from interop.messages import Address, Sent

_names = itertools.count(1)


@pytest.fixture(params=[4, 5], ids=["3.1.1", "5"])
def version(request):
    return request.param


@pytest.fixture
def client(gateway, version):
    opened = Paho(gateway, version)
    yield opened
    opened.close()


@pytest.fixture
def other(gateway, version):
    opened = Paho(gateway, version)
    yield opened
    opened.close()


def bodies(client, count):
    return [client.receive().body for _ in range(count)]


def nothing_more(client):
    with pytest.raises(queue.Empty):
        client.receive(0.2)


def test_a_retained_message_greets_later_subscribers(client, other, topic_address):
    client.publish(topic_address, Sent(b"first", durable=True), retain=True)
    client.publish(topic_address, Sent(b"second", durable=True), retain=True)
    other.subscribe(topic_address)
    message = other.receive_raw()
    assert (message.payload, message.retain) == (b"second", True)
    client.publish(topic_address, Sent(b"live", durable=True), retain=True)
    message = other.receive_raw()
    assert (message.payload, message.retain) == (b"live", False)  # [MQTT-3.3.1-9]
    nothing_more(other)


def test_an_empty_retained_message_clears(client, other, topic_address):
    client.publish(topic_address, Sent(b"kept", durable=True), retain=True)
    client.publish(topic_address, Sent(b"", durable=True), retain=True)
    other.subscribe(topic_address)
    nothing_more(other)


def test_the_will_is_published_when_the_client_vanishes(gateway, version, client, topic_address):
    client.subscribe(topic_address)
    will = {"topic": topic_address.mqtt, "payload": b"gone", "qos": 1}
    Paho(gateway, version, client_id=f"will-{next(_names)}", will=will).drop()
    assert client.receive().body == b"gone"


def test_the_will_is_not_published_after_a_goodbye(gateway, version, client, topic_address):
    client.subscribe(topic_address)
    will = {"topic": topic_address.mqtt, "payload": b"gone", "qos": 1}
    Paho(gateway, version, client_id=f"will-{next(_names)}", will=will).close()
    nothing_more(client)


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("subscribed", [0, 1, 2])
def test_the_lower_quality_of_service_counts(client, other, topic_address, published, subscribed):
    other.subscribe(topic_address, qos=subscribed)
    for number in range(10):
        client.publish(topic_address, Sent(str(number).encode()), qos=published)
    received = [other.receive_raw() for _ in range(10)]
    assert [message.payload for message in received] == [str(number).encode() for number in range(10)]
    assert {message.qos for message in received} == {min(published, subscribed)}
    nothing_more(other)


def test_qos_2_survives_a_lost_connection_in_the_middle(gateway, version, topic_address):
    name = f"qos2-{next(_names)}"
    subscriber = Paho(gateway, version, client_id=name, clean=False, expiry_seconds=3600)
    subscriber.subscribe(topic_address, qos=2)
    subscriber.drop()
    publisher = Paho(gateway, version)
    for number in range(50):
        publisher.publish(topic_address, Sent(str(number).encode()), qos=2)
    publisher.close()
    subscriber = Paho(gateway, version, client_id=name, clean=False, expiry_seconds=3600)
    assert subscriber.session_present
    assert bodies(subscriber, 50) == [str(number).encode() for number in range(50)]
    nothing_more(subscriber)
    subscriber.close()


def test_a_clean_start_ends_the_old_session(gateway, version, client, topic_address):
    name = f"clean-{next(_names)}"
    kept = Paho(gateway, version, client_id=name, clean=False, expiry_seconds=3600)
    kept.subscribe(topic_address)
    kept.close()
    client.publish(topic_address, Sent(b"lost on purpose", durable=True))
    clean = Paho(gateway, version, client_id=name, clean=True)
    assert not clean.session_present
    nothing_more(clean)
    clean.close()


def test_the_same_client_id_takes_over(gateway, version):
    name = f"twin-{next(_names)}"
    first = Paho(gateway, version, client_id=name)
    gone = queue.Queue()
    first.client.on_disconnect = lambda *_: (first.client.disconnect(), gone.put(True))
    second = Paho(gateway, version, client_id=name)
    assert gone.get(timeout=10)
    first.client.loop_stop()
    second.close()


@pytest.mark.parametrize(
    "filter_, matches, others",
    [
        ("{}/+/c", ["{}/b/c", "{}//c"], ["{}/b/d", "{}/b/c/d"]),
        ("{}/#", ["{}", "{}/b", "{}/b/c"], ["x{}"]),
        ("{}/+", ["{}/b", "{}/"], ["{}", "{}/b/c"]),
    ],
)
def test_wildcards(client, other, filter_, matches, others):
    base = f"wild-{next(_names)}"
    other.subscribe(filter_.format(base))
    for name in [*others, *matches]:
        client.publish(Address("topic", name.format(base)), Sent(name.encode(), durable=True))
    assert bodies(other, len(matches)) == [name.encode() for name in matches]
    nothing_more(other)


def test_a_leading_wildcard_does_not_match_what_begins_with_a_dollar(client, other):
    name = f"$mine-{next(_names)}/x"
    client.subscribe("+/x")
    client.subscribe("#")
    other.subscribe(name)
    client.publish(Address("topic", name), Sent(b"x", durable=True))
    assert other.receive().body == b"x"
    try:
        while True:  # retained messages of other tests
            assert client.receive(0.2).address != name
    except queue.Empty:
        pass


def test_overlapping_subscriptions_of_one_client_give_one_copy(client, other, topic_address):
    other.subscribe(topic_address.mqtt)
    other.subscribe(topic_address.mqtt + "/#")
    client.publish(topic_address, Sent(b"once", durable=True))
    assert other.receive().body == b"once"
    nothing_more(other)


@pytest.mark.parametrize("shared", ["$share/group/{}", "$queue/{}"])
def test_each_message_goes_to_one_of_those_who_share(client, other, topic_address, shared):
    topic = shared.format(topic_address.mqtt)
    client.subscribe(topic)
    other.subscribe(topic)
    target = Address("queue", topic_address.name) if shared.startswith("$queue") else topic_address
    for number in range(100):
        client.publish(target, Sent(str(number).encode(), durable=True))
    found = coming(100, client.receive, other.receive)
    assert sorted(int(received.body) for came in found for received in came) == list(range(100))


def test_many_messages_keep_their_order(client, other, topic_address):
    other.subscribe(topic_address)
    infos = [client.client.publish(topic_address.mqtt, str(number), qos=1) for number in range(3000)]
    assert [int(body) for body in bodies(other, 3000)] == list(range(3000))
    for info in infos:
        info.wait_for_publish(10)


def test_keep_alive_is_kept(gateway, version):
    client = Paho(gateway, version, keepalive=1)
    lost = queue.Queue()
    client.client.on_disconnect = lambda *_: lost.put(True)
    with pytest.raises(queue.Empty):
        lost.get(timeout=3)
    client.close()
