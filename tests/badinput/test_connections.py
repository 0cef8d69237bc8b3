"""Connections that come and go, and too many of them."""

import socket
import struct
import urllib.request

import pytest

from badinput import amqp, mqtt, stomp, web
from badinput.case import Peer, heard, opened
from badinput.measure import TURNS, descriptors, lasting_growth, wait_for_descriptors
from lib.gateway import Gateway

CONNECTIONS = 4000
CONNECTIONS_MAX = 20
# The allocator takes 8 MiB more once, some time in the first 6,000 connections, and no more in 35,000. A connection that is kept
# costs at least its buffer of 64 KiB, so 150 MiB.
GROWTH_MIB_MAX = 16
# A FIN is a goodbye, a reset is none.
RESET = struct.pack("ii", 1, 0)


def come_and_go(port, data, reset):
    with socket.create_connection(("127.0.0.1", port), 5) as peer:
        if data:
            peer.sendall(data)
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@pytest.mark.parametrize(
    "listener, data",
    [
        ("mqtt", b""),
        ("mqtt", mqtt.connect5()),
        ("stomp", stomp.CONNECT),
        ("amqp", amqp.SASL + amqp.AMQP_HEADER + amqp.open_() + amqp.begin() + amqp.receiver(0, "/topic/hostile")),
        ("http", web.upgrade()),
    ],
    ids=["silent", "mqtt", "stomp", "amqp", "websocket"],
)
def test_four_thousand_come_and_go(gateway, companions, listener, data):
    port = gateway.ports[listener]
    data = data.replace(b"PORT", str(port).encode())
    before = descriptors(gateway)

    def play():
        for number in range(CONNECTIONS // TURNS):
            come_and_go(port, data, reset=number % 2)
        assert wait_for_descriptors(gateway, before) <= before

    grown = lasting_growth(gateway, play)
    assert grown < GROWTH_MIB_MAX, f"{grown:.1f} MiB"
    companions.check_progress()


def test_a_client_id_that_is_taken_over_without_end(gateway, companions):
    before = descriptors(gateway)
    for _ in range(500):
        come_and_go(gateway.ports["mqtt"], mqtt.connect5(flags=0, client_id="flapping"), reset=False)
    assert wait_for_descriptors(gateway, before) <= before
    companions.check_progress()


def test_over_connections_max_others_wait_until_one_has_gone():
    with Gateway(environment={"EVERGATE__LIMITS__CONNECTIONS_MAX": str(CONNECTIONS_MAX)}) as full:
        port = full.ports["mqtt"]
        # The last question whether it is ready may still hold its place.
        idle = descriptors(full)
        assert wait_for_descriptors(full, idle - 1, seconds=0.5) <= idle
        peers = [opened(mqtt, port, "connect 5") for _ in range(CONNECTIONS_MAX)]
        for listener, protocol in [("mqtt", mqtt), ("stomp", stomp), ("amqp", amqp)]:
            with Peer(full.ports[listener]) as refused:
                refused.exchange(b"")
                assert heard(protocol, refused) == ["closed"], listener
        # Whoever asks how it is has places of its own.
        with urllib.request.urlopen(f"http://127.0.0.1:{full.ports['http']}/health/live", timeout=5) as answer:
            assert answer.status == 200
        # Those that are in are served.
        peers[0].exchange(mqtt.PINGREQ, lambda: heard(mqtt, peers[0]) == ["PINGRESP"])
        assert heard(mqtt, peers[0]) == ["PINGRESP"]

        busy = descriptors(full)
        for peer in peers:
            peer.close()
        assert wait_for_descriptors(full, busy - CONNECTIONS_MAX) <= busy - CONNECTIONS_MAX
        for _ in range(CONNECTIONS_MAX):
            peers.append(opened(mqtt, port, "connect 5"))
        for peer in peers[CONNECTIONS_MAX:]:
            peer.close()
        assert full.is_running()
        assert "panicked" not in full.log
