"""What the gateway uses: memory, descriptors, time."""

import os
import time
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def growth(gateway):
    """Gives a function that tells by how many MiB the gateway has grown since."""
    before = gateway.rss_bytes()
    yield lambda: (gateway.rss_bytes() - before) / (1 << 20)


def descriptors(gateway):
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def wait_for_descriptors(gateway, most, seconds=30):
    """Connections end a moment after their peers. Returns how many are left."""
    deadline = time.monotonic() + seconds
    while descriptors(gateway) > most and time.monotonic() < deadline:
        time.sleep(0.05)
    return descriptors(gateway)


def cpu_seconds(gateway):
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
