"""AMQP 1.0 by hand."""

import re

SASL_HEADER = b"AMQP\x03\x01\x00\x00"
AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
NULL = b"\x40"
TRUE = b"\x41"
FALSE = b"\x42"
EMPTY_LIST = b"\x45"
NAMES = {
    0x10: "open", 0x11: "begin", 0x12: "attach", 0x13: "flow", 0x14: "transfer", 0x15: "disposition",
    0x16: "detach", 0x17: "end", 0x18: "close", 0x40: "mechanisms", 0x42: "challenge", 0x44: "outcome",
}  # fmt: skip


def uint(value):
    return b"\x70" + value.to_bytes(4, "big")


def ubyte(value):
    return b"\x50" + bytes([value])


def ushort(value):
    return b"\x60" + value.to_bytes(2, "big")


def ulong(value):
    return b"\x80" + value.to_bytes(8, "big")


def variable(code, value):
    """Binary (0xb0), string (0xb1) or symbol (0xb3)."""
    value = value.encode() if isinstance(value, str) else value
    return bytes([code]) + len(value).to_bytes(4, "big") + value


def string(value):
    return variable(0xB1, value)


def symbol(value):
    return variable(0xB3, value)


def binary(value):
    return variable(0xB0, value)


def compound(code, *items):
    """A list (0xd0), map (0xd1); arrays have a constructor of their own."""
    body = b"".join(items)
    return bytes([code]) + (len(body) + 4).to_bytes(4, "big") + len(items).to_bytes(4, "big") + body


def described(code, *fields):
    return bytes([0x00, 0x53, code]) + compound(0xD0, *fields)


def frame(body, channel=0, kind=0, offset=2):
    return (len(body) + 8).to_bytes(4, "big") + bytes([offset, kind]) + channel.to_bytes(2, "big") + body


def performative(code, *fields, channel=0):
    return frame(described(code, *fields), channel)


def open_(*fields):
    return performative(0x10, *(fields or (string("hostile"),)))


def begin(channel=0, window=2048):
    return performative(0x11, NULL, uint(0), uint(window), uint(window), channel=channel)


def node(code, *fields):
    """A source (0x28) or target (0x29)."""
    return described(code, *fields)


def attach(handle, receiver, source=NULL, target=NULL, name=None, snd=0, rcv=0, channel=0):
    role = TRUE if receiver else FALSE
    name = string(name or f"link-{handle}")
    count = NULL if receiver else uint(0)
    fields = (name, uint(handle), role, ubyte(snd), ubyte(rcv), source, target, NULL, NULL, count)
    return performative(0x12, *fields, channel=channel)


def sender(handle, address, **more):
    return attach(handle, False, node(0x28), node(0x29, string(address)), **more)


def receiver(handle, address, **more):
    return attach(handle, True, node(0x28, string(address)), node(0x29), **more)


def credit(handle, count, window=1 << 20):
    return performative(0x13, uint(0), uint(window), uint(0), uint(window), uint(handle), uint(0), uint(count))


def transfer(handle, number, message, settled=False, more=False, tag=None, channel=0):
    flags = (TRUE if settled else FALSE, TRUE if more else FALSE)
    tag = binary(number.to_bytes(4, "big") if tag is None else tag)
    return frame(described(0x14, uint(handle), uint(number), tag, uint(0), *flags) + message, channel)


def disposition(first, last, settled=True, state=b"\x00\x53\x24\x45"):
    return performative(0x15, TRUE, uint(first), uint(last), TRUE if settled else FALSE, state)


def data(body):
    return b"\x00\x53\x75" + binary(body)


SASL = SASL_HEADER + frame(described(0x41, symbol("ANONYMOUS")), kind=1)

OPENINGS = {
    "nothing": [],
    "SASL header": [(SASL_HEADER, "header 3, mechanisms")],
    "SASL": [(SASL, "header 3, mechanisms, outcome 0"), (AMQP_HEADER, "header 0")],
}
OPENINGS["open"] = [*OPENINGS["SASL"], (open_(), "open")]
OPENINGS["begin"] = [*OPENINGS["open"], (begin(), "begin")]
OPENINGS["sender"] = [*OPENINGS["begin"], (sender(0, "/topic/hostile"), "attach, flow")]
OPENINGS["receiver"] = [*OPENINGS["begin"], (receiver(0, "/topic/hostile") + credit(0, 10), "attach")]


def words(data):
    """Each performative's name, with the condition of its error; protocol headers with their layer."""
    found = []
    while len(data) >= 8:
        if data.startswith(b"AMQP"):
            found.append(f"header {data[4]}")
            data = data[8:]
            continue
        size = int.from_bytes(data[:4], "big")
        if len(data) < size:
            break
        body, data = data[data[4] * 4 : size], data[size:]
        if body:
            found.append(word(body))
    return found


def word(body):
    name = NAMES[body[2]]
    if name == "outcome":
        return f"outcome {body[-1]}"
    condition = re.search(rb"amqp:[a-z:-]+", body) if name in ("end", "close", "detach", "disposition") else None
    return f"{name} {condition[0].decode()}" if condition else name
