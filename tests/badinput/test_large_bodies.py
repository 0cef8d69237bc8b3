"""Bodies that are too large for memory, and not as they should be: the protocol's word, and nothing is left of them."""

import json
import time

import pytest

from badinput import stomp
from badinput.case import Case, Peer, agrees, play
from badinput.conftest import surviving
from badinput.measure import growth

ENVIRONMENT = {
    "EVERGATE__LIMITS__MESSAGE_BYTES_MAX": "1MiB",
    "EVERGATE__LIMITS__LARGE_MESSAGE_BYTES_MAX": "4MiB",
    "MIMALLOC_PURGE_DELAY": "0",
}
# A single size is off by some 16 MiB either way; a body of 2 MiB that is kept each round makes 40.
GROWTH_MIB_MAX = 32
ROUNDS = 20


def send(length, body, *headers, end=b"\0", destination="/queue/a"):
    head = (f"destination:{destination}", *headers)
    return stomp.frame("SEND", *head, f"content-length:{length}", body=bytes(body), end=end)


def case(name, data, expect, half_close=False):
    return Case(name, data, expect, "connect", half_close)


CASES = [
    case("STOMP: the largest of all", send(4 << 20, 4 << 20, "receipt:r"), "RECEIPT r"),
    case("STOMP: one byte more", send((4 << 20) + 1, 1000, "receipt:r"), "ERROR the body is longer than 4194304, closed"),
    case("STOMP: without its length", stomp.frame("SEND", "destination:/queue/a", body=b"x" * (2 << 20)),
         "ERROR the body is longer than 1048576 bytes and has no content-length, closed"),
    case("STOMP: without NUL", send(3 << 20, 3 << 20, end=b"x"), "ERROR no NUL after content-length, closed"),
    case("STOMP: half of it, then no more", send(4 << 20, 2 << 20, end=b""), "closed", half_close=True),
    case("STOMP: to the gateway's own", send(4 << 20, 0, "receipt:r", destination="/queue/_DMQ", end=b""),
         "ERROR the message was not taken, closed"),
    case("STOMP: to a session's queue", send(2 << 20, 2 << 20, destination="/queue/$body/1"),
         "ERROR the message was not taken, closed"),
    case("STOMP: in a transaction of nobody", send(4 << 20, 0, "transaction:t", end=b""),
         "ERROR SEND: there is no transaction t, closed"),
    case("STOMP: in a transaction that ends with the connection",
         stomp.frame("BEGIN", "transaction:t") + send(2 << 20, 2 << 20, "transaction:t", "receipt:r"),
         "…, closed", half_close=True),
]  # fmt: skip


@pytest.fixture(scope="module")
def roomy():
    with surviving(ENVIRONMENT) as started:
        yield started


def bodies(gateway):
    """The names of the queues that hold bodies."""
    request = json.dumps({"op": "queue.list", "args": {"private": True}}).encode()
    peer = Peer(gateway.ports["stomp"])
    ask = stomp.frame("SEND", "destination:/queue/_ADMIN", "reply-to:/temp-queue/a", body=request)
    peer.exchange(stomp.CONNECT + ask, lambda: b"\nMESSAGE\n" in peer.received and peer.received.endswith(b"\0"))
    answer = bytes(peer.received).partition(b"MESSAGE\n")[2].partition(b"\n\n")[2].rstrip(b"\0\n")
    peer.socket.close()
    names = [row["name"] for row in json.loads(answer)["result"]["queues"]]
    return [name for name in names if name.startswith("$body/")]


@pytest.mark.parametrize("each", CASES, ids=[each.name for each in CASES])
def test_a_large_body_is_answered(roomy, each):
    words = play(stomp, roomy.ports["stomp"], each)
    assert agrees(words, each.words()), f"expected {each.expect}, got {', '.join(words)}"


def test_of_stomp_bodies_that_were_not_published_nothing_is_left(roomy):
    purge = json.dumps({"op": "queue.purge", "args": {"queue": "a"}}).encode()

    def rounds():
        for _ in range(ROUNDS):
            for each in CASES:
                play(stomp, roomy.ports["stomp"], each)
        assert bodies(roomy), "those that were published"
        peer = Peer(roomy.ports["stomp"])
        data = stomp.frame("SEND", "destination:/queue/_ADMIN", "receipt:r", body=purge)
        peer.exchange(stomp.CONNECT + data, lambda: b"RECEIPT" in peer.received)
        peer.socket.close()

    rounds()
    with growth(roomy) as grown:
        rounds()
    deadline = time.monotonic() + 10
    while (left := bodies(roomy)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert grown() < GROWTH_MIB_MAX
