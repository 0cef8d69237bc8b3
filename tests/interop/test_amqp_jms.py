"""Apache Qpid JMS: what a JMS application does, by the checks in jms/src/main/java. Needs a JDK and Maven."""

import re
import subprocess
import time

import paho.mqtt.client as mqtt
import pytest
import stomp
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lib.gateway import ROOT, Gateway

MAVEN_SECONDS, CHECKS_SECONDS = 300, 180
pytestmark = pytest.mark.timeout(MAVEN_SECONDS + CHECKS_SECONDS)

PROJECT = ROOT / "tests/interop/jms"
BUILT = ROOT / "tests/.cache/jms"
CLASSES = ("Queues", "Subscriptions", "Transactions", "Sizes")
SMALL = {
    "EVERGATE__LIMITS__TRANSACTION_MESSAGES_MAX": "4",
    "EVERGATE__AMQP__UNSETTLED_PER_LINK_MAX": "10",
    "EVERGATE__LIMITS__TRANSACTION_AGE_SECONDS_MAX": "2",
}
POLICIES = """
[[policy]]
match = "jms-full"
messages_max = 2
on_full = "reject"

[[policy]]
match = "jms-not-made"
auto_create = false
"""


def checks(*classes):
    texts = ((PROJECT / f"src/main/java/{name}.java").read_text() for name in classes)
    return [check for text in texts for check in re.findall(r"public static void (\w+)\(", text)]


@pytest.fixture(scope="module")
def classpath():
    subprocess.run(["mvn", "-q", "-B", "process-classes"], cwd=PROJECT, check=True, timeout=MAVEN_SECONDS)
    return f"{BUILT / 'classes'}:{(BUILT / 'classpath').read_text()}"


def run(classpath, gateway, *classes):
    """The word on each check; all of them run in one virtual machine."""
    address = f"amqp://127.0.0.1:{gateway.ports['amqp']}?jms.requestTimeout=10000"
    command = ["java", "-cp", classpath, "Checks", address, *classes]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=CHECKS_SECONDS)
    assert ran.returncode == 0, ran.stderr
    return dict(line.split("\t", 1) for line in ran.stdout.splitlines())


@pytest.fixture(scope="module")
def results(classpath, gateway):
    return run(classpath, gateway, *CLASSES)


@pytest.fixture(scope="module")
def results_of_limits(classpath):
    small = Gateway(environment=SMALL)
    (small.directory / "evergate.toml").write_text(POLICIES)
    with small as gateway:
        return run(classpath, gateway, "Limits")


class StompSide(stomp.ConnectionListener):
    """Answers requests, and makes one to be answered at a queue and one at a topic."""

    def __init__(self, gateway):
        self.answers = []
        self.connection = stomp.Connection12([("127.0.0.1", gateway.ports["stomp"])])
        self.connection.set_listener("", self)
        self.connection.connect(wait=True)
        for number, at in enumerate(("/queue/jms-stomp-requests", "/queue/stomp-asks", "/topic/stomp/asks")):
            self.connection.subscribe(at, id=str(number), headers={"receipt": at})
        for at in ("/queue/stomp-asks", "/topic/stomp/asks"):
            self.connection.send("/queue/jms-requests-by-stomp", "?", headers={"reply-to": at})

    def on_message(self, frame):
        if "reply-to" in frame.headers:
            self.connection.send(frame.headers["reply-to"], f"re: {frame.body}")
        else:
            self.answers.append((frame.headers["destination"], frame.body))

    expected = [("/queue/stomp-asks", "Queue"), ("/topic/stomp/asks", "Topic")]


class MqttSide:
    """The same."""

    def __init__(self, gateway):
        self.answers, self.subscribed = [], []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self.on_message
        self.client.on_subscribe = lambda *arguments: self.subscribed.append(arguments)
        self.client.connect("127.0.0.1", gateway.ports["mqtt"])
        self.client.loop_start()
        for at in ("$queue/jms-mqtt-requests", "$queue/mqtt-asks", "mqtt/asks"):
            self.client.subscribe(at, qos=1)
        wait_until(lambda: len(self.subscribed) == 3)
        for at in ("$queue/mqtt-asks", "mqtt/asks"):
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic = at
            self.client.publish("$queue/jms-requests-by-mqtt", b"?", qos=1, properties=properties)

    def on_message(self, client, _, message):
        if hasattr(message.properties, "ResponseTopic"):
            client.publish(message.properties.ResponseTopic, b"re: " + message.payload, qos=1)
        else:
            self.answers.append((message.topic, message.payload.decode()))

    expected = [("$queue/mqtt-asks", "Queue"), ("mqtt/asks", "Topic")]


def wait_until(true):
    until = time.monotonic() + 5
    while not true() and time.monotonic() < until:
        time.sleep(0.02)


@pytest.fixture(scope="module")
def replies(classpath, gateway):
    """The word on each check, and both of the clients that they are about."""
    sides = StompSide(gateway), MqttSide(gateway)
    return run(classpath, gateway, "Replies"), sides


@pytest.mark.parametrize("check", checks("Replies"))
def test_between_protocols_a_jms_application_finds_that(replies, check):
    assert replies[0].get(check) == "ok"


@pytest.mark.parametrize("side", [0, 1], ids=["STOMP", "MQTT"])
def test_what_a_jms_application_answers_comes_to_where_it_was_asked_for(replies, side):
    side = replies[1][side]
    wait_until(lambda: len(side.answers) >= len(side.expected))
    assert sorted(side.answers) == sorted(side.expected)


@pytest.mark.parametrize("check", checks(*CLASSES))
def test_a_jms_application_finds_that(results, check):
    assert results.get(check) == "ok"


@pytest.mark.parametrize("check", checks("Limits"))
def test_at_a_limit_a_jms_application_finds_that(results_of_limits, check):
    assert results_of_limits.get(check) == "ok"
