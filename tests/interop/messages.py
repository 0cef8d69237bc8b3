"""What the interop tests speak of: addresses, messages sent, messages received. No protocol's name."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Address:
    kind: str  # "queue" or "topic"
    name: str

    @property
    def canonical(self):
        """As AMQP 1.0 and STOMP write it."""
        return f"/{self.kind}/{self.name}"

    @property
    def mqtt(self):
        return f"$queue/{self.name}" if self.kind == "queue" else self.name


@dataclass
class Sent:
    """A message to publish. What a protocol has no place for, its client leaves out."""

    body: bytes
    text: bool = False  # the body is text: AMQP clients send it as a string value
    durable: bool = False
    content_type: str | None = None
    correlation_id: str | None = None
    message_id: str | None = None
    reply_to: Address | None = None
    subject: str | None = None
    priority: int | None = None
    ttl_seconds: int | None = None
    properties: dict = field(default_factory=dict)


@dataclass
class Received:
    """A message as the client library handed it over, its protocol's places given the model's names."""

    body: bytes
    address: str | None = None
    durable: bool | None = None
    redelivered: bool = False
    content_type: str | None = None
    correlation_id: str | bytes | None = None
    message_id: str | None = None
    reply_to: str | None = None
    subject: str | None = None
    priority: int | None = None
    expires_in_seconds: float | None = None
    properties: dict = field(default_factory=dict)


def from_named(properties, received):
    """Takes out of user properties what the model has a name for, and that has no place elsewhere."""
    for name, place in (("message-id", "message_id"), ("subject", "subject")):
        if name in properties:
            setattr(received, place, properties.pop(name))
    if "priority" in properties:
        received.priority = int(properties.pop("priority"))
    received.properties = properties
    return received
