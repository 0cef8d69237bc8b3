"""A gateway on the journal that is asked for, and a watch on its memory."""

import contextlib
import os
import threading
import time
import urllib.request
from pathlib import Path

from lib.gateway import Gateway
from lib.postgres import Postgres

MIB = 1 << 20
# Queues as deep as the figures need them.
DEEP = {"EVERGATE__LIMITS__QUEUE_MESSAGES_MAX": "100000000", "EVERGATE__LIMITS__QUEUE_BYTES_MAX": "1 TiB"}


@contextlib.contextmanager
def started(journal, environment=None):
    server = Postgres().start() if journal == "postgres" else None
    gateway = None
    try:
        gateway = Gateway(server.url if server else None, environment=environment)
        gateway.server = server
        yield gateway.start()
        if "panicked" in gateway.log:
            raise RuntimeError("the gateway panicked:\n" + gateway.log[-2000:])
    finally:
        if gateway:
            gateway.remove()
        if server:
            server.remove()


def metrics(gateway):
    """Values by name with labels."""
    with urllib.request.urlopen(gateway.url("/metrics"), timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def cpu_seconds(gateway):
    """CPU time of the gateway since it started."""
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Samples something each `seconds`, until the block ends."""

    def __init__(self, sample, seconds=0.1):
        self.sample = sample
        self.seconds = seconds
        self.values = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._ended.wait(self.seconds):
            with contextlib.suppress(OSError, RuntimeError):
                self.values.append((time.monotonic(), self.sample()))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


def memory(gateway):
    """A watch on the resident memory, in MiB."""
    return Watch(lambda: gateway.rss_bytes() / MIB)


def peak(watch):
    return max(value for _, value in watch.values)
