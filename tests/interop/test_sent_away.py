"""What clients held when the gateway itself ended their connection is given back: it has not failed."""

import time

import pytest

from interop.clients.paho import Paho
from interop.clients.proton_blocking import Proton
from interop.clients.stomp_py import StompPy
from interop.messages import Address, Sent
from interop.test_admin import Admin, name
from interop.test_amqp_transactions import Transaction
from lib.gateway import Gateway

COUNT = 4


def hold_stomp(gateway, queue):
    client = StompPy(gateway)
    client.subscribe(queue)
    return client


def hold_stomp_transaction(gateway, queue):
    client = hold_stomp(gateway, queue)
    frame = client.inbox.get(timeout=10)
    client.connection.begin("t")
    client.confirmed(lambda receipt: client.connection.ack(frame.headers["ack"], transaction="t", receipt=receipt))
    return client


def hold_amqp(gateway, queue):
    client = Proton(gateway)
    client.subscribe(queue)
    client.receive_raw()
    return client


def hold_amqp_transaction(gateway, queue):
    client = Proton(gateway)
    client.subscribe(queue)
    client.transaction = Transaction(client)
    client.transaction.receive(client, 2)
    return client


def hold_mqtt(gateway, queue):
    client = Paho(gateway, 5, manual_ack=True)
    client.client.reconnect_delay_set(600, 600)
    client.subscribe(f"$queue/{queue.name}")
    return client


HOLDERS = [hold_stomp, hold_stomp_transaction, hold_amqp, hold_amqp_transaction, hold_mqtt]


@pytest.fixture
def held():
    """A gateway, and queues whose messages are all with a client that does not settle them."""
    gateway = Gateway()
    # Failures are stored.
    (gateway.directory / "evergate.toml").write_text('[[policy]]\nmatch = "#"\ndeliveries_max = 3\n')
    gateway.start()
    queues, clients = [], []
    publisher = Paho(gateway, 5)
    for hold in HOLDERS:
        queue = Address("queue", f"{hold.__name__}-{name()}")
        for number in range(COUNT):
            publisher.publish(queue, Sent(str(number).encode(), durable=True))
        clients.append(hold(gateway, queue))
        queues.append(queue.name)
    publisher.close()
    yield gateway, queues, clients
    gateway.remove()


def failed_counts(gateway, queues):
    """Of each queue's messages, as soon as nobody holds them."""
    admin = Admin(gateway)
    found = {}
    deadline = time.monotonic() + 10
    for queue in queues:
        while True:
            rows = admin.result("queue.browse", queue=queue)["messages"]
            if {row["state"] for row in rows} == {"ready"} or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        found[queue] = [row["failed_count"] for row in rows]
    admin.close()
    return found


def is_redelivered(gateway, queue):
    client = StompPy(gateway)
    client.subscribe(Address("queue", queue))
    headers = client.receive_raw().headers
    client.close()
    return headers["redelivered"] == "true" and "delivery-count" not in headers


def wait_until_held(gateway, queues):
    admin = Admin(gateway)
    deadline = time.monotonic() + 10
    held = lambda row: {one["state"] for one in admin.result("queue.browse", queue=row)["messages"]} == {"held"}
    while not all(held(queue) for queue in queues):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    admin.close()


def test_a_stop_gives_back_what_is_in_flight(held):
    gateway, queues, _ = held
    wait_until_held(gateway, queues)
    assert gateway.stop() == 0
    gateway.start()
    assert failed_counts(gateway, queues) == {queue: [0] * COUNT for queue in queues}
    assert all(is_redelivered(gateway, queue) for queue in queues)


def test_an_operator_who_closes_a_connection_has_given_back_what_it_held(held):
    gateway, queues, _ = held
    wait_until_held(gateway, queues)
    admin = Admin(gateway, container_id="own")
    for row in admin.result("connection.list")["connections"]:
        if row["client_id"] != "own":
            admin.result("connection.close", id=row["id"])
    admin.close()
    assert failed_counts(gateway, queues) == {queue: [0] * COUNT for queue in queues}
    assert all(is_redelivered(gateway, queue) for queue in queues)


def test_a_lost_connection_counts(held):
    gateway, queues, clients = held
    wait_until_held(gateway, queues)
    clients[0].drop()
    assert failed_counts(gateway, queues[:1]) == {queues[0]: [1] * COUNT}
