"""A journal that has lost pieces of large bodies: their messages become dead letters, and consumers go on with the next."""

import contextlib
import json
import random
import sqlite3

import pytest
from proton import Delivery

from interop.test_admin import Admin
from limits.streaming import CLIENTS, fingerprint
from limits.trace import MIB, Journal

BODY = random.Random(7).randbytes(3 * MIB + 7)
QUEUE = "/queue/large"


def is_piece(size):
    return size > 50_000


def garble(connection, packs):
    """The rows are there and cannot be decoded."""
    for pack in packs:
        connection.execute("UPDATE pack SET messages = zeroblob(length(messages)) WHERE id = ?", (pack,))


def lose(connection, packs):
    """The rows are gone."""
    for pack in packs:
        connection.execute("DELETE FROM pack WHERE id = ?", (pack,))


def lose_queue(connection, _):
    """Nothing is known of the body any more."""
    rows = connection.execute("SELECT kind, key FROM state WHERE CAST(value AS TEXT) LIKE '%$body/%'").fetchall()
    # One row is the body's queue, the other says which message has it.
    queue = min(rows)
    connection.execute("DELETE FROM state WHERE kind = ? AND key = ?", queue)


# What is done to the journal, to which of the body's pieces, and whether a client has some of it by then.
DAMAGES = {
    "first garbled": (garble, slice(0, 1), False),
    "middle garbled": (garble, slice(20, 21), True),
    "last lost": (lose, slice(-1, None), False),
    "all lost": (lose, slice(None), False),
    "queue lost": (lose_queue, slice(0), False),
}


def damage(journal, what, which):
    path = journal.gateway.directory / "data/journal.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT id, length(messages) FROM pack ORDER BY id").fetchall()
        pieces = [pack for pack, size in rows if is_piece(size)]
        assert len(pieces) >= len(BODY) / (100 << 10)
        what(connection, pieces[which])
        connection.commit()


def receive(name, gateway, address, has_begun):
    """The next message that comes whole, by a client that connects again where its connection is closed."""
    for _ in range(2):
        client = CLIENTS[name](gateway)
        receiver = client.receiver(address)
        try:
            return client, receiver, receiver.receive()
        except (ConnectionError, AssertionError):
            assert has_begun and name == "stomp"
            client.close()
    raise AssertionError("the connection was closed twice")


@pytest.mark.parametrize("case", DAMAGES)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_message_whose_body_is_damaged_is_a_dead_letter_and_the_next_one_comes(name, case):
    what, which, has_begun = DAMAGES[case]
    with Journal("sqlite", message_bytes_max="1 MiB") as journal:
        CLIENTS["stomp"](journal.gateway).send(QUEUE, BODY, colour="red")
        CLIENTS["stomp"](journal.gateway).send(QUEUE, b"small")
        journal.gateway.stop()
        damage(journal, what, which)
        journal.gateway.start()
        client, receiver, received = receive(name, journal.gateway, QUEUE, has_begun)
        assert received.body == fingerprint(b"small")
        receiver.settle()
        assert receiver.has_nothing()
        told = [line for line in journal.gateway.events if line["event"] == "the body of a large message cannot be read"]
        assert [(line["queue"], line["level"]) for line in told] == [("large", "error")]
        client.close()
        amqp = CLIENTS["amqp"](journal.gateway)
        amqp.send(QUEUE, b"rejected")
        rejecting = amqp.receiver(QUEUE)
        rejecting.receive()
        rejecting.settle(Delivery.REJECTED)
        # Among the dead letters it is in nobody's way, and stays for an operator.
        client = CLIENTS[name](journal.gateway)
        receiver = client.receiver("/queue/_DMQ")
        assert receiver.receive().body == fingerprint(b"rejected")
        receiver.settle()
        client.close()
        amqp.close()
        admin = Admin(journal.gateway)
        [letter] = admin.result("queue.browse", queue="_DMQ")["messages"]
        assert letter["large"]
        assert "unreadable" in json.dumps(letter)
        admin.result("queue.purge", queue="_DMQ")
        admin.close()
        assert journal.gateway.is_running()
        journal.check_no_trace()
