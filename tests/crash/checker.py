"""What must hold of a run with crashes, judged from what the clients saw. No client and no gateway in here."""

from dataclasses import dataclass, field


@dataclass
class Delivery:
    """One message handed to a consumer."""

    number: int
    redelivered: bool
    intact: bool = True
    acknowledged: bool = False  # whether or not the gateway learned of it before it died
    settled: bool = False  # it learned, and said so


@dataclass
class History:
    """What one producer sent and what the one consumer of its messages saw, in order."""

    sends: dict[int, int] = field(default_factory=dict)  # number -> how often it was sent
    confirmed: set[int] = field(default_factory=set)
    deliveries: list[Delivery] = field(default_factory=list)


def violations(history):
    """Everything that is wrong with a finished run, in words."""
    return [*lost(history), *strangers(history), *duplicates(history), *unflagged(history), *disorder(history)]


def lost(history):
    delivered = {delivery.number for delivery in history.deliveries}
    acknowledged = {delivery.number for delivery in history.deliveries if delivery.acknowledged}
    for number in sorted(history.confirmed - delivered):
        yield f"lost: {number} was confirmed and never delivered"
    for number in sorted((history.confirmed & delivered) - acknowledged):
        yield f"lost: {number} was confirmed, delivered without an acknowledgement, and never delivered again"


def strangers(history):
    for delivery in history.deliveries:
        if delivery.number not in history.sends:
            yield f"stranger: {delivery.number} was never sent"
        elif not delivery.intact:
            yield f"damaged: the body of {delivery.number} is not what was sent"


def duplicates(history):
    """As many copies as sends may be settled; what comes after that is a duplicate, flagged or not."""
    settled = {}
    for delivery in history.deliveries:
        copies = history.sends.get(delivery.number, 0)
        if copies and settled.get(delivery.number, 0) >= copies:
            yield f"duplicate: {delivery.number}, sent {copies} times, came again after as many acknowledgements"
        if delivery.settled:
            settled[delivery.number] = settled.get(delivery.number, 0) + 1


def unflagged(history):
    """Each copy may come once without the redelivered flag."""
    fresh = {}
    for delivery in history.deliveries:
        if not delivery.redelivered:
            fresh[delivery.number] = fresh.get(delivery.number, 0) + 1
    for number, count in sorted(fresh.items()):
        if count > history.sends.get(number, 0) > 0:
            yield f"unflagged: {number}, sent {history.sends[number]} times, came {count} times as if for the first time"


def disorder(history):
    """The first deliveries come in the producer's order."""
    seen = set()
    last = 0
    for delivery in history.deliveries:
        if delivery.number in seen:
            continue
        seen.add(delivery.number)
        if delivery.number < last:
            yield f"disorder: {delivery.number} came first after {last}"
        last = max(last, delivery.number)
