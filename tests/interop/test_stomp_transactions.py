"""STOMP transactions with stomp.py and stompjs (docs/protocols/stomp.md)."""

import json
import time
import urllib.request

import pytest

from interop.clients.stomp_py import StompPy
from interop.coming import bodies
from interop.messages import Address, Sent
from lib.gateway import Gateway


@pytest.fixture
def client(gateway):
    opened = StompPy(gateway)
    yield opened
    opened.close()


@pytest.fixture
def other(gateway):
    opened = StompPy(gateway)
    yield opened
    opened.close()


def send(client, address, body, transaction=None):
    headers = {"persistent": "true"} | ({"transaction": transaction} if transaction else {})
    client.confirmed(
        lambda receipt: client.connection.send(address.canonical, body, headers={"receipt": receipt, **headers})
    )


def end(client, transaction, how):
    act = client.connection.commit if how == "COMMIT" else client.connection.abort
    client.confirmed(lambda receipt: act(transaction, headers={"receipt": receipt}))


def error(client, text):
    assert text in client.errors.get(timeout=5).headers["message"]
    assert client.disconnected.wait(5)


def pair(address):
    """Two destinations of one transaction."""
    return address, Address("queue", f"{address.name}-2")


def test_what_was_sent_is_there_with_the_commit_and_not_before(client, other, queue_address):
    first, second = pair(queue_address)
    other.subscribe(first)
    client.connection.begin("t")
    for number, address in enumerate((first, second, first)):
        send(client, address, str(number), "t")
    assert bodies(other, 0) == []
    end(client, "t", "COMMIT")
    assert bodies(other, 2) == ["0", "2"]
    other.unsubscribe()
    other.subscribe(second)
    assert bodies(other, 1) == ["1"]


@pytest.mark.parametrize("how", ["ABORT", "disconnect", "lost connection"])
def test_what_is_not_committed_is_not_there(gateway, other, queue_address, how):
    client = StompPy(gateway)
    client.connection.begin("t")
    send(client, queue_address, "never", "t")
    if how == "ABORT":
        end(client, "t", "ABORT")
        client.close()
    elif how == "disconnect":
        client.close()
    else:
        client.drop()
    other.subscribe(queue_address)
    assert bodies(other, 0) == []


def test_acknowledgements_take_effect_with_the_commit(gateway, client, other, queue_address):
    answers = pair(queue_address)[1]
    for number in range(3):
        send(client, queue_address, str(number))
    client.subscribe(queue_address)
    client.connection.begin("t")
    for _ in range(2):
        frame = client.receive_raw(settle=False)
        client.connection.ack(frame.headers["ack"], transaction="t")
        send(client, answers, f"answer to {frame.body.decode()}", "t")
    end(client, "t", "COMMIT")
    client.close()
    other.subscribe(answers)
    assert bodies(other, 2) == ["answer to 0", "answer to 1"]
    other.unsubscribe()
    other.subscribe(queue_address)
    assert bodies(other, 1) == ["2"]


def test_what_an_aborted_transaction_acknowledged_is_unacknowledged_again(client, other, queue_address):
    for number in range(2):
        send(client, queue_address, str(number))
    client.subscribe(queue_address, ack="client")
    frames = [client.receive_raw(settle=False) for _ in range(2)]
    client.connection.begin("t")
    client.connection.ack(frames[1].headers["ack"], transaction="t")
    end(client, "t", "ABORT")
    # STOMP 1.2: it may be acknowledged again.
    client.confirmed(lambda receipt: client.connection.ack(frames[0].headers["ack"], receipt=receipt))
    client.close()
    other.subscribe(queue_address)
    assert bodies(other, 1) == ["1"]


def test_a_lost_connection_gives_back_what_a_transaction_acknowledged(gateway, other, queue_address):
    client = StompPy(gateway)
    send(client, queue_address, "x")
    client.subscribe(queue_address)
    client.connection.begin("t")
    frame = client.receive_raw(settle=False)
    client.confirmed(lambda receipt: client.connection.ack(frame.headers["ack"], transaction="t", receipt=receipt))
    client.drop()
    other.subscribe(queue_address)
    again = other.receive_raw()
    assert (again.body, again.headers["redelivered"]) == (b"x", "true")


def test_two_transactions_of_one_connection_are_apart(client, other, queue_address):
    client.connection.begin("a")
    client.connection.begin("b")
    for number in range(4):
        send(client, queue_address, str(number), "ab"[number % 2])
    end(client, "b", "COMMIT")
    end(client, "a", "ABORT")
    other.subscribe(queue_address)
    assert bodies(other, 2) == ["1", "3"]


def test_a_name_may_be_used_again_after_its_end(client, other, queue_address):
    for number, how in enumerate(("COMMIT", "ABORT", "COMMIT")):
        client.connection.begin("t")
        send(client, queue_address, str(number), "t")
        end(client, "t", how)
    other.subscribe(queue_address)
    assert bodies(other, 2) == ["0", "2"]


def test_frames_need_not_wait_for_the_answer_to_begin(client, other, queue_address):
    client.connection.begin("t")
    for number in range(500):
        client.connection.send(queue_address.canonical, str(number), headers={"persistent": "true", "transaction": "t"})
    end(client, "t", "COMMIT")
    other.subscribe(queue_address)
    assert [int(body) for body in bodies(other, 500)] == list(range(500))


def test_a_committed_transaction_survives_kill_9(tmp_path):
    from lib.gateway import Gateway

    address = Address("queue", "kept")
    with Gateway() as gateway:
        client = StompPy(gateway)
        for name in ("committed", "open"):
            client.connection.begin(name)
            for number in range(10):
                send(client, address, f"{name} {number}", name)
        end(client, "committed", "COMMIT")
        gateway.kill()
        gateway.start()
        reader = StompPy(gateway)
        reader.subscribe(address)
        assert bodies(reader, 10) == [f"committed {number}" for number in range(10)]
        reader.close()


@pytest.mark.parametrize("command", ["COMMIT", "ABORT", "SEND"])
def test_an_unknown_transaction_is_refused(gateway, command):
    client = StompPy(gateway)
    headers = {"transaction": "nobody's", "destination": "/queue/a"}
    client.connection.send_frame(command, headers)
    error(client, f"{command}: there is no transaction nobody's")


def test_a_transaction_begins_once(gateway):
    client = StompPy(gateway)
    client.connection.begin("t")
    client.connection.begin("t")
    error(client, "BEGIN: there is a transaction t already")


@pytest.mark.parametrize("how, expected", [("commit", ["0", "1"]), ("abort", [])])
def test_stompjs(open_client, other, queue_address, how, expected):
    client = open_client("stompjs-ws")
    messages = [{"body": str(number)} for number in range(2)]
    client.driver.request("transact", client.name, address={"canonical": queue_address.canonical}, messages=messages,
                          how=how)
    client.close()
    other.subscribe(queue_address)
    assert bodies(other, len(expected)) == expected


def test_other_protocols_see_a_committed_transaction(open_client, client, queue_address):
    consumer = open_client("qpid-proton")
    consumer.subscribe(queue_address)
    client.connection.begin("t")
    client.publish(queue_address, Sent(b"at once", durable=True))
    send(client, queue_address, "with the commit", "t")
    assert consumer.receive().body == b"at once"
    end(client, "t", "COMMIT")
    assert consumer.receive().body in (b"with the commit", "with the commit")
    consumer.close()


def test_figures_and_the_log_tell_what_became_of_transactions():
    with Gateway(environment={"EVERGATE__LIMITS__TRANSACTION_MESSAGES_MAX": "2"}) as gateway:

        def figures():
            with urllib.request.urlopen(gateway.url("/metrics"), timeout=5) as answer:
                samples = (line.split() for line in answer.read().decode().splitlines() if "_transactions_" in line)
                return {name.removeprefix("evergate_transactions_"): int(value) for name, value, *_ in samples if name != "#"}

        def come_to(**expected):
            deadline = time.monotonic() + 5
            while figures() != expected:
                assert time.monotonic() < deadline, figures()
                time.sleep(0.1)

        watcher, client = StompPy(gateway), StompPy(gateway)
        watcher.subscribe(Address("topic", "_LOG/warn"))
        for name in ("a", "b", "c", "d"):
            client.connection.begin(name)
        end(client, "a", "COMMIT")
        end(client, "b", "ABORT")
        come_to(open=2, committed_total=1, rolled_back_total=1, refused_total=0)
        for _ in range(3):
            client.connection.send("/queue/x", "", transaction="c")
        told = json.loads(watcher.receive_raw(5).body)
        assert told["event"] == "transaction refused by a limit"
        assert "(2)" in told["why"]
        client.close()
        come_to(open=0, committed_total=1, rolled_back_total=3, refused_total=1)
        watcher.close()
