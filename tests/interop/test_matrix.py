"""Every client to every other: queue and topic, durable and not, four bodies. One test a cell."""

import itertools
from dataclasses import fields

import pytest

from interop.expected import FAMILY, expected
from interop.messages import Address, Received, Sent

BODIES = {
    "text": (b"gr\xc3\xbc\xc3\x9fe \xe2\x82\xac", True, "text/plain; charset=utf-8"),
    "binary": (bytes(range(256)) + b"\0\0" + bytes(range(255, -1, -1)), False, "application/octet-stream"),
    "empty": (b"", False, "application/octet-stream"),
    "1MiB": (bytes(range(251)) * (1024 * 1024 // 251) + bytes(1024 * 1024 % 251), False, "application/octet-stream"),
}
# No backslash before c, n, r: stompjs unescapes those in the wrong order.
PROPERTIES = {"colour": "blue", "plain-escapes": "a:b\\\nd:", "number": 42, "flag": True, "umlaut": "\u00e4\u20ac"}

_names = itertools.count(1)


@pytest.fixture(scope="module", params=[f"{p}->{c}" for p in FAMILY for c in FAMILY])
def pair(request, open_client):
    """A publisher and a consumer, kept for all cells of their pair."""
    names = request.param.split("->")
    publisher, consumer = open_client(names[0]), open_client(names[1])
    yield names, publisher, consumer
    publisher.close()
    consumer.close()


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("durable", [False, True], ids=["transient", "durable"])
@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_cell(pair, kind, durable, body):
    (publisher_name, consumer_name), publisher, consumer = pair
    address = Address(kind, f"matrix/{next(_names)}")
    data, text, content_type = BODIES[body]
    sent = Sent(
        body=data,
        text=text,
        durable=durable,
        content_type=content_type,
        correlation_id="corr:1",
        message_id=f"id-{body}",
        reply_to=Address("queue", "replies/a"),
        subject="the subject",
        priority=7,
        ttl_seconds=600,
        properties=PROPERTIES,
    )
    consumer.subscribe(address)
    publisher.publish(address, sent)
    received = consumer.receive()
    consumer.unsubscribe(address)
    assert_same(received, expected(publisher_name, consumer_name, address, sent))


def assert_same(received, wanted):
    assert len(received.body) == len(wanted.body)
    assert received.body == wanted.body
    if wanted.expires_in_seconds is not None:
        # Lowered by the time spent waiting; up to a second more where it is rounded up.
        assert received.expires_in_seconds is not None
        assert wanted.expires_in_seconds - 20 < received.expires_in_seconds <= wanted.expires_in_seconds + 1
    received.expires_in_seconds = wanted.expires_in_seconds
    for field in fields(Received):
        if field.name != "body":
            assert (field.name, getattr(received, field.name)) == (field.name, getattr(wanted, field.name))
