"""Accounts are checked in every protocol, and every listener can have TLS, with off-the-shelf clients."""

import ssl
import subprocess
import threading
import urllib.error
import urllib.request

import paho.mqtt.client as mqtt
import pytest
import stomp
from proton import ConnectionException, Message, SSLDomain
from proton.utils import BlockingConnection

from lib.gateway import Gateway, binary
from lib.ports import free_port

SECONDS = 10
PASSWORD = "correct horse"
TLS_NAMES = ("mqtt", "amqp", "stomp", "http")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One gateway with an account; each protocol in clear and, at `tls[name]`, with TLS."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    user = subprocess.run(
        [binary(), "user", "hash", "ada"], input=PASSWORD + "\n", check=True, capture_output=True, text=True
    ).stdout
    gateway = Gateway()
    gateway.certificate = certificate
    gateway.tls = {name: free_port() for name in TLS_NAMES}
    listeners = "".join(
        f'[[listener]]\nprotocol = "{name}"\naddress = "127.0.0.1:{port}"\ntls = true\n'
        for name, port in gateway.tls.items()
    )
    settings = f'{listeners}[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n{user}'
    (gateway.directory / "evergate.toml").write_text(settings)
    with gateway:
        yield gateway


def ports(gateway, secure):
    return gateway.tls if secure else gateway.ports


def mqtt_login(gateway, secure, user, password, websocket=False):
    """The CONNACK's reason, after one message went round if it is 0."""
    transport = "websockets" if websocket else "tcp"
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, transport=transport)
    if websocket:
        client.ws_set_options(path="/mqtt")
    if secure:
        client.tls_set(ca_certs=str(gateway.certificate))
    if user:
        client.username_pw_set(user, password)
    answered, arrived, reasons = threading.Event(), threading.Event(), []
    client.on_connect = lambda _, __, ___, reason, ____: (reasons.append(reason.value), answered.set())
    client.on_subscribe = lambda *_: client.publish("secret/topic", b"x", qos=1)
    client.on_message = lambda *_: arrived.set()
    client.connect("localhost" if secure else "127.0.0.1", ports(gateway, secure)["http" if websocket else "mqtt"])
    client.loop_start()
    assert answered.wait(SECONDS), "no CONNACK"
    if reasons[0] == 0:
        client.subscribe("secret/#", qos=1)
        assert arrived.wait(SECONDS), "the message did not come back"
    client.disconnect()
    client.loop_stop()
    return reasons[0]


@pytest.mark.parametrize("websocket", [False, True], ids=["tcp", "websocket"])
@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
def test_mqtt(gateway, secure, websocket):
    assert mqtt_login(gateway, secure, "ada", PASSWORD, websocket) == 0
    # 0x86 bad user name or password, 0x87 not authorized. [MQTT-3.1.4-2]
    assert mqtt_login(gateway, secure, "ada", "guess", websocket) in (0x86, 0x87)
    assert mqtt_login(gateway, secure, "eve", PASSWORD, websocket) in (0x86, 0x87)
    assert mqtt_login(gateway, secure, None, None, websocket) in (0x86, 0x87)


class Answers(stomp.ConnectionListener):
    def __init__(self):
        self.errors, self.messages = [], []
        self.refused, self.arrived = threading.Event(), threading.Event()

    def on_error(self, frame):
        self.errors.append(frame.headers.get("message", ""))
        self.refused.set()

    def on_message(self, frame):
        self.messages.append(frame.body)
        self.arrived.set()


def stomp_login(gateway, secure, user, password):
    """What came back, or the ERROR's text."""
    place = [("localhost" if secure else "127.0.0.1", ports(gateway, secure)["stomp"])]
    connection = stomp.Connection12(place, reconnect_attempts_max=1)
    if secure:
        connection.set_ssl(place, ca_certs=str(gateway.certificate), ssl_version=ssl.PROTOCOL_TLS_CLIENT)
    answers = Answers()
    connection.set_listener("", answers)
    try:
        connection.connect(user, password, wait=True)
    except stomp.exception.ConnectFailedException:
        assert answers.refused.wait(SECONDS)  # stomp.py raises before it hands over the ERROR
        return answers.errors
    connection.subscribe("/topic/secret/#", id="1")
    connection.send("/topic/secret/topic", "x")
    assert answers.arrived.wait(SECONDS)
    connection.disconnect()
    return answers.messages


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
def test_stomp(gateway, secure):
    assert stomp_login(gateway, secure, "ada", PASSWORD) == ["x"]
    for user, password in [("ada", "guess"), ("eve", PASSWORD), (None, None)]:
        refused = stomp_login(gateway, secure, user, password)
        assert refused and refused != ["x"]


def amqp_login(gateway, secure, user, password):
    options = {"user": user, "password": password, "allowed_mechs": "PLAIN"} if user else {}
    url = f"{'amqps://localhost' if secure else 'amqp://127.0.0.1'}:{ports(gateway, secure)['amqp']}"
    if secure:
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(str(gateway.certificate))
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        options["ssl_domain"] = domain
    connection = BlockingConnection(url, timeout=SECONDS, allow_insecure_mechs=True, **options)
    receiver = connection.create_receiver("/topic/secret/#")
    connection.create_sender("/topic/secret/topic").send(Message(body="x"))
    body = receiver.receive(timeout=SECONDS).body
    connection.close()
    return body


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
def test_amqp(gateway, secure):
    assert amqp_login(gateway, secure, "ada", PASSWORD) == "x"
    for user, password in [("ada", "guess"), ("eve", PASSWORD), (None, None)]:
        with pytest.raises(ConnectionException):
            amqp_login(gateway, secure, user, password)


def get(gateway, secure, path, user=None, password=None):
    url = f"{'https://localhost' if secure else 'http://127.0.0.1'}:{ports(gateway, secure)['http']}{path}"
    manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    manager.add_password(None, url, user or "", password or "")
    context = ssl.create_default_context(cafile=gateway.certificate)
    opener = urllib.request.build_opener(
        urllib.request.HTTPBasicAuthHandler(manager), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
def test_http(gateway, secure):
    assert get(gateway, secure, "/health/ready") == 200
    for path in ("/", "/metrics", "/api/overview"):
        assert get(gateway, secure, path, "ada", PASSWORD) == 200
        assert get(gateway, secure, path, "ada", "guess") == 401
        assert get(gateway, secure, path) == 401


def test_a_client_in_clear_is_not_served_on_a_tls_port(gateway):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    gone = threading.Event()
    client.on_connect_fail = client.on_disconnect = lambda *_: gone.set()
    client.on_connect = lambda *_: pytest.fail("served in clear")
    client.connect("127.0.0.1", gateway.tls["mqtt"])
    client.loop_start()
    assert gone.wait(SECONDS)
    client.loop_stop()
