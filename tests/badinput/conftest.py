import pytest

from lib.gateway import Gateway

# Short, so that tests of the time limit are; long enough for an honest client on a machine under load.
HANDSHAKE_SECONDS = 2


@pytest.fixture(scope="session")
def gateway():
    with Gateway(environment={"EVERGATE__LIMITS__HANDSHAKE_SECONDS": str(HANDSHAKE_SECONDS)}) as started:
        yield started
        assert started.is_running(), f"the gateway ended by itself:\n{started.log[-4000:]}"
        assert started.stop() == 0, "SIGTERM did not end it cleanly"
        assert "panicked" not in started.log
