"""Subscriptions that are kept while their subscriber is away, whoever publishes meanwhile."""

import itertools
import queue

import pytest
from proton.reactor import DurableSubscription

from interop.clients.paho import Paho
from interop.clients.proton_blocking import Proton
from interop.clients.stomp_py import StompPy
from interop.messages import Address, Sent

_names = itertools.count(1)


class MqttSubscriber:
    """A persistent session."""

    version, expiry = 5, 3600

    def __init__(self, gateway, name):
        self.gateway, self.name = gateway, name

    def come(self, address, first):
        self.client = Paho(self.gateway, self.version, client_id=self.name, clean=False, expiry_seconds=self.expiry)
        assert self.client.session_present is not first
        if first:
            self.client.subscribe(address)

    def leave(self):
        # paho acknowledges after it handed over; a round trip more and that has been sent.
        self.client.publish(Address("topic", "kept/round-trip"), Sent(b"", durable=True))
        self.client.close()

    def forget(self, address):
        self.client.unsubscribe(address)


class Mqtt311Subscriber(MqttSubscriber):
    version = 4


class StompSubscriber:
    """`durable:true`, the connection's `client-id`."""

    def __init__(self, gateway, name):
        self.gateway, self.name = gateway, name

    def come(self, address, first):
        self.client = StompPy(self.gateway, client_id=self.name)
        self.client.subscribe(address, name="kept", durable=True)

    def leave(self):
        self.client.close()

    def forget(self, address):
        self.client.unsubscribe(durable="true")


class AmqpSubscriber:
    """A durable terminus, by container id and link name."""

    def __init__(self, gateway, name):
        self.gateway, self.name = gateway, name

    def come(self, address, first):
        self.client = Proton(self.gateway, container_id=self.name)
        self.client.subscribe(address, name="kept", options=DurableSubscription())

    def leave(self):
        self.client.receiver.detach()
        self.client.close()

    def forget(self, address):
        self.client.receiver.close()


SUBSCRIBERS = {"mqtt-3.1.1": Mqtt311Subscriber, "mqtt-5": MqttSubscriber, "stomp": StompSubscriber, "amqp": AmqpSubscriber}
PUBLISHERS = ["paho-mqtt-5", "stomp.py", "qpid-proton"]


@pytest.fixture(params=SUBSCRIBERS)
def subscriber(request, gateway):
    return SUBSCRIBERS[request.param](gateway, f"kept-{next(_names)}")


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_what_came_while_away_is_delivered_once_in_order(subscriber, publisher, open_client):
    address = Address("topic", f"kept/{next(_names)}")
    subscriber.come(address, first=True)
    subscriber.leave()
    client = open_client(publisher)
    for number in range(20):
        client.publish(address, Sent(body=str(number).encode(), durable=True))
    client.close()
    subscriber.come(address, first=False)
    assert [subscriber.client.receive().body for _ in range(20)] == [str(number).encode() for number in range(20)]
    subscriber.leave()
    subscriber.come(address, first=False)
    with pytest.raises(queue.Empty):
        subscriber.client.receive(0.3)
    subscriber.forget(address)
    subscriber.client.close()


def test_a_forgotten_subscription_collects_nothing(subscriber, open_client):
    address = Address("topic", f"kept/{next(_names)}")
    subscriber.come(address, first=True)
    subscriber.forget(address)
    subscriber.client.close()
    client = open_client("paho-mqtt-5")
    client.publish(address, Sent(body=b"nobody", durable=True))
    client.close()
    fresh = type(subscriber)(subscriber.gateway, subscriber.name)
    fresh.come(address, first=False)
    with pytest.raises(queue.Empty):
        fresh.client.receive(0.3)
    fresh.forget(address)
    fresh.client.close()


def test_subscriptions_of_one_name_are_apart_by_client(gateway, open_client):
    address = Address("topic", f"kept/{next(_names)}")
    both = [StompPy(gateway, client_id=f"apart-{next(_names)}") for _ in range(2)]
    for client in both:
        client.subscribe(address, name="kept", durable=True)
    publisher = open_client("paho-mqtt-5")
    publisher.publish(address, Sent(b"to both", durable=True))
    publisher.close()
    for client in both:
        assert client.receive().body == b"to both"
        client.unsubscribe(durable="true")
        client.close()
