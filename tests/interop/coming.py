"""What comes to consumers: as much as is expected, however slow the machine is, and nothing more in a moment after that."""

import queue
import time

PATIENCE_SECONDS = 15
QUIET_SECONDS = 0.3
POLL_SECONDS = 0.05


def coming(count, *receivers):
    """What each `receiver(seconds)` gives until there are `count` in all, and in a quiet moment after them."""
    found = [[] for _ in receivers]
    since = time.monotonic()
    while time.monotonic() - since < (PATIENCE_SECONDS if sum(map(len, found)) < count else QUIET_SECONDS):
        for came, receive in zip(found, receivers, strict=True):
            try:
                while True:
                    came.append(receive(POLL_SECONDS))
                    since = time.monotonic()
            except queue.Empty:
                pass
    return found


def bodies(client, count):
    """The bodies of what comes to a client, where `count` messages are expected."""
    [found] = coming(count, client.receive_body)
    return found
