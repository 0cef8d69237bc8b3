"""What a journal holds of bodies that stand in it in pieces."""

import contextlib
import sqlite3
import subprocess
import time
from pathlib import Path

from interop.test_admin import Admin
from lib.gateway import Gateway
from lib.postgres import BINARIES, Postgres

JOURNALS = ("sqlite", "postgres")
KIB = 1 << 10
MIB = 1 << 20
# A body is larger than this; what stays without any is smaller.
LITTLE_BYTES = 200 * KIB


class Journal:
    """A journal and the gateway on it."""

    def __init__(self, kind, **limits):
        self.kind = kind
        self.server = Postgres().start() if kind == "postgres" else None
        environment = {f"EVERGATE__LIMITS__{name.upper()}": str(value) for name, value in limits.items()}
        self.gateway = Gateway(self.server.url if self.server else None, environment)

    def __enter__(self):
        self.gateway.start()
        return self

    def __exit__(self, *_):
        log = self.gateway.log
        self.gateway.remove()
        if self.server:
            self.server.remove()
        assert "panicked" not in log, log[-4000:]

    def crash(self):
        """kill -9 and a new start."""
        self.gateway.kill()
        self.gateway.start()

    def live_bytes(self):
        """Bytes of messages that the journal has not let go of."""
        if self.server:
            return self._ask("SELECT coalesce(sum(size_bytes), 0) FROM evergate.live")
        return self._ask("SELECT coalesce(sum(length(messages)), 0) FROM pack")

    def bodies(self):
        """Entries of its small state that name a body."""
        if self.server:
            return self._ask("SELECT count(*) FROM evergate.state WHERE encode(value, 'escape') LIKE '%$body/%'")
        return self._ask("SELECT count(*) FROM state WHERE CAST(value AS TEXT) LIKE '%$body/%'")

    def disk_bytes(self):
        """What it takes on disk, without the log that commits go to first: that is as long as it ever was."""
        if self.server:
            return self._ask("SELECT pg_database_size(current_database())")
        return (self.gateway.directory / "data/journal.sqlite3").stat().st_size

    def log_bytes(self):
        """What that log takes on disk, where it is the journal's own."""
        log = self.gateway.directory / "data/journal.sqlite3-wal"
        return log.stat().st_size if log.exists() else 0

    def _ask(self, query):
        if self.server:
            command = [BINARIES / "psql", self.server.url, "-XAtc", query]
            return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        path = self.gateway.directory / "data/journal.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{Path(path)}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchone()[0]

    def check_no_trace(self, seconds=15):
        """No body is left, in the journal or in what the gateway tells of itself."""
        deadline = time.monotonic() + seconds
        while found := self.traces():
            assert time.monotonic() < deadline, f"still there after {seconds} s: {found}"
            time.sleep(0.1)

    def traces(self):
        # Asked of the shards: /metrics may be a second old.
        with contextlib.closing(Admin(self.gateway)) as admin:
            queues = admin.result("queue.list", private=True)["queues"]
        found = [queue for queue in queues if queue["bytes"] or queue["name"].startswith("$body/")]
        if bodies := self.bodies():
            found.append(f"{bodies} entries that name a body")
        if (live := self.live_bytes()) > LITTLE_BYTES:
            found.append(f"{live:,} bytes of messages in the journal")
        return found
