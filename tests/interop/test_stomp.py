"""STOMP beyond the matrix: receipts, acknowledgement modes, heart-beats, errors."""

import queue

import pytest

from interop.clients.stomp_py import StompPy
from interop.coming import coming
from interop.messages import Sent
from lib.gateway import Gateway


@pytest.fixture
def client(gateway):
    opened = StompPy(gateway)
    yield opened
    opened.close()


@pytest.fixture
def filled(client, queue_address):
    """A queue with the messages 0 to 9."""
    for number in range(10):
        client.publish(queue_address, Sent(str(number).encode(), durable=True))
    return queue_address


def frames(client, count):
    return [client.receive_raw(settle=False) for _ in range(count)]


def remaining(gateway, address, count):
    """What another consumer finds, where so many are expected, and whether it is flagged."""
    with_ack = StompPy(gateway)

    def receive(seconds):
        received = with_ack.receive(seconds)
        return int(received.body), received.redelivered

    with_ack.subscribe(address)
    [found] = coming(count, receive)
    with_ack.close()
    return found


def test_every_frame_can_have_a_receipt(client, queue_address):
    client.subscribe(queue_address)
    client.publish(queue_address, Sent(b"x"))
    frame = client.receive_raw(settle=False)
    client.confirmed(lambda receipt: client.connection.ack(frame.headers["ack"], receipt=receipt))
    client.unsubscribe()


def test_ack_auto_settles_what_it_sends(gateway, filled):
    client = StompPy(gateway)
    client.subscribe(filled, ack="auto")
    frames(client, 10)
    client.close()
    assert remaining(gateway, filled, 0) == []


def test_ack_client_is_cumulative(gateway, filled):
    client = StompPy(gateway)
    client.subscribe(filled, ack="client")
    received = frames(client, 10)
    client.confirmed(lambda receipt: client.connection.ack(received[5].headers["ack"], receipt=receipt))
    client.close()
    assert remaining(gateway, filled, 4) == [(number, True) for number in range(6, 10)]


def test_ack_client_individual_is_not(gateway, filled):
    client = StompPy(gateway)
    client.subscribe(filled, ack="client-individual")
    received = frames(client, 10)
    client.confirmed(lambda receipt: client.connection.ack(received[5].headers["ack"], receipt=receipt))
    client.close()
    assert remaining(gateway, filled, 9) == [(number, True) for number in range(10) if number != 5]


def test_a_lost_connection_gives_back_what_it_held(gateway, filled):
    client = StompPy(gateway)
    client.subscribe(filled)
    frames(client, 10)
    client.drop()
    assert remaining(gateway, filled, 10) == [(number, True) for number in range(10)]


def test_nack_does_not_lose_the_rest(gateway, filled):
    client = StompPy(gateway)
    client.subscribe(filled)
    received = frames(client, 10)
    client.confirmed(lambda receipt: client.connection.nack(received[0].headers["ack"], receipt=receipt))
    client.close()
    assert [number for number, _ in remaining(gateway, filled, 9)] == list(range(1, 10))


def test_the_prefetch_count_is_kept(client, filled):
    client.subscribe(filled, **{"prefetch-count": "3"})
    received = frames(client, 3)
    with pytest.raises(queue.Empty):
        client.receive_raw(0.3, settle=False)
    client.connection.ack(received[0].headers["ack"])
    frames(client, 1)


def test_heart_beats_keep_a_silent_connection():
    # Shorter than by default: two seconds of silence end it.
    with Gateway(environment={"EVERGATE__STOMP__HEARTBEAT_SECONDS": "1"}) as own:
        client = StompPy(own, heartbeats=(1000, 1000))
        assert not client.disconnected.wait(5)
        client.close()


def test_what_is_refused_is_said_and_the_connection_closed(gateway):
    client = StompPy(gateway)
    client.connection.send("/nonsense/x", "body")
    assert client.errors.get(timeout=5).headers["message"]
    assert client.disconnected.wait(5)


def test_a_receipt_of_disconnect_means_that_all_before_was_taken(gateway, queue_address):
    client = StompPy(gateway)
    for number in range(200):
        client.connection.send(queue_address.canonical, str(number), headers={"persistent": "true"})
    client.confirmed(lambda receipt: client.connection.send_frame("DISCONNECT", {"receipt": receipt}))
    assert [number for number, _ in remaining(gateway, queue_address, 200)] == list(range(200))
