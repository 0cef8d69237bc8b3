"""Request and reply: the reply goes to the requester's temporary queue; of several, the first wins."""

import uuid

import pytest
from proton import Message
from proton.utils import BlockingConnection

from interop.test_admin import Admin
from lib.gateway import Gateway

FIRST_WINS = {"match": "$temporary/#", "dedup_by_correlation_id": True}


@pytest.fixture
def first_wins():
    with Gateway() as own:
        admin = Admin(own)
        admin.result("policy.put", **FIRST_WINS)
        admin.close()
        yield own


def connect(gateway):
    return BlockingConnection(f"127.0.0.1:{gateway.ports['amqp']}", allowed_mechs="ANONYMOUS")


def ask_three(gateway):
    """One request on a topic with three services, each of which answers. Returns the replies that came."""
    topic = f"/topic/prices/{uuid.uuid4().hex}"
    connections = [connect(gateway) for _ in range(4)]
    requester, *services = connections
    inboxes = [service.create_receiver(topic, credit=1) for service in services]
    replies = requester.create_receiver(None, dynamic=True, credit=10)
    address = replies.link.remote_source.address
    requester.create_sender(topic).send(Message(body="price?", reply_to=address, correlation_id="request 1"))
    for number, (service, inbox) in enumerate(zip(services, inboxes)):
        request = inbox.receive(timeout=5)
        inbox.accept()
        answer = Message(body=f"answer {number}", correlation_id=request.correlation_id)
        service.create_sender(request.reply_to).send(answer)
    # Another request's reply comes behind all of them.
    services[0].create_sender(address, name="other").send(Message(body="last", correlation_id="request 2"))
    came = []
    while not came or came[-1] != "last":
        came.append(replies.receive(timeout=5).body)
        replies.accept()
    for connection in connections:
        connection.close()
    return came


def test_every_reply_goes_to_the_requester(gateway):
    assert ask_three(gateway) == ["answer 0", "answer 1", "answer 2", "last"]


def test_where_a_policy_says_so_the_first_reply_wins(first_wins):
    assert ask_three(first_wins) == ["answer 0", "last"]
