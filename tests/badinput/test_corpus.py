"""Every case of the corpora by itself: the protocol's own word, or the close, in time."""

import pytest

from badinput import amqp, corpus_amqp, corpus_mqtt, corpus_stomp, corpus_web, mqtt, stomp, web
from badinput.case import agrees, play

CORPORA = [
    ("mqtt", mqtt, corpus_mqtt.CASES),
    ("stomp", stomp, corpus_stomp.CASES),
    ("amqp", amqp, corpus_amqp.CASES),
    ("http", web, corpus_web.CASES),
]
ALL = [pytest.param(protocol, name, case, id=f"{name}: {case.name}") for name, protocol, cases in CORPORA for case in cases]


@pytest.mark.parametrize("protocol, listener, case", ALL)
def test_bad_input_is_answered(gateway, protocol, listener, case):
    words = play(protocol, gateway.ports[listener], case)
    assert agrees(words, case.words()), f"expected {case.expect}, got {', '.join(words)}"
