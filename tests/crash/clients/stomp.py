"""STOMP with receipts, over stomp.py."""

import itertools
import logging
import threading

import stomp

from crash.clients.common import OPEN_SECONDS, Refused

logging.getLogger("stomp.py").setLevel(logging.CRITICAL)  # that connections are lost is what is tested


class StompBase(stomp.ConnectionListener):
    def __init__(self, gateway, client_id=None):
        self.lost = threading.Event()
        self.connection = stomp.Connection12(
            [("127.0.0.1", gateway.ports["stomp"])], auto_decode=False, reconnect_attempts_max=1, timeout=OPEN_SECONDS
        )
        self.connection.set_listener("", self)
        self._reader = None
        self.connection.transport.override_threading(self._read)
        try:
            self.connection.connect(wait=True, headers={"client-id": client_id} if client_id else {})
        except (stomp.exception.StompException, OSError) as error:
            self.close()
            raise Refused(str(error)) from error

    def _read(self, loop):
        self._reader = threading.Thread(target=loop, daemon=True)
        self._reader.start()
        return self._reader

    def on_disconnected(self):
        self.lost.set()

    def on_error(self, frame):
        self.lost.set()

    def _guarded(self, act, *arguments, **options):
        try:
            act(*arguments, **options)
        except (stomp.exception.StompException, OSError, AttributeError):  # stomp.py's socket may be None by then
            self.lost.set()

    def close(self):
        if self._reader and not self.lost.is_set():
            self._guarded(self.connection.disconnect)
            self.lost.wait(OPEN_SECONDS)
        self._guarded(self.connection.transport.disconnect_socket)
        if self._reader:
            self._reader.join(OPEN_SECONDS)


class StompPublisher(StompBase):
    def __init__(self, gateway, address, on_confirm):
        self._on_confirm = on_confirm
        self._destination = address.canonical
        super().__init__(gateway)

    def on_receipt(self, frame):
        receipt = frame.headers["receipt-id"]
        if receipt.isdigit():
            self._on_confirm(int(receipt))

    def send(self, number, body):
        self._guarded(
            self.connection.send, self._destination, body, headers={"persistent": "true", "receipt": str(number)}
        )


class StompConsumer(StompBase):
    """On a topic with `durable:true`. Acknowledges the last of a batch, with a receipt."""

    def __init__(self, gateway, address, on_delivery, on_settled):
        self._on_delivery = on_delivery
        self._on_settled = on_settled
        self._batches = {}
        self._receipts = itertools.count(1)
        self._subscribed = threading.Event()
        topic = address.kind == "topic"
        super().__init__(gateway, f"consumer-{address.name}" if topic else None)
        headers = {"receipt": "subscribed", "prefetch-count": "100", **({"durable": "true"} if topic else {})}
        self._guarded(
            self.connection.subscribe, address.canonical, id=f"s-{address.name}", ack="client", headers=headers
        )
        if not self._subscribed.wait(OPEN_SECONDS):
            self.close()
            raise Refused("no RECEIPT for SUBSCRIBE")

    def on_message(self, frame):
        self._on_delivery(frame.body, frame.headers.get("redelivered") == "true", frame.headers["ack"])

    def on_receipt(self, frame):
        receipt = frame.headers["receipt-id"]
        if receipt == "subscribed":
            self._subscribed.set()
        elif receipt in self._batches:
            self._on_settled(self._batches.pop(receipt))

    def acknowledge(self, tokens):
        receipt = f"a{next(self._receipts)}"
        self._batches[receipt] = list(tokens)
        self._guarded(self.connection.ack, tokens[-1], receipt=receipt)
