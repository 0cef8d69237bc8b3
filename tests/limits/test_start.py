"""A start that cannot succeed, or not yet: it ends in time, with the place of the trouble and what to do."""

import signal
import socket
import time

import pytest

from lib.gateway import Gateway


@pytest.fixture
def silent():
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def gateway():
    gateway = Gateway()
    yield gateway
    gateway.remove()


def test_a_postgresql_that_says_nothing_ends_the_start_with_its_address(gateway, silent):
    gateway.journal = f"postgres://evergate@127.0.0.1:{silent}/x?connect_timeout=1"
    gateway.launch()
    assert gateway.process.wait(10) == 1
    assert f"127.0.0.1:{silent}" in gateway.log and "not answered within 1 s" in gateway.log


def test_a_signal_ends_a_start_that_waits(gateway, silent):
    gateway.journal = f"postgres://evergate@127.0.0.1:{silent}/x"
    gateway.launch()
    deadline = time.monotonic() + 10
    while not _listens(gateway.ports["mqtt"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(5) == 0


@pytest.mark.parametrize("events_file", ["", "off"])
def test_a_data_directory_that_cannot_be_used_is_named(gateway, events_file):
    data = gateway.directory / "data"
    data.write_text("a file")
    gateway.environment["EVERGATE__LOG__EVENTS_FILE"] = events_file
    gateway.launch()
    assert gateway.process.wait(10) == 1
    assert f"directory {data}" in gateway.log and "name another directory in [journal] url" in gateway.log
    assert "events_file" not in gateway.log


def test_the_reason_of_an_end_is_written_though_the_filter_hides_it(gateway):
    with socket.create_server(("127.0.0.1", 0)) as other:
        gateway.ports["stomp"] = other.getsockname()[1]
        gateway.environment["EVERGATE__LOG__FILTER"] = "off"
        gateway.launch()
        assert gateway.process.wait(10) == 1
    assert "is in use" in gateway.log and len(gateway.log.splitlines()) == 1


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
