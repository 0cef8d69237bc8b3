"""Gateways for a test, with settings of its own."""

from contextlib import contextmanager

from lib.gateway import Gateway


@contextmanager
def gateways():
    """Gives what starts one. In the end none may have panicked, and nothing is left of them."""
    started = []

    def start(environment, journal=None):
        gateway = Gateway(journal=journal, environment=environment)
        started.append(gateway)
        return gateway.start()

    yield start
    for gateway in started:
        assert "panicked" not in gateway.log
        gateway.remove()
