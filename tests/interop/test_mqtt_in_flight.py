"""What was sent is completed as it began, whatever becomes of the subscription meanwhile."""

import itertools
import queue

import pytest

from interop.clients.paho import Paho
from interop.messages import Sent

_names = itertools.count(1)


def persistent(gateway, name):
    return Paho(gateway, 5, client_id=name, clean=False, expiry_seconds=100, manual_ack=True)


def send(gateway, address, *bodies, qos=1):
    publisher = Paho(gateway, 5)
    for body in bodies:
        publisher.publish(address, Sent(body, durable=True), qos=qos)
    publisher.close()


def nothing(client, seconds=1):
    with pytest.raises(queue.Empty):
        client.receive_raw(seconds)


# paho acknowledges QoS 2 by itself: that is among the session's own tests.
@pytest.mark.parametrize("change", ["unsubscribe", "qos 0"])
def test_mqtt_3_10_4_3_what_is_in_flight_comes_again_as_it_was(gateway, topic_address, change):
    name = f"in-flight-{next(_names)}"
    client = persistent(gateway, name)
    client.subscribe(topic_address)
    send(gateway, topic_address, b"one", qos=2)
    first = client.receive_raw()
    if change == "unsubscribe":
        client.unsubscribe(topic_address)
    else:
        client.subscribe(topic_address, qos=0)
    client.drop()
    client = persistent(gateway, name)
    again = client.receive_raw()
    assert (again.payload, again.qos, again.mid, again.dup) == (b"one", 1, first.mid, True)
    client.client.ack(again.mid, again.qos)
    send(gateway, topic_address, b"two", qos=2)
    if change == "unsubscribe":
        nothing(client)
    else:
        assert client.receive_raw().qos == 0
    client.close()
    client = persistent(gateway, name)
    nothing(client)
    client.close()


@pytest.mark.parametrize("acknowledges", [True, False])
def test_what_was_sent_of_a_queue_is_settled_after_unsubscribe(gateway, queue_address, acknowledges):
    client = Paho(gateway, 5, manual_ack=True)
    client.subscribe(queue_address)
    send(gateway, queue_address, b"one")
    message = client.receive_raw()
    client.unsubscribe(queue_address)
    other = Paho(gateway, 5)
    other.subscribe(queue_address)
    nothing(other)
    if acknowledges:
        client.client.ack(message.mid, message.qos)
        client.close()
        nothing(other)
    else:
        client.close()
        assert other.receive_raw().payload == b"one"
    other.close()
