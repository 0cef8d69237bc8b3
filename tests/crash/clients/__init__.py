"""Publishers with confirms and consumers with acknowledgements, over three off-the-shelf clients.

A publisher has `send(number, body)`; it calls `on_confirm(number)`. A consumer calls
`on_delivery(body, redelivered, token)` and has `acknowledge(tokens)`; it calls `on_settled(tokens)` when the gateway
has answered, so that it has committed them. Both have `lost` (set when the connection is gone) and `close`, after which
no thread and no descriptor of theirs is left. Opening raises OSError or one of its kind while the gateway is down.
Nothing reconnects by itself: the worker does.
"""

from crash.clients.amqp import AmqpConsumer, AmqpPublisher
from crash.clients.mqtt import MqttConsumer, MqttPublisher
from crash.clients.stomp import StompConsumer, StompPublisher

PROTOCOLS = {
    "mqtt": (MqttPublisher, MqttConsumer),
    "stomp": (StompPublisher, StompConsumer),
    "amqp": (AmqpPublisher, AmqpConsumer),
}
