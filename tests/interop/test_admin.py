"""The administration by messages: requests to `_ADMIN`, replies where the request says."""

import itertools
import json
import re
import subprocess
import time
import uuid

import paho.mqtt.client as mqtt
import pytest
from proton import Message, ulong

from interop.clients.paho import Paho
from interop.clients.proton_blocking import Proton
from interop.clients.stomp_py import StompPy
from interop.coming import bodies
from interop.messages import Address, Sent
from lib.gateway import ROOT, Gateway, binary

_names = itertools.count(1)


def name():
    return f"admin-{uuid.uuid4().hex[:8]}-{next(_names)}"


class Admin:
    """Requests over AMQP 1.0, with a temporary queue for the replies."""

    def __init__(self, gateway, **options):
        self.client = Proton(gateway, **options)
        self.receiver = self.client.connection.create_receiver(None, dynamic=True)
        self.sender = self.client.connection.create_sender("/queue/_ADMIN")

    def ask(self, op, **args):
        correlation = ulong(next(_names))
        body = json.dumps({"op": op, "args": args})
        reply_to = self.receiver.link.remote_source.address
        self.sender.send(Message(body=body, reply_to=reply_to, correlation_id=correlation))
        reply = self.receiver.receive(10)
        self.receiver.accept()
        assert reply.correlation_id == correlation, "a correlation id keeps its value and its type"
        assert reply.content_type == "application/json"
        return json.loads(reply.body)

    def result(self, op, **args):
        answer = self.ask(op, **args)
        assert answer["ok"], answer
        return answer["result"]

    def close(self):
        self.client.close()


@pytest.fixture
def admin(gateway):
    opened = Admin(gateway)
    yield opened
    opened.close()


def test_help_lists_every_operation_with_its_arguments(admin):
    lines = admin.result("help")
    assert {"node.status", "queue.list", "policy.put", "connection.close"} <= set(lines)


def test_queues_are_listed_with_their_figures(gateway, admin):
    queue = Address("queue", name())
    publisher = Paho(gateway, 5)
    for number in range(3):
        publisher.publish(queue, Sent(b"x", durable=True))
    listed = admin.result("queue.list", match=queue.name)
    assert [row["name"] for row in listed["queues"]] == [queue.name]
    assert listed["queues"][0]["messages"] == 3
    for filter in [f"$glob/{queue.name[:-2]}*", f"$regex/{queue.name[:-2]}.."]:
        assert queue.name in [row["name"] for row in admin.result("queue.list", match=filter)["queues"]]
    assert "the glob is not complete" in admin.ask("queue.list", match="$glob/a[")["error"]["text"]
    publisher.close()


def test_messages_are_browsed_removed_and_purged(gateway, admin):
    queue = Address("queue", name())
    publisher = Paho(gateway, 5)
    for number in range(5):
        publisher.publish(queue, Sent(f"body {number}".encode(), durable=True, properties={"number": str(number)}))
    publisher.publish(queue, Sent(b"\xff\x00", durable=True))
    rows = admin.result("queue.browse", queue=queue.name, body_bytes=4)["messages"]
    assert [row.get("body") for row in rows] == ["body"] * 5 + [None]
    assert (rows[5]["body_base64"], rows[5]["body_bytes"]) == ("/wA=", 2)
    assert rows[3]["properties"]["application"] == {"number": "3"}
    assert {row["state"] for row in rows} == {"ready"}
    chosen = admin.result("queue.browse", queue=queue.name, selector="number IN ('1', '4')")["messages"]
    assert [row["body"] for row in chosen] == ["body 1", "body 4"]
    later = admin.result("queue.browse", queue=queue.name, **{"from": rows[2]["seq"]}, count=2)["messages"]
    assert [row["seq"] for row in later] == [rows[2]["seq"], rows[3]["seq"]]
    assert admin.result("queue.remove", queue=queue.name, seqs=[rows[0]["seq"], 10**9])["removed"] == 1
    assert admin.result("queue.purge", queue=queue.name)["removed"] == 5
    assert admin.result("queue.browse", queue=queue.name)["messages"] == []
    for op, args in [("queue.browse", {}), ("queue.purge", {}), ("queue.remove", {"seqs": [1]})]:
        assert admin.ask(op, queue="no such queue", **args)["error"]["code"] == "not-found"
    assert "column" in admin.ask("queue.browse", queue=queue.name, selector="a =")["error"]["text"]
    publisher.close()


def test_queues_tell_what_left_them_on_other_ways(gateway, admin):
    queue = name()
    admin.result("queue.create", queue=queue, settings={"messages_max": 3, "on_full": "drop-oldest"})
    publisher = Paho(gateway, 5)
    for _ in range(5):
        publisher.publish(Address("queue", queue), Sent(b"x", durable=True))
    reject(gateway, Address("queue", queue), 2)
    publisher.publish(Address("queue", queue), Sent(b"x", durable=True, ttl_seconds=1))
    figures = lambda row: {figure: row[figure] for figure in ("expired", "dead_lettered", "dropped")}
    told = lambda: figures(admin.result("queue.show", queue=queue))
    deadline = time.monotonic() + 10
    while told() != (wanted := {"expired": 1, "dead_lettered": 3, "dropped": 2}):
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)
    [row] = admin.result("queue.list", match=queue)["queues"]
    assert figures(row) == wanted
    publisher.close()


def documented(op):
    """The fields that an answer is said to have; without those that may be missing."""
    table = (ROOT / "docs/administration.md").read_text().split("## Fields of the answers")[1].split(f"`{op}`")[1].split("\n\n")[1]
    names = [field for line in table.splitlines()[2:] for field in re.findall("`([^`]+)`", line.split("|")[1])]
    return {field for field in names if not field.endswith("?")}, {field.rstrip("?") for field in names}


def test_answers_have_the_fields_that_are_documented(gateway, admin):
    queue = name()
    publisher = Paho(gateway, 5)
    publisher.publish(Address("queue", queue), Sent(b"x", durable=True, ttl_seconds=600))
    answers = {
        "queue.list": admin.result("queue.list", match=queue)["queues"][0],
        "queue.show": admin.result("queue.show", queue=queue),
        "queue.browse": admin.result("queue.browse", queue=queue)["messages"][0],
        "connection.list": admin.result("connection.list")["connections"][0],
        "node.status": admin.result("node.status"),
    }
    for op, answer in answers.items():
        always, known = documented(op)
        assert always <= set(answer) <= known, op
    publisher.close()


def test_queues_are_browsed_page_by_page_whatever_the_priorities(gateway, admin):
    queue = name()
    sender = admin.client.connection.create_sender(f"/queue/{queue}")
    for number in range(10):
        sender.send(Message(body=str(number), durable=True, priority=number % 3 + 3))
    in_order = [row["body"] for row in admin.result("queue.browse", queue=queue)["messages"]]
    assert in_order == ["2", "5", "8", "1", "4", "7", "0", "3", "6", "9"]
    for count in (1, 3, 5, 10):
        answer = admin.result("queue.browse", queue=queue, count=count)
        seen = answer["messages"]
        while "next" in answer:
            answer = admin.result("queue.browse", queue=queue, count=count, **{"from": answer["next"]})
            assert answer["messages"], "next is told if there is more"
            seen += answer["messages"]
        assert [row["body"] for row in seen] == in_order
    wrong = admin.ask("queue.browse", queue=queue, **{"from": "nowhere"})
    assert wrong["error"]["code"] == "invalid" and "next" in wrong["error"]["text"]
    assert admin.result("queue.purge", queue=queue, selector="JMSPriority = 4") == {"removed": 3}
    # Where some cannot be moved, the others are reached behind them.
    answer = admin.result("queue.retry", queue=queue, count=4)
    assert (answer["moved"], len(answer["failed"])) == (0, 4)
    answer = admin.result("queue.move", queue=queue, to=f"/queue/{name()}", count=2, **{"from": answer["next"]})
    assert answer["moved"] == 2
    answer = admin.result("queue.move", queue=queue, to=f"/queue/{name()}", count=2, **{"from": answer["next"]})
    assert answer == {"moved": 1, "failed": []}
    left = admin.result("queue.browse", queue=queue)["messages"]
    assert [row["body"] for row in left] == ["2", "5", "8", "0"]


def reject(gateway, address, count):
    """Takes messages from a queue as one that cannot use them."""
    client = Proton(gateway)
    client.subscribe(address)
    for _ in range(count):
        client.receive_raw()
        client.receiver.reject()
    client.close()


def test_dead_letters_are_retried_edited_and_moved(gateway, admin):
    queue, other = Address("queue", name()), Address("queue", name())
    publisher = Paho(gateway, 5)
    for number in range(4):
        publisher.publish(queue, Sent(f"{number}".encode(), durable=True, properties={"n": str(number), "q": queue.name}))
    reject(gateway, queue, 4)
    mine = f"q = '{queue.name}'"
    deadline = time.monotonic() + 10
    while len(rows := admin.result("queue.browse", queue="_DMQ", selector=mine)["messages"]) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert {row["notes"]["dead-letter-queue"] for row in rows} == {queue.name}
    assert {row["notes"]["dead-letter-reason"] for row in rows} == {"rejected"}
    seqs = {row["body"]: row["seq"] for row in rows}
    assert admin.result("queue.retry", seqs=[seqs["0"]]) == {"moved": 1, "failed": []}
    edited = admin.result("queue.edit", seq=seqs["1"], body="mended", properties={"n": None, "by": 7})
    assert edited == {"moved": 1, "failed": []}
    assert admin.result("queue.move", queue="_DMQ", to=other.canonical, seqs=[seqs["2"]])["moved"] == 1
    back = {row["body"]: row for row in admin.result("queue.browse", queue=queue.name)["messages"]}
    assert set(back) == {"0", "mended"}
    assert back["mended"]["properties"]["application"] == {"q": queue.name, "by": 7}
    assert [row["body"] for row in admin.result("queue.browse", queue=other.name)["messages"]] == ["2"]
    left = admin.result("queue.browse", queue="_DMQ", selector=mine)["messages"]
    assert [(row["body"], row["state"]) for row in left] == [("3", "ready")]
    assert admin.ask("queue.edit", seq=10**9)["error"]["code"] == "not-found"
    for to in ("/queue/_DMQ", "nowhere", "/topic/a/+"):
        assert admin.ask("queue.move", queue="_DMQ", to=to, seqs=[1])["error"]["code"] == "invalid"
    assert admin.result("queue.retry", selector=mine)["moved"] == 1
    publisher.close()


@pytest.mark.parametrize("kind", ["subscription", "share", "session"])
def test_a_dead_letter_of_a_subscription_goes_back_to_that_one_alone(gateway, admin, kind):
    topic, other = Address("topic", name()), name()
    client_id = name()
    options = {"subscription": {"durable": True}, "share": {"durable": True, "shared": client_id}, "session": {}}[kind]
    admin.result("queue.create", queue=other, bind=[topic.name])
    publisher = Paho(gateway, 5)
    if kind == "session":
        # Expired in the queue of a session whose client is away.
        absent = Paho(gateway, 5, client_id=client_id, clean=False, expiry_seconds=600)
        absent.subscribe(topic)
        absent.close()
        publisher.publish(topic, Sent(b"x", durable=True, ttl_seconds=1))
    else:
        consumer = StompPy(gateway, client_id=client_id)
        consumer.subscribe(topic, name="mine", **options)
        publisher.publish(topic, Sent(b"x", durable=True))
        consumer.connection.nack(consumer.inbox.get(timeout=10).headers["ack"])
    mine = f"\"dead-letter-origin\" = '{topic.canonical}' AND \"dead-letter-queue\" LIKE '${kind}/%'"
    deadline = time.monotonic() + 10
    while not admin.result("queue.browse", queue="_DMQ", selector=mine)["messages"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    admin.result("queue.purge", queue=other)
    assert admin.result("queue.retry", selector=mine) == {"moved": 1, "failed": []}
    if kind == "session":
        back = Paho(gateway, 5, client_id=client_id, clean=False, expiry_seconds=600)
        assert back.receive_raw().payload == b"x"
        back.close()
    else:
        again = consumer.inbox.get(timeout=10)
        assert again.body == b"x" and again.headers["destination"] == topic.canonical
        # Once more, and now the subscription is gone.
        consumer.connection.nack(again.headers["ack"])
        consumer.unsubscribe(durable="true", **({"shared": client_id} if kind == "share" else {}))
    assert admin.result("queue.browse", queue=other)["messages"] == []
    if kind != "session":
        consumer.close()
        while not admin.result("queue.retry", selector=mine)["moved"]:
            assert time.monotonic() < deadline + 10
            time.sleep(0.02)
    publisher.close()


def test_dead_letters_of_one_queue_are_selected_by_it(gateway, admin, open_client):
    queue, other = Address("queue", name()), Address("queue", name())
    publisher = Paho(gateway, 5)
    for address in (queue, other):
        publisher.publish(address, Sent(address.name.encode(), durable=True, properties={"dead-letter-queue": "forged"}))
        reject(gateway, address, 1)
    mine = f"\"dead-letter-queue\" = '{queue.name}' AND \"dead-letter-reason\" = 'rejected'"
    deadline = time.monotonic() + 10
    while not (rows := admin.result("queue.browse", queue="_DMQ", selector=mine)["messages"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [row["body"] for row in rows] == [queue.name]
    consumer = open_client("stomp.py")
    consumer.subscribe(Address("queue", "_DMQ"), selector=f"\"dead-letter-queue\" = '{other.name}'")
    assert consumer.receive().body == other.name.encode()
    assert admin.result("queue.retry", selector=mine)["moved"] == 1
    assert [row["body"] for row in admin.result("queue.browse", queue=queue.name)["messages"]] == [queue.name]
    publisher.close()
    consumer.close()


@pytest.mark.parametrize("kind", ["subscription", "share", "session"])
def test_messages_of_sessions_and_subscriptions_are_browsed_removed_moved_and_purged(gateway, admin, open_client, kind):
    topic, other = Address("topic", name()), Address("queue", name())
    client_id = name()
    if kind == "session":
        absent = Paho(gateway, 5, client_id=client_id, clean=False, expiry_seconds=600)
        absent.subscribe(topic)
    else:
        absent = StompPy(gateway, client_id=client_id)
        shared = {"shared": client_id} if kind == "share" else {}
        absent.subscribe(topic, name="mine", durable=True, **shared)
    absent.close()
    publisher = Paho(gateway, 5)
    for number in range(5):
        publisher.publish(topic, Sent(f"{number}".encode(), durable=True))
    listed = admin.result("queue.list", match="#", private=True)["queues"]
    (queue,) = [row["name"] for row in listed if row["name"].startswith(f"${kind}/") and client_id in row["name"]]
    assert admin.result("queue.show", queue=queue)["durable"]
    rows = admin.result("queue.browse", queue=queue)["messages"]
    assert [row["body"] for row in rows] == ["0", "1", "2", "3", "4"]
    seqs = [row["seq"] for row in rows]
    assert admin.result("queue.remove", queue=queue, seqs=seqs[:1]) == {"removed": 1}
    assert admin.result("queue.move", queue=queue, to=other.canonical, seqs=seqs[1:3])["moved"] == 2
    assert [row["body"] for row in admin.result("queue.browse", queue=other.name)["messages"]] == ["1", "2"]
    assert admin.result("queue.edit", queue=queue, seq=seqs[3], to=other.canonical, body="new")["moved"] == 1
    assert [row["body"] for row in admin.result("queue.browse", queue=queue)["messages"]] == ["4"]
    assert admin.result("queue.purge", queue=queue) == {"removed": 1}
    refused = admin.ask("queue.move", queue=other.name, to=f"/queue/$session/{client_id}")["error"]
    assert refused["code"] == "invalid" and "takes only what is published to its topics" in refused["text"]
    admin.result("queue.delete", queue=queue)
    assert admin.ask("queue.browse", queue=queue)["error"]["code"] == "not-found"
    publisher.close()


def test_queues_are_made_bound_changed_and_deleted(gateway, admin):
    queue, topic = name(), name()
    red = {"queue": queue, "bind": [f"{topic}/+"], "selector": "colour = 'red'"}
    admin.result("queue.create", **red, settings={"messages_max": 2, "on_full": "drop-oldest"})
    publisher = Paho(gateway, 5)
    for number, colour in enumerate(["red", "blue", "red", "red"]):
        sent = Sent(f"{number}".encode(), durable=True, properties={"colour": colour})
        publisher.publish(Address("topic", f"{topic}/x"), sent)
    bodies = lambda: [row["body"] for row in admin.result("queue.browse", queue=queue)["messages"]]
    assert bodies() == ["2", "3"]
    shown = admin.result("queue.show", queue=queue)
    assert shown["bindings"] == [{"filter": f"{topic}/+", "selector": "colour = 'red'"}]
    assert shown["own_settings"] == {"messages_max": 2, "on_full": "drop-oldest"}
    assert admin.result("queue.change", queue=queue, settings=shown["own_settings"]) == {}
    admin.result("queue.change", queue=queue, settings={"messages_max": 3, "on_full": "drop-oldest"})
    admin.result("queue.unbind", queue=queue, filter=f"{topic}/+")
    admin.result("queue.bind", queue=queue, filter=f"{topic}/#")
    publisher.publish(Address("topic", f"{topic}/x/y"), Sent(b"4", durable=True))
    assert bodies() == ["2", "3", "4"]
    assert admin.ask("queue.delete", queue=queue, if_empty=True)["ok"] is False
    admin.result("queue.delete", queue=queue)
    assert admin.ask("queue.show", queue=queue)["error"]["code"] == "not-found"
    assert admin.ask("queue.create", queue=queue, bind=["a#"])["error"]["code"] == "invalid"
    publisher.close()


def test_a_queue_is_bound_to_patterns(gateway, admin):
    queue, topic = name(), name()
    admin.result("queue.create", queue=queue, bind=[f"$glob/{topic}/*"])
    admin.result("queue.bind", queue=queue, filter=f"$regex/{topic}-[0-9]+")
    publisher = Paho(gateway, 5)
    for number, level in enumerate([f"{topic}/a", f"{topic}/a/b", f"{topic}-12", f"{topic}-x"]):
        publisher.publish(Address("topic", level), Sent(f"{number}".encode(), durable=True))
    assert [row["body"] for row in admin.result("queue.browse", queue=queue)["messages"]] == ["0", "2"]
    bound = [binding["filter"] for binding in admin.result("queue.show", queue=queue)["bindings"]]
    assert bound == [f"$glob/{topic}/*", f"$regex/{topic}-[0-9]+"]
    for filter in bound:
        admin.result("queue.unbind", queue=queue, filter=filter)
    assert admin.result("queue.show", queue=queue)["bindings"] == []
    publisher.close()


@pytest.mark.parametrize("op, args, why", [
    ("queue.create", {"queue": "/queue/zz"}, "written as zz"),
    ("queue.create", {"queue": "zz", "bind": ["/topic/x"]}, "written as x"),
    ("queue.create", {"queue": "zz", "selector": "a = 1"}, "there is no bind"),
    ("queue.create", {"queue": "zz", "settings": {"match": "x"}}, "match means nothing"),
    ("queue.create", {"queue": "zz", "settings": ["x", 5]}, "invalid type"),
    ("queue.change", {"queue": "zz", "settings": {"match": "x"}}, "match means nothing"),
    ("queue.move", {"queue": "zz", "to": "/queue/z", "seq": 1}, "unknown field"),
    ("queue.browse", {"queue": "zz", "count": 0}, "from 1 to 1000"),
    ("queue.browse", {"queue": "zz", "count": 1001}, "from 1 to 1000"),
    ("queue.move", {"queue": "zz", "to": "/queue/z", "count": 1001}, "from 1 to 1000"),
    ("queue.retry", {"count": 0}, "from 1 to 1000"),
    ("queue.unbind", {"queue": "zz", "filter": "x", "selector": "a = 1"}, "unknown field"),
    ("help", {"x": 1}, "unknown field"),
    ("node.status", {"x": 1}, "unknown field"),
    ("policy.list", {"x": 1}, "unknown field"),
])
def test_what_would_be_ignored_is_refused(admin, op, args, why):
    error = admin.ask(op, **args)["error"]
    assert error["code"] == "invalid" and why in error["text"], error


def test_a_connection_can_be_closed_and_is_told_why(gateway, admin):
    client_id = name()
    client = Paho(gateway, 5, client_id=client_id)
    (row,) = admin.result("connection.list", client_id=client_id)["connections"]
    gone = []
    client.client.reconnect_delay_set(600, 600)
    client.client.on_disconnect = lambda client, data, flags, reason, properties: gone.append(str(reason))
    admin.result("connection.close", id=row["id"])
    deadline = time.monotonic() + 10
    while not gone and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone == ["Server shutting down"] or gone == ["Administrative action"], gone
    # It says goodbye before it goes.
    while admin.result("connection.list", client_id=client_id)["connections"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert admin.ask("connection.close", id=row["id"])["error"]["code"] == "not-found"
    client.close()


def test_policies_put_by_an_operator_survive_a_restart():
    with Gateway() as gateway:
        admin = Admin(gateway)
        policy = {"match": "orders/#", "messages_max": 5}
        admin.result("policy.put", **policy)
        admin.result("policy.put", match="$glob/bills-*", messages_max=7)
        wrong = admin.ask("policy.put", match="$regex/(", messages_max=5)
        assert "not valid" in wrong["error"]["text"]
        admin.result("policy.delete", match="$glob/bills-*")
        wrong = admin.ask("policy.put", match="orders/#", mesages_max=5)
        assert wrong["error"]["code"] == "invalid" and "mesages_max" in wrong["error"]["text"]
        admin.close()
        gateway.kill()
        gateway.start()
        admin = Admin(gateway)
        assert admin.result("policy.list")["added"] == [policy]
        admin.result("policy.delete", match="orders/#")
        assert admin.ask("policy.delete", match="orders/#")["error"]["code"] == "not-found"
        assert admin.result("policy.list")["added"] == []
        admin.close()


@pytest.mark.parametrize("client", ["mqtt", "stomp"])
def test_other_protocols_ask_as_well(gateway, client):
    reply_topic = Address("topic", name())
    opened = Paho(gateway, 5) if client == "mqtt" else StompPy(gateway)
    opened.subscribe(reply_topic)
    sent = Sent(json.dumps({"op": "node.status"}).encode(), reply_to=reply_topic, correlation_id="c-1")
    opened.publish(Address("topic" if client == "mqtt" else "queue", "_ADMIN"), sent)
    received = opened.receive()
    assert json.loads(received.body)["result"]["connections"] >= 1
    assert received.correlation_id in ("c-1", b"c-1")
    opened.close()


def test_nobody_else_can_serve_the_name(gateway, open_client):
    with pytest.raises(Exception, match="(?i)for itself|locked|exclusive|refused"):
        open_client("stomp.py").subscribe(Address("queue", "_ADMIN"))


@pytest.mark.parametrize("pattern", ["_ADMIN", "_ADMIN/#", "$glob/_*", "$regex/_.*", "$share/spies/_ADMIN"])
def test_nobody_receives_requests_by_subscribing(gateway, admin, pattern):
    spy, publisher = Paho(gateway, 5), Paho(gateway, 5)
    spy.subscribe(pattern)
    reply_topic = Address("topic", name())
    publisher.subscribe(reply_topic)
    request = Sent(json.dumps({"op": "node.status", "args": {}}).encode(), reply_to=reply_topic, correlation_id="c-1")
    publisher.publish(Address("topic", "_ADMIN"), request)
    assert json.loads(publisher.receive().body)["ok"]
    publisher.client.publish("_ADMIN", b'{"op":"help"}', qos=1, retain=True).wait_for_publish(10)
    late = Paho(gateway, 5)
    late.subscribe(pattern)
    admin.result("help")
    time.sleep(0.3)
    for client in (spy, late):
        while not client.inbox.empty():
            assert not client.inbox.get().topic.endswith("_ADMIN")
        client.close()
    publisher.close()


def test_nobody_browses_requests(gateway, open_client):
    with pytest.raises(Exception, match="(?i)for itself|locked|exclusive|refused"):
        open_client("stomp.py").subscribe(Address("queue", "_ADMIN"), browser="true")


def account(user, admin):
    command = [binary(), "user", "hash", user]
    done = subprocess.run(command, input=f"{user}\n", capture_output=True, text=True, check=True)
    return done.stdout + f"admin = {admin}\n"


def test_with_accounts_only_administrators_may_ask():
    with Gateway() as gateway:
        gateway.stop()
        users = [("boss", "true"), ("clerk", "false")]
        accounts = [account(user, admin) for user, admin in users]
        (gateway.directory / "evergate.toml").write_text("".join(accounts))
        gateway.start()
        reasons = {}
        for user, _ in users:
            client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
            client.username_pw_set(user, user)
            client.on_connect = lambda client, *_: client.publish("_ADMIN", b'{"op":"help"}', qos=1)
            client.on_publish = lambda client, data, mid, reason, properties: reasons.setdefault(user, str(reason))
            client.connect("127.0.0.1", gateway.ports["mqtt"])
            client.loop_start()
            deadline = time.monotonic() + 10
            while user not in reasons and time.monotonic() < deadline:
                time.sleep(0.02)
            client.disconnect()
            client.loop_stop()
        assert reasons == {"boss": "Success", "clerk": "Not authorized"}


def test_moves_arrive_or_stay_and_lose_nothing_to_duplicate_detection(admin, gateway):
    queue, other, full = name(), name(), name()
    admin.result("queue.create", queue=queue, settings={"dedup_count": 100, "dedup_time_ms": 60_000})
    admin.result("queue.create", queue=full, settings={"messages_max": 1})
    client = StompPy(gateway)
    for number in range(3):
        client.publish(Address("queue", queue), Sent(str(number).encode(), durable=True, properties={"dedup-id": str(number)}))
    client.publish(Address("queue", full), Sent(b"it is full", durable=True))
    assert admin.result("queue.move", queue=queue, to=f"/queue/{queue}") == {"moved": 3, "failed": []}
    assert admin.result("queue.move", queue=queue, to=f"/queue/{other}")["moved"] == 3
    assert admin.result("queue.move", queue=other, to=f"/queue/{queue}")["moved"] == 3
    for target, why in ((f"/queue/{full}", "full"), ("/topic/nobody/listens", "nobody subscribes")):
        answer = admin.result("queue.move", queue=queue, to=target)
        assert answer["moved"] == 0 and len(answer["failed"]) == 3
        assert all(why in failed["why"] for failed in answer["failed"]), answer
    client.subscribe(Address("queue", queue))
    assert bodies(client, 3) == ["0", "1", "2"]
    client.close()
