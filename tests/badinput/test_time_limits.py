"""Whoever does not come to the point is not waited for longer than `limits.handshake_seconds`."""

import itertools
import time

import pytest

from badinput import amqp, mqtt, stomp, web
from badinput.case import Peer, heard, opened
from badinput.conftest import HANDSHAKE_SECONDS

# Scheduling, and a second kind of limit after the first (a WebSocket's headers, then its protocol). Whoever sends bit by bit
# would not have come to the point by then.
TOLERANCE_SECONDS = 5
DRIP_SECONDS = 0.25


def drip(data):
    return [data[n : n + 1] for n in range(len(data))]


# name: protocol, listener, opening, what is sent bit by bit (round and round)
SLOW = {
    "MQTT, silent": (mqtt, "mqtt", "nothing", []),
    "MQTT, a byte at a time": (mqtt, "mqtt", "nothing", drip(mqtt.connect5(client_id="a" * 100))),
    "STOMP, silent": (stomp, "stomp", "nothing", []),
    "STOMP, heart-beats and no CONNECT": (stomp, "stomp", "nothing", [b"\n"]),
    "STOMP, a byte at a time": (stomp, "stomp", "nothing", drip(stomp.CONNECT)),
    "STOMP, header lines without end": (stomp, "stomp", "nothing", [b"CONNECT\n"] + [b"a:b\n"] * 100),
    "AMQP, silent": (amqp, "amqp", "nothing", []),
    "AMQP, a byte at a time": (amqp, "amqp", "nothing", drip(amqp.SASL)),
    "AMQP, no SASL init": (amqp, "amqp", "SASL header", []),
    "AMQP, no open": (amqp, "amqp", "SASL", []),
    "AMQP, empty frames and no open": (amqp, "amqp", "SASL", [amqp.frame(b"")]),
    "HTTP, silent": (web, "http", "nothing", []),
    "HTTP, a byte at a time": (web, "http", "nothing", drip(web.get("X: " + "v" * 100))),
    "HTTP, header lines without end": (web, "http", "nothing", [b"GET / HTTP/1.1\r\n"] + [b"a: b\r\n"] * 100),
    "HTTP, idle after a request": (web, "http", "requested", []),
    "WebSocket, no CONNECT": (web, "http", "mqtt", []),
    "WebSocket, no STOMP": (web, "http", "stomp", []),
    "WebSocket, no AMQP": (web, "http", "amqp", []),
    "WebSocket, pings and no CONNECT": (web, "http", "mqtt", [web.message(b"x", opcode=9)]),
    "WebSocket, empty messages and no CONNECT": (web, "http", "mqtt", [web.message(b"")]),
    "WebSocket, a large frame a byte at a time": (
        web, "http", "mqtt", [web.message(b"", length=4 << 20)] + [b"x"] * 100,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def closed_after(gateway):
    """All of them at once. Seconds until each was closed."""
    peers = {}
    for name, (protocol, listener, opening, parts) in SLOW.items():
        if opening == "requested":
            peer = Peer(gateway.ports[listener])
            peer.exchange(web.get(), lambda peer=peer: heard(web, peer) == ["200"])
        else:
            peer = opened(protocol, gateway.ports[listener], opening)
        peers[name] = (peer, itertools.cycle(parts or [b""]), time.monotonic())
    found = {}
    last = time.monotonic()
    while len(found) < len(peers) and time.monotonic() < last + HANDSHAKE_SECONDS + TOLERANCE_SECONDS:
        for name, (peer, parts, start) in peers.items():
            if name not in found:
                peer.exchange(next(parts), lambda: True)
                peer.exchange(b"", seconds=0.001)
                if peer.closed:
                    found[name] = time.monotonic() - start
        time.sleep(DRIP_SECONDS)
    for peer, _, _ in peers.values():
        peer.close()
    return found


@pytest.mark.parametrize("name", SLOW)
def test_a_handshake_that_never_ends_is_given_up(closed_after, name):
    assert name in closed_after, f"still open after {HANDSHAKE_SECONDS + TOLERANCE_SECONDS} s"
    assert closed_after[name] > HANDSHAKE_SECONDS / 2, "closed before it had its time"
