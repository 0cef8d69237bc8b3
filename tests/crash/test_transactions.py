"""kill -9 while messages are moved in transactions: each is in its old queue or in both new ones, never in between.

CRASH_MOVES (2,000 messages), CRASH_ROUNDS (3), CRASH_DOUBTS (20 commits in doubt), CRASH_SEED (random; a failure prints it).
"""

import os
import queue
import random
import socket
import threading
import time
from collections import Counter
from contextlib import closing

import pytest
import stomp

from proton import ProtonException

from interop.clients.proton_blocking import Proton
from interop.messages import Address
from interop.test_admin import Admin
from interop.test_amqp_transactions import Transaction
from lib.gateway import Gateway
from lib.postgres import Postgres

MOVES = int(os.environ.get("CRASH_MOVES", "2000"))
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("CRASH_SEED", random.SystemRandom().randrange(10**9)))
DOUBTS = int(os.environ.get("CRASH_DOUBTS", "20"))
DOUBT_SECONDS = 0.004  # about what a commit takes
QUIET_SECONDS = 0.3
STALLED_SECONDS = 60
DURABLE = {"persistent": "true"}

pytestmark = pytest.mark.timeout(600 + MOVES // 10)


class Client(stomp.ConnectionListener):
    """One connection: what arrives waits in queues."""

    def __init__(self, gateway):
        self.messages, self.receipts = queue.Queue(), queue.Queue()
        self.lost = threading.Event()
        self.connection = stomp.Connection12([("127.0.0.1", gateway.ports["stomp"])], reconnect_attempts_max=1)
        self.connection.set_listener("", self)
        self.connection.connect(wait=True)
        # Several frames a transaction: none waits for the acknowledgement of the one before.
        self.connection.transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_disconnected(self):
        self.lost.set()
        self.messages.put(None)
        self.receipts.put(None)

    def on_error(self, frame):
        self.on_disconnected()

    def close(self):
        self.connection.transport.disconnect_socket()


class Mover(threading.Thread):
    """Moves messages from `in` to `a` and `b`, some of them after a rollback, until told to stop."""

    def __init__(self, gateway, rng):
        super().__init__(daemon=True)
        self.gateway, self.rng = gateway, rng
        self.confirmed = []
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            try:
                self.move_all()
            except (stomp.exception.StompException, OSError, AttributeError):
                time.sleep(0.05)

    def move_all(self):
        client = Client(self.gateway)
        try:
            client.connection.subscribe("/queue/in", id="in", ack="client-individual")
            number = 0
            while not self.stopping.is_set() and not client.lost.is_set():
                try:
                    frame = client.messages.get(timeout=0.2)
                except queue.Empty:
                    continue
                if frame is None:
                    return
                number += 1
                self.move(client, frame, f"t{number}")
        finally:
            client.close()

    def move(self, client, frame, transaction):
        connection, body = client.connection, frame.body
        if self.rng.random() < 0.2:
            connection.begin(transaction=f"{transaction}-not")
            connection.send("/queue/a", f"not {body}", transaction=f"{transaction}-not", headers=DURABLE)
            connection.abort(f"{transaction}-not")
        connection.begin(transaction=transaction)
        connection.send("/queue/a", body, transaction=transaction, headers=DURABLE)
        connection.ack(frame.headers["ack"], transaction=transaction)
        connection.send("/queue/b", body, transaction=transaction, headers=DURABLE)
        connection.commit(transaction, receipt=transaction)
        if client.receipts.get(timeout=STALLED_SECONDS) == transaction:
            self.confirmed.append(body)


def fill(gateway):
    client = Client(gateway)
    for number in range(MOVES):
        client.connection.send("/queue/in", str(number), headers=DURABLE)
    client.connection.send("/queue/in", "last", headers=DURABLE, receipt="last")
    assert client.receipts.get(timeout=STALLED_SECONDS) == "last"
    client.close()
    return {str(number) for number in range(MOVES)} | {"last"}


def drain(gateway, name):
    """Takes what is in a queue, and what comes back to it from one who is gone, until it is empty."""
    client = Client(gateway)
    client.connection.subscribe(f"/queue/{name}", id="all", ack="client-individual")
    found = Counter()
    with closing(Admin(gateway)) as admin:
        deadline = time.monotonic() + STALLED_SECONDS
        while True:
            try:
                frame = client.messages.get(timeout=QUIET_SECONDS)
            except queue.Empty:
                if not holds_messages(admin, name):
                    break
                assert time.monotonic() < deadline, f"{name} is not empty; seed {SEED}"
                continue
            found[frame.body] += 1
            client.connection.ack(frame.headers["ack"])
    client.close()
    return found


def holds_messages(admin, name):
    rows = admin.result("queue.list", match=name)["queues"]
    return any(row["messages"] for row in rows if row["name"] == name)


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_message_is_moved_whole_or_not_at_all(store):
    rng = random.Random(SEED)
    postgres = Postgres().start() if store == "postgres" else None
    gateway = Gateway(journal=postgres and postgres.url).start()
    try:
        every = fill(gateway)
        mover = Mover(gateway, rng)
        mover.start()
        deadline = time.monotonic() + STALLED_SECONDS
        for round_ in range(ROUNDS):
            goal = len(every) * (round_ + 1) // (ROUNDS + 2)
            while len(mover.confirmed) < goal:
                assert time.monotonic() < deadline, f"stalled at {len(mover.confirmed)}; seed {SEED}"
                time.sleep(0.001)
            time.sleep(rng.random() * 0.05)
            gateway.kill()
            gateway.start()
        mover.stopping.set()
        mover.join(STALLED_SECONDS)
        left, a, b = (drain(gateway, name) for name in ("in", "a", "b"))
        assert a == b, f"half a transaction: {a - b}, {b - a}; seed {SEED}"
        assert not a.keys() & left.keys(), f"copied, not moved: {a.keys() & left.keys()}; seed {SEED}"
        assert a.keys() | left.keys() == every, f"lost: {every - a.keys() - left.keys()}; seed {SEED}"
        assert max(a.values()) == 1, f"moved twice: {a.most_common(3)}; seed {SEED}"
        assert set(mover.confirmed) <= a.keys(), f"confirmed and gone; seed {SEED}"
        print(f"{len(a)} moved, {len(a.keys() - set(mover.confirmed))} of them without an answer")
    finally:
        gateway.remove()
        if postgres:
            postgres.remove()


def commit_into_a_crash(gateway, number, rng):
    """Commits while the gateway is killed. Returns the transaction's id, and what was said, if anything."""
    client = Proton(gateway)
    transaction = Transaction(client)
    for name in ("a", "b"):
        transaction.send(Address("queue", name), str(number))
    killer = threading.Timer(rng.random() * DOUBT_SECONDS, gateway.process.kill)
    killer.start()
    try:
        said = transaction.commit()
    except (ProtonException, OSError):
        said = None
    killer.join()
    gateway.process.wait()
    return transaction.transaction.id, said


def ask_again(gateway, transaction_id):
    """What became of it: the same discharge, over a new connection."""
    client = Proton(gateway)
    transaction = Transaction(client)
    transaction.transaction.id = transaction_id
    said = transaction.commit()
    client.close()
    return said


def test_a_commit_in_doubt_is_answered_with_the_truth():
    rng = random.Random(SEED)
    told = {}
    lost = 0
    with Gateway() as gateway:
        for number in range(DOUBTS):
            transaction_id, said = commit_into_a_crash(gateway, number, rng)
            gateway.start()
            told[str(number)] = ask_again(gateway, transaction_id)
            lost += said is None
            assert said in (None, told[str(number)]), f"said {said}, then {told[str(number)]}; seed {SEED}"
        committed = {number for number, said in told.items() if said == "committed"}
        assert set(told.values()) <= {"committed", "amqp:transaction:unknown-id"}, f"{told}; seed {SEED}"
        for name in ("a", "b"):
            assert drain(gateway, name) == Counter(committed), f"{name} is not what was said; seed {SEED}"
    print(f"{len(committed)} of {DOUBTS} committed, {lost} without an answer")
