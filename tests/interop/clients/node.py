"""The clients in JavaScript: one Node process, spoken to in lines of JSON."""

import base64
import itertools
import json
import queue
import subprocess
import threading
from dataclasses import asdict
from pathlib import Path

from interop.messages import Received

SECONDS = 15
DRIVER = Path(__file__).resolve().parent.parent / "node" / "driver.mjs"


class NodeDriver:
    """The process. It answers every request by its number, and reports messages as they come."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["node", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=DRIVER.parent
        )
        self._numbers = itertools.count(1)
        self._answers = {}
        self.inboxes = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            report = json.loads(line)
            if "message" in report:
                if inbox := self.inboxes.get(report["client"]):  # closed: what was on its way concerns nobody
                    inbox.put(report["message"])
            else:
                self._answers[report["number"]].put(report)

    def request(self, op, client, **arguments):
        number = next(self._numbers)
        self._answers[number] = answer = queue.Queue()
        line = json.dumps({"number": number, "op": op, "client": client, **arguments}) + "\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        report = answer.get(timeout=SECONDS)
        del self._answers[number]
        if report.get("error"):
            raise ConnectionError(report["error"])
        return report.get("result")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class NodeClient:
    _names = itertools.count(1)

    def __init__(self, driver, gateway, kind, **options):
        self.driver = driver
        self.name = f"{kind}-{next(self._names)}"
        self.inbox = driver.inboxes[self.name] = queue.Queue()
        driver.request("open", self.name, kind=kind, ports=gateway.ports, options=options)

    def subscribe(self, address, **options):
        self.driver.request("subscribe", self.name, address=spell(address), options=options)

    def unsubscribe(self, address):
        self.driver.request("unsubscribe", self.name, address=spell(address))

    def publish(self, address, sent):
        message = asdict(sent)
        message["body"] = base64.b64encode(sent.body).decode()
        message["reply_to"] = sent.reply_to and spell(sent.reply_to)
        self.driver.request("publish", self.name, address=spell(address), message=message)

    def receive(self, seconds=SECONDS):
        message = self.inbox.get(timeout=seconds)
        for name in ("body", "correlation_id"):
            if isinstance(message.get(name), dict):
                message[name] = base64.b64decode(message[name]["base64"])
        return Received(**message)

    def close(self):
        self.driver.request("close", self.name)
        del self.driver.inboxes[self.name]


def spell(address):
    return {"mqtt": address.mqtt, "canonical": address.canonical}
