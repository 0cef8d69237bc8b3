"""python-qpid-proton, with its blocking interface."""

import queue

from proton import Message, Timeout, symbol
from proton.utils import BlockingConnection

from interop.messages import Received

SECONDS = 15


class Proton:
    def __init__(self, gateway, container_id=None, **options):
        # allowed_mechs: otherwise proton tries what the machine's SASL library offers first.
        self.connection = BlockingConnection(
            f"127.0.0.1:{gateway.ports['amqp']}", timeout=SECONDS, container_id=container_id,
            allowed_mechs=options.pop("allowed_mechs", "ANONYMOUS"), **options
        )
        self._senders = {}
        self.receiver = None

    def subscribe(self, address, name=None, options=None, credit=10):
        source = address if isinstance(address, str) else address.canonical
        self.receiver = self.connection.create_receiver(source, credit=credit, name=name, options=options)

    def unsubscribe(self, address=None):
        self.receiver.close()
        self.receiver = None

    def publish(self, address, sent):
        target = address.canonical
        if target not in self._senders:
            self._close_senders()
            self._senders[target] = self.connection.create_sender(target)
        self._senders[target].send(encode(sent))

    def _close_senders(self):
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()

    def receive_raw(self, seconds=SECONDS):
        try:
            return self.receiver.receive(seconds)
        except Timeout:
            raise queue.Empty from None

    def receive_body(self, seconds):
        body = self.receive_raw(seconds).body
        self.receiver.accept()
        return body

    def receive(self, seconds=SECONDS):
        message = self.receive_raw(seconds)
        self.receiver.accept()
        return decode(message)

    def drop(self):
        """The network goes away: no close."""
        self.connection.conn.transport.close_head()
        self.connection.conn.transport.close_tail()

    def close(self):
        self.connection.close()


def encode(sent):
    message = Message(
        body=sent.body.decode() if sent.text else sent.body,
        inferred=not sent.text,  # bytes as a data section, not as a binary value
        durable=sent.durable,
        properties=dict(sent.properties) or None,
    )
    if sent.content_type is not None:
        message.content_type = symbol(sent.content_type)
    if sent.correlation_id is not None:
        message.correlation_id = sent.correlation_id
    if sent.message_id is not None:
        message.id = sent.message_id
    if sent.reply_to is not None:
        message.reply_to = sent.reply_to.canonical
    if sent.subject is not None:
        message.subject = sent.subject
    if sent.priority is not None:
        message.priority = sent.priority
    if sent.ttl_seconds is not None:
        message.ttl = sent.ttl_seconds
    return message


def plain(value):
    """proton gives binary as memoryview."""
    return bytes(value) if isinstance(value, memoryview) else value


def decode(message):
    body = message.body
    body = b"" if body is None else body.encode() if isinstance(body, str) else bytes(body)
    return Received(
        body=body,
        address=message.address,
        durable=message.durable,
        redelivered=message.delivery_count > 0,
        # proton gives symbol("None") where there is none.
        content_type=None if message.content_type == "None" else str(message.content_type),
        correlation_id=plain(message.correlation_id),
        message_id=plain(message.id),
        reply_to=message.reply_to,
        subject=message.subject,
        priority=message.priority,
        expires_in_seconds=message.ttl or None,
        properties={name: plain(value) for name, value in (message.properties or {}).items()},
    )
