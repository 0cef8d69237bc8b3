"""Who causes it waits, never the others: full queues, stalled consumers, a stalled and a dead journal, short memory."""

import contextlib
import os
import signal
import socket
import time

import paho.mqtt.client as mqtt
import pytest
from proton import Delivery, Message, ProtonException
from proton.utils import BlockingConnection

from lib.postgres import Postgres
from limits.gateways import gateways

MIB = 1 << 20


def connect(gateway, **options):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311, **options)
    client.max_inflight_messages_set(10_000)
    client.received = []
    client.on_message = lambda _, __, message: client.received.append(message.payload)
    client.subscribed = []
    client.on_subscribe = lambda *_: client.subscribed.append(True)
    client.connect("127.0.0.1", gateway.ports["mqtt"])
    client.loop_start()
    return client


def subscribe(client, topic, qos=1):
    before = len(client.subscribed)
    client.subscribe(topic, qos)
    until(lambda: len(client.subscribed) > before, "SUBACK")


def publish(client, topic, body=b"x", qos=1):
    return client.publish(topic, body, qos=qos)


def confirmed(infos):
    return sum(info.is_published() for info in infos)


def until(reached, what, seconds=15):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def stays(holds, seconds=1.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert holds()
        time.sleep(0.02)


@pytest.fixture
def start():
    with gateways() as started:

        def start(journal=None, policy=None, **limits):
            environment = {"EVERGATE__POLICY": policy} if policy else {}
            environment |= {f"EVERGATE__LIMITS__{name.upper()}": str(value) for name, value in limits.items()}
            return started(environment, journal)

        yield start


@pytest.mark.parametrize("limit, size", [({"queue_messages_max": 10}, 1), ({"queue_bytes_max": "16 MiB"}, 1_677_721 - 256)])
def test_a_queue_takes_what_its_limit_says_then_its_publishers_wait_and_others_do_not(start, limit, size):
    gateway = start(**limit)
    publisher = connect(gateway)
    infos = []
    for number in range(10):
        infos.append(publish(publisher, "$queue/full", bytes(size)))
        until(lambda: infos[-1].is_published(), f"confirm {number + 1} of 10")
    # 10 x 1,677,721 is 6 bytes short of 16 MiB, so there is room for one more.
    if "queue_bytes_max" in limit:
        infos.append(publish(publisher, "$queue/full", bytes(size)))
        until(lambda: infos[-1].is_published(), "the one that crosses the limit")
    waiting = publish(publisher, "$queue/full", bytes(size))
    stays(lambda: not waiting.is_published())
    # What the same connection sends elsewhere is delivered; only its PUBACK waits in line [MQTT-4.6.0-2].
    other = connect(gateway)
    subscribe(other, "$queue/other")
    publish(publisher, "$queue/other")
    until(lambda: len(other.received) == 1, "a publish to another queue of the same connection")
    until(publish(other, "$queue/other").is_published, "another connection's publish")
    consumer = connect(gateway)
    subscribe(consumer, "$queue/full")
    until(waiting.is_published, "the waiting publish, once there is room")
    until(lambda: len(consumer.received) == len(infos) + 1, "everything delivered")


def test_a_full_queue_holds_up_one_link_of_a_connection_and_not_the_others(start):
    gateway = start(queue_messages_max=10)
    amqp = BlockingConnection(f"127.0.0.1:{gateway.ports['amqp']}", timeout=10)
    full, other = amqp.create_sender("/queue/full"), amqp.create_sender("/queue/other")
    for _ in range(10):
        full.send(Message(body="x", durable=True))
    waiting = full.link.send(Message(body="x", durable=True))
    for _ in range(5):
        other.send(Message(body="x", durable=True))
    assert not waiting.remote_state
    receiver = amqp.create_receiver("/queue/full", credit=5)
    for _ in range(5):
        receiver.receive(timeout=10)
        receiver.accept()
    amqp.wait(lambda: waiting.remote_state == Delivery.ACCEPTED, timeout=10)
    amqp.close()


def test_messages_up_to_the_limit_pass_and_one_byte_more_is_refused(start):
    gateway = start(message_bytes_max=MIB, large_message_bytes_max=MIB)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    reasons = []
    client.on_publish = lambda _, __, packet_id, reason, ___: reasons.append(reason.value)
    client.connect("127.0.0.1", gateway.ports["mqtt"])
    client.loop_start()
    client.publish("$queue/large", bytes(MIB), qos=1)
    until(lambda: len(reasons) == 1, "PUBACK")
    client.publish("$queue/large", bytes(MIB + 1), qos=1)
    until(lambda: len(reasons) == 2, "PUBACK")
    assert reasons == [0, 0x97]
    amqp = BlockingConnection(f"127.0.0.1:{gateway.ports['amqp']}", timeout=10)
    sender = amqp.create_sender("/queue/large")
    sender.send(Message(body=bytes(MIB - 100), durable=True))
    with pytest.raises(ProtonException):
        sender.send(Message(body=bytes(MIB + 1), durable=True))
    amqp.close()


def test_a_subscriber_that_does_not_read_holds_up_nobody_who_does_not_publish_to_it(start):
    gateway = start(queue_messages_max=1000, delivery_window_bytes=65536)
    # It subscribes, then its process is as good as stopped: nothing is read from the socket.
    stalled = connect(gateway, client_id="stalled", clean_session=False)
    subscribe(stalled, "news/stalled")
    stalled.loop_stop()
    reader = connect(gateway)
    subscribe(reader, "news/#")
    publisher = connect(gateway)
    infos = [publish(publisher, "news/stalled", bytes(2000)) for _ in range(3000)]
    until(lambda: 1000 <= confirmed(infos) < 3000, "the stalled subscription fills")
    before = len(reader.received)
    another = connect(gateway)
    others = [publish(another, "news/other") for _ in range(100)]
    until(lambda: confirmed(others) == 100, "publishes that do not concern the stalled one")
    until(lambda: len(reader.received) >= before + 100, "their deliveries")
    stays(lambda: confirmed(infos) < 3000, 0.5)
    stalled.loop_start()
    until(lambda: confirmed(infos) == 3000, "it reads again: the rest is confirmed")


def test_transient_messages_skip_a_subscriber_that_does_not_keep_up(start):
    gateway = start(queue_messages_max=100, delivery_window_bytes=4096)
    stalled = connect(gateway)
    subscribe(stalled, "ticks", qos=0)
    stalled.loop_stop()
    reader = connect(gateway)
    subscribe(reader, "ticks", qos=0)
    publisher = connect(gateway)
    for sent in range(20, 4020, 20):
        for _ in range(20):
            publish(publisher, "ticks", bytes(2000), qos=0)
        # Before the next: whoever is so many behind that its queue is full would be skipped as well.
        until(lambda sent=sent: len(reader.received) == sent, "the subscriber that reads misses nothing")


def test_memory_that_one_queue_fills_stops_only_its_publishers(start):
    gateway = start(message_bytes_max=MIB, memory_bytes_max="64 MiB", publish_window_bytes="8 MiB")
    filler = connect(gateway)
    # Transient messages to a queue that nobody reads: they cannot leave memory.
    infos = [publish(filler, "$queue/unread", bytes(100_000), qos=0) for _ in range(2000)]
    del infos
    time.sleep(2)
    other = connect(gateway)
    durable = [publish(other, "$queue/durable", bytes(100_000)) for _ in range(1000)]
    until(lambda: confirmed(durable) == 1000, "100 MB of durable messages through 64 MiB of memory", 60)
    assert gateway.rss_bytes() < 300 * MIB
    consumer = connect(gateway)
    subscribe(consumer, "$queue/durable")
    until(lambda: len(consumer.received) == 1000, "all of them read back in order", 60)


@pytest.fixture
def postgres():
    server = Postgres().start()
    yield server
    server.remove()


@contextlib.contextmanager
def stalled(postgres):
    """For so long it answers nothing."""
    pid = postgres.process.pid
    processes = [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def test_a_stalled_journal_holds_up_durable_messages_and_nothing_else(start, postgres):
    gateway = start(journal=postgres.url)
    client = connect(gateway)
    subscribe(client, "t/#", qos=1)
    until(publish(client, "$queue/q").is_published, "a first confirm")
    with stalled(postgres):
        waiting = publish(client, "$queue/q")
        for number in range(50):
            publish(client, "t/transient", str(number).encode(), qos=0)
        until(lambda: len(client.received) == 50, "transient messages while the journal stalls")
        stays(lambda: not waiting.is_published(), 2)
    until(waiting.is_published, "the confirm, once the journal goes on")


def test_at_connections_max_health_and_metrics_answer_and_the_refused_are_counted_and_told(start):
    gateway = start(connections_max=2)
    watcher, _other = connect(gateway), connect(gateway)
    subscribe(watcher, "_LOG/warn", 0)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", gateway.ports["mqtt"])) as refused:
            assert refused.recv(1) == b""
    assert gateway.get("/health/ready")[0] == 200
    assert "evergate_connections_refused_total 3" in gateway.get("/metrics")[1]
    until(lambda: watcher.received, "the event")
    assert len(watcher.received) == 1 and b"a connection was refused" in watcher.received[0]


def test_while_the_journal_does_not_answer_the_gateway_is_not_ready(start, postgres):
    gateway = start(journal=postgres.url)
    client = connect(gateway)
    until(publish(client, "$queue/q").is_published, "a first confirm")
    with stalled(postgres):
        waiting = publish(client, "$queue/q")
        until(lambda: not gateway.is_ready(), "it is no longer ready")
        status, reason = gateway.get("/health/ready")
        assert status == 503 and "PostgreSQL" in reason and "has not answered" in reason
        metrics = gateway.get("/metrics")[1]
        assert "evergate_ready 0" in metrics and "evergate_journal_pending_records 0" not in metrics
    until(gateway.is_ready, "it is ready again")
    until(waiting.is_published, "the confirm")
    assert "evergate_ready 1" in gateway.get("/metrics")[1]


def test_the_end_of_postgresql_is_noticed_though_nobody_publishes(start, postgres):
    gateway = start(journal=postgres.url)
    postgres.kill()
    assert gateway.process.wait(15) == 1
    assert "the connection to PostgreSQL ended" in gateway.log and "start again" in gateway.log


def test_a_dead_journal_ends_the_gateway_with_a_reason(start, postgres):
    gateway = start(journal=postgres.url)
    client = connect(gateway)
    until(publish(client, "$queue/q").is_published, "a first confirm")
    postgres.kill()
    waiting = publish(client, "$queue/q")
    assert gateway.process.wait(15) == 1
    # Where the gateway had ended already, paho says at once that it cannot send.
    assert waiting.rc != mqtt.MQTT_ERR_SUCCESS or not waiting.is_published()
    assert "the journal failed" in gateway.log and "start again" in gateway.log


def test_by_policy_a_subscriber_that_does_not_keep_up_is_disconnected_and_the_log_says_so(start):
    policy = '[{match = "$session/sleeper", messages_max = 200, on_full = "disconnect"}]'
    gateway = start(policy=policy)
    watcher, reader = connect(gateway), connect(gateway)
    subscribe(watcher, "_LOG/#", 0)
    subscribe(reader, "news")
    # A client that subscribes and never reads again.
    sleeper = connect(gateway, client_id="sleeper")
    subscribe(sleeper, "news")
    sleeper.loop_stop()
    publisher = connect(gateway)
    infos = [publish(publisher, "news", b"x" * 1000) for _ in range(5000)]
    until(lambda: confirmed(infos) == 5000, "all are confirmed", 60)
    until(lambda: len(reader.received) == 5000, "the other subscriber has all", 60)
    told = lambda: [line for line in watcher.received if b"does not keep up" in line and b"sleeper" in line]
    until(lambda: told(), "the event log names the client")
