"""Free ports on loopback."""

import socket


def free_port():
    """A port that was free a moment ago, and that the system does not hand out again at once."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
