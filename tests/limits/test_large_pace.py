"""Large bodies keep their pace while other messages are on their way, and only then (docs/large-messages.md)."""

import contextlib
import random
import threading
import time
import uuid

import pytest

from badinput.measure import cpu_seconds
from limits.streaming import CLIENTS, fingerprint
from limits.test_limits import connect, until
from limits.trace import MIB, Journal

RATE = "2 MiB"
BODY = random.Random(5).randbytes(6 * MIB)
# So long it takes beside others.
PACED_SECONDS = 3
# Others count for 0.1 s. Of a run in which the machine let them wait for longer nothing follows.
GAP_SECONDS = 0.08
ATTEMPTS = 10


@pytest.fixture(scope="module")
def gateway():
    rates = {f"large_message_{way}_bytes_per_second": RATE for way in ("in", "out")}
    with Journal("sqlite", message_bytes_max="1 MiB", **rates) as journal:
        yield journal.gateway


class Others:
    """Small messages, a hundred a second."""

    def __init__(self, gateway):
        self.client = connect(gateway)
        self.client.on_publish = lambda *_: self.confirmed.append(time.monotonic())
        self.confirmed = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.wait(0.01):
            self.client.publish("others", b"x", qos=1)

    def __enter__(self):
        self.thread.start()
        until(lambda: self.confirmed, "a confirm")
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.client.disconnect()
        self.client.loop_stop()

    def longest_gap(self, begin, end):
        inside = [begin, *(at for at in self.confirmed if begin < at < end), end]
        return max(later - earlier for earlier, later in zip(inside, inside[1:], strict=False))


def both_ways(gateway, name):
    """Sends a body and takes it. Yields when each way began and ended."""
    queue = f"/queue/pace-{uuid.uuid4().hex[:12]}"
    with contextlib.closing(CLIENTS[name](gateway)) as client:
        begin = time.monotonic()
        client.send(queue, BODY)
        yield begin, time.monotonic()
        begin = time.monotonic()
        receiver = client.receiver(queue)
        assert receiver.receive().body == fingerprint(BODY)
        yield begin, time.monotonic()
        receiver.settle()


@pytest.mark.parametrize("name", CLIENTS)
def test_beside_others_a_body_keeps_its_pace(gateway, name):
    undisturbed = {0: None, 1: None}
    with Others(gateway) as others:
        for _ in range(ATTEMPTS):
            for way, (begin, end) in enumerate(both_ways(gateway, name)):
                if others.longest_gap(begin, end) < GAP_SECONDS:
                    undisturbed[way] = end - begin
            if all(undisturbed.values()):
                break
    assert all(undisturbed.values()), "the machine is too busy for a hundred messages a second"
    # What may be under way to a consumer goes ahead.
    assert min(undisturbed.values()) > PACED_SECONDS * 0.75, undisturbed


def test_a_body_that_is_aborted_while_its_piece_waits_leaves_nothing_to_do(gateway):
    with Others(gateway), contextlib.closing(CLIENTS["amqp"](gateway)) as client:
        upload = client.upload(f"/queue/pace-{uuid.uuid4().hex[:12]}", len(BODY))
        for start in range(0, MIB, MIB // 16):
            upload.push(BODY[start : start + MIB // 16])
        upload.abort()
        begin, before = time.monotonic(), cpu_seconds(gateway)
        time.sleep(1)
        assert (cpu_seconds(gateway) - before) / (time.monotonic() - begin) < 0.5, "of a processor"


@pytest.mark.parametrize("name", CLIENTS)
def test_alone_it_goes_as_fast_as_it_can(gateway, name):
    time.sleep(0.2)  # others are remembered for half of it
    fastest = min(max(end - begin for begin, end in both_ways(gateway, name)) for _ in range(3))
    assert fastest < PACED_SECONDS / 2
