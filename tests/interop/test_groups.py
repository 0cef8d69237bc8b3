"""Groups whose members speak several protocols, come and go, and want different things of it (docs/addresses.md)."""

import uuid

import pytest

from interop.clients.mqtt5 import Mqtt5
from interop.clients.paho import Paho
from interop.clients.stomp_py import StompPy
from interop.coming import bodies
from interop.messages import Sent

NO_MATCHING_SUBSCRIBERS = 0x10


@pytest.fixture
def publisher(gateway):
    opened = Mqtt5(gateway)
    yield opened
    opened.close()


class Member:
    """A session that persists, in the group `g` of a topic."""

    def __init__(self, gateway, topic):
        self.gateway, self.topic, self.name = gateway, topic, f"member-{uuid.uuid4().hex[:8]}"

    def come(self, **options):
        return Mqtt5(self.gateway, client_id=self.name, **{"clean": False, "expiry_seconds": 3600, **options})

    def come_and_leave(self):
        client = self.come(manual_ack=True)
        client.ask(f"$share/g/{self.topic}")
        client.close()


def visit_mqtt(gateway, topic):
    client = Paho(gateway, 5, manual_ack=True)
    client.subscribe(f"$share/g/{topic}")
    client.close()


def visit_stomp(gateway, topic):
    client = StompPy(gateway)
    client.subscribe(f"/topic/{topic}", shared="g", prefetch="1")
    client.close()


def visit_for_good(gateway, topic):
    visitor = Member(gateway, topic)
    visitor.come_and_leave()
    client = visitor.come(manual_ack=True)
    client.unsubscribe(f"$share/g/{topic}")
    client.close()


@pytest.mark.parametrize("visit", [visit_mqtt, visit_stomp, visit_for_good])
def test_what_waits_for_a_member_that_is_away_survives_who_comes_and_leaves(gateway, publisher, topic_address, visit):
    member = Member(gateway, topic_address.name)
    member.come_and_leave()
    for number in range(3):
        assert publisher.send(topic_address.name, str(number)) == 0
    visit(gateway, topic_address.name)
    assert publisher.send(topic_address.name, "3") == 0, "the group is there still"
    client = member.come()
    assert sorted(bodies(client, 4)) == ["0", "1", "2", "3"]
    client.close()


def test_a_group_goes_with_its_last_session(gateway, publisher, topic_address):
    member = Member(gateway, topic_address.name)
    member.come_and_leave()
    assert publisher.send(topic_address.name, "kept") == 0
    member.come(clean=True).close()
    assert publisher.send(topic_address.name, "for nobody") == NO_MATCHING_SUBSCRIBERS


def test_who_unsubscribes_for_good_takes_nothing_from_the_others(gateway, publisher, topic_address):
    first, second = StompPy(gateway), StompPy(gateway)
    for client in (first, second):
        client.subscribe(topic_address, shared="g", durable=True)
    for number in range(4):
        publisher.send(topic_address.name, str(number))
    first.unsubscribe(durable="true")
    assert sorted(bodies(second, 4)) == ["0", "1", "2", "3"]
    first.close()
    second.close()


def test_a_group_has_one_selector_while_others_are_in_it(gateway, publisher, topic_address):
    first, second = StompPy(gateway), StompPy(gateway)
    first.subscribe(topic_address, shared="g")
    with pytest.raises(ConnectionError, match="another consumer"):
        second.subscribe(topic_address, shared="g", selector="colour = 'red'")
    publisher.publish(topic_address, Sent(b"for the first", durable=True))
    assert bodies(first, 1) == ["for the first"]
    first.close()


def test_who_consumes_from_a_queue_that_an_operator_deletes_is_told(gateway, publisher, queue_address):
    client = Mqtt5(gateway)
    client.ask(queue_address.mqtt)
    client.client.on_disconnect = lambda client, data, flags, reason, properties: client_left.append(reason.value)
    client_left = []
    publisher.send("$queue/_ADMIN", f'{{"op": "queue.delete", "args": {{"queue": "{queue_address.name}"}}}}')
    for _ in range(100):
        if client_left:
            break
        client.client._thread.join(0.1)
    assert client_left[:1] == [0x98]
    client.close()
