"""Well-behaved clients beside the hostile ones: each sends itself a durable message, again and again.

Run as a process of its own, so that they do not wait for the tests' interpreter. For each line on standard
input it writes one of JSON: by client, how many round trips there were since the last, the longest in
seconds, and the error that ended it.
"""

import itertools
import json
import queue
import sys
import threading
import time

import paho.mqtt.client as mqtt

from interop.clients.paho import Paho
from interop.clients.proton_blocking import Proton
from interop.clients.stomp_py import StompPy
from interop.messages import Address, Received, Sent

PAUSE_SECONDS = 0.02
ROUND_TRIP_SECONDS = 15


class Running:
    def __init__(self, ports):
        self.ports = ports


class WebSocketPaho:
    """paho-mqtt over WebSocket."""

    def __init__(self, gateway):
        self.inbox = queue.Queue()
        self._subscribed = threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, transport="websockets", reconnect_on_failure=False)
        self.client.ws_set_options(path="/mqtt")
        self.client.on_connect = lambda *_: self.client.subscribe(self._address.mqtt, qos=1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda client, data, message: self.inbox.put(message)
        self._port = gateway.ports["http"]

    def subscribe(self, address):
        self._address = address
        self.client.connect("localhost", self._port)
        self.client.loop_start()
        if not self._subscribed.wait(ROUND_TRIP_SECONDS):
            raise TimeoutError("no SUBACK")

    def publish(self, address, sent):
        self.client.publish(address.mqtt, sent.body, qos=1).wait_for_publish(ROUND_TRIP_SECONDS)

    def receive(self, seconds):
        return Received(body=self.inbox.get(timeout=seconds).payload)


CLIENTS = {
    "mqtt": lambda gateway: Paho(gateway, 5),
    "stomp": StompPy,
    "amqp": Proton,
    "websocket": WebSocketPaho,
}


class Companion(threading.Thread):
    def __init__(self, name, gateway):
        super().__init__(daemon=True)
        self.client_name = name
        self.ready = threading.Event()
        self._gateway = gateway
        self._lock = threading.Lock()
        self._rounds, self._longest, self._error, self._since = 0, 0.0, None, None

    def run(self):
        try:
            self._round_trips()
        except Exception as error:  # whatever it is, the tests are told
            self._error = f"{type(error).__name__}: {error}"
            self.ready.set()

    def _round_trips(self):
        client = CLIENTS[self.client_name](self._gateway)
        address = Address("queue", f"companion-{self.client_name}")
        client.subscribe(address)
        for number in itertools.count():
            body = f"{self.client_name} {number}".encode()
            self._since = time.monotonic()
            client.publish(address, Sent(body, durable=True))
            received = client.receive(ROUND_TRIP_SECONDS).body
            if received != body:
                raise ValueError(f"sent {body}, received {received}")
            with self._lock:
                self._rounds += 1
                self._longest = max(self._longest, time.monotonic() - self._since)
                self._since = None
            self.ready.set()
            time.sleep(PAUSE_SECONDS)

    def report(self):
        """What happened since the last report; a round trip that is under way counts as long as it has lasted."""
        with self._lock:
            waiting = time.monotonic() - self._since if self._since else 0.0
            found = {"rounds": self._rounds, "longest": max(self._longest, waiting), "error": self._error}
            self._rounds, self._longest = 0, 0.0
        return found


def main():
    gateway = Running({name: int(port) for name, port in (pair.split("=") for pair in sys.argv[1:])})
    companions = [Companion(name, gateway) for name in CLIENTS]
    for companion in companions:
        companion.start()
    for companion in companions:
        companion.ready.wait(ROUND_TRIP_SECONDS)
    for _ in sys.stdin:
        print(json.dumps({companion.client_name: companion.report() for companion in companions}), flush=True)


if __name__ == "__main__":
    main()
