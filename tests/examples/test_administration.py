"""docs/administration.md: its requests and replies are real, its program runs, and its table names what there is."""

import json
import re

import pytest
from proton import Message
from proton.utils import BlockingConnection

from lib.gateway import Gateway
from lib.pages import blocks, examples, output, text_of

PAGE = "administration.md"


@pytest.fixture(scope="module")
def gateway():
    with Gateway() as running:
        yield running


@pytest.fixture(scope="module")
def ask(gateway):
    connection = BlockingConnection(f"127.0.0.1:{gateway.ports['amqp']}", allowed_mechs="ANONYMOUS")
    replies = connection.create_receiver(None, dynamic=True)
    sender = connection.create_sender("/queue/_ADMIN")
    connection.create_sender("/queue/orders/eu").send(Message(body="an order"))

    def ask(request):
        sender.send(Message(body=request, reply_to=replies.link.remote_source.address))
        reply = replies.receive(10)
        replies.accept()
        return json.loads(reply.body)

    yield ask
    connection.close()


def test_the_request_is_answered_with_a_reply_of_the_shape_that_is_shown(ask):
    request, replies = blocks(PAGE, "json")
    shown, _ = map(json.loads, replies.splitlines())
    reply = ask(request)
    assert reply["ok"] is shown["ok"] is True
    assert set(reply["result"]) == set(shown["result"])
    named = [name for name in shown["result"]["queues"][0] if name != "..."]
    (queue,) = reply["result"]["queues"]
    assert queue["name"] == shown["result"]["queues"][0]["name"]
    assert set(named) <= set(queue)


def test_the_error_that_is_shown_is_given(ask):
    _, shown = map(json.loads, blocks(PAGE, "json")[1].splitlines())
    assert ask('{"op": "connection.close", "args": {"id": 7}}') == shown


def test_the_program_prints_the_version(gateway):
    (example,) = examples(PAGE)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", output(gateway, example.program))
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", example.printed)


def test_the_table_names_every_operation(ask):
    named = re.findall(r"^\| ((?:`[a-z.]+`(?:, )?)+) \|", text_of(PAGE), re.MULTILINE)
    shown = {name for names in named for name in re.findall(r"[a-z]+\.[a-z]+", names)}
    told = ask('{"op": "help"}')["result"]
    assert shown == set(told) - {"help"}
