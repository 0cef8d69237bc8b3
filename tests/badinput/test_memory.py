"""The whole corpus, two hundred times: the gateway is no larger afterwards, and holds nothing open."""

import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from badinput.case import REACTION_SECONDS
from badinput.measure import TURNS, descriptors, lasting_growth, wait_for_descriptors
from badinput.test_corpus import CORPORA

ROUNDS = 200
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


def play_rounds(pool, port, sent, numbers):
    jobs = [
        pool.submit(play_deaf, port, data)
        for number in numbers
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
    number = count()

    def play():
        play_rounds(pool, port, sent, [next(number) for _ in range(ROUNDS // TURNS)])
        assert wait_for_descriptors(gateway, before) <= before

    with ThreadPoolExecutor(THREADS) as pool:
        grown = lasting_growth(gateway, play)
    assert grown < GROWTH_MIB_MAX, f"{grown:.1f} MiB"
    companions.check_progress()
