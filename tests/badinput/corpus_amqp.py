"""Bad AMQP 1.0: the fault ends what it concerns, a link, a session or the connection, with the standard's condition."""

from badinput.amqp import (
    AMQP_HEADER, EMPTY_LIST, FALSE, NULL, SASL, SASL_HEADER, TRUE, attach, begin, binary, compound, credit, data, described,
    disposition, frame, node, open_, performative, receiver, sender, string, symbol, transfer, ubyte, uint, ulong, ushort,
    variable,
)  # fmt: skip
from badinput.case import Case

FRAMING = "close amqp:connection:framing-error, closed"
DECODE = "close amqp:decode-error, closed"
NOT_ALLOWED = "close amqp:not-allowed, closed"
# A list in a list in a list …
NESTED_LISTS = b""
for _ in range(2000):
    NESTED_LISTS = compound(0xD0, NESTED_LISTS) if NESTED_LISTS else EMPTY_LIST


def cases(after, *rows):
    return [Case(name, send, expect, after) for name, send, expect in rows]


def in_session(name, body, expect):
    return Case(name, frame(body), expect, "begin")


HEADERS = cases(
    "nothing",
    ("HTTP", b"GET / HTTP/1.1\r\n\r\n", "header 3, closed"),
    ("MQTT", bytes.fromhex("100c00044d5154540402000000"), "header 3, closed"),
    ("AMQP 0-9-1", b"AMQP\x00\x00\x09\x01", "header 3, closed"),
    ("a version of the future", b"AMQP\x00\x02\x00\x00", "header 3, closed"),
    ("an unknown layer", b"AMQP\x07\x01\x00\x00", "header 3, closed"),
    ("TLS within", b"AMQP\x02\x01\x00\x00", "header 3, closed"),
    ("a SASL frame of 1 MiB", SASL_HEADER + (1 << 20).to_bytes(4, "big"), "header 3, mechanisms, closed"),
    ("a SASL frame of 7 bytes", SASL_HEADER + b"\0\0\0\x07", "header 3, mechanisms, closed"),
    ("an AMQP frame in SASL", SASL_HEADER + open_(), "header 3, mechanisms, closed"),
    ("a mechanism that is none", SASL_HEADER + frame(described(0x41, symbol("X" * 3000)), kind=1),
     "header 3, mechanisms, outcome 1, closed"),
    ("PLAIN without its parts", SASL_HEADER + frame(described(0x41, symbol("PLAIN"), binary(b"nobody")), kind=1),
     "header 3, mechanisms, outcome 1, closed"),
    ("PLAIN that is not UTF-8", SASL_HEADER + frame(described(0x41, symbol("PLAIN"), binary(b"\0\xff\0x")), kind=1),
     "header 3, mechanisms, outcome 1, closed"),
    ("PLAIN in the name of another", SASL_HEADER + frame(described(0x41, symbol("PLAIN"), binary(b"a\0b\0c")), kind=1),
     "header 3, mechanisms, outcome 1, closed"),
    ("SASL without a mechanism", SASL_HEADER + frame(described(0x41), kind=1), "header 3, mechanisms, closed"),
    ("SASL again", SASL + SASL_HEADER, "header 3, mechanisms, outcome 0, header 0, closed"),
    ("1 MiB before credentials are checked", AMQP_HEADER + bytes(1 << 20), "…, closed"),
)  # fmt: skip

OPEN = cases(
    "SASL",
    ("begin before open", begin(), "open, close amqp:not-allowed, closed"),
    ("transfer before open", transfer(0, 0, data(b"x")), "open, close amqp:not-allowed, closed"),
    ("a SASL frame after SASL", frame(described(0x41, symbol("ANONYMOUS")), kind=1), "open, " + FRAMING),
    ("open without a container", performative(0x10), "open, " + DECODE),
    ("max-frame-size 511", open_(string("c"), NULL, uint(511)), "open, close amqp:invalid-field, closed"),
    ("idle-time-out of 1 ms", open_(string("c"), NULL, NULL, NULL, uint(1)), "open, close amqp:not-allowed, closed"),
    ("container is not UTF-8", open_(string(b"\xff\xfe")), "open, " + DECODE),
    ("container is a number", open_(uint(1)), "open, " + DECODE),
)

FRAMES = cases(
    "begin",
    ("a frame larger than agreed", (65_537).to_bytes(4, "big"), FRAMING),
    ("a frame of 4 GiB", b"\xff" * 4, FRAMING),
    ("a frame of 0 bytes", bytes(4), FRAMING),
    ("a frame of 7 bytes", b"\0\0\0\x07", FRAMING),
    ("a data offset of 0", bytes.fromhex("0000000800000000"), FRAMING),
    ("a data offset outside", bytes.fromhex("00000008ff000000"), FRAMING),
    ("a frame of another type", bytes.fromhex("0000000802090000"), FRAMING),
    ("open again", open_(), NOT_ALLOWED),
    ("begin again", begin(), NOT_ALLOWED),
    ("begin over channel-max", begin(channel=255), FRAMING),
    ("begin of our session", performative(0x11, ushort(0), uint(0), uint(1), uint(1), channel=1), NOT_ALLOWED),
    ("begin without its windows", performative(0x11, channel=1), DECODE),
    ("attach without a session", sender(0, "a", channel=9), NOT_ALLOWED),
    ("end without a session", performative(0x17, channel=9), NOT_ALLOWED),
    ("SASL within AMQP", performative(0x41, symbol("ANONYMOUS")), NOT_ALLOWED),
)

VALUES = [
    in_session("an unknown performative", described(0x99), DECODE),
    in_session("a performative without fields", b"\x00\x53\x12\x45", DECODE),
    in_session("no performative", b"\x40", DECODE),
    in_session("an unknown type", b"\x00\x53\x12\xc0\x02\x01\x3f", DECODE),
    in_session("a list longer than the frame", bytes.fromhex("005312d0ffffffff00000001"), DECODE),
    in_session("a list of 4 billion values", bytes.fromhex("005312d000000004ffffffff"), DECODE),
    in_session("a name longer than the list", bytes.fromhex("005312c00601b1ffffffff"), DECODE),
    in_session("a map with a key alone", described(0x10, compound(0xD1, NULL)), DECODE),
    in_session("descriptors of descriptors", b"\x00" * 60_000, DECODE),
    in_session("descriptors of 20,000 values", b"\x00\x53\x10" * 20_000, DECODE),
    in_session("lists in lists", described(0x12, string("a"), uint(0), TRUE, NULL, NULL, NESTED_LISTS),
               "attach, detach amqp:decode-error"),
    in_session("an array of 4 billion nulls", described(0x12, bytes.fromhex("f000000005ffffffff40")), DECODE),
    in_session("a field of the wrong type", described(0x12, uint(1), uint(0), FALSE), DECODE),
    in_session("a link's name is not UTF-8", described(0x12, string(b"\xff"), uint(0), FALSE), DECODE),
    in_session("a symbol is not ASCII", described(0x12, string("a"), uint(0), FALSE, symbol(b"\xff")), DECODE),
    in_session("a boolean 2", described(0x12, string("a"), uint(0), b"\x56\x02"), DECODE),
    in_session("a number too large", described(0x12, string("a"), ulong(1 << 40), FALSE), DECODE),
    in_session("bytes after the performative", described(0x17) + b"\x40" * 100, DECODE),
]

SESSIONS = cases(
    "begin",
    ("transfer on an unknown handle", transfer(7, 0, data(b"x")), "end amqp:session:unattached-handle"),
    ("flow on an unknown handle", credit(7, 1), "end amqp:session:unattached-handle"),
    ("detach of an unknown handle", performative(0x16, uint(7)), "end amqp:session:unattached-handle"),
    ("a handle over handle-max", sender(4_000_000_000, "a"), FRAMING),
    ("a handle in use", sender(0, "a") + sender(0, "b", name="other"), "…, end amqp:session:handle-in-use"),
    ("a settle mode that is none", sender(0, "a", snd=9), "end amqp:invalid-field"),
    ("a role missing", performative(0x12, string("a"), uint(0)), DECODE),
    ("disposition of everything, with nothing unsettled", disposition(0, 0xFFFF_FFFF) * 1000 + performative(0x17), "end"),
    ("disposition backwards", disposition(9, 3) + performative(0x17), "end"),
    ("disposition with an unknown state", disposition(0, 0, state=described(0x99)), DECODE),
)

LINKS = cases(
    "begin",
    ("a sender without a target", attach(0, False, node(0x28), NULL), "attach, detach amqp:invalid-field"),
    ("a source where a target belongs", attach(0, False, node(0x28), node(0x28)), "attach, detach amqp:decode-error"),
    ("an address that is none", sender(0, "/topic/a/#"), "attach, detach amqp:invalid-field"),
    ("an address with NUL", sender(0, "/queue/a\0b"), "attach, detach amqp:invalid-field"),
    ("the gateway's own", sender(0, "/queue/_DMQ"), "attach, detach amqp:not-allowed"),
    ("a session's queue", receiver(0, "/queue/$session/a"), "attach, detach amqp:not-allowed"),
    ("a filter that is none", receiver(0, "/topic/a/#/b"), "attach, detach amqp:invalid-field"),
    ("a transaction coordinator that is sent no transaction", attach(0, False, node(0x28), node(0x30)), "attach, flow"),
    ("a selector", attach(0, True, node(0x28, string("/topic/a"), NULL, NULL, NULL, NULL, NULL, NULL,
                                        compound(0xD1, symbol("s"), b"\x00\xa3\x21apache.org:selector-filter:string"
                                                 + string("(" * 5000)))),
     "attach, detach amqp:invalid-field"),
)  # fmt: skip

SENDERS = cases(
    "sender",
    ("a message that is none", transfer(0, 0, b"\x40"), "detach amqp:decode-error"),
    ("sections in the wrong order", transfer(0, 0, data(b"x") + b"\x00\x53\x70\x45"), "detach amqp:decode-error"),
    ("a body longer than the message", transfer(0, 0, b"\x00\x53\x75\xb0\xff\xff\xff\xff"), "detach amqp:decode-error"),
    ("values 2,000 deep", transfer(0, 0, b"\x00\x53\x77" + NESTED_LISTS), "detach amqp:decode-error"),
    ("an array of 4 billion nulls", transfer(0, 0, bytes.fromhex("005377f000000005ffffffff40")), "detach amqp:decode-error"),
    ("a text that is not UTF-8", transfer(0, 0, b"\x00\x53\x77" + string(b"\xff")), "detach amqp:decode-error"),
    ("a delivery tag of 33 bytes", transfer(0, 0, data(b"x"), tag=b"t" * 33), "detach amqp:invalid-field"),
    ("a delivery without an id", performative(0x14, uint(0)), "detach amqp:invalid-field"),
    ("an unknown message format", frame(described(0x14, uint(0), uint(0), binary(b"t"), uint(9)) + data(b"x")),
     "detach amqp:not-implemented"),
    ("a delivery within another", transfer(0, 0, b"", more=True) + transfer(0, 1, data(b"x")), "detach amqp:invalid-field"),
    ("a transaction that nobody began", frame(described(0x14, uint(0), uint(0), binary(b"t"), uint(0), FALSE, FALSE, NULL,
                                      described(0x34, binary(b"t"))) + data(b"x")),
     "disposition amqp:transaction:unknown-id"),
    ("more than the largest message",
     b"".join(transfer(0, 0, bytes(65_000), more=True) for _ in range(260)), "…, detach amqp:link:message-size-exceeded"),
    # Deliveries without end are never answered, so no credit comes back.
    ("deliveries beyond the credit",
     b"".join(frame(described(0x14, uint(0), uint(n), binary(b"t"), uint(0), FALSE, FALSE, NULL, NULL, FALSE, TRUE))
              for n in range(3000)) + performative(0x17), "…, end"),
)  # fmt: skip

RECEIVERS = cases(
    "receiver",
    ("a transfer to a receiver's link", transfer(0, 0, data(b"x")), "end amqp:not-allowed"),
    ("credit of 4 billion", credit(0, 0xFFFF_FFFF) * 100 + performative(0x17), "…, end"),
    ("a window of 4 billion", credit(0, 1, window=0xFFFF_FFFF) + performative(0x17), "…, end"),
    ("flow without its windows", performative(0x13), DECODE),
    ("the disposition of what was not delivered, in a transaction that nobody began",
     disposition(0, 0, state=described(0x34, binary(b"t"))) + performative(0x17), "…, end"),
)

HALF = [Case("half of open, then no more", open_()[:9], "closed", "SASL", half_close=True)]

CASES = HEADERS + OPEN + FRAMES + VALUES + SESSIONS + LINKS + SENDERS + RECEIVERS + HALF
