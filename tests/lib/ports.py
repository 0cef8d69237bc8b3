"""Free ports on loopback."""

import socket


_given = set()


def free_port():
    """A port that was free a moment ago, and that was not given out before."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
