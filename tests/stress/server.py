"""A gateway on the journal that is asked for, and a watch on its memory."""

import contextlib
import os
import threading
import time
import urllib.request
from pathlib import Path

from benchmarks.brokers import family
from lib.gateway import Gateway
from lib.postgres import Postgres

MIB = 1 << 20
# Queues as deep as the figures need them.
DEEP = {"EVERGATE__LIMITS__QUEUE_MESSAGES_MAX": "100000000", "EVERGATE__LIMITS__QUEUE_BYTES_MAX": "1 TiB"}


# What docs/operating.md says of a PostgreSQL that takes large messages.
ROOM_FOR_LARGE = {"max_wal_size": "8GB", "min_wal_size": "2GB", "wal_init_zero": "off", "backend_flush_after": "512kB"}


@contextlib.contextmanager
def started(journal, environment=None, postgres=None):
    """`postgres`: settings of the server, if the journal has one."""
    server = Postgres(postgres).start() if journal == "postgres" else None
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
    """CPU time of the gateway since it started: its own, and what the kernel did for it."""
    return [each / os.sysconf("SC_CLK_TCK") for each in user_and_kernel(gateway.pid)]


class Share:
    """The share of the machine that others left to a gateway and its load while a block ran."""

    def __init__(self, gateway):
        self.pids = family(os.getpid()) + (family(gateway.server.process.pid) if gateway.server else [])

    def __enter__(self):
        self._begin = self._now()
        return self

    def __exit__(self, *_):
        total, free, ours = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        self.share = (free + ours) / total

    def _now(self):
        fields = machine_ticks()
        times = os.times()
        ours = (times.children_user + times.children_system) * os.sysconf("SC_CLK_TCK")
        return sum(fields), fields[3] + fields[4], ours + sum(ticks(pid) for pid in self.pids)


class Stolen:
    """The share of a virtual machine that its host gave to others while a block ran."""

    def __enter__(self):
        self._begin = machine_ticks()
        return self

    def __exit__(self, *_):
        spent = [now - then for now, then in zip(machine_ticks(), self._begin, strict=True)]
        self.share = spent[7] / max(sum(spent), 1)


def machine_ticks():
    """Of all processors since the start: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def ticks(pid):
    """CPU time of a process since it started, in clock ticks."""
    return sum(user_and_kernel(pid))


def user_and_kernel(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[11]), int(fields[12])


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
