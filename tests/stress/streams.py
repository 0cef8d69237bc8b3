"""Sends or takes one body of any size over a connection, in a process of its own. Prints figures as JSON.

    python -m stress.streams amqp send --port 5672 --bytes 2147483648 --before 5

Over AMQP 1.0 the same connection carries small durable messages on two other links, through a queue of its own, 200 a
second: for `--before` seconds without the large body, then with it. What they took is told for both.
"""

import argparse
import json
import os
import random
import select
import socket
import statistics
import time

from badinput import amqp
from badinput.stomp import CONNECT
from stress.values import read

# The body is this, again and again. Not a multiple of any size that a piece may have: what is lost or out of place shows.
PATTERN_BYTES = 1_048_583
FRAME_BYTES = 65_536
# Of the large body: what may be under way to us, and what waits here to be written.
WINDOW_FRAMES = 16
OUT_BYTES_MAX = FRAME_BYTES
# So that the kernel holds little in front of a small message.
SOCKET_BYTES = 256 * 1024
SMALL_PER_SECOND = 200
LARGE, SMALL = 0, 1
LARGE_TAG_NUMBER = 0


def pattern():
    block = random.Random(1).randbytes(PATTERN_BYTES)
    return memoryview(block + block)


class Body:
    """The body's bytes in turn: to send, or to compare with what came."""

    def __init__(self, size):
        self.pattern = pattern()
        self.size = size
        self.place = 0

    @property
    def left(self):
        return self.size - self.place

    def next(self, count):
        count = min(count, self.left, PATTERN_BYTES)
        start = self.place % PATTERN_BYTES
        self.place += count
        return self.pattern[start : start + count]

    def check(self, piece):
        piece = memoryview(piece)
        while len(piece):
            expected = self.next(len(piece))
            # As bytes: memoryviews are compared byte by byte, which takes thirty times as long.
            if not len(expected) or bytes(piece[: len(expected)]) != bytes(expected):
                raise SystemExit(f"the body is wrong near byte {self.place:,} of {self.size:,}")
            piece = piece[len(expected) :]


def connect(port):
    opened = socket.create_connection(("127.0.0.1", port), timeout=60)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    return opened


# --- STOMP


def stomp(port, action, size, queue):
    opened = connect(port)
    opened.sendall(CONNECT)
    stomp_head(opened)
    body = Body(size)
    if action == "send":
        begin = time.monotonic()
        head = f"SEND\ndestination:/queue/{queue}\npersistent:true\nreceipt:1\ncontent-length:{size}\n\n"
        opened.sendall(head.encode())
        while body.left:
            opened.sendall(body.next(4 * FRAME_BYTES))
        opened.sendall(b"\0")
        assert stomp_head(opened)[0].startswith(b"RECEIPT")
    else:
        opened.sendall(f"SUBSCRIBE\nid:1\ndestination:/queue/{queue}\nack:client\n\n\0".encode())
        head, rest = stomp_head(opened)
        begin = time.monotonic()
        assert f"content-length:{size}\n".encode() in head + b"\n", head
        ack = next(line for line in head.split(b"\n") if line.startswith(b"ack:"))
        body.check(rest)
        buffer = memoryview(bytearray(4 * FRAME_BYTES))
        while body.left:
            count = opened.recv_into(buffer[: min(len(buffer), body.left)])
            assert count, "the gateway closed the connection"
            body.check(buffer[:count])
        opened.sendall(b"ACK\nid:" + ack[4:] + b"\nreceipt:2\n\n\0")
        assert stomp_head(opened)[0].lstrip(b"\0\n").startswith(b"RECEIPT")
    return {"seconds": time.monotonic() - begin}


def stomp_head(opened):
    """A head, and what came behind it."""
    data = b""
    while b"\n\n" not in data.lstrip(b"\0\n"):
        piece = opened.recv(FRAME_BYTES)
        assert piece, "the gateway closed the connection"
        data += piece
    head, _, rest = data.lstrip(b"\0\n").partition(b"\n\n")
    if head.startswith(b"ERROR"):
        raise SystemExit(data.decode(errors="replace"))
    return head, rest.lstrip(b"\0\n") if b"content-length" not in head else rest


# --- AMQP 1.0


class Amqp:
    """One connection, two sessions: the large body has one, small messages the other."""

    def __init__(self, port, action, size, queue):
        self.socket = connect(port)
        self.action = action
        self.body = Body(size)
        self.out = bytearray()
        self.received = b""
        self.sessions = {}  # theirs to ours
        self.names = {}  # of links, by our session and their handle
        self.credit = {}  # by name
        self.window = {LARGE: 0, SMALL: 0}
        self.sent_frames = {LARGE: 0, SMALL: 0}
        self.received_frames = {LARGE: 0, SMALL: 0}
        self.large_done = False
        self.large_left = None  # bytes of the section that is being received
        self.large_head = bytearray()
        self.due = {}  # of small messages, by number
        self.confirms, self.deliveries = {}, {}  # times, by the second that they were sent in
        self.waiting = 0  # for the confirm or the delivery of a small message
        self.is_closed = False
        self._open(queue)

    def _open(self, queue):
        self.out += amqp.SASL + amqp.AMQP_HEADER + amqp.open_(amqp.string("streams"), amqp.NULL, amqp.uint(FRAME_BYTES))
        attach = amqp.sender if self.action == "send" else amqp.receiver
        self.out += amqp.begin(LARGE, WINDOW_FRAMES) + attach(0, f"/queue/{queue}", name="large", channel=LARGE)
        name = f"/queue/small-{os.getpid()}"
        self.out += amqp.begin(SMALL) + amqp.sender(0, name, name="in", channel=SMALL)
        self.out += amqp.receiver(1, name, name="out", channel=SMALL)
        self.out += flow(SMALL, 0, 2048, 0, handle=1, credit=1 << 20)
        wanted = {"large", "in"} if self.action == "send" else {"in"}
        self.run(lambda: wanted <= {name for name, credit in self.credit.items() if credit})

    def take_large(self):
        self.out += flow(LARGE, 0, WINDOW_FRAMES, 0, handle=0, credit=1)

    def may_send_large(self):
        left = self.action == "send" and self.body.left
        return left and self.window[LARGE] > 0 and len(self.out) < OUT_BYTES_MAX

    def write(self):
        sent = self.socket.send(self.out, socket.MSG_DONTWAIT)
        del self.out[:sent]

    def read(self):
        piece = self.socket.recv(4 * FRAME_BYTES)
        if not piece:
            raise SystemExit("the gateway closed the connection")
        self.received += piece
        self.take_frames()

    def close(self):
        self.out += amqp.performative(0x18)
        self.run(lambda: self.is_closed, seconds=30)

    def run(self, ended, seconds=600, small=False, large=False):
        """Serves the connection until it has ended, and sends what is to be sent meanwhile."""
        limit = time.monotonic() + seconds
        following = time.monotonic()
        while not ended():
            now = time.monotonic()
            if now > limit:
                raise SystemExit(f"not done in {seconds} s")
            if small and now >= following:
                self.send_small(following)
                following += 1 / SMALL_PER_SECOND
            while large and self.may_send_large():
                self.send_large()
            wait = max(following - now, 0) if small else 0.1
            readable, writable, _ = select.select([self.socket], [self.socket] if self.out else [], [], wait)
            if writable:
                self.write()
            if readable:
                self.read()

    # Sending

    def send_small(self, due):
        number = self.sent_frames[SMALL]
        self.due[number] = due
        self.waiting += 2
        message = b"\x00\x53\x70\xc0\x02\x01\x41" + amqp.data(number.to_bytes(8, "big") + bytes(248))
        self.out += amqp.transfer(0, number, message, channel=SMALL)
        self.sent_frames[SMALL] += 1
        self.window[SMALL] -= 1

    def send_large(self):
        head = b""
        if self.body.place == 0:
            head = b"\x00\x53\x70\xc0\x02\x01\x41" + b"\x00\x53\x75\xb0" + self.body.size.to_bytes(4, "big")
        piece = head + self.body.next(FRAME_BYTES - 200)
        self.out += amqp.transfer(0, LARGE_TAG_NUMBER, piece, more=self.body.left > 0, channel=LARGE)
        self.sent_frames[LARGE] += 1
        self.window[LARGE] -= 1

    # Receiving

    def take_frames(self):
        view = memoryview(self.received)
        start = 0
        while len(view) - start >= 8:
            if view[start : start + 4] == b"AMQP":
                start += 8
                continue
            size = int.from_bytes(view[start : start + 4], "big")
            if len(view) - start < size:
                break
            kind, channel = view[start + 5], int.from_bytes(view[start + 6 : start + 8], "big")
            body = view[start + 4 * view[start + 4] : start + size]
            if kind == 0 and len(body):
                self.frame(channel, body)
            start += size
        self.received = self.received[start:]

    def frame(self, channel, body):
        (descriptor, fields), size = read(body)
        name = amqp.NAMES[descriptor]
        ours = self.sessions.get(channel)
        if name == "begin":
            self.sessions[channel] = fields[0]
            self.window[fields[0]] = fields[2]
        elif name == "attach":
            self.names[ours, fields[1]] = fields[0]
        elif name == "flow":
            self.window[ours] = (fields[0] or 0) + fields[1] - self.sent_frames[ours]
            if len(fields) > 6 and fields[6] is not None:
                self.credit[self.names[ours, fields[4]]] = fields[6]
        elif name == "transfer":
            self.received_frames[ours] += 1
            self.transfer(ours, fields, body[size:])
        elif name == "disposition":
            self.disposition(ours, fields)
        elif name == "close" and len(fields) == 0:
            self.is_closed = True
        elif name in ("detach", "end", "close"):
            raise SystemExit(f"the gateway sent {name}: {fields}")

    def disposition(self, ours, fields):
        first, last = fields[1], fields[2] if len(fields) > 2 and fields[2] is not None else fields[1]
        if ours == LARGE:
            if fields[4][0] != 0x24:
                raise SystemExit(f"the large body was not accepted: {fields[4]}")
            self.large_done = True
            return
        now = time.monotonic()
        for number in range(first, last + 1):
            took(self.confirms, self.due[number], now)
            self.waiting -= 1

    def transfer(self, ours, fields, payload):
        if ours == SMALL:
            number = int.from_bytes(payload[-256:-248], "big")
            took(self.deliveries, self.due[number], time.monotonic())
            self.waiting -= 1
            self.out += settle(fields[1], SMALL)
            if self.received_frames[SMALL] % 1000 == 0:
                self.out += flow(SMALL, self.received_frames[SMALL], 2048, self.sent_frames[SMALL])
            return
        self.large(payload)
        more = len(fields) > 5 and fields[5]
        if self.received_frames[LARGE] % (WINDOW_FRAMES // 2) == 0:
            self.out += flow(LARGE, self.received_frames[LARGE], WINDOW_FRAMES, 0)
        if not more:
            assert not self.body.left, f"{self.body.left} bytes are missing"
            self.out += settle(0, LARGE)
            self.large_done = True

    def large(self, payload):
        """Data sections are compared with the body; other sections are passed over."""
        while len(payload):
            if self.large_left:
                piece = payload[: self.large_left]
                self.body.check(piece)
                self.large_left -= len(piece)
                payload = payload[len(piece) :]
                continue
            self.large_head += payload
            head = bytes(self.large_head)
            if head.startswith(b"\x00\x53\x75\xb0") and len(head) >= 8:
                self.large_left, taken = int.from_bytes(head[4:8], "big"), 8
            elif head.startswith(b"\x00\x53\x75\xa0") and len(head) >= 5:
                self.large_left, taken = head[4], 5
            elif head.startswith(b"\x00\x53\x75") or len(head) < 8:
                return
            else:
                _, taken = read(head)
            payload = memoryview(head)[taken:]
            self.large_head.clear()


def flow(channel, received, window, sent, handle=None, credit=None):
    fields = [amqp.uint(received), amqp.uint(window), amqp.uint(sent), amqp.uint(1 << 20)]
    if handle is not None:
        fields += [amqp.uint(handle), amqp.uint(0), amqp.uint(credit)]
    return amqp.performative(0x13, *fields, channel=channel)


def settle(number, channel):
    fields = (amqp.TRUE, amqp.uint(number), amqp.uint(number), amqp.TRUE, b"\x00\x53\x24\x45")
    return amqp.performative(0x15, *fields, channel=channel)


def took(times, due, now):
    times.setdefault(int(due), []).append(now - due)


def percentiles(times):
    """The median of the seconds' percentiles: as the small messages of other connections are measured, a slice at a time."""
    at = lambda each, share: sorted(each)[min(int(len(each) * share), len(each) - 1)] * 1e6  # noqa: E731
    # Of what began or ended within a second there are too few.
    whole = [each for each in times.values() if len(each) >= SMALL_PER_SECOND * 0.9] or list(times.values())
    return {
        "count": sum(map(len, times.values())),
        "seconds": len(whole),
        "p50_us": statistics.median(at(each, 0.5) for each in whole),
        "p99_us": statistics.median(at(each, 0.99) for each in whole),
    }


def amqp_run(port, action, size, queue, before):
    connection = Amqp(port, action, size, queue)
    figures = {}

    def part(name, ended, large=False):
        connection.confirms, connection.deliveries = {}, {}
        begin = time.monotonic()
        # With nothing before, it is alone.
        connection.run(ended(begin), small=before > 0, large=large)
        figures[name] = {"seconds": time.monotonic() - begin}
        if before > 0:
            figures[name] |= {"confirm": percentiles(connection.confirms), "delivery": percentiles(connection.deliveries)}

    part("before", lambda begin: lambda: time.monotonic() > begin + before)
    if action == "take":
        connection.take_large()
    part("during", lambda _: lambda: connection.large_done, large=True)
    connection.run(lambda: not connection.waiting, seconds=30)
    connection.close()
    return {"seconds": figures["during"]["seconds"], **figures}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=("amqp", "stomp"))
    parser.add_argument("action", choices=("send", "take"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--queue", default="large")
    parser.add_argument("--before", type=float, default=5, help="seconds with small messages only; 0: none at all")
    options = parser.parse_args()
    if options.protocol == "amqp":
        figures = amqp_run(options.port, options.action, options.bytes, options.queue, options.before)
    else:
        figures = stomp(options.port, options.action, options.bytes, options.queue)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
