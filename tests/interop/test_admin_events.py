"""The event log tells what operators had done, and who they were: docs/observability.md, The event log."""

import time

import pytest

from interop.clients.paho import Paho
from interop.messages import Address, Sent
from interop.test_admin import Admin, account, name
from lib.gateway import ROOT, Gateway

DOCUMENTATION = (ROOT / "docs/observability.md").read_text()


@pytest.fixture
def gateway():
    with Gateway() as started:
        yield started


def told(gateway):
    """What operators had done, as the event log has it."""
    return [event for event in gateway.events if event["event"].endswith("by an operator")]


def without(event, *names):
    return {field: value for field, value in event.items() if field not in ("at_ms", *names)}


def test_what_was_refused_is_not_told(gateway):
    admin = Admin(gateway)
    admin.result("queue.create", queue="there", settings={"messages_max": 1, "on_full": "reject"})
    refused = [
        ("queue.create", {"queue": "_x"}), ("queue.create", {"queue": "there"}),
        ("queue.change", {"queue": "nope", "settings": {}}), ("queue.delete", {"queue": "_DMQ"}),
        ("queue.delete", {"queue": "nope"}), ("queue.bind", {"queue": "nope", "filter": "x"}),
        ("queue.unbind", {"queue": "nope", "filter": "x"}), ("queue.unbind", {"queue": "there", "filter": "a/#/b"}),
        ("queue.purge", {"queue": "nope"}), ("queue.remove", {"queue": "nope", "seqs": [1]}),
        ("queue.move", {"queue": "nope", "to": "/queue/x"}), ("queue.retry", {"queue": "nope"}),
        ("queue.edit", {"queue": "there", "seq": 7}), ("policy.put", {"match": "a/#/b"}),
        ("policy.delete", {"match": "nope"}), ("connection.close", {"id": 999_999}),
    ]
    for op, args in refused:
        assert not admin.ask(op, **args)["ok"], (op, args)
    # Answered, and nothing was done.
    assert admin.result("queue.purge", queue="there")["removed"] == 0
    assert admin.result("queue.remove", queue="there", seqs=[1])["removed"] == 0
    assert admin.result("queue.move", queue="there", to="/queue/x")["moved"] == 0
    assert admin.result("queue.retry", queue="there")["moved"] == 0
    assert [event["event"] for event in told(gateway)] == ["queue created by an operator"]
    admin.close()


def test_what_was_done_is_told_once_with_who_asked(gateway):
    admin = Admin(gateway, container_id="desk 3")
    publisher = Paho(gateway, 5, client_id="till")
    publisher.client.reconnect_delay_set(600, 600)
    publish = lambda: publisher.publish(Address("queue", "q"), Sent(b"x", durable=True))
    seqs = lambda: [row["seq"] for row in admin.result("queue.browse", queue="q")["messages"]]
    admin.result("queue.create", queue="q")
    admin.result("queue.change", queue="q", settings={"messages_max": 9})
    admin.result("queue.bind", queue="q", filter="a/#", selector="x = 1")
    admin.result("queue.unbind", queue="q", filter="a/#")
    for _ in range(4):
        publish()
    admin.result("queue.remove", queue="q", seqs=seqs()[:1])
    admin.result("queue.move", queue="q", to="/queue/other", count=1)
    [edited, _] = seqs()
    admin.result("queue.edit", queue="q", seq=edited, to="/queue/other")
    admin.result("queue.purge", queue="q", selector="JMSPriority = 4")
    admin.result("policy.put", match="p", messages_max=1)
    admin.result("policy.delete", match="p")
    admin.result("queue.delete", queue="q")
    [row] = admin.result("connection.list", client_id="till")["connections"]
    for _ in range(2):  # the second time it closes already, or is gone
        admin.ask("connection.close", id=row["id"])
    by = {"by_client_id": "desk 3", "by_user": ""}
    assert [without(event) for event in told(gateway)] == [
        {"level": level, "event": f"{event} by an operator", **by, **fields}
        for level, event, fields in [
            ("info", "queue created", {"queue": "q"}),
            ("info", "settings of a queue changed", {"queue": "q"}),
            ("info", "queue bound", {"queue": "q", "filter": "a/#", "selector": "x = 1"}),
            ("info", "queue unbound", {"queue": "q", "filter": "a/#"}),
            ("warn", "messages removed", {"queue": "q", "removed": 1}),
            ("info", "messages moved", {"queue": "q", "to": "/queue/other", "moved": 1, "failed": 0}),
            ("info", "message edited and retried", {"queue": "q", "seq": edited}),
            ("warn", "queue purged", {"queue": "q", "selector": "JMSPriority = 4", "removed": 1}),
            ("info", "policy put", {"policy": "p"}),
            ("info", "policy deleted", {"policy": "p"}),
            ("warn", "queue deleted", {"queue": "q", "if_empty": False, "if_unused": False}),
            ("info", "connection closed", {"id": row["id"], "client_id": "till", "remote": row["remote"]}),
        ]
    ]
    for event in told(gateway):
        assert f"`{event['event']}`" in DOCUMENTATION
    # The connection's own end has its own event, by the same number.
    deadline = time.monotonic() + 10
    while not (closed := [event for event in gateway.events if event["event"] == "connection closed"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [(event["id"], event["client_id"]) for event in closed] == [(row["id"], "till")]
    publisher.close()
    admin.close()


def test_retried_dead_letters_are_told(gateway):
    admin = Admin(gateway)
    publisher = Paho(gateway, 5)
    publisher.publish(Address("queue", "brief"), Sent(b"x", durable=True, ttl_seconds=1))
    deadline = time.monotonic() + 10
    while not admin.ask("queue.browse", queue="_DMQ").get("result", {}).get("messages"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    admin.result("queue.retry")
    [event] = told(gateway)
    assert without(event, "by_client_id") == {
        "level": "info", "event": "dead letters retried by an operator", "by_user": "",
        "queue": "_DMQ", "moved": 1, "failed": 0,
    }
    publisher.close()
    admin.close()


def test_with_accounts_the_event_names_the_user(gateway):
    gateway.stop()
    (gateway.directory / "evergate.toml").write_text(account("boss", "true"))
    gateway.start()
    admin = Admin(gateway, container_id=name(), user="boss", password="boss", allowed_mechs="PLAIN")
    admin.result("queue.create", queue="q")
    [event] = told(gateway)
    assert event["by_user"] == "boss"
    admin.close()


def test_metrics_count_what_expired_and_what_became_a_dead_letter(gateway):
    publisher = Paho(gateway, 5)
    publisher.publish(Address("queue", "brief"), Sent(b"x", durable=True, ttl_seconds=1))
    wanted = ["evergate_messages_expired_total 1", "evergate_messages_dead_lettered_total 1"]
    wanted += [f'evergate_destination_{what}_total{{kind="queue",destination="brief"}} 1' for what in ("expired", "dead_lettered")]
    deadline = time.monotonic() + 10
    while not set(wanted) <= set((text := gateway.get("/metrics")[1]).splitlines()):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    # What happened in a queue that is gone is not forgotten.
    admin = Admin(gateway)
    admin.result("queue.delete", queue="brief")
    while 'destination="brief"' in (text := gateway.get("/metrics")[1]):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    assert set(wanted[:2]) <= set(text.splitlines())
    admin.close()
    publisher.close()
