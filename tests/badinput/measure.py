"""What the gateway uses: memory, descriptors, time."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

# `lasting_growth` compares the first so many sizes with the last, with some turns between them.
COMPARED = 3
BETWEEN = 2
TURNS = COMPARED + BETWEEN + COMPARED
SETTLE_SECONDS = 0.2


@contextmanager
def growth(gateway):
    """Gives a function that tells by how many MiB the gateway has grown since."""
    before = gateway.rss_bytes()
    yield lambda: (gateway.rss_bytes() - before) / (1 << 20)


def lasting_growth(gateway, play):
    """By how many MiB the gateway is larger after `play()` again and again than after the first times.

    A single size is off by some MiB either way: what was freed is kept in pages that are not empty yet. What is never
    freed lifts even the least of the sizes, above the greatest of the first."""

    def sizes(times):
        for _ in range(times):
            play()
            time.sleep(SETTLE_SECONDS)
            yield gateway.rss_bytes()

    first = max(sizes(COMPARED))
    list(sizes(BETWEEN))
    return (min(sizes(COMPARED)) - first) / (1 << 20)


def descriptors(gateway):
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def wait_for_descriptors(gateway, most, seconds=30):
    """Connections end a moment after their peers. Returns how many are left."""
    deadline = time.monotonic() + seconds
    while (now := descriptors(gateway)) > most and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


def cpu_seconds(gateway):
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
