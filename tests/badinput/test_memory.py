"""The whole corpus, two hundred times: the gateway is no larger afterwards, and holds nothing open."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from badinput.case import REACTION_SECONDS
from badinput.measure import descriptors, growth, wait_for_descriptors
from badinput.test_corpus import CORPORA

ROUNDS = 200
WARM_UP_ROUNDS = 40
LARGE_BYTES = 16 * 1024  # such cases are played less often
LARGE_ROUNDS_SHARE = 10
THREADS = 4
GROWTH_MIB_MAX = 8


def inputs(protocol, cases, port):
    """What a case's peer sends from first to last."""
    for case in cases:
        data = b"".join(step for step, _ in protocol.OPENINGS[case.after]) + case.send
        yield data.replace(b"PORT", str(port).encode())


def play_deaf(port, data):
    """Sends everything at once, says that it is done, and waits for the close."""
    with socket.create_connection(("127.0.0.1", port), REACTION_SECONDS) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 18):
                pass
        except TimeoutError:
            raise AssertionError(f"not closed in {REACTION_SECONDS} s after {data[:200]!r}") from None
        except OSError:
            pass  # closed by the gateway before all was sent


def play_rounds(pool, port, sent, first, last):
    jobs = [
        pool.submit(play_deaf, port, data)
        for number in range(first, last)
        for data in sent
        if len(data) < LARGE_BYTES or number % LARGE_ROUNDS_SHARE == 0
    ]
    for job in jobs:
        job.result()


@pytest.mark.parametrize("listener, protocol, cases", CORPORA, ids=[name for name, _, _ in CORPORA])
def test_two_hundred_times_leave_nothing_behind(gateway, companions, listener, protocol, cases):
    port = gateway.ports[listener]
    sent = list(inputs(protocol, cases, port))
    before = descriptors(gateway)
    with ThreadPoolExecutor(THREADS) as pool:
        play_rounds(pool, port, sent, 0, WARM_UP_ROUNDS)
        time.sleep(0.2)
        with growth(gateway) as grown:
            play_rounds(pool, port, sent, WARM_UP_ROUNDS, ROUNDS)
            assert wait_for_descriptors(gateway, before) <= before
            assert grown() < GROWTH_MIB_MAX, f"{grown():.1f} MiB"
    companions.check_progress()
