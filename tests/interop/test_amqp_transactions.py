"""AMQP 1.0 transactions, with the transactions of python-qpid-proton."""

import queue

import pytest
from proton import Delivery, Message
from proton.handlers import TransactionHandler

from interop.clients.proton_blocking import Proton
from interop.coming import coming
from lib.gateway import Gateway

SECONDS = 10


@pytest.fixture
def client(gateway):
    opened = Proton(gateway)
    yield opened
    opened.close()


@pytest.fixture
def other(gateway):
    opened = Proton(gateway)
    yield opened
    opened.close()


class Transaction(TransactionHandler):
    """One transaction of a connection, and what became of it."""

    def __init__(self, client, settle=False):
        super().__init__()
        self.connection = client.connection
        self.said = None
        container = self.connection.container
        self.transaction = container.declare_transaction(self.connection.conn, self, settle_before_discharge=settle)
        assert self.outcome() == "declared"

    def outcome(self):
        self.connection.wait(lambda: self.said is not None, timeout=SECONDS)
        said, self.said = self.said, None
        return said

    def on_transaction_declared(self, event):
        self.said = "declared"

    def on_transaction_committed(self, event):
        self.said = "committed"

    def on_transaction_aborted(self, event):
        self.said = "aborted"

    def on_transaction_declare_failed(self, event):
        self.said = "not declared"

    def on_transaction_commit_failed(self, event):
        self.said = event.delivery.remote.condition.name

    def send(self, address, *values):
        sender = self.connection.create_sender(address.canonical)
        for value in values:
            delivery = self.transaction.send(sender.link, Message(body=value, durable=True))
            self.connection.wait(lambda sent=delivery: sent.settled, timeout=SECONDS)
            # A transactional state with an outcome.
            assert delivery.remote_state == 0x34
            assert delivery.remote.data[1].descriptor == Delivery.ACCEPTED
        sender.close()

    def receive(self, client, count):
        found = []
        for _ in range(count):
            found.append(client.receive_raw().body)
            delivery = client.receiver.fetcher.unsettled.popleft()
            self.transaction.accept(delivery)
        return found

    def commit(self):
        self.transaction.commit()
        return self.outcome()

    def abort(self):
        self.transaction.abort()
        return self.outcome()


def bodies(client, address, count):
    """What is in a queue, where so many are expected, with the delivery counts."""

    def receive(seconds):
        message = client.receive_raw(seconds)
        client.receiver.accept()
        return message.body, message.delivery_count

    client.subscribe(address)
    [found] = coming(count, receive)
    client.unsubscribe()
    return found


def fill(client, address, *values):
    sender = client.connection.create_sender(address.canonical)
    for value in values:
        sender.send(Message(body=value, durable=True))
    sender.close()


def test_a_commit_publishes_everything_at_once(client, other, queue_address, topic_address):
    other.subscribe(topic_address)
    transaction = Transaction(client)
    transaction.send(queue_address, "a", "b")
    transaction.send(topic_address, "c")
    with pytest.raises(queue.Empty):
        other.receive_raw(0.3)
    assert transaction.commit() == "committed"
    assert other.receive_raw().body == "c"
    other.receiver.accept()
    other.unsubscribe()
    assert bodies(other, queue_address, 2) == [("a", 0), ("b", 0)]


def test_a_rollback_publishes_nothing(client, other, queue_address):
    transaction = Transaction(client)
    transaction.send(queue_address, "a")
    assert transaction.abort() == "aborted"
    assert bodies(other, queue_address, 0) == []


@pytest.mark.parametrize("settle", [False, True], ids=["settled by the gateway", "settled by the client"])
def test_what_was_accepted_is_gone_after_the_commit(client, other, queue_address, settle):
    fill(client, queue_address, 0, 1, 2)
    client.subscribe(queue_address)
    transaction = Transaction(client, settle)
    assert transaction.receive(client, 2) == [0, 1]
    assert transaction.commit() == "committed"
    client.unsubscribe()
    assert bodies(other, queue_address, 1) == [(2, 0)]


@pytest.mark.parametrize("settle, count", [(False, 0), (True, 1)], ids=["then released", "settled by the client"])
def test_what_was_accepted_is_back_after_a_rollback(client, other, queue_address, settle, count):
    fill(client, queue_address, 0)
    client.subscribe(queue_address, credit=1)
    transaction = Transaction(client, settle)
    assert transaction.receive(client, 1) == [0]
    assert transaction.abort() == "aborted"
    client.unsubscribe()
    assert bodies(other, queue_address, 1) == [(0, count)]


def test_a_lost_connection_rolls_back(gateway, other, queue_address):
    lost = Proton(gateway)
    fill(other, queue_address, 0)
    lost.subscribe(queue_address)
    transaction = Transaction(lost)
    transaction.receive(lost, 1)
    transaction.send(queue_address, 1)
    lost.drop()
    lost.connection.container.process()  # so that the socket is closed
    found = bodies(other, queue_address, 1)
    assert [body for body, _ in found] == [0]


def test_transactions_do_not_see_each_other(client, other, queue_address):
    first, second = Transaction(client), Transaction(client)
    first.send(queue_address, "first")
    second.send(queue_address, "second")
    assert second.commit() == "committed"
    assert bodies(other, queue_address, 1) == [("second", 0)]
    assert first.commit() == "committed"
    assert bodies(other, queue_address, 1) == [("first", 0)]


def test_a_commit_in_doubt_is_asked_again_on_a_new_connection(gateway, client, other, queue_address):
    transaction = Transaction(client)
    transaction.send(queue_address, "a")
    identity = transaction.transaction.id
    assert transaction.commit() == "committed"
    again = Transaction(other)
    own, again.transaction.id = again.transaction.id, identity
    assert again.commit() == "committed"
    again.transaction.id = own
    assert again.abort() == "aborted"
    assert bodies(other, queue_address, 1) == [("a", 0)]


def test_an_unknown_transaction_is_refused(client):
    transaction = Transaction(client)
    transaction.transaction.id = b"\xff" * 8
    assert transaction.commit() == "amqp:transaction:unknown-id"


def test_a_commit_survives_a_kill_and_what_was_not_committed_does_not():
    with Gateway() as gateway:
        client = Proton(gateway)
        from interop.messages import Address

        source, target = Address("queue", "source"), Address("queue", "target")
        fill(client, source, 0, 1)
        client.subscribe(source, credit=2)
        moved = Transaction(client)
        moved.receive(client, 1)
        moved.send(target, "moved")
        open_one = Transaction(client)
        open_one.receive(client, 1)
        open_one.send(target, "never")
        identity = moved.transaction.id
        assert moved.commit() == "committed"
        gateway.kill()
        gateway.start()
        client = Proton(gateway)
        again = Transaction(client)
        again.transaction.id = identity
        assert again.commit() == "committed", "the outcome is remembered"
        assert [body for body, _ in bodies(client, source, 1)] == [1]
        assert bodies(client, target, 1) == [("moved", 0)]
        client.close()
