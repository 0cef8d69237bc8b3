"""Looking at a queue without taking: STOMP's `browser:true` (docs/protocols/stomp.md)."""

import queue

import pytest

from interop.clients.stomp_py import StompPy
from interop.coming import bodies
from interop.messages import Sent


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


def fill(client, address, count=3):
    for number in range(count):
        client.publish(address, Sent(str(number).encode(), durable=True))


def test_a_browser_sees_all_and_takes_nothing(client, other, queue_address):
    fill(client, queue_address)
    client.subscribe(queue_address, ack="auto", browser="true")
    frames = [client.receive_raw(settle=False) for _ in range(4)]
    assert [frame.body for frame in frames[:3]] == [b"0", b"1", b"2"]
    assert (frames[3].headers["browser"], frames[3].headers["subscription"]) == ("end", client._subscription)
    other.subscribe(queue_address)
    assert bodies(other, 3) == ["0", "1", "2"]


def test_an_empty_queue_is_browsed_to_its_end(client, queue_address):
    client.subscribe(queue_address, ack="auto", browser="true")
    assert client.receive_raw(settle=False).headers["browser"] == "end"


def test_a_browser_that_acknowledges_sees_a_window_at_a_time(client, other, queue_address):
    fill(client, queue_address, 5)
    client.subscribe(queue_address, browser="true", **{"prefetch-count": "2"})
    frames = [client.receive_raw(settle=False) for _ in range(2)]
    with pytest.raises(queue.Empty):
        client.receive_raw(0.3, settle=False)
    while "browser" not in frames[-1].headers:
        client.connection.ack(frames[-2].headers["ack"])
        frames.append(client.receive_raw(settle=False))
    assert [frame.body for frame in frames[:-1]] == [b"0", b"1", b"2", b"3", b"4"]
    other.subscribe(queue_address)
    assert bodies(other, 5) == ["0", "1", "2", "3", "4"]


def test_a_browser_sees_what_it_selects(client, queue_address):
    fill(client, queue_address)
    client.publish(queue_address, Sent(b"urgent", durable=True, priority=9))
    client.subscribe(queue_address, ack="auto", browser="true", selector="JMSPriority = 9")
    assert client.receive_raw(settle=False).body == b"urgent"
    assert client.receive_raw(settle=False).headers["browser"] == "end"
