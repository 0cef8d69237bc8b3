"""Peers that send without end and never read what they asked for: the gateway stops reading them."""

import pytest

from badinput import amqp, mqtt, stomp, web
from badinput.case import opened
from badinput.measure import growth

# What one such peer may cost: answers not yet written (4 MiB), what it sent and is not looked at yet (the
# largest message and 1 MiB, in a buffer that may be half empty), its publishes (4,096 small ones): some 16 MiB. A single
# size is off by as much either way; who is read without end costs more by far.
GROWTH_MIB_MAX = 32
SECONDS = 30  # ends as soon as nothing more is taken
PINGS_SECONDS = 2


def numbered(make, count=60_000):
    return b"".join(make(n) for n in range(1, count + 1))


FLOODS = {
    "MQTT pings": (mqtt, "mqtt", "connect 5", mqtt.PINGREQ * 100_000),
    "MQTT subscriptions": (mqtt, "mqtt", "connect 5", numbered(lambda n: mqtt.subscribe5("flood", packet_id=n))),
    "MQTT publishes": (mqtt, "mqtt", "connect 5", numbered(lambda n: mqtt.publish5("flood", qos=1, packet_id=n))),
    "MQTT PUBRELs": (mqtt, "mqtt", "connect 5", bytes.fromhex("62020001") * 100_000),
    "STOMP receipts": (
        stomp, "stomp", "connect", stomp.frame("SEND", "destination:/topic/flood", "receipt:" + "r" * 100) * 10_000,
    ),
    "AMQP echoes": (
        amqp, "amqp", "begin",
        amqp.performative(0x13, amqp.uint(0), amqp.uint(9), amqp.uint(0), amqp.uint(9),
                          *[amqp.NULL] * 5, amqp.TRUE) * 10_000,
    ),
    "AMQP sessions": (amqp, "amqp", "begin", (amqp.begin(1) + amqp.performative(0x17, channel=1)) * 10_000),
    "AMQP links": (
        amqp, "amqp", "begin",
        (amqp.sender(0, "/topic/flood") + amqp.performative(0x16, amqp.uint(0), amqp.TRUE)) * 10_000,
    ),
    "HTTP requests": (web, "http", "nothing", web.get(path="/metrics") * 1000),
    "WebSocket messages": (web, "http", "mqtt online", web.message(mqtt.PINGREQ) * 100_000),
}  # fmt: skip


def test_who_pings_a_websocket_and_reads_no_pong_costs_no_memory(gateway, companions):
    """It is read on: only the latest ping needs an answer (RFC 6455, section 5.5.3)."""
    pings = web.message(b"x" * 125, opcode=9) * 10_000
    with opened(web, gateway.ports["http"], "mqtt online") as peer, growth(gateway) as grown:
        sent, _ = peer.flood(pings, PINGS_SECONDS)
        assert grown() < GROWTH_MIB_MAX, f"{grown():.1f} MiB for {sent >> 20} MiB sent"
        companions.check_progress()


@pytest.mark.parametrize("name", FLOODS)
def test_who_never_reads_is_read_no_longer(gateway, companions, name):
    protocol, listener, opening, data = FLOODS[name]
    data = data.replace(b"PORT", str(gateway.ports[listener]).encode())
    with opened(protocol, gateway.ports[listener], opening) as peer, growth(gateway) as grown:
        sent, taking = peer.flood(data, SECONDS)
        assert not taking, f"it still reads after {sent >> 20} MiB"
        assert grown() < GROWTH_MIB_MAX, f"{grown():.1f} MiB for {sent >> 20} MiB sent"
        companions.check_progress()
