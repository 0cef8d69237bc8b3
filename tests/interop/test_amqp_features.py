"""AMQP 1.0 destinations: filters, browsing, subscriptions, dynamic nodes, what a message asks for."""

import json
import time
from contextlib import closing

import pytest
from proton import UNDESCRIBED, Array, Data, Delivery, Described, Link, Message, PropertyDict, Terminus, symbol, timestamp, ulong
from proton.reactor import Copy, Filter, LinkOption, ReceiverOption, Selector
from proton.utils import LinkDetached, SendException

from interop.clients.paho import Paho
from interop.clients.proton_blocking import Proton
from interop.coming import bodies, coming
from interop.test_admin import Admin
from lib.gateway import Gateway


@pytest.fixture
def client(gateway):
    opened = Proton(gateway)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def policies():
    """A gateway with queues of every kind."""
    rules = [
        {"match": "stream/#", "stream": True},
        {"match": "small", "messages_max": 2, "on_full": "reject"},
        {"match": "made", "auto_create": False},
        {"match": "once", "dedup_count": 100},
    ]
    toml = "[" + ", ".join("{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in rule.items()) + "}" for rule in rules) + "]"
    with Gateway(environment={"EVERGATE__POLICY": toml}) as started:
        yield started


@pytest.fixture
def ruled(policies):
    opened = Proton(policies)
    yield opened
    opened.close()


class NoLocal(Filter):
    def __init__(self):
        super().__init__({symbol("no-local"): Described(symbol("apache.org:no-local-filter:list"), [])})


class StreamOffset(Filter):
    def __init__(self, value, name="evergate:stream-offset"):
        super().__init__({symbol("offset"): Described(symbol(name), value)})


class Durable(ReceiverOption):
    """A subscription, by terminus durability and expiry policy."""

    def __init__(self, policy=Terminus.EXPIRE_NEVER, timeout=0, capabilities=()):
        self.policy, self.timeout, self.capabilities = policy, timeout, capabilities

    def apply(self, receiver):
        receiver.source.durability = Terminus.DELIVERIES
        receiver.source.expiry_policy = self.policy
        receiver.source.timeout = self.timeout
        receiver.source.capabilities.put_object(Array(UNDESCRIBED, Data.SYMBOL, *map(symbol, self.capabilities)))


class Property(LinkOption):
    def __init__(self, name, value):
        self.properties = PropertyDict({symbol(name): value})

    def apply(self, link):
        link.properties = self.properties


def send(client, address, *messages):
    sender = client.connection.create_sender(address if isinstance(address, str) else address.canonical)
    for message in messages:
        sender.send(message)
    sender.close()


def filters_in_force(client):
    """The filter set of the gateway's source."""
    data = client.receiver.link.remote_source.filter
    data.rewind()
    return data.get_object() if data.next() else None


COLOURS = [Message(body=str(n), properties={"colour": "red" if n % 2 else "blue"}) for n in range(6)]


def test_a_selector_on_a_queue_leaves_the_rest(client, queue_address):
    send(client, queue_address, *COLOURS)
    client.subscribe(queue_address, options=Selector("colour = 'red'"))
    assert "selector" in filters_in_force(client)
    assert bodies(client, 3) == ["1", "3", "5"]
    client.unsubscribe()
    client.subscribe(queue_address)
    assert bodies(client, 3) == ["0", "2", "4"]


def test_a_selector_on_a_topic_stores_what_it_selects(client, topic_address):
    client.subscribe(topic_address, options=Selector("colour = 'red'"))
    send(client, topic_address, *COLOURS)
    assert bodies(client, 3) == ["1", "3", "5"]


@pytest.mark.parametrize("pattern", ["/glob/{}/*/[bc]", "/regex/{}/.+/[bc]", "/topic/{}/+/b"])
def test_a_pattern_covers_topics_that_come_later(client, topic_address, pattern):
    client.subscribe(pattern.format(topic_address.name))
    for level in ("b", "d"):
        send(client, f"{topic_address.canonical}/x/{level}", Message(body=level))
    assert bodies(client, 1) == ["b"]


def test_a_selector_that_is_none_is_refused_with_its_column(client, queue_address):
    with pytest.raises(LinkDetached, match="amqp:invalid-field.*column"):
        client.subscribe(queue_address, options=Selector("colour ="))


def test_no_local_is_of_topics(gateway, client, topic_address, queue_address):
    client.subscribe(topic_address, options=NoLocal())
    assert "no-local" in filters_in_force(client)
    other = Proton(gateway)
    send(client, topic_address, Message(body="own"))
    send(other, topic_address, Message(body="other's"))
    assert bodies(client, 1) == ["other's"]
    other.close()
    client.unsubscribe()
    client.subscribe(queue_address, options=NoLocal())
    assert not filters_in_force(client)


def test_copies_leave_the_queue_as_it_is(client, queue_address):
    send(client, queue_address, *COLOURS)
    for _ in range(2):
        client.subscribe(queue_address, options=Copy())
        assert client.receiver.link.remote_source.distribution_mode == Terminus.DIST_MODE_COPY
        assert bodies(client, 6) == ["0", "1", "2", "3", "4", "5"]
        client.unsubscribe()
    client.subscribe(queue_address)
    assert client.receiver.link.remote_source.distribution_mode == Terminus.DIST_MODE_MOVE
    assert len(bodies(client, 6)) == 6


@pytest.mark.parametrize("name", ["evergate:stream-offset", "rabbitmq:stream-offset-spec"])
def test_a_stream_begins_where_the_filter_says(ruled, name):
    address = f"/queue/stream/{name.replace(':', '-')}"
    send(ruled, address, *[Message(body=str(n), durable=True) for n in range(3)])
    time.sleep(0.05)
    later = timestamp(int(time.time() * 1000))
    time.sleep(0.05)
    send(ruled, address, *[Message(body=str(n), durable=True) for n in range(3, 5)])

    def receive(seconds):
        message = ruled.receive_raw(seconds)
        ruled.receiver.accept()
        return message.body, message.annotations[symbol("x-stream-offset")]

    def read(start, count):
        ruled.subscribe(address, options=StreamOffset(start, name))
        [found] = coming(count, receive)
        ruled.unsubscribe()
        return found

    everything = read("first", 5)
    assert [body for body, _ in everything] == ["0", "1", "2", "3", "4"]
    assert read("first", 5) == everything, "nothing was taken"
    assert read("last", 1) == everything[4:]
    assert read("next", 0) == []
    assert read(later, 2) == everything[3:]
    assert read(ulong(everything[2][1]), 3) == everything[2:]


def test_a_durable_subscription_is_the_containers_and_the_names(gateway, client, topic_address):
    def subscriber():
        opened = Proton(gateway, container_id=f"container-{topic_address.name}")
        opened.subscribe(topic_address, name="sub", options=Durable())
        return opened

    subscriber().connection.close()
    send(client, topic_address, Message(body="meanwhile", durable=True))
    again = subscriber()
    assert bodies(again, 1) == ["meanwhile"]
    again.unsubscribe()  # closes the link: the subscription ends
    again.close()
    send(client, topic_address, Message(body="nobody's", durable=True))
    anew = subscriber()
    assert bodies(anew, 0) == []
    anew.unsubscribe()
    anew.close()


def test_a_subscription_that_is_attached_again_to_end_with_its_link_does(gateway, client, topic_address):
    def subscriber(options=None):
        opened = Proton(gateway, container_id=f"container-{topic_address.name}")
        opened.subscribe(topic_address, name="sub", options=options)
        return opened

    subscriber(Durable()).connection.close()
    send(client, topic_address, Message(body="meanwhile", durable=True))
    again = subscriber()
    assert again.receiver.link.remote_source.expiry_policy == Terminus.EXPIRE_WITH_LINK
    assert bodies(again, 1) == ["meanwhile"]
    again.connection.close()
    send(client, topic_address, Message(body="nobody's", durable=True))
    anew = subscriber(Durable())
    assert bodies(anew, 0) == []
    anew.unsubscribe()
    anew.close()


def test_a_subscription_lives_for_its_timeout(gateway, client, topic_address):
    def subscriber(timeout):
        opened = Proton(gateway, container_id=f"container-{topic_address.name}")
        opened.subscribe(topic_address, name="sub", options=Durable(Terminus.EXPIRE_WITH_LINK, timeout))
        return opened

    first = subscriber(60)
    source = first.receiver.link.remote_source
    assert (source.expiry_policy, source.timeout) == (Terminus.EXPIRE_WITH_LINK, 60)
    first.drop()
    send(client, topic_address, Message(body="meanwhile", durable=True))
    second = subscriber(1)
    assert bodies(second, 1) == ["meanwhile"]
    kept = {"match": f"$subscription/container-{topic_address.name.replace('/', '%2F')}/sub", "private": True}
    with closing(Admin(gateway)) as admin:
        assert admin.result("queue.list", **kept)["queues"]
        second.connection.close()
        deadline = time.monotonic() + 10
        while admin.result("queue.list", **kept)["queues"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    send(client, topic_address, Message(body="nobody's", durable=True))
    third = subscriber(1)
    assert bodies(third, 0) == []
    third.close()


def test_a_second_link_of_a_name_takes_the_subscription(gateway, topic_address):
    def subscriber():
        opened = Proton(gateway, container_id=f"container-{topic_address.name}")
        opened.subscribe(topic_address, name="sub", options=Durable())
        return opened

    first, second = subscriber(), subscriber()
    with pytest.raises(LinkDetached, match="amqp:link:stolen"):
        first.receive_raw(5)
    second.unsubscribe()
    second.close()
    first.close()


def test_durable_consumers_of_all_containers_take_turns(gateway, client, topic_address):
    shared = Durable(capabilities=("shared", "global"))
    group = f"group-{topic_address.name}"
    both = [Proton(gateway), Proton(gateway)]
    for one in both:
        one.subscribe(topic_address, name=f"{group}|global", options=shared)
    send(client, topic_address, *[Message(body=n) for n in range(10)])
    found = coming(10, *(one.receive_body for one in both))
    assert sorted(found[0] + found[1]) == list(range(10))
    assert found[0] and found[1]
    for one in both:
        one.close()


def test_a_dynamic_node_goes_with_its_link(gateway, client):
    receiver = client.connection.create_receiver(None, credit=1, dynamic=True)
    address = receiver.link.remote_source.address
    other = Proton(gateway)
    with pytest.raises(LinkDetached, match="amqp:unauthorized-access"):
        other.subscribe(address)
    client.subscribe(address)
    with pytest.raises(LinkDetached, match="amqp:resource-deleted"):
        receiver.close()
        client.receive_raw(5)
    assert conditions(gateway, address, 1) == ["amqp:not-found"]
    other.close()


def test_a_reply_goes_to_the_address_that_the_request_names(gateway, client, queue_address):
    replies = client.connection.create_receiver(None, credit=1, dynamic=True)
    send(client, queue_address, Message(body="ask", reply_to=replies.link.remote_source.address, id="1"))
    server = Proton(gateway)
    server.subscribe(queue_address)
    request = server.receive_raw()
    server.receiver.accept()
    relay = server.connection.create_sender(None)
    relay.send(Message(body="answer", address=request.reply_to, correlation_id=request.id))
    reply = replies.receive(5)
    replies.accept()
    assert (reply.body, reply.correlation_id) == ("answer", "1")
    server.close()


def test_a_relay_refuses_one_message_and_goes_on(client, queue_address):
    relay = client.connection.create_sender(None)
    for address in ("/queue/_DMQ", "/topic/a/#", None):
        with pytest.raises(SendException) as refused:
            relay.send(Message(body="x", address=address))
        assert refused.value.state == Delivery.REJECTED
    relay.send(Message(body="good", address=queue_address.canonical))
    client.subscribe(queue_address)
    assert bodies(client, 1) == ["good"]


def test_delivery_is_put_off(client, queue_address):
    client.subscribe(queue_address)
    start = int(time.time() * 1000)
    at = start + 2000
    later = Message(body="later", durable=True, annotations={symbol("x-opt-delivery-time"): at})
    soon = Message(body="soon", durable=True, annotations={symbol("x-opt-delivery-delay"): 1000})
    send(client, queue_address, later, soon, Message(body="now"))
    assert client.receive_body(5) == "now"
    assert client.receive_body(5) == "soon"
    assert time.time() * 1000 >= start + 1000
    assert client.receive_body(5) == "later"
    assert time.time() * 1000 >= at


def test_a_wish_that_is_not_understood_is_rejected(client, queue_address):
    sender = client.connection.create_sender(queue_address.canonical)
    with pytest.raises(SendException):
        sender.send(Message(body="x", annotations={symbol("x-opt-delivery-time"): "tomorrow"}))
    sender.send(Message(body="y"))


def test_a_message_is_stored_once(ruled):
    first = Message(body="first", annotations={symbol("x-opt-dedup-id"): "a"})
    again = Message(body="again", properties={"_AMQ_DUPL_ID": "a"})
    send(ruled, "/queue/once", first, again, Message(body="other", properties={"_AMQ_DUPL_ID": "b"}))
    ruled.subscribe("/queue/once")
    assert bodies(ruled, 2) == ["first", "other"]


def conditions(gateway, address, count):
    """How the messages after the other are answered."""
    client = Proton(gateway)
    sender = client.connection.create_sender(address)
    found = []
    for number in range(count):
        delivery = sender.link.send(Message(body=number))
        client.connection.wait(lambda sent=delivery: sent.settled, timeout=5)
        condition = delivery.remote.condition
        found.append(condition.name if condition else delivery.remote_state)
        delivery.settle()
    client.close()
    return found


def test_a_full_queue_says_so(policies):
    refused = "amqp:resource-limit-exceeded"
    assert conditions(policies, "/queue/small", 4) == [Delivery.ACCEPTED, Delivery.ACCEPTED, refused, refused]


def test_a_queue_that_nobody_made_is_not_found(policies, ruled):
    assert conditions(policies, "/queue/made", 1) == ["amqp:not-found"]
    with pytest.raises(LinkDetached, match="amqp:not-found"):
        ruled.subscribe("/queue/made")


def test_a_subscription_may_begin_with_what_is_retained(gateway, client, topic_address):
    mqtt = Paho(gateway, 5)
    mqtt.client.publish(topic_address.mqtt, b"last", qos=1, retain=True).wait_for_publish(5)
    client.subscribe(topic_address, options=Property("x-opt-retained", True))
    message = client.receive_raw(5)
    assert bytes(message.body) == b"last"
    assert message.annotations[symbol("x-opt-retained")] is True
    client.receiver.accept()
    client.unsubscribe()
    client.subscribe(topic_address)
    assert bodies(client, 0) == []
    mqtt.close()


def test_the_higher_consumer_priority_is_served_first(gateway, queue_address):
    low, high = Proton(gateway), Proton(gateway)
    low.subscribe(queue_address, options=Property("x-opt-consumer-priority", 1))
    high.subscribe(queue_address, options=Property("x-opt-consumer-priority", 2), credit=3)
    sender = Proton(gateway)
    send(sender, queue_address, *[Message(body=n) for n in range(5)])
    assert len(low.receiver.fetcher.incoming) == 0
    first = [high.receive_raw(2).body for _ in range(3)]
    assert first == [0, 1, 2]
    assert [low.receive_raw(2).body for _ in range(2)] == [3, 4]
    for one in (low, high, sender):
        one.close()


def test_a_failed_delivery_is_counted_in_the_header(client, queue_address):
    send(client, queue_address, Message(body="x", durable=True))
    client.subscribe(queue_address, credit=1)
    message = client.receive_raw()
    assert (message.delivery_count, message.first_acquirer) == (0, True)
    client.receiver.fetcher.unsettled[0].local.failed = True
    client.receiver.settle(Delivery.MODIFIED)
    message = client.receive_raw()
    assert (message.delivery_count, message.first_acquirer) == (1, False)
    client.receiver.accept()


def test_the_gateway_offers_what_it_does(client):
    offered = client.connection.conn.remote_offered_capabilities
    assert {str(capability) for capability in offered} == {"ANONYMOUS-RELAY", "SHARED-SUBS", "DELAYED_DELIVERY"}
    assert client.connection.conn.state & Link.REMOTE_ACTIVE
