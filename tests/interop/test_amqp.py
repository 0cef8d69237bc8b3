"""AMQP 1.0 beyond the matrix: credit, drain, outcomes, multi-frame messages, dynamic nodes, types."""

import queue
import uuid

import pytest
from proton import Delivery, Message, Terminus, Timeout, symbol, ulong
from proton.reactor import LinkOption
from proton.utils import LinkDetached

from interop.clients.proton_blocking import Proton
from interop.coming import PATIENCE_SECONDS, QUIET_SECONDS, coming
from interop.messages import Sent


@pytest.fixture
def client(gateway):
    opened = Proton(gateway)
    yield opened
    opened.close()


@pytest.fixture
def filled(client, queue_address):
    """A queue with the messages 0 to 9."""
    for number in range(10):
        client.publish(queue_address, Sent(str(number).encode(), durable=True))
    return queue_address


def without_credit(client, address):
    """A receiver that asks for nothing by itself."""
    client.subscribe(address, credit=0)
    return client.receiver


def remaining(gateway, address, count):
    """What is left in a queue, where so many are expected, with the delivery counts."""
    client = Proton(gateway)

    def receive(seconds):
        message = client.receive_raw(seconds)
        client.receiver.accept()
        return int(bytes(message.body)), message.delivery_count

    client.subscribe(address)
    [found] = coming(count, receive)
    client.close()
    return found


def settle(client, state):
    client.receive_raw()
    client.receiver.settle(state)


def flush(client):
    """Everything written so far has been read by the gateway when this returns."""
    client.connection.create_sender("/queue/flush").close()


def arrived(receiver, count):
    """How many messages there are, where `count` are expected, and a moment after that."""
    for wanted, seconds in ((count, PATIENCE_SECONDS), (count + 1, QUIET_SECONDS)):
        try:
            receiver.connection.wait(lambda wanted=wanted: len(receiver.fetcher.incoming) >= wanted, timeout=seconds)
        except Timeout:
            pass
    return len(receiver.fetcher.incoming)


def test_no_more_than_the_credit_comes(client, filled):
    receiver = without_credit(client, filled)
    assert arrived(receiver, 0) == 0
    receiver.link.flow(3)
    assert arrived(receiver, 3) == 3
    receiver.link.flow(2)
    assert arrived(receiver, 5) == 5


def test_drain_is_answered_when_there_is_nothing_more(client, filled):
    receiver = without_credit(client, filled)
    receiver.link.drain(50)
    client.connection.wait(lambda: receiver.link.credit == 0, timeout=5)
    assert arrived(receiver, 10) == 10


@pytest.mark.parametrize(
    "state, again",
    [(Delivery.ACCEPTED, []), (Delivery.RELEASED, [(0, 0)]), (Delivery.MODIFIED, [(0, 1)])],
    ids=["accepted", "released", "modified"],
)
def test_the_outcome_says_what_becomes_of_a_message(gateway, client, queue_address, state, again):
    client.publish(queue_address, Sent(b"0", durable=True))
    client.subscribe(queue_address, credit=1)
    if state == Delivery.MODIFIED:
        client.receive_raw()
        client.receiver.fetcher.unsettled[0].local.failed = True
        client.receiver.settle(state)
    else:
        settle(client, state)
    client.unsubscribe()
    flush(client)
    assert remaining(gateway, queue_address, len(again)) == again


def test_rejected_goes_to_the_dead_messages(gateway, client, queue_address):
    client.publish(queue_address, Sent(b"0", durable=True))
    client.subscribe(queue_address, credit=1)
    settle(client, Delivery.REJECTED)
    client.unsubscribe()
    assert remaining(gateway, queue_address, 0) == []
    client.subscribe("/queue/_DMQ")
    body = None
    while body != b"0":  # there may be other tests' before it
        message = client.receive_raw()  # its body is a view into it
        body = bytes(message.body) if isinstance(message.body, memoryview) else message.body
        client.receiver.accept()
    client.unsubscribe()


def test_a_detach_gives_back_what_the_link_held(gateway, client, filled):
    client.subscribe(filled, credit=5)
    for _ in range(5):
        client.receive_raw()
    client.unsubscribe()
    assert [number for number, _ in remaining(gateway, filled, 10)] == list(range(10))


@pytest.mark.parametrize("size", [600, 70_000, 5 * 1024 * 1024])
def test_messages_in_many_frames(gateway, queue_address, size):
    small = Proton(gateway, max_frame_size=512)
    body = bytes(range(256)) * (size // 256)
    small.publish(queue_address, Sent(body, durable=True))
    small.subscribe(queue_address, credit=1)
    assert small.receive(60).body == body
    small.close()


def test_settled_deliveries_come_settled(client, filled):
    class Settled(LinkOption):
        def apply(self, link):
            link.snd_settle_mode = 1

    client.subscribe(filled, options=Settled(), credit=10)
    for _ in range(10):
        client.receive_raw()
    client.unsubscribe()
    client.subscribe(filled)
    with pytest.raises(queue.Empty):
        client.receive_raw(0.3)


def test_two_consumers_share_a_queue(gateway, client, queue_address):
    other = Proton(gateway)
    client.subscribe(queue_address, credit=5)
    other.subscribe(queue_address, credit=5)
    for number in range(10):
        client.publish(queue_address, Sent(str(number).encode()))
    seen = sorted(int(one.receive().body) for one in (client, other) for _ in range(5))
    assert seen == list(range(10))
    other.close()


def test_a_dynamic_node_takes_replies(gateway, client):
    receiver = client.connection.create_receiver(None, credit=1, dynamic=True)
    address = receiver.link.remote_source.address
    assert address
    other = Proton(gateway)
    other.connection.create_sender(address).send(Message(body="reply"))
    assert receiver.receive(5).body == "reply"
    receiver.accept()
    other.close()


def test_a_link_to_nowhere_is_refused(client):
    with pytest.raises(LinkDetached, match="amqp:"):
        client.connection.create_sender("/topic/a/#")


@pytest.mark.parametrize(
    "identity", ["text", uuid.UUID("12345678-1234-5678-1234-567812345678"), ulong(1 << 63), b"\0\xff"], ids=["string", "uuid", "ulong", "binary"]
)
def test_ids_keep_their_type(client, queue_address, identity):
    client.connection.create_sender(queue_address.canonical).send(Message(id=identity, correlation_id=identity, body="x"))
    client.subscribe(queue_address)
    message = client.receive_raw()
    client.receiver.accept()
    assert (message.id, message.correlation_id) == (identity, identity)


@pytest.mark.parametrize(
    "body", ["text", {"a": [1, 2.5, None, True]}, [1, "two"], None, 42, ulong(7), symbol("s")], ids=repr
)
def test_any_body_passes_between_amqp_clients(client, queue_address, body):
    client.connection.create_sender(queue_address.canonical).send(Message(body=body))
    client.subscribe(queue_address)
    message = client.receive_raw()
    client.receiver.accept()
    assert message.body == body


def test_an_address_by_capability(client, queue_address):
    class AsQueue(LinkOption):
        def apply(self, link):
            terminus = link.target if link.is_sender else link.source
            terminus.capabilities.put_object(symbol("queue"))
            assert terminus.type in (Terminus.TARGET, Terminus.SOURCE)

    sender = client.connection.create_sender(queue_address.name, options=AsQueue())
    sender.send(Message(body="x"))
    client.subscribe(queue_address)
    assert client.receive().body == b"x"
