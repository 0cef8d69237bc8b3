import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib.gateway import Gateway

# Short, so that tests of the time limit are; long enough for an honest client on a machine under load.
HANDSHAKE_SECONDS = 2
ENVIRONMENT = {
    "EVERGATE__LIMITS__HANDSHAKE_SECONDS": str(HANDSHAKE_SECONDS),
    # A connection may hold so much unread: with less of it, growth shows.
    "EVERGATE__LIMITS__MESSAGE_BYTES_MAX": "4MiB",
    "EVERGATE__LIMITS__LARGE_MESSAGE_BYTES_MAX": "4MiB",
    # The allocator gives back at once what is freed, so that the size tells what is held.
    "MIMALLOC_PURGE_DELAY": "0",
}
# No round trip of an honest client may take longer, whatever others do.
LATENCY_SECONDS_MAX = 2


@contextmanager
def surviving(environment):
    """A gateway that is to live through everything, and then to end when it is told."""
    with Gateway(environment=environment) as started:
        yield started
        assert started.is_running(), f"the gateway ended by itself:\n{started.log[-4000:]}"
        assert started.stop() == 0, "SIGTERM did not end it cleanly"
        assert "panicked" not in started.log


@pytest.fixture(scope="session")
def gateway():
    with surviving(ENVIRONMENT) as started:
        yield started


class Companions:
    def __init__(self, gateway):
        ports = [f"{name}={port}" for name, port in gateway.ports.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "badinput.companions", *ports],
            cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.report()

    def report(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def check(self):
        """They are well, and were since the last check."""
        report = self.report()
        assert not any(found["error"] for found in report.values()), report
        assert all(found["longest"] < LATENCY_SECONDS_MAX for found in report.values()), f"slow round trips: {report}"

    def check_progress(self):
        """As `check`, and each gets a message through now."""
        self.check()
        deadline = time.monotonic() + LATENCY_SECONDS_MAX
        missing = {"all"}
        while missing:
            time.sleep(0.02)
            reports = self.report()
            missing = {client for client in (reports if missing == {"all"} else missing) if not reports[client]["rounds"]}
            assert time.monotonic() < deadline, f"no round trip: {missing}"

    def close(self):
        self.process.stdin.close()
        self.process.wait(5)


@pytest.fixture(scope="session")
def companions(gateway):
    started = Companions(gateway)
    yield started
    started.close()


@pytest.fixture(autouse=True)
def nobody_else_suffers(gateway, companions):
    """After each test: the gateway lives, and the well-behaved clients did not notice."""
    yield
    assert gateway.is_running(), f"the gateway ended:\n{gateway.log[-4000:]}"
    companions.check()
