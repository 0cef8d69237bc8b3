"""What a case of the corpus is, and how one is played."""

import select
import socket
import time
from dataclasses import dataclass

# How long the gateway may take for its word. Far above what it takes; a machine under load is no failure.
REACTION_SECONDS = 5


@dataclass(frozen=True)
class Case:
    """Bytes that mean harm, and the words that must come back.

    `expect` reads «DISCONNECT 0x82, closed»: the answers in order, each as its protocol's module puts it
    into words, `closed` for the end of the connection. A word may be cut short; «…» first stands for any
    answers. Without `closed` the connection has to be open still when the words are complete.
    """

    name: str
    send: bytes
    expect: str
    after: str  # the opening of the protocol that comes first, by its name there
    half_close: bool = False  # the peer says that it will send no more

    def words(self):
        return self.expect.split(", ")


class Peer:
    """A socket that sends without waiting for answers and collects them."""

    def __init__(self, port):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), REACTION_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.received = bytearray()
        self.closed = False

    def exchange(self, data, enough=lambda: False, seconds=REACTION_SECONDS):
        """Sends and reads until it has read enough, the gateway closes, or time is up.

        PORT in the bytes is the port's number. Returns how many bytes could not be sent.
        """
        view = memoryview(data.replace(b"PORT", str(self.port).encode()))
        deadline = time.monotonic() + seconds
        while not self.closed and not (not view and enough()):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            readable, writable, _ = select.select([self.socket], [self.socket] if view else [], [], left)
            if writable:
                view = self._send(view)
            if readable:
                self._receive()
        return len(view)

    def _send(self, view):
        try:
            return view[self.socket.send(view) :]
        except BlockingIOError:
            return view
        except OSError:
            return memoryview(b"")  # closed by the gateway: its last words are still to be read

    def _receive(self):
        try:
            chunk = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self.received += chunk
        self.closed = not chunk

    def flood(self, data, seconds):
        """Sends and never reads, until the gateway takes no more for half a second or time is up.

        Returns how much it took, and whether it still took.
        """
        data = memoryview(data)
        sent, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not select.select([], [self.socket], [], 0.5)[1]:
                return sent, False
            try:
                sent += self.socket.send(data[sent % len(data) :])
            except OSError:
                return sent, False
        return sent, True

    def half_close(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the gateway was faster

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def opened(protocol, port, opening):
    """A peer that has done an opening of the protocol, step by step."""
    peer = Peer(port)
    for data, words in protocol.OPENINGS[opening]:
        wanted = words.split(", ")
        peer.exchange(data, lambda: agrees(heard(protocol, peer), wanted))
        assert agrees(heard(protocol, peer), wanted), f"the opening {opening} got {heard(protocol, peer)}"
        peer.received.clear()
    return peer


def heard(protocol, peer):
    return protocol.words(bytes(peer.received)) + (["closed"] if peer.closed else [])


def agrees(words, wanted):
    # An AMQP session's window is widened when there is room for more: also after the answer.
    while words and words[-1] == "flow" and not wanted[-1].startswith("flow"):
        words = words[:-1]
    if wanted[0] == "…":
        wanted = wanted[1:]
        words = words[-len(wanted) :]
    return len(words) == len(wanted) and all(map(str.startswith, words, wanted))


def play(protocol, port, case):
    """Plays a case; returns what was heard."""
    wanted = case.words()
    with opened(protocol, port, case.after) as peer:
        if case.half_close:
            peer.exchange(case.send, lambda: True)
            peer.half_close()
        # Whoever is to be closed is read to the end; else the words alone are waited for.
        enough = (lambda: False) if wanted[-1] == "closed" else (lambda: agrees(heard(protocol, peer), wanted))
        peer.exchange(b"" if case.half_close else case.send, enough)
        return heard(protocol, peer)
