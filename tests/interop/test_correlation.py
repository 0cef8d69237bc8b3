"""Whoever answers, the requester finds its correlation data as it wrote it."""

import uuid

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from interop.clients.mqtt5 import Mqtt5
from interop.clients.stomp_py import StompPy

BINARY = b"\x00\x01\xff"


class MqttSide:
    def __init__(self, gateway, destination):
        self.client, self.destination = Mqtt5(gateway), f"$queue/{destination}"
        self.client.ask(self.destination)

    def request(self, to, correlation):
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = self.destination, correlation
        self.client.client.publish(f"$queue/{to}", b"?", qos=1, properties=properties)

    def answer(self):
        asked = self.client.receive_raw()
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = asked.properties.CorrelationData
        self.client.client.publish(asked.properties.ResponseTopic, b"!", qos=1, properties=properties)

    def correlation(self):
        return self.client.receive_raw().properties.CorrelationData

    def close(self):
        self.client.close()


class StompSide:
    def __init__(self, gateway, destination):
        self.client = StompPy(gateway)
        self.client.subscribe(f"/queue/{destination}")

    def answer(self):
        asked = self.client.receive_raw()
        headers = {"correlation-id": asked.headers["correlation-id"], "persistent": "true"}
        self.client.connection.send(asked.headers["reply-to"], "!", headers=headers)

    def close(self):
        self.client.close()


@pytest.mark.parametrize("correlation", [BINARY, b"\xc3\x28 no text"], ids=["control", "not UTF-8"])
@pytest.mark.parametrize("responder", [MqttSide, StompSide])
def test_binary_correlation_comes_back_as_it_was(gateway, responder, correlation):
    name = uuid.uuid4().hex
    asks, answers = MqttSide(gateway, f"{name}-asks"), responder(gateway, f"{name}-answers")
    asks.request(f"{name}-answers", correlation)
    answers.answer()
    assert asks.correlation() == correlation
    asks.close()
    answers.close()
