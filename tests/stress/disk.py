"""The journal's disk fills up: nothing confirmed is lost, and the gateway says what is wrong."""

import contextlib
import subprocess
import tempfile
import time
from pathlib import Path

from lib.gateway import Gateway
from lib.postgres import Postgres
from stress.load import Load
from stress.server import DEEP

DISK = {"sqlite": "64m", "postgres": "400m"}
BALLAST_BYTES = 24 << 20
# What tells a person that the disk is the reason.
REASONS = ("disk is full", "No space left", "disk full", "full")


def measure(rows, journal, scale):  # noqa: ARG001: there is no shorter form
    with small_disk(DISK[journal]) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(BALLAST_BYTES))
        server = gateway = None
        try:
            server = postgres_on(disk).start() if journal == "postgres" else None
            gateway = Gateway(server.url if server else f"sqlite:{disk / 'data'}", environment=DEEP).start()
            fill_up(rows, gateway, server, ballast)
        finally:
            if gateway:
                gateway.remove()
            if server:
                with contextlib.suppress(OSError):
                    server.remove()


def fill_up(rows, gateway, server, ballast):
    load = Load(gateway)
    filled = load.fill("full", 10_000_000, body=1024)
    confirmed = filled["confirmed"]
    rows.at_least("confirmed until the disk is full", confirmed, 1000)
    rows.true("publishing then ends with an error", filled["error"])
    with contextlib.suppress(subprocess.TimeoutExpired):
        gateway.process.wait(20)
    runs = gateway.is_running()
    rows.tell("the gateway then", "runs on" if runs else f"ended with {gateway.process.returncode}")
    if not runs:
        rows.equal("exit code", gateway.process.returncode, 1)
    said = gateway.log.strip().splitlines()[-1]
    rows.tell("its last words", said[:160])
    rows.true("they name the disk", any(reason in gateway.log for reason in REASONS))
    ballast.unlink()
    if server:
        # PostgreSQL crashed too, when its log could not be written: it recovers by itself, or has ended.
        server.stop()
        server.start()
    if not runs:
        begin = time.monotonic()
        gateway.start()
        rows.tell("started again once there is space, s", time.monotonic() - begin)
    drained = load.drain("full", confirmed, body=1024)
    rows.at_least("confirmed messages that are there, in order", drained["received"], confirmed)
    after = load.pairs("after", "durable", "queues", paced_seconds=0.2, full_seconds=0.1)
    rows.at_least("messages that pass afterwards", after["messages"], 100)


@contextlib.contextmanager
def small_disk(size):
    directory = Path(tempfile.mkdtemp(prefix="evergate-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)
        directory.rmdir()


def postgres_on(disk):
    """Its whole directory is on the small disk."""
    before, tempfile.tempdir = tempfile.tempdir, str(disk)
    try:
        return Postgres()
    finally:
        tempfile.tempdir = before
