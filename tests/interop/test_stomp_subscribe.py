"""Headers of a SUBSCRIBE, NACK, and temporary destinations (docs/protocols/stomp.md)."""

import pytest

from interop.clients.paho import Paho
from interop.clients.stomp_py import StompPy
from interop.coming import bodies
from interop.messages import Address, Sent
from lib.gateway import Gateway

POLICIES = """
[[policy]]
match = "stream/+"
stream = true
"""


@pytest.fixture(scope="module")
def streams():
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
def other(gateway):
    opened = StompPy(gateway)
    yield opened
    opened.close()


def fill(client, address, count=3, **properties):
    for number in range(count):
        client.publish(address, Sent(str(number).encode(), durable=True, properties=properties))


def test_a_selector_takes_from_a_queue_what_it_selects(client, other, queue_address):
    for number, colour in enumerate(("red", "blue", "red")):
        client.publish(queue_address, Sent(str(number).encode(), durable=True, properties={"colour": colour}))
    client.subscribe(queue_address, selector="colour = 'red'")
    assert bodies(client, 2) == ["0", "2"]
    other.subscribe(queue_address)
    assert bodies(other, 1) == ["1"]


@pytest.mark.parametrize("headers", [{}, {"shared": "group"}], ids=["own", "shared"])
def test_a_selector_filters_a_topic(client, other, topic_address, headers):
    client.subscribe(topic_address, selector="colour = 'red' OR JMSPriority > 6", **headers)
    for priority in (4, 9):
        other.publish(topic_address, Sent(str(priority).encode(), durable=True, priority=priority))
    assert bodies(client, 1) == ["9"]


def test_stompjs_selects_and_is_told_of_a_bad_selector(open_client, other, queue_address):
    client = open_client("stompjs-ws")
    client.subscribe(queue_address, selector="colour = 'red'")
    for colour in ("blue", "red"):
        other.publish(queue_address, Sent(colour.encode(), durable=True, properties={"colour": colour}))
    assert client.receive().body == b"red"
    with pytest.raises(ConnectionError, match="selector: .* at column 10"):
        client.subscribe(queue_address, selector="colour = = 'red'")


def test_a_bad_selector_is_refused_with_its_column(gateway, queue_address):
    client = StompPy(gateway)
    with pytest.raises(ConnectionError, match="selector: .* at column 10"):
        client.subscribe(queue_address, selector="colour = = 'red'")


def test_consumers_of_higher_priority_are_served_first(client, other, queue_address):
    client.subscribe(queue_address, **{"consumer-priority": "-1"})
    other.subscribe(queue_address, **{"consumer-priority": "5"})
    fill(client, queue_address)
    assert bodies(other, 3) == ["0", "1", "2"]
    other.unsubscribe()
    fill(client, queue_address)
    assert bodies(client, 3) == ["0", "1", "2"]


@pytest.mark.parametrize("client_id", [None, "me"])
def test_no_local_leaves_out_what_the_connection_itself_sends(gateway, other, topic_address, client_id):
    client = StompPy(gateway, client_id=client_id)
    client.subscribe(topic_address, **{"no-local": "true"})
    client.publish(topic_address, Sent(b"mine", durable=True))
    other.publish(topic_address, Sent(b"theirs", durable=True))
    assert bodies(client, 1) == ["theirs"]
    client.close()


def test_an_exclusive_consumer_is_alone(client, gateway, queue_address):
    client.subscribe(queue_address, exclusive="true")
    second = StompPy(gateway)
    with pytest.raises(ConnectionError, match="another consumer has it for itself"):
        second.subscribe(queue_address)


def test_a_stream_is_read_from_where_the_client_says(streams):
    client = StompPy(streams)
    for number in range(5):
        client.connection.send("/queue/stream/1", str(number), headers={"persistent": "true"})
    client.confirmed(lambda receipt: client.connection.send("/queue/other", "x", headers={"receipt": receipt}))

    def read(start, count):
        reader = StompPy(streams)
        reader.subscribe("/queue/stream/1", **{"x-stream-offset": start})
        frames = [reader.receive_raw(5) for _ in range(count)]
        reader.close()
        return [frame.body.decode() for frame in frames], [frame.headers["x-stream-offset"] for frame in frames]

    found, places = read("first", 5)
    assert found == ["0", "1", "2", "3", "4"]
    assert read("first", 5) == (found, places), "nobody takes from a stream"
    assert read("last", 1)[0] == ["4"]
    assert read(f"offset={places[3]}", 2) == (found[3:], places[3:])
    assert read("timestamp=0", 5)[0] == found
    client.close()


def test_nack_puts_back_if_told_to_and_counts(client, queue_address):
    fill(client, queue_address, 1)
    client.subscribe(queue_address)
    first = client.receive_raw(settle=False)
    assert "delivery-count" not in first.headers
    client.connection.nack(first.headers["ack"], requeue="true")
    again = client.receive_raw(settle=False)
    assert (again.headers["redelivered"], again.headers["delivery-count"]) == ("true", "1")
    client.confirmed(lambda receipt: client.connection.ack(again.headers["ack"], receipt=receipt))


@pytest.mark.parametrize("headers", [{}, {"requeue": "false"}])
def test_nack_makes_a_dead_letter_that_says_where_from_and_why(client, other, queue_address, headers):
    fill(client, queue_address, 1)
    client.subscribe(queue_address)
    frame = client.receive_raw(settle=False)
    client.confirmed(
        lambda receipt: client.connection.nack(frame.headers["ack"], receipt=receipt, reason="no such part", **headers)
    )
    other.subscribe("/queue/_DMQ")
    dead = other.receive_raw()
    while dead.headers.get("dead-letter-origin") != queue_address.canonical:  # other tests' dead letters
        dead = other.receive_raw()
    assert dead.body == b"0"
    assert dead.headers["dead-letter-queue"] == queue_address.name
    assert "no such part" in dead.headers["dead-letter-reason"]


def answer(client, address):
    """Takes a request from the queue and answers it."""
    client.subscribe(address)
    request = client.receive_raw()
    client.confirmed(
        lambda receipt: client.connection.send(request.headers["reply-to"], "answer", headers={"receipt": receipt})
    )


def test_a_reply_finds_the_temporary_queue_that_reply_to_alone_made(client, other, queue_address):
    # As RabbitMQ's clients do it.
    client._ack = "auto"
    client.connection.send(queue_address.canonical, "question", headers={"reply-to": "/temp-queue/answers"})
    answer(other, queue_address)
    frame = client.receive_raw()
    assert (frame.body, frame.headers["subscription"]) == (b"answer", "/temp-queue/answers")


def test_a_reply_finds_the_temporary_queue_that_was_subscribed(client, other, queue_address):
    # As ActiveMQ's clients do it.
    client.subscribe("/temp-queue/answers", name="mine")
    client.connection.send(queue_address.canonical, "question", headers={"reply-to": "/temp-queue/answers"})
    answer(other, queue_address)
    frame = client.receive_raw()
    assert (frame.body, frame.headers["subscription"]) == (b"answer", "mine")
    assert frame.headers["destination"] == "/temp-queue/answers"


def test_temporary_topics_belong_to_one_connection(gateway, client, other, queue_address):
    client.subscribe("/temp-topic/answers")
    other.subscribe("/temp-topic/answers")
    client.connection.send(queue_address.canonical, "question", headers={"reply-to": "/temp-topic/answers"})
    third = StompPy(gateway)
    answer(third, queue_address)
    third.close()
    assert client.receive_raw().body == b"answer"
    assert bodies(other, 0) == []


@pytest.mark.parametrize(
    "pattern, matching, others",
    [
        ("/glob/{}/*/order-[0-9]", ["{}/eu/order-1"], ["{}/eu/order-x", "{}/a/b/order-1"]),
        ("/glob/{}/**", ["{}/eu", "{}/eu/x/y"], ["x{}/eu"]),
        ("/regex/{}/(eu|us)/[a-z]+", ["{}/eu/x", "{}/us/y"], ["{}/uk/x", "{}/eu/1"]),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"shared": "group"}], ids=["own", "shared"])
def test_patterns_pick_up_topics_that_come_later(client, other, topic_address, pattern, matching, others, headers):
    base = topic_address.name
    client.subscribe(pattern.format(base), **headers)
    for name in [*others, *matching]:
        other.publish(Address("topic", name.format(base)), Sent(name.encode(), durable=True))
    assert bodies(client, len(matching)) == matching


@pytest.mark.parametrize(
    "destination, message",
    [("/glob/[a", "the glob is not complete"), ("/regex/(", "the regular expression is not valid")],
)
def test_a_bad_pattern_is_refused(gateway, destination, message):
    with pytest.raises(ConnectionError, match=message):
        StompPy(gateway).subscribe(destination)


def test_nobody_sends_to_a_pattern(gateway):
    client = StompPy(gateway)
    client.connection.send("/glob/a/*", "x")
    assert client.errors.get(timeout=5).headers["message"] == "a message cannot be sent to a pattern: /glob/a/*"


def test_retained_messages_come_first_if_they_are_wanted(gateway, client, topic_address):
    mqtt = Paho(gateway, 5)
    mqtt.publish(topic_address, Sent(b"kept", durable=True), retain=True)
    client.subscribe(topic_address, retained="true")
    first = client.receive_raw()
    assert (first.body, first.headers["retained"]) == (b"kept", "true")
    mqtt.publish(topic_address, Sent(b"live", durable=True))
    live = client.receive_raw()
    assert (live.body, "retained" in live.headers) == (b"live", False)
    mqtt.close()


def test_a_reply_to_one_who_is_gone_is_dropped_and_harms_nobody(gateway, client, queue_address):
    asker = StompPy(gateway)
    asker.connection.send(queue_address.canonical, "question", headers={"reply-to": "/temp-queue/answers"})
    client.subscribe(queue_address)
    reply_to = client.receive_raw().headers["reply-to"]
    asker.close()
    client.confirmed(lambda receipt: client.connection.send(reply_to, "too late", headers={"receipt": receipt}))
    client.publish(queue_address, Sent(b"still here", durable=True))
    assert client.receive_raw().body == b"still here"
