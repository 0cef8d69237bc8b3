"""AMQP dispositions over every delivery there could be, on a link with unsettled deliveries."""

from badinput import amqp
from badinput.case import heard, opened
from badinput.measure import cpu_seconds

DELIVERIES = 500
DISPOSITIONS = 20_000
CPU_SECONDS_MAX = 2
QUEUE = "/queue/hostile-unsettled"


def receive(peer, handle, count):
    """Attaches and waits for so many deliveries; returns how many came."""
    peer.received.clear()

    def transfers():
        return heard(amqp, peer).count("transfer")

    peer.exchange(
        amqp.receiver(handle, QUEUE) + amqp.credit(handle, DELIVERIES), lambda: transfers() >= count, seconds=5 if count else 0.5
    )
    return transfers()


def test_the_widest_disposition_costs_nothing(gateway, companions):
    port = gateway.ports["amqp"]
    with opened(amqp, port, "begin") as peer:
        peer.exchange(
            amqp.sender(0, QUEUE)
            + b"".join(amqp.transfer(0, n, amqp.data(b"x"), settled=True) for n in range(DELIVERIES)),
            lambda: "flow" in heard(amqp, peer),
        )
        assert receive(peer, 1, DELIVERIES) == DELIVERIES
        peer.received.clear()
        before = cpu_seconds(gateway)
        # Serial numbers (part 2, 2.8.12): with 500 deliveries sent, 2^32-1 lies before 0, and the range is empty.
        peer.exchange(
            amqp.disposition(0, 0xFFFF_FFFF) * DISPOSITIONS + amqp.performative(0x17),
            lambda: heard(amqp, peer) == ["end"],
        )
        assert heard(amqp, peer) == ["end"]
        assert cpu_seconds(gateway) - before < CPU_SECONDS_MAX
    companions.check_progress()

    with opened(amqp, port, "begin") as peer:
        assert receive(peer, 0, DELIVERIES) == DELIVERIES, "nothing was settled: all come again"
        peer.received.clear()
        # Half of all numbers is the widest that lies ahead. All are settled by the first of these.
        peer.exchange(
            amqp.disposition(0, 0x7FFF_FFFF) * DISPOSITIONS + amqp.performative(0x17),
            lambda: heard(amqp, peer) == ["end"],
        )
        assert heard(amqp, peer) == ["end"]
    with opened(amqp, port, "begin") as peer:
        assert receive(peer, 0, 0) == 0
