"""QoS 1 publishes that a client sends again because it saw no PUBACK: over a lost connection, a takeover, and kill -9."""

import socket
import struct

import pytest

from limits.trace import JOURNALS, Journal

CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90
every_journal = pytest.mark.parametrize("kind", JOURNALS)


def text(value):
    return struct.pack(">H", len(value)) + value.encode()


def packet(first, body):
    length, rest = bytearray(), len(body)
    while True:
        length.append(rest % 128 | (0x80 if rest >= 128 else 0))
        rest //= 128
        if not rest:
            return bytes([first]) + bytes(length) + body


class Client:
    """MQTT 3.1.1, packet by packet: no library sends a message twice on purpose."""

    def __init__(self, gateway, name, clean=False):
        self.socket = socket.create_connection(("127.0.0.1", gateway.ports["mqtt"]), timeout=10)
        self.reader = self.socket.makefile("rb")
        self.socket.sendall(packet(0x10, b"\0\4MQTT\4" + bytes([2 if clean else 0, 0, 0]) + text(name)))
        _, connack = self.read(CONNACK)
        assert connack[1] == 0
        self.session_present = connack[0] == 1

    def read(self, kind):
        first = self.reader.read(1)
        assert first, "the gateway closed the connection"
        length, shift = 0, 0
        while True:
            byte = self.reader.read(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        body = self.reader.read(length)
        assert first[0] & 0xF0 == kind, (first, body)
        return first[0], body

    def publish(self, packet_id, payload, dup=False, topic="$queue/resent"):
        first = PUBLISH | 2 | (8 if dup else 0)
        self.socket.sendall(packet(first, text(topic) + struct.pack(">H", packet_id) + payload))

    def confirmed(self, packet_id):
        assert self.read(PUBACK)[1] == struct.pack(">H", packet_id)

    def all_of(self, queue):
        """What is in a queue, taken from it."""
        self.socket.sendall(packet(0x82, struct.pack(">H", 1) + text(queue) + b"\1"))
        self.read(SUBACK)
        self.publish(65535, b"the end", topic=queue)
        found, confirmed = [], False
        while not (confirmed and found[-1:] == [b"the end"]):
            first = self.reader.peek(1)[:1]
            if first[0] & 0xF0 == PUBACK:
                self.confirmed(65535)
                confirmed = True
                continue
            _, body = self.read(PUBLISH)
            after = 2 + struct.unpack(">H", body[:2])[0]
            found.append(body[after + 2 :])
            self.socket.sendall(packet(PUBACK, body[after : after + 2]))
        return found[:-1]

    def vanish(self):
        self.reader.close()
        self.socket.close()


def stored(gateway):
    """Waits for the commit of what was sent: its PUBACK, which the client loses."""
    reader = Client(gateway, "reader", clean=True)
    found = reader.all_of("$queue/resent")
    reader.vanish()
    return found


@every_journal
@pytest.mark.parametrize("how", ["lost", "taken over", "crashed"])
def test_a_message_whose_puback_was_lost_is_stored_once(kind, how):
    with Journal(kind) as journal:
        first = Client(journal.gateway, "sender")
        for packet_id in (1, 2, 3):
            first.publish(packet_id, f"message {packet_id}".encode())
        for packet_id in (1, 2, 3):
            first.confirmed(packet_id)  # it came; the client is about to forget that
        if how != "taken over":
            first.vanish()
        if how == "crashed":
            journal.crash()
        again = Client(journal.gateway, "sender")
        assert again.session_present
        for packet_id in (2, 3):
            again.publish(packet_id, f"message {packet_id}".encode(), dup=True)
        # New ones, one of them under an identifier that was used before.
        again.publish(1, b"new", dup=True)
        again.publish(4, b"message 4", dup=True)
        for packet_id in (2, 3, 1, 4):
            again.confirmed(packet_id)
        # Once more, of what two connections sent.
        again.vanish()
        third = Client(journal.gateway, "sender")
        for packet_id, payload in ((3, b"message 3"), (1, b"new"), (4, b"message 4")):
            third.publish(packet_id, payload, dup=True)
            third.confirmed(packet_id)
        assert stored(journal.gateway) == [b"message 1", b"message 2", b"message 3", b"new", b"message 4"]


@every_journal
def test_kill_9_between_commit_and_puback_stores_nothing_twice(kind):
    with Journal(kind) as journal:
        Client(journal.gateway, "sender").vanish()
        expected = []
        for round_number in range(6):
            sender = Client(journal.gateway, "sender")
            assert sender.session_present
            payloads = [f"{round_number} {number}".encode() for number in range(200)]
            for number, payload in enumerate(payloads):
                sender.publish(1 + number, payload)
            sender.confirmed(1)  # of the others some are committed, some not
            journal.crash()
            sender.vanish()
            again = Client(journal.gateway, "sender")
            for number, payload in enumerate(payloads[1:], 2):
                again.publish(number, payload, dup=True)
            for number in range(2, 201):
                again.confirmed(number)
            again.vanish()
            expected += payloads
        assert stored(journal.gateway) == expected


@every_journal
def test_a_clean_session_forgets_and_the_same_message_sent_twice_is_two(kind):
    with Journal(kind) as journal:
        sender = Client(journal.gateway, "sender")
        for dup in (False, False):
            sender.publish(7, b"same", dup)
            sender.confirmed(7)
        sender.vanish()
        # It sent the same as new: what comes again cannot be told from a third.
        again = Client(journal.gateway, "sender")
        again.publish(7, b"same", dup=True)
        again.confirmed(7)
        again.publish(8, b"other")
        again.confirmed(8)
        again.vanish()
        Client(journal.gateway, "sender", clean=True).vanish()
        fresh = Client(journal.gateway, "sender")
        assert not fresh.session_present
        fresh.publish(8, b"other", dup=True)
        fresh.confirmed(8)
        assert stored(journal.gateway) == [b"same"] * 3 + [b"other"] * 2
