"""The table of docs/addresses.md as code: what a consumer sees of what a publisher sent."""

from interop.messages import Received

# The clients under test and the protocol each speaks.
FAMILY = {
    "paho-mqtt-3.1.1": "mqtt3",
    "paho-mqtt-5": "mqtt5",
    "mqttjs-ws": "mqtt5",
    "stomp.py": "stomp",
    "stompjs-ws": "stomp",
    "qpid-proton": "amqp",
    "rhea": "amqp",
    "rhea-ws": "amqp",
}

DEFAULT_PRIORITY = 4


def text(value):
    """A typed value where text is all there is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def sent_as(family, sent):
    """What a publisher of this protocol can say of `sent`, in the types of the hub."""
    if family == "mqtt3":
        return Received(body=sent.body, durable=sent.durable)
    properties = sent.properties
    if family != "amqp":
        properties = {name: text(value) for name, value in properties.items()}
    return Received(
        body=sent.body,
        durable=sent.durable,
        content_type=sent.content_type,
        correlation_id=sent.correlation_id,  # MQTT's correlation data is text in the hub if it is UTF-8
        message_id=sent.message_id,
        reply_to=sent.reply_to,
        subject=sent.subject,
        priority=sent.priority,
        expires_in_seconds=sent.ttl_seconds,
        properties=dict(properties),
    )


def seen_by(family, address, hub):
    """What a consumer of this protocol sees of a message that the hub holds."""
    if family == "mqtt3":
        return Received(body=hub.body, address=address.mqtt, durable=hub.durable)
    correlation_id = hub.correlation_id
    if family == "mqtt5" and isinstance(correlation_id, str):
        correlation_id = correlation_id.encode()
    properties = hub.properties
    if family != "amqp":
        properties = {name: text(value) for name, value in properties.items()}
    priority = hub.priority
    if priority is None and family != "mqtt5":
        priority = DEFAULT_PRIORITY
    reply_to = hub.reply_to
    if reply_to is not None:
        reply_to = reply_to.mqtt if family == "mqtt5" else reply_to.canonical
    return Received(
        body=hub.body,
        address=address.mqtt if family == "mqtt5" else address.canonical,
        durable=hub.durable,
        content_type=hub.content_type,
        correlation_id=correlation_id,
        message_id=hub.message_id,
        reply_to=reply_to,
        subject=hub.subject,
        priority=priority,
        expires_in_seconds=hub.expires_in_seconds,
        properties=properties,
    )


def expected(publisher, consumer, address, sent):
    """The message that client `consumer` gets when client `publisher` sent `sent` to `address`."""
    received = seen_by(FAMILY[consumer], address, sent_as(FAMILY[publisher], sent))
    if FAMILY[publisher] == FAMILY[consumer] == "amqp":
        # The bare message passes untouched: `to` is the publisher's, and our publishers set none.
        received.address = None
    return received
