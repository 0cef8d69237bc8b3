"""A PostgreSQL of the tests' own: temporary directory, free port, not as root.

Run as a script it prints the URL of a fresh server and serves until it is told to end (SIGTERM).
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lib.ports import free_port  # noqa: E402

BINARIES = Path("/usr/lib/postgresql/15/bin")


class Postgres:
    """One server. `kill` is a crash: nobody gets to say goodbye; `start` then recovers."""

    def __init__(self, settings=None):
        self.settings = settings or {}
        self.directory = Path(tempfile.mkdtemp(prefix="evergate-postgres-"))
        self.port = free_port()
        self.process = None
        # PostgreSQL refuses to run as root: the account that Debian's package makes is used then.
        self.account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self.account:
            os.chown(self.directory, self.account.pw_uid, self.account.pw_gid)
        self._run("initdb", "-D", self._data, "-U", "evergate", "-A", "trust", "-E", "UTF8", "--no-sync")

    @property
    def url(self):
        return f"postgres://evergate@127.0.0.1:{self.port}/postgres"

    @property
    def _data(self):
        return str(self.directory / "data")

    def _as_account(self):
        if not self.account:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def _run(self, name, *arguments):
        subprocess.run(
            [BINARIES / name, *arguments], cwd=self.directory, check=True, stdout=subprocess.DEVNULL, **self._as_account()
        )

    def start(self):
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [BINARIES / "postgres", "-D", self._data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                 "-c", f"unix_socket_directories={self.directory}",
                 *(f"--{name}={value}" for name, value in self.settings.items())],
                cwd=self.directory, stdout=log, stderr=log, **self._as_account(),
            )
        deadline = time.monotonic() + 60
        ready = [BINARIES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start:\n" + (self.directory / "log").read_text()[-4000:])
            time.sleep(0.05)
        return self

    def kill(self):
        """SIGKILL to the postmaster and all that it started."""
        pid = self.process.pid
        os.kill(pid, signal.SIGSTOP)  # so that no child is born while the list is read
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in [*children, pid]:
            try:
                os.kill(int(child), signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process = None

    def stop(self):
        """A clean stop that does not wait for clients."""
        if self.process:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()
            self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def main():
    def end(*_):
        raise SystemExit

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: tests/run ends us after the tests
    server = Postgres()
    try:
        print(server.start().url, flush=True)
        signal.pause()
    finally:
        server.remove()


if __name__ == "__main__":
    main()
