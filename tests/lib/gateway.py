"""The gateway's binary, started, stopped and killed in a temporary directory on free ports."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from lib.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
LISTENERS = ("mqtt", "amqp", "stomp", "http")


def binary():
    return Path(os.environ.get("EVERGATE_BIN", ROOT / "target/release/evergate"))


class Gateway:
    """One gateway. Its ports and its data stay the same over restarts."""

    def __init__(self, journal=None, environment=None):
        self.directory = Path(tempfile.mkdtemp(prefix="evergate-test-"))
        self.ports = {name: free_port() for name in LISTENERS}
        self.journal = journal or f"sqlite:{self.directory / 'data'}"
        self.environment = environment or {}
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return (self.directory / "log").read_text(errors="replace")

    @property
    def events(self):
        """What its event log tells, from the file."""
        path = self.directory / self.environment.get("EVERGATE__LOG__EVENTS_FILE", "data/events.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.ports['http']}{path}"

    def start(self, seconds=30):
        """Starts it and waits until it says that it is ready."""
        self.launch()
        self.wait_ready(seconds)
        return self

    def launch(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EVERGATE")}
        for name in LISTENERS:
            environment[f"EVERGATE__LISTEN__{name.upper()}"] = f"127.0.0.1:{self.ports[name]}"
        environment["EVERGATE__JOURNAL__URL"] = self.journal
        environment.update(self.environment)
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [binary()], cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_ready(self, seconds=30):
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if not self.is_running():
                raise RuntimeError(f"the gateway ended with {self.process.returncode}:\n{self.log[-4000:]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the gateway was not ready in {seconds} s:\n{self.log[-4000:]}")
            time.sleep(0.01)

    def is_ready(self):
        try:
            with urllib.request.urlopen(self.url("/health/ready"), timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def get(self, path):
        """Status and text that HTTP answers."""
        try:
            with urllib.request.urlopen(self.url(path), timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def rss_bytes(self):
        """Memory in use now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS: the gateway has ended")

    def kill(self):
        """kill -9: no goodbye, no flush."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=20):
        """SIGTERM; returns the exit status."""
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode

    def remove(self):
        if self.is_running():
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.remove()
