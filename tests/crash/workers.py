"""Threads that keep publishing and consuming through crashes, and write down what happened."""

import hashlib
import threading
import time

from crash.checker import Delivery, History
from crash.clients import PROTOCOLS

RETRY_SECONDS = 0.05
UNCONFIRMED_MAX = 500


def body_of(number):
    """The number, and filler that depends on it: 20 to 1,000 bytes."""
    digest = hashlib.sha256(str(number).encode()).digest()
    length = 20 + int.from_bytes(digest[:2], "big") % 980
    return (f"{number}:".encode() + digest * 32)[:length]


def number_of(body):
    head = bytes(body[:20]).split(b":")[0]
    return int(head) if head.isdigit() else -1


class Worker(threading.Thread):
    """Opens its client again whenever it is lost, until it is told to end."""

    def __init__(self, gateway, address):
        super().__init__(daemon=True)
        self.gateway = gateway
        self.address = address
        self.changed = threading.Condition()
        self.error = None
        self._end = threading.Event()

    def run(self):
        try:
            while not self._end.is_set():
                try:
                    client = self.open()
                except OSError:
                    time.sleep(RETRY_SECONDS)
                    continue
                try:
                    self.work(client)
                finally:
                    client.close()
        except Exception as error:  # noqa: BLE001 - the test thread raises it again
            self.error = error
            raise

    def end(self):
        self._end.set()
        self.join(30)
        if self.error:
            raise self.error
        assert not self.is_alive(), f"{type(self).__name__} does not end"

    def going(self, client):
        return not self._end.is_set() and not client.lost.is_set()


class Publisher(Worker):
    def __init__(self, protocol, gateway, address):
        super().__init__(gateway, address)
        self.kind = PROTOCOLS[protocol][0]
        self.sends = {}
        self.confirmed = set()
        self.target = 0  # the highest number to send
        self._next = 1
        self._unconfirmed = {}  # in order of sending

    def open(self):
        return self.kind(self.gateway, self.address, self._on_confirm)

    def _on_confirm(self, number):
        with self.changed:
            self.confirmed.add(number)
            self._unconfirmed.pop(number, None)
            self.changed.notify_all()

    def work(self, client):
        for number in sorted(self._unconfirmed):
            self._send(client, number)
        while self.going(client):
            with self.changed:
                if self._next > self.target or len(self._unconfirmed) >= UNCONFIRMED_MAX:
                    self.changed.wait(0.05)
                    continue
                number = self._next
                self._next += 1
                self._unconfirmed[number] = True
            self._send(client, number)

    def _send(self, client, number):
        self.sends[number] = self.sends.get(number, 0) + 1
        client.send(number, body_of(number))

    def wait_confirmed(self, count, seconds):
        """Until so many are confirmed; the time to wait starts anew with each confirm."""
        wait_progress(self, lambda: len(self.confirmed), count, seconds)

    def wait_quiet(self, seconds, most):
        """Until no confirm has come for so long. How many have."""
        return wait_quiet(self.confirmed, seconds, most)


class Consumer(Worker):
    """Acknowledges in batches of `batch`; what is left of one after a quiet moment too."""

    QUIET_SECONDS = 0.1

    def __init__(self, protocol, gateway, address, batch):
        super().__init__(gateway, address)
        self.kind = PROTOCOLS[protocol][1]
        self.batch = batch
        self.deliveries = []
        self.seen = set()
        self.acknowledged = set()
        self._pending = []  # of this connection, not acknowledged
        self._unanswered = {}  # of this connection, acknowledged

    def open(self):
        with self.changed:
            self._pending = []
            self._unanswered = {}
        return self.kind(self.gateway, self.address, self._on_delivery, self._on_settled)

    def _on_delivery(self, body, redelivered, token):
        number = number_of(body)
        delivery = Delivery(number=number, redelivered=redelivered, intact=bytes(body) == body_of(number))
        with self.changed:
            self.deliveries.append(delivery)
            self._pending.append((token, delivery))
            if number not in self.seen or len(self._pending) >= self.batch:
                self.seen.add(number)
                self.changed.notify_all()

    def _on_settled(self, tokens):
        with self.changed:
            for token in tokens:
                if token in self._unanswered:
                    self._unanswered.pop(token).settled = True
            if not self._unanswered:
                self.changed.notify_all()

    def work(self, client):
        while self.going(client):
            with self.changed:
                if len(self._pending) < self.batch:
                    self.changed.wait(self.QUIET_SECONDS)
                batch, self._pending = self._pending[: self.batch], self._pending[self.batch :]
                self._unanswered.update(batch)
            if batch:
                client.acknowledge([token for token, _ in batch])
                for _, delivery in batch:
                    delivery.acknowledged = True
                    self.acknowledged.add(delivery.number)

    def wait_settled(self, seconds):
        """Until the gateway has answered all acknowledgements of all that has come."""
        wait_progress(self, lambda: -len(self._pending) - len(self._unanswered), 0, seconds)

    def wait_quiet(self, seconds):
        """Until nothing has come for so long."""
        wait_quiet(self.deliveries, seconds)

    def wait_seen(self, count, seconds):
        wait_progress(self, lambda: len(self.seen), count, seconds)

    def wait_acknowledged(self, count, seconds):
        wait_progress(self, lambda: len(self.acknowledged), count, seconds)


def wait_quiet(growing, seconds, most=float("inf")):
    """Until it has not grown for so long, or after the most. Its length by then."""
    begin = since = time.monotonic()
    count = -1
    while time.monotonic() - since < seconds and time.monotonic() - begin < most:
        time.sleep(0.05)
        if len(growing) != count:
            count, since = len(growing), time.monotonic()
    return count


def wait_progress(worker, value, wanted, seconds):
    last, since = value(), time.monotonic()
    while value() < wanted:
        with worker.changed:
            worker.changed.wait(0.05)
        if worker.error:
            raise worker.error
        if value() != last:
            last, since = value(), time.monotonic()
        elif time.monotonic() - since > seconds:
            raise TimeoutError(f"{type(worker).__name__}: {last}, not {wanted}, and no progress for {seconds} s")


def history_of(publisher, consumer):
    return History(sends=publisher.sends, confirmed=publisher.confirmed, deliveries=consumer.deliveries)
