"""What the README and the docs show works as it stands there."""

import re
import shutil
import subprocess
import sys
import time

import pytest

from lib.gateway import ROOT, Gateway, binary

README = (ROOT / "README.md").read_text()
OPERATING = (ROOT / "docs/operating.md").read_text()
USUAL_PORTS = {"1883": "mqtt", "5672": "amqp", "61613": "stomp", "15672": "http"}


@pytest.fixture(scope="module")
def gateway():
    with Gateway() as running:
        yield running


def here(text, gateway):
    """The text with this gateway's ports in place of the usual ones."""
    for usual, name in USUAL_PORTS.items():
        text = re.sub(rf"\b{usual}\b", str(gateway.ports[name]), text)
    return text


def commands(starting_with):
    lines = re.findall(rf"^    ({re.escape(starting_with)}.*)$", README, re.MULTILINE)
    assert lines, f"the README shows no command that starts with {starting_with}"
    return lines


def python_blocks():
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def own_client(line, gateway):
    return re.sub(r"^target/release/evergate (sub|pub)", rf"{binary()} \1 --port {gateway.ports['mqtt']}", line)


class Subscriber:
    """The README's `evergate sub`, running until it has seen `count` messages."""

    def __init__(self, gateway, count):
        line = own_client(commands("target/release/evergate sub")[0], gateway)
        self.process = subprocess.Popen(f"exec {line} --count {count}", shell=True, stdout=subprocess.PIPE, text=True)
        self.wait_attached(gateway)

    def wait_attached(self, gateway):
        deadline = time.monotonic() + 10
        while '"kind":"session"' not in overview(gateway):
            assert time.monotonic() < deadline, "the subscriber did not attach"
            time.sleep(0.1)

    def lines(self):
        out, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        return out.splitlines()


def overview(gateway):
    import urllib.request

    with urllib.request.urlopen(gateway.url("/api/overview"), timeout=5) as answer:
        return answer.read().decode()


def test_every_way_to_publish_in_the_readme_reaches_its_subscriber(gateway):
    subscriber = Subscriber(gateway, 4)
    subprocess.run(own_client(commands("target/release/evergate pub")[0], gateway), shell=True, check=True, timeout=20)
    assert shutil.which("mosquitto_pub"), "install mosquitto-clients"
    subprocess.run(here(commands("mosquitto_pub")[0], gateway), shell=True, check=True, timeout=20)
    assert len(python_blocks()) == 2
    for block in python_blocks():
        subprocess.run([sys.executable, "-c", here(block, gateway)], check=True, timeout=20)
    assert subscriber.lines() == [f'shop/eu/orders {{"id":{n}}}' for n in (1, 2, 3, 4)]


def test_a_queue_has_the_name_in_mqtt_that_the_readme_says(gateway):
    port = str(gateway.ports["mqtt"])
    subprocess.run([binary(), "pub", "--port", port, "$queue/orders", "kept"], check=True, timeout=20)
    taken = subprocess.run(
        [binary(), "sub", "--port", port, "$queue/orders", "--count", "1"],
        check=True, timeout=20, capture_output=True, text=True,
    )
    assert taken.stdout == "$queue/orders kept\n"


def test_the_account_that_operating_shows_how_to_make_opens_the_door(tmp_path):
    password = re.search(r"echo '([^']+)' \| evergate user hash (\w+)", OPERATING)
    hashed = subprocess.run(
        [binary(), "user", "hash", password[2]], input=password[1] + "\n", check=True, capture_output=True, text=True
    ).stdout
    settings = tmp_path / "evergate.toml"
    settings.write_text(hashed)
    checked = subprocess.run([binary(), "config", "check", "--config", settings], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout.splitlines()[0]) == (0, "OK")
    gateway = Gateway()
    (gateway.directory / "evergate.toml").write_text(hashed)
    with gateway:
        login = ["--port", str(gateway.ports["mqtt"]), "--user", password[2]]
        good = [binary(), "pub", *login, "--password", password[1], "a", "b"]
        assert subprocess.run(good, timeout=20).returncode == 0
        wrong = [binary(), "pub", *login, "--password", "guess", "a", "b"]
        assert subprocess.run(wrong, timeout=20, capture_output=True).returncode == 1


def test_listening_beyond_loopback_without_an_account_is_refused_as_operating_says():
    gateway = Gateway(environment={"EVERGATE__LISTEN__MQTT": "0.0.0.0:0"})
    gateway.launch()
    assert gateway.process.wait(10) == 2
    assert "evergate user hash" in gateway.log
    gateway.remove()


def test_a_second_gateway_on_the_same_directory_is_refused_and_names_the_first(gateway):
    second = Gateway(journal=gateway.journal)
    second.launch()
    assert second.process.wait(10) == 1
    assert str(gateway.pid) in second.log
    second.remove()


def test_a_port_in_use_names_its_owner(gateway):
    second = Gateway(environment={"EVERGATE__LISTEN__MQTT": f"127.0.0.1:{gateway.ports['mqtt']}"})
    second.launch()
    assert second.process.wait(10) == 1
    assert str(gateway.ports["mqtt"]) in second.log and str(gateway.pid) in second.log
    second.remove()


def test_it_logs_each_listener_says_when_it_is_ready_and_stops_cleanly():
    fresh = Gateway()
    with fresh:
        for name, port in fresh.ports.items():
            assert re.search(rf"listening for {name} .*:{port}\b", fresh.log)
        assert re.search(r"is ready ready_ms=\d+", fresh.log)
        assert fresh.stop() == 0
        assert "stopped" in fresh.log
