"""kill -9 while messages are published and consumed: nothing confirmed is lost, nothing comes twice unasked.

CRASH_MESSAGES a round (5,000), CRASH_ROUNDS (3), CRASH_SEED (random; a failure prints it).
"""

import os
import random
import time

import pytest

from crash.checker import violations
from crash.clients import PROTOCOLS
from crash.workers import SETTLED_AFTER_SECONDS, Consumer, Publisher, history_of
from interop.messages import Address
from lib.gateway import Gateway
from lib.postgres import Postgres

MESSAGES = int(os.environ.get("CRASH_MESSAGES", "5000"))
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("CRASH_SEED", random.SystemRandom().randrange(10**9)))
STALLED_SECONDS = 60
GATEWAY_ENDS_SECONDS = 20
IN_FLIGHT_SECONDS = 0.5  # for confirms that were on their way when the journal died

pytestmark = pytest.mark.timeout(600 + ROUNDS * MESSAGES // 50)


class House:
    """A gateway and the store under it, and the ways in which they die."""

    def __init__(self, store):
        self.postgres = Postgres().start() if store == "postgres" else None
        self.gateway = Gateway(journal=self.postgres and self.postgres.url).start()

    def kill_gateway(self):
        self.gateway.kill()
        died_at = time.monotonic()
        self.gateway.start()
        return died_at

    def kill_postgres(self, publisher):
        """Without its journal the gateway confirms nothing, and ends or at least says that it is not ready."""
        self.postgres.kill()
        died_at = time.monotonic()
        publisher.target += 1  # so that there is something to commit
        time.sleep(IN_FLIGHT_SECONDS)
        confirmed = len(publisher.confirmed)
        while self.gateway.is_running() and self.gateway.is_ready():
            assert time.monotonic() < died_at + GATEWAY_ENDS_SECONDS, "ready, without its journal"
            time.sleep(0.05)
        assert len(publisher.confirmed) == confirmed, "confirmed without its journal"
        if self.gateway.is_running():
            self.gateway.kill()
        self.postgres.start()
        self.gateway.start()
        return died_at

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
def test_nothing_confirmed_is_lost(house, protocol, kind):
    print(f"see it again: CRASH_SEED={SEED} CRASH_MESSAGES={MESSAGES} CRASH_ROUNDS={ROUNDS}")
    chance = random.Random(f"{SEED} {protocol} {kind} {bool(house.postgres)}")
    address = Address(kind, f"crash-{protocol}")
    publisher = Publisher(protocol, house.gateway, address)
    consumer = Consumer(protocol, house.gateway, address, batch=chance.choice([1, 10, 50]))
    subscribe_first(consumer)
    publisher.start()
    for _ in range(ROUNDS):
        before = publisher.target
        publisher.target += MESSAGES
        moments = [
            (publisher.wait_confirmed, before + chance.randrange(MESSAGES)),
            (consumer.wait_seen, before + chance.randrange(MESSAGES)),
        ]
        for wait, count in moments:
            wait(count, STALLED_SECONDS)
            time.sleep(chance.random() * 0.05)
            with_postgres = house.postgres and chance.random() < 0.5
            consumer.crashed(house.kill_postgres(publisher) if with_postgres else house.kill_gateway())
        publisher.wait_confirmed(publisher.target, STALLED_SECONDS)
        consumer.wait_acknowledged(publisher.target, STALLED_SECONDS)

    # What was acknowledged stays so over one more crash.
    consumer.wait_quiet(SETTLED_AFTER_SECONDS + 0.5)
    opened = consumer.opened
    consumer.crashed(house.kill_gateway())
    consumer.wait_opened(opened + 1, STALLED_SECONDS)
    consumer.wait_quiet(2.0)
    publisher.end()
    consumer.end()

    found = violations(history_of(publisher, consumer))
    repeated = len(consumer.deliveries) - len(consumer.seen)
    resent = sum(publisher.sends.values()) - len(publisher.sends)
    print(f"{len(publisher.confirmed)} confirmed, {resent} sent again, {repeated} delivered again")
    assert not found, f"{len(found)} violations, the first:\n" + "\n".join(found[:20])
    assert len(publisher.confirmed) == publisher.target >= ROUNDS * MESSAGES


def subscribe_first(consumer):
    """A durable subscription must be there before the first message is."""
    consumer.open().close()
    consumer.start()
