"""kill -9 while large bodies come in, wait and go out: whole after the restart, or without a trace."""

import contextlib
import random

import pytest

from interop.test_admin import Admin
from limits.streaming import CLIENTS, fingerprint
from limits.test_limits import until
from limits.trace import JOURNALS, MIB, Journal

BODY = random.Random(7).randbytes(3 * MIB + 7)
QUEUE = "/queue/large"
every_journal = pytest.mark.parametrize("kind", JOURNALS)
every_client = pytest.mark.parametrize("name", CLIENTS)


def start(kind):
    return Journal(kind, message_bytes_max="1 MiB")


def waiting(gateway):
    """How many messages are in queues; their bodies are in queues of their own."""
    with contextlib.closing(Admin(gateway)) as admin:
        queues = admin.result("queue.list", private=True)["queues"]
    return sum(queue["messages"] for queue in queues if not queue["name"].startswith("$body/"))


@every_journal
@every_client
def test_of_a_body_that_was_coming_in_nothing_is_left(kind, name):
    with start(kind) as journal:
        CLIENTS["stomp"](journal.gateway).send(QUEUE, b"small")
        upload = CLIENTS[name](journal.gateway).upload(QUEUE, len(BODY))
        upload.push(BODY[: 2 * MIB])
        until(lambda: journal.live_bytes() > MIB, "the first half in the journal")
        journal.crash()
        receiver = CLIENTS[name](journal.gateway).receiver(QUEUE)
        assert receiver.receive().body == fingerprint(b"small")
        receiver.settle()
        assert receiver.has_nothing()
        journal.check_no_trace()


@every_journal
@every_client
def test_a_confirmed_body_is_delivered_whole_after_the_restart(kind, name):
    with start(kind) as journal:
        CLIENTS[name](journal.gateway).send(QUEUE, BODY, colour="red")
        CLIENTS[name](journal.gateway).send("/queue/transient", BODY, durable=False)
        journal.crash()
        for consumer in CLIENTS.values():
            receiver = consumer(journal.gateway).receiver(QUEUE)
            received = receiver.receive()
            assert (received.body, received.properties) == (fingerprint(BODY), {"colour": "red"})
            # Not acknowledged: for the next one.
            journal.crash()
        receiver = CLIENTS[name](journal.gateway).receiver(QUEUE)
        assert receiver.receive().body == fingerprint(BODY)
        receiver.settle()
        journal.check_no_trace()
        assert CLIENTS[name](journal.gateway).receiver("/queue/transient").has_nothing()


@every_journal
def test_a_body_of_two_subscriptions_stays_for_the_second_over_restarts(kind):
    with start(kind) as journal:
        clients = [client(journal.gateway, f"id-{name}") for name, client in CLIENTS.items()]
        receivers = [client.receiver("/topic/large", "all") for client in clients]
        CLIENTS["stomp"](journal.gateway).send("/topic/large", BODY)
        assert receivers[0].receive().body == fingerprint(BODY)
        receivers[0].settle()
        until(lambda: waiting(journal.gateway) == 1, "AMQP's acknowledgement has come")
        assert journal.live_bytes() > MIB, "still there"
        # A STOMP receipt behind the acknowledgement of AMQP: by then that one is committed, too.
        CLIENTS["stomp"](journal.gateway).send("/queue/other", b"small")
        journal.crash()
        again = [client(journal.gateway, f"id-{name}") for name, client in CLIENTS.items()]
        receivers = [client.receiver("/topic/large", "all") for client in again]
        assert receivers[1].receive().body == fingerprint(BODY)
        receivers[1].settle()
        small = CLIENTS["amqp"](journal.gateway).receiver("/queue/other")
        small.receive()
        small.settle()
        assert receivers[0].has_nothing()
        journal.check_no_trace()


@every_journal
@every_client
def test_a_consumer_in_the_middle_of_it_gets_it_whole_after_the_restart(kind, name):
    with start(kind) as journal:
        CLIENTS[name](journal.gateway).send(QUEUE, BODY)
        CLIENTS[name](journal.gateway).receiver(QUEUE).wait_bytes(100_000)
        journal.crash()
        receiver = CLIENTS[name](journal.gateway).receiver(QUEUE)
        received = receiver.receive()
        assert received.body == fingerprint(BODY) and received.redelivered
        receiver.settle()
        journal.check_no_trace()
