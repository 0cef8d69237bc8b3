import itertools
import os

import pytest

from interop.clients.node import NodeClient, NodeDriver
from interop.clients.paho import Paho
from interop.clients.proton_blocking import Proton
from interop.clients.stomp_py import StompPy
from interop.messages import Address
from lib.gateway import Gateway

_names = itertools.count(1)


class Running:
    """A gateway, or whatever listens at given ports, that somebody else started."""

    def __init__(self, ports):
        self.ports = ports


@pytest.fixture(scope="session")
def gateway():
    """One gateway for all interop tests. INTEROP_PORTS=mqtt=1883,amqp=5672,… uses a running server."""
    given = os.environ.get("INTEROP_PORTS")
    if given:
        yield Running({name: int(port) for name, port in (pair.split("=") for pair in given.split(","))})
        return
    with Gateway() as started:
        yield started
        assert started.is_running(), f"the gateway ended by itself:\n{started.log[-4000:]}"
        assert started.stop() == 0, "SIGTERM did not end it cleanly"


@pytest.fixture(scope="session")
def node():
    driver = NodeDriver()
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def open_client(gateway, node):
    """Opens a client by its name in `expected.FAMILY`."""

    def open_client(kind):
        if kind == "paho-mqtt-3.1.1":
            return Paho(gateway, 4)
        if kind == "paho-mqtt-5":
            return Paho(gateway, 5)
        if kind == "stomp.py":
            return StompPy(gateway)
        if kind == "qpid-proton":
            return Proton(gateway)
        return NodeClient(node, gateway, kind)

    return open_client


@pytest.fixture
def queue_address():
    return Address("queue", f"interop-{next(_names)}")


@pytest.fixture
def topic_address():
    return Address("topic", f"interop/{next(_names)}")
