"""Clients that send and take bodies in pieces: AMQP 1.0 through Qpid Proton, STOMP 1.2 through a socket."""

import contextlib
import hashlib
import itertools
import socket
from dataclasses import dataclass

from proton import Data, Delivery, Described, Handler, Message, Timeout
from proton.reactor import DurableSubscription
from proton.utils import BlockingConnection

SECONDS = 30
CHUNK = 64 * 1024
CONTENT_TYPE = "application/x-evergate-test"
# Sections of an AMQP message, by descriptor.
HEADER, PROPERTIES, APPLICATION_PROPERTIES, DATA = 0x70, 0x73, 0x74, 0x75
TRANSACTIONAL_STATE = 0x34
_numbers = itertools.count(1)


@dataclass
class Received:
    """What a consumer saw. The body as its size and hash: nobody reads the difference of two bodies."""

    size: int
    sha256: str
    content_type: str
    properties: dict
    redelivered: bool
    reason: str | None

    @property
    def body(self):
        return self.size, self.sha256


def fingerprint(body):
    """What `Received.body` is for this body."""
    return len(body), hashlib.sha256(body).hexdigest()


def pieces(body):
    return (body[start : start + CHUNK] for start in range(0, len(body), CHUNK))


class Amqp:
    name = "amqp"

    def __init__(self, gateway, client_id=None):
        options = {"container_id": client_id} if client_id else {}
        address = f"127.0.0.1:{gateway.ports['amqp']}"
        self.connection = BlockingConnection(address, timeout=SECONDS, allowed_mechs="ANONYMOUS", **options)
        self.links = {}

    def upload(self, address, size, durable=True, ttl_ms=None, transaction=None, **properties):
        if address not in self.links:
            self.links[address] = self.connection.create_sender(address).link
        head = amqp_head(durable, ttl_ms, properties)
        return AmqpUpload(self.connection, self.links[address], head, size, transaction)

    def send(self, address, body, **options):
        """Returns when it is confirmed."""
        upload = self.upload(address, len(body), **options)
        for piece in pieces(body):
            upload.push(piece)
        assert upload.finish() == Delivery.ACCEPTED

    def receiver(self, address, subscription=None):
        return AmqpReceiver(self.connection, address, subscription)

    def close(self):
        with contextlib.suppress(Exception):
            self.connection.close()

    def vanish(self):
        """The connection ends without a goodbye."""
        self.close()


class AmqpUpload:
    def __init__(self, connection, link, head, size, transaction):
        self.connection = connection
        self.link = link
        connection.wait(lambda: self.link.credit > 0, msg="credit")
        self.delivery = self.link.delivery(f"large-{next(_numbers)}")
        if transaction:
            self.delivery.local.data = [transaction.id]
            self.delivery.update(TRANSACTIONAL_STATE)
        self.push(head + bytes([0, 0x53, DATA, 0xB0]) + size.to_bytes(4, "big"))

    def push(self, piece):
        self.link.stream(piece)
        self.connection.wait(lambda: self.link.session.outgoing_bytes < 4 * CHUNK, msg="window")
        flush(self.connection)

    def finish(self):
        """Its outcome."""
        self.link.advance()
        self.connection.wait(lambda: self.delivery.remote_state or self.delivery.settled, msg="outcome")
        outcome = self.delivery.remote_state
        self.delivery.settle()
        return outcome

    def abort(self):
        self.delivery.abort()
        flush(self.connection)


def flush(connection):
    """Writes what waits to be written."""
    connection.wait(lambda: connection.conn.transport.pending() <= 0, msg="writing")


def amqp_head(durable, ttl_ms, properties):
    """The sections before the body."""
    message = Message(body=b"", inferred=True, durable=durable, content_type=CONTENT_TYPE, properties=properties)
    if ttl_ms:
        message.ttl = ttl_ms / 1000
    encoded = message.encode()
    empty = bytes([0, 0x53, DATA, 0xA0, 0])
    assert encoded.endswith(empty)
    return encoded[: -len(empty)]


class AmqpReceiver(Handler):
    """Takes one message at a time; reads what has come of it at once."""

    def __init__(self, connection, address, subscription):
        self.connection = connection
        self.bytes = bytearray()
        self.delivery = None
        options = DurableSubscription() if subscription else None
        name = {"name": subscription} if subscription else {}
        # Proton forgets the handler when this object goes.
        self.kept = connection.create_receiver(address, credit=1, handler=self, options=options, **name)
        self.link = self.kept.link

    def on_delivery(self, event):
        if event.delivery.aborted:
            self.bytes.clear()
            event.delivery.settle()
            self.link.flow(1)
            return
        if not event.delivery.readable:
            return
        while piece := self.link.recv(CHUNK):
            self.bytes += piece
        if not event.delivery.partial:
            self.delivery = event.delivery
            self.link.advance()

    def wait_bytes(self, count, seconds=SECONDS):
        """Until so much of a message has come."""
        self.connection.wait(lambda: len(self.bytes) >= count, timeout=seconds, msg="a part")

    def receive(self, seconds=SECONDS):
        self.connection.wait(lambda: self.delivery, timeout=seconds, msg="a message")
        received = amqp_received(bytes(self.bytes))
        self.bytes.clear()
        return received

    def settle(self, outcome=Delivery.ACCEPTED):
        self.delivery.update(outcome)
        self.delivery.settle()
        self.delivery = None
        self.link.flow(1)
        flush(self.connection)

    def has_nothing(self, seconds=0.5):
        with contextlib.suppress(Timeout):
            self.connection.wait(lambda: self.bytes or self.delivery, timeout=seconds)
        return not self.bytes and not self.delivery

    def unsubscribe(self):
        self.link.close()
        flush(self.connection)


def amqp_received(message):
    sections = {}
    body = []
    while message:
        reader = Data()
        size = reader.decode(message)
        message = message[size:]
        reader.rewind()
        reader.next()
        section = reader.get_object()
        assert isinstance(section, Described)
        code = int(section.descriptor)
        if code == DATA:
            body.append(bytes(section.value))
        else:
            sections[code] = section.value
    header = [*sections.get(HEADER, []), *[None] * 5]
    properties = [*sections.get(PROPERTIES, []), *[None] * 7]
    annotations = {str(name): value for name, value in sections.get(0x72, {}).items()}
    return Received(
        *fingerprint(b"".join(body)),
        content_type=str(properties[6]),
        properties=dict(sections.get(APPLICATION_PROPERTIES, {})),
        # Not the first acquirer, or failed before.
        redelivered=header[3] is False or bool(header[4]),
        reason=annotations.get("x-opt-dead-letter-reason"),
    )


class Stomp:
    name = "stomp"

    def __init__(self, gateway, client_id=None):
        # Messages that came while something else was waited for: headers and body.
        self.inbox = []
        self.socket = socket.create_connection(("127.0.0.1", gateway.ports["stomp"]), timeout=SECONDS)
        self.reader = self.socket.makefile("rb")
        identity = {"client-id": client_id} if client_id else {}
        self.frame("CONNECT", **{"accept-version": "1.2", "host": "localhost", "heart-beat": "0,0"}, **identity)
        assert self.read_head()[0] == "CONNECTED"
        self.read_body({})

    def frame(self, command, body=b"", **headers):
        self.socket.sendall(stomp_head(command, headers) + body + b"\0")

    def asked(self, command, **headers):
        """A frame, and the wait for its receipt."""
        receipt = f"r{next(_numbers)}"
        self.frame(command, receipt=receipt, **headers)
        self.wait_receipt(receipt)

    def wait_receipt(self, receipt):
        while True:
            command, headers = self.read_head()
            body = self.read_body(headers)
            if command == "MESSAGE":
                self.inbox.append((headers, body))
                continue
            if command != "RECEIPT":
                raise ConnectionError(f"{command}: {headers.get('message')} {body[:200]}")
            assert headers["receipt-id"] == receipt
            return

    def upload(self, address, size, durable=True, ttl_ms=None, transaction=None, **properties):
        headers = {"destination": address, "content-length": size, "content-type": CONTENT_TYPE, **properties}
        if durable:
            headers["persistent"] = "true"
        if ttl_ms:
            headers["ttl"] = ttl_ms
        if transaction:
            headers["transaction"] = transaction
        return StompUpload(self, headers)

    def send(self, address, body, **options):
        upload = self.upload(address, len(body), **options)
        for piece in pieces(body):
            upload.push(piece)
        upload.finish()

    def receiver(self, address, subscription=None):
        return StompReceiver(self, address, subscription)

    def read_head(self):
        while (command := self.reader.readline()) in (b"\n", b"\r\n"):
            pass  # between frames
        if not command:
            raise ConnectionError("the gateway closed the connection")
        headers = {}
        while line := self.reader.readline().decode().rstrip("\r\n"):
            name, _, value = line.partition(":")
            for code, character in (("\\c", ":"), ("\\n", "\n"), ("\\r", "\r"), ("\\\\", "\\")):
                value = value.replace(code, character)
            headers.setdefault(name, value)
        return command.decode().strip(), headers

    def read_body(self, headers):
        body = self.reader.read(int(headers.get("content-length", 0)))
        while (last := self.reader.read(1)) != b"\0":
            assert last and "content-length" not in headers, "a body that is longer or shorter than its content-length"
            body += last
        return body

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.close()
        self.socket.close()

    vanish = close


def stomp_head(command, headers):
    lines = [command, *(f"{name}:{value}" for name, value in headers.items())]
    return ("\n".join(lines) + "\n\n").encode()


class StompUpload:
    def __init__(self, client, headers):
        self.client = client
        self.receipt = f"r{next(_numbers)}"
        client.socket.sendall(stomp_head("SEND", headers | {"receipt": self.receipt}))

    def push(self, piece):
        self.client.socket.sendall(piece)

    def finish(self):
        self.client.socket.sendall(b"\0")
        self.client.wait_receipt(self.receipt)


class StompReceiver:
    def __init__(self, client, address, subscription):
        self.client = client
        self.head = None
        self.id = subscription or f"s{next(_numbers)}"
        durable = {"durable": "true"} if subscription else {}
        options = {"ack": "client-individual", "prefetch-count": 1, **durable}
        client.asked("SUBSCRIBE", id=self.id, destination=address, **options)

    def wait_bytes(self, count, seconds=SECONDS):
        self._wait_head(seconds)
        assert len(self.client.reader.read(count)) == count

    def receive(self, seconds=SECONDS):
        if self.client.inbox:
            self.head, body = self.client.inbox.pop(0)
        else:
            self._wait_head(seconds)
            body = self.client.read_body(self.head)
        headers = self.head
        known = {
            "destination", "message-id", "subscription", "ack", "content-length", "content-type", "redelivered",
            "persistent", "priority", "timestamp", "expires", "delivery-count",
        }  # fmt: skip
        return Received(
            *fingerprint(body),
            content_type=headers.get("content-type"),
            properties={
                name: value for name, value in headers.items() if name not in known and not name.startswith("dead-letter-")
            },
            redelivered="redelivered" in headers,
            reason=headers.get("dead-letter-reason"),
        )

    def _wait_head(self, seconds):
        self.client.socket.settimeout(seconds)
        try:
            command, self.head = self.client.read_head()
        finally:
            self.client.socket.settimeout(SECONDS)
        assert command == "MESSAGE", (command, self.head)

    def settle(self, **headers):
        self.client.asked("ACK", id=self.head["ack"], **headers)

    def has_nothing(self, seconds=0.5):
        self.client.socket.settimeout(seconds)
        try:
            return not self.client.inbox and not self.client.reader.peek(1)
        except TimeoutError:
            # A reader that timed out once reads no more.
            self.client.reader = self.client.socket.makefile("rb")
            return True
        finally:
            self.client.socket.settimeout(SECONDS)

    def unsubscribe(self):
        self.client.asked("UNSUBSCRIBE", id=self.id, durable="true")


CLIENTS = {"amqp": Amqp, "stomp": Stomp}
