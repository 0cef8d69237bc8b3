"""Names that begin with `_` are the gateway's own: no client forges what stands there, whatever way its messages take;
and only administrators have requests carried out."""

import json
import queue
import subprocess
import threading
import uuid

import paho.mqtt.client as mqtt
import pytest
import stomp
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from proton import Message
from proton.utils import BlockingConnection, LinkDetached, SendException

from lib.gateway import Gateway, binary

SECONDS = 10
PASSWORD = "correct horse"
FORGED = ("$queue/_ADMIN", "_ADMIN", "$queue/_DMQ", "_LOG/forged", "_PRESENCE/forged", "_x")


@pytest.fixture(scope="module")
def gateway():
    """With an administrator, root, and joe, who is none."""
    hashed = [
        subprocess.run(
            [binary(), "user", "hash", name], input=PASSWORD + "\n", check=True, capture_output=True, text=True
        ).stdout
        for name in ("joe", "root")
    ]
    gateway = Gateway()
    (gateway.directory / "evergate.toml").write_text(f"{hashed[0]}\n{hashed[1]}\nadmin = true\n")
    with gateway:
        yield gateway


class Mqtt:
    def __init__(self, gateway, user, version=5, will=None):
        self.inbox, self.answers = queue.Queue(), queue.Queue()
        protocol = mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=protocol, reconnect_on_failure=False)
        self.client.username_pw_set(user, PASSWORD)
        if will:
            self.client.will_set(**will)
        self.client.on_connect = lambda _, __, ___, reason, ____: self.answers.put(reason)
        self.client.on_subscribe = lambda *_: self.answers.put(True)
        self.client.on_publish = lambda _, __, ___, reason, ____: self.answers.put(reason)
        self.client.on_message = lambda _, __, message: self.inbox.put(message)
        self.client.connect("127.0.0.1", gateway.ports["mqtt"])
        self.client.loop_start()
        self.connack = self.answers.get(timeout=SECONDS)

    def subscribe(self, *topics):
        self.client.subscribe([(topic, 1) for topic in topics])
        self.answers.get(timeout=SECONDS)

    def vanish(self):
        self.client._sock_close()
        self.client.loop_stop()

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def request(created, reply_to):
    """A request to create a queue, with where the answer goes."""
    properties = Properties(PacketTypes.WILLMESSAGE)
    properties.ResponseTopic = reply_to
    body = json.dumps({"op": "queue.create", "args": {"queue": created}})
    return {"payload": body, "qos": 1, "properties": properties}


@pytest.mark.parametrize("topic", FORGED)
@pytest.mark.parametrize("version", [4, 5])
def test_a_will_to_a_reserved_name_is_refused(gateway, topic, version):
    client = Mqtt(gateway, "joe", version, {"topic": topic, "payload": "forged", "qos": 1})
    # paho has 5's words for 3.1.1's codes.
    assert client.connack.value == 0x87
    client.close()


def test_only_an_administrator_s_will_is_carried_out(gateway):
    watcher = Mqtt(gateway, "joe")
    watcher.subscribe("answers/#")
    for user, connack in (("joe", 0x87), ("root", 0)):
        will = {"topic": "$queue/_ADMIN", **request(f"by-will-{user}", f"answers/{user}")}
        client = Mqtt(gateway, user, will=will)
        assert client.connack.value == connack
        client.vanish()
    assert watcher.inbox.get(timeout=SECONDS).topic == "answers/root"
    assert watcher.inbox.empty()
    # The gateway's other names are nobody's.
    client = Mqtt(gateway, "root", will={"topic": "_LOG/forged", "payload": "forged"})
    assert client.connack.value == 0x87
    watcher.close()


def publish_mqtt(gateway, topic, body, retain):
    client = Mqtt(gateway, "joe")
    client.client.publish(topic, body, qos=1, retain=retain)
    refused = client.answers.get(timeout=SECONDS).is_failure
    client.close()
    return refused


def stomp_address(topic):
    return f"/queue/{topic.removeprefix('$queue/')}" if topic.startswith("$queue/") else f"/topic/{topic}"


def publish_stomp(gateway, topic, body, transaction):
    connection = stomp.Connection12([("127.0.0.1", gateway.ports["stomp"])], reconnect_attempts_max=1)
    refused = threading.Event()
    listener = stomp.ConnectionListener()
    listener.on_error = lambda _: refused.set()
    connection.set_listener("", listener)
    connection.connect("joe", PASSWORD, wait=True)
    if transaction:
        identifier = connection.begin()
        connection.send(stomp_address(topic), body, persistent="true", transaction=identifier)
        connection.commit(identifier)
    else:
        connection.send(stomp_address(topic), body, persistent="true", receipt="1")
    return refused.wait(SECONDS)


def publish_amqp(gateway, topic, body, anonymous):
    connection = BlockingConnection(
        f"127.0.0.1:{gateway.ports['amqp']}", user="joe", password=PASSWORD, allowed_mechs="PLAIN",
        allow_insecure_mechs=True, timeout=SECONDS,
    )
    try:
        address = stomp_address(topic)
        sender = connection.create_sender(None if anonymous else address)
        sender.send(Message(body=body, address=address, durable=True))
        return False
    except (LinkDetached, SendException):
        return True
    finally:
        connection.close()


@pytest.mark.parametrize("topic", FORGED)
@pytest.mark.parametrize("publish", [publish_mqtt, publish_stomp, publish_amqp])
@pytest.mark.parametrize("other", [False, True], ids=["plain", "retained, in a transaction, by message"])
def test_no_way_in_leads_to_a_reserved_name(gateway, topic, publish, other):
    watcher = Mqtt(gateway, "joe")
    watcher.subscribe("_LOG/#", "_PRESENCE/#", "_x", "$queue/_DMQ")
    body = f"forged {uuid.uuid4().hex}"
    assert publish(gateway, topic, body, other)
    watcher.subscribe("end")
    watcher.client.publish("end", "end", qos=1)
    bodies = []
    while not bodies or bodies[-1] != b"end":
        bodies.append(watcher.inbox.get(timeout=SECONDS).payload)
    assert body.encode() not in bodies
    watcher.close()


@pytest.mark.parametrize("publish", [publish_mqtt, publish_stomp, publish_amqp])
def test_nobody_publishes_to_the_queue_of_another_s_session(gateway, publish):
    member = Mqtt(gateway, "joe")
    member.subscribe("$share/group/members")
    assert publish(gateway, "$queue/$share/group/members", "forged", False)
    assert member.inbox.empty()
    member.close()
