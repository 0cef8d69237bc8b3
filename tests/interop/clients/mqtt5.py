"""paho-mqtt, 5, with user properties where MQTT has them."""

import queue

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from interop.clients.paho import Paho


class Mqtt5(Paho):
    """A client that subscribes and publishes with user properties and keeps the answers."""

    def __init__(self, gateway, **options):
        self.subacks, self.pubacks = queue.Queue(), queue.Queue()
        super().__init__(gateway, 5, **options)
        self.client.on_subscribe = lambda client, data, number, reasons, properties: self.subacks.put(
            (reasons[0], getattr(properties, "ReasonString", None))
        )
        self.client.on_publish = lambda client, data, number, reason, properties: self.pubacks.put(reason)

    def ask(self, topic, qos=1, **user):
        """Subscribes; the reason code and the reason string."""
        properties = Properties(PacketTypes.SUBSCRIBE)
        if user:
            properties.UserProperty = [(name.replace("_", "-"), value) for name, value in user.items()]
        self.client.subscribe(topic, options=SubscribeOptions(qos=qos), properties=properties)
        reason, text = self.subacks.get(timeout=10)
        return reason.value, text

    def send(self, topic, body, qos=1, **user):
        """Publishes; the reason code of the PUBACK."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [(name.replace("_", "-"), str(value)) for name, value in user.items()]
        self.client.publish(topic, body, qos=qos, properties=properties)
        return self.pubacks.get(timeout=10).value

    def unsubscribe(self, topic):
        done = queue.Queue()
        self.client.on_unsubscribe = lambda *_: done.put(True)
        self.client.unsubscribe(topic)
        assert done.get(timeout=10)

    def receive_body(self, seconds):
        return self.receive_raw(seconds).payload.decode()


def user_properties(message):
    return dict(getattr(message.properties, "UserProperty", []))
