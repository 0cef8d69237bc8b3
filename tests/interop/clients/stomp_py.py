"""stomp.py, STOMP 1.2."""

import itertools
import queue
import threading
import time

import stomp

from interop.clients.paho import as_text
from interop.messages import Received

SECONDS = 15
# Headers of a MESSAGE that are not application properties.
OWN = {"destination", "message-id", "subscription", "ack", "content-length", "redelivered", "delivery-count", "timestamp"}


class StompPy(stomp.ConnectionListener):
    def __init__(self, gateway, client_id=None, heartbeats=(0, 0), user=None, password=None):
        self.inbox = queue.Queue()
        self.errors = queue.Queue()
        self._receipts = {}
        self._numbers = itertools.count(1)
        self._subscription = None
        self.disconnected = threading.Event()
        self.connection = stomp.Connection12(
            [("127.0.0.1", gateway.ports["stomp"])], auto_decode=False, heartbeats=heartbeats, reconnect_attempts_max=1
        )
        self.connection.set_listener("", self)
        headers = {"client-id": client_id} if client_id else {}
        self.connection.connect(user, password, wait=True, headers=headers)

    def on_message(self, frame):
        self.inbox.put(frame)

    def on_error(self, frame):
        self.errors.put(frame)

    def on_receipt(self, frame):
        self._receipt(frame.headers["receipt-id"]).set()

    def on_disconnected(self):
        self.disconnected.set()

    def _receipt(self, number):
        return self._receipts.setdefault(number, threading.Event())

    def confirmed(self, act, seconds=SECONDS):
        """Does something with a receipt and waits for that."""
        number = f"r{next(self._numbers)}"
        act(number)
        deadline = time.monotonic() + seconds
        while not self._receipt(number).wait(0.2):
            if not self.errors.empty():
                frame = self.errors.get()
                raise ConnectionError(f"{frame.headers.get('message')}: {frame.body!r}")
            if time.monotonic() > deadline:
                raise TimeoutError("no RECEIPT")

    def subscribe(self, address, name=None, ack="client-individual", durable=False, **headers):
        self._subscription = name or f"s{next(self._numbers)}"
        self._ack = ack
        if durable:
            headers["durable"] = "true"
        destination = address if isinstance(address, str) else address.canonical
        self.confirmed(lambda receipt: self.connection.subscribe(
            destination, id=self._subscription, ack=ack, headers={"receipt": receipt, **headers}))

    def unsubscribe(self, address=None, **headers):
        self.confirmed(lambda receipt: self.connection.unsubscribe(
            id=self._subscription, headers={"receipt": receipt, **headers}))

    def publish(self, address, sent):
        headers = {name: as_text(value) for name, value in sent.properties.items()}
        if sent.durable:
            headers["persistent"] = "true"
        named = {
            "correlation-id": sent.correlation_id,
            "message-id": sent.message_id,
            "reply-to": sent.reply_to and sent.reply_to.canonical,
            "subject": sent.subject,
            "priority": sent.priority,
            "expires": sent.ttl_seconds and int((time.time() + sent.ttl_seconds) * 1000),
        }
        headers.update({name: str(value) for name, value in named.items() if value is not None})
        self.confirmed(lambda receipt: self.connection.send(
            address.canonical, sent.body, content_type=sent.content_type, headers={"receipt": receipt, **headers}))

    def receive_raw(self, seconds=SECONDS, settle=True):
        frame = self.inbox.get(timeout=seconds)
        if settle and self._ack != "auto":
            self.connection.ack(frame.headers["ack"])
        return frame

    def receive_body(self, seconds):
        return self.receive_raw(seconds).body.decode()

    def receive(self, seconds=SECONDS):
        frame = self.receive_raw(seconds)
        headers = {name: value for name, value in frame.headers.items() if name not in OWN}
        body = frame.body if isinstance(frame.body, bytes) else (frame.body or "").encode()
        expires = headers.pop("expires", None)
        return Received(
            body=body,
            address=frame.headers["destination"],
            durable=headers.pop("persistent", "false") == "true",
            redelivered=frame.headers.get("redelivered") == "true",
            content_type=headers.pop("content-type", None),
            correlation_id=headers.pop("correlation-id", None),
            message_id=headers.pop("original-message-id", None),
            reply_to=headers.pop("reply-to", None),
            subject=headers.pop("subject", None),
            priority=int(headers.pop("priority", 4)),
            expires_in_seconds=expires and int(expires) / 1000 - time.time(),
            properties=headers,
        )

    def drop(self):
        """The network goes away: no DISCONNECT."""
        self.connection.transport.disconnect_socket()

    def close(self):
        if self.connection.is_connected():
            self.connection.disconnect()
            self.disconnected.wait(SECONDS)  # after the receipt, which stomp.py does not wait for
