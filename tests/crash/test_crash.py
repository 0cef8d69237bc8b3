"""kill -9 while messages are published and consumed: nothing confirmed is lost, nothing comes twice unasked.

CRASH_MESSAGES a round (5,000), CRASH_ROUNDS (3), CRASH_SEED (random; a failure prints it).
"""

import os
import random
import time
from collections import Counter

import pytest

from crash.checker import violations
from crash.clients import PROTOCOLS
from crash.conftest import RESULT
from crash.workers import Consumer, Publisher, history_of
from interop.messages import Address
from lib.gateway import Gateway
from lib.postgres import Postgres

MESSAGES = int(os.environ.get("CRASH_MESSAGES", "5000"))
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("CRASH_SEED", random.SystemRandom().randrange(10**9)))
STALLED_SECONDS = 60
GATEWAY_ENDS_SECONDS = 20
IN_FLIGHT_SECONDS = 0.5  # for confirms that were on their way when the journal died
QUIET_SECONDS = 0.5

pytestmark = pytest.mark.timeout(600 + ROUNDS * MESSAGES // 50)


class House:
    """A gateway and the store under it, and the ways in which they die."""

    def __init__(self, store):
        self.postgres = Postgres().start() if store == "postgres" else None
        self.gateway = Gateway(journal=self.postgres and self.postgres.url).start()

    def kill_gateway(self):
        self.gateway.kill()
        self.gateway.start()

    def kill_postgres(self, publisher):
        """Without its journal the gateway confirms nothing, and ends or at least says that it is not ready."""
        self.postgres.kill()
        died_at = time.monotonic()
        publisher.target += 1  # so that there is something to commit
        confirmed = publisher.wait_quiet(IN_FLIGHT_SECONDS, GATEWAY_ENDS_SECONDS)
        while self.gateway.is_running() and self.gateway.is_ready():
            assert time.monotonic() < died_at + GATEWAY_ENDS_SECONDS, "ready, without its journal"
            time.sleep(0.05)
        assert len(publisher.confirmed) == confirmed, "confirmed without its journal"
        if self.gateway.is_running():
            self.gateway.kill()
        self.postgres.start()
        self.gateway.start()

    def remove(self):
        self.gateway.remove()
        if self.postgres:
            self.postgres.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def house(request):
    house = House(request.param)
    yield house
    house.remove()


@pytest.mark.parametrize("kind", ["queue", "topic"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_confirmed_is_lost(house, protocol, kind, record_property):
    print(f"see it again: CRASH_SEED={SEED} CRASH_MESSAGES={MESSAGES} CRASH_ROUNDS={ROUNDS}")
    chance = random.Random(f"{SEED} {protocol} {kind} {bool(house.postgres)}")
    address = Address(kind, f"crash-{protocol}")
    publisher = Publisher(protocol, house.gateway, address)
    consumer = Consumer(protocol, house.gateway, address, batch=chance.choice([1, 10, 50]))
    descriptors, since = open_descriptors(), time.monotonic()
    try:
        subscribe_first(consumer)
        publisher.start()
        for _ in range(ROUNDS):
            publish_through_crashes(house, publisher, consumer, chance)
        crash_when_all_is_settled(house, publisher, consumer)
        publisher.end()
        consumer.end()
    finally:
        history = history_of(publisher, consumer)
        record_property(RESULT, summary(history, time.monotonic() - since))
        print(house.gateway.log[-4000:])

    found = violations(history)
    assert not found, f"{len(found)} violations, the first:\n" + "\n".join(found[:20])
    assert len(publisher.confirmed) == publisher.target >= ROUNDS * MESSAGES
    assert open_descriptors() <= descriptors, "clients of killed rounds left descriptors open"


def subscribe_first(consumer):
    """A durable subscription must be there before the first message is."""
    consumer.open().close()
    consumer.start()


def publish_through_crashes(house, publisher, consumer, chance):
    before = publisher.target
    publisher.target += MESSAGES
    moments = [
        (publisher.wait_confirmed, before + chance.randrange(MESSAGES)),
        (consumer.wait_seen, before + chance.randrange(MESSAGES)),
    ]
    for wait, count in moments:
        wait(count, STALLED_SECONDS)
        time.sleep(chance.random() * 0.05)
        if house.postgres and chance.random() < 0.5:
            house.kill_postgres(publisher)
        else:
            house.kill_gateway()
    wait_all_settled(publisher, consumer)


def crash_when_all_is_settled(house, publisher, consumer):
    """What was acknowledged stays so: behind it a last message comes, and nothing before that or after."""
    house.kill_gateway()
    publisher.target += 1
    wait_all_settled(publisher, consumer)
    consumer.wait_quiet(QUIET_SECONDS)


def wait_all_settled(publisher, consumer):
    publisher.wait_confirmed(publisher.target, STALLED_SECONDS)
    consumer.wait_acknowledged(publisher.target, STALLED_SECONDS)
    consumer.wait_settled(STALLED_SECONDS)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def summary(history, seconds):
    """A line of the table at the end."""
    kinds = Counter(violation.split(":")[0] for violation in violations(history))
    return {
        "rounds": ROUNDS,
        "confirmed": len(history.confirmed),
        "lost": kinds.pop("lost", 0),
        "duplicates": kinds.pop("duplicate", 0),
        "unflagged": kinds.pop("unflagged", 0),
        "flagged redelivered": sum(delivery.redelivered for delivery in history.deliveries),
        "came again": len(history.deliveries) - len({delivery.number for delivery in history.deliveries}),
        "sent again": sum(history.sends.values()) - len(history.sends),
        "order": "broken" if kinds.pop("disorder", 0) else "kept",
        "other": sum(kinds.values()),
        "seconds": round(seconds),
    }
