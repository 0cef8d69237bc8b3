"""MQTT 3.1.1 and 5 by hand."""

from itertools import groupby

NAMES = "- CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK PINGREQ PINGRESP DISCONNECT AUTH"
NAMES = NAMES.split()


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return len(value).to_bytes(2, "big") + value


def number(value):
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def packet(first, *parts):
    """A packet with an honest length. `first`: type and flags."""
    body = b"".join(parts)
    return bytes([first]) + number(len(body)) + body


def properties(value=b""):
    return number(len(value)) + value


def connect5(flags=0x02, props=b"", client_id="", rest=b""):
    return packet(0x10, text("MQTT"), bytes([5, flags]), b"\0\0", properties(props), text(client_id), rest)


def connect4(flags=0x02, client_id="", rest=b""):
    return packet(0x10, text("MQTT"), bytes([4, flags]), b"\0\0", text(client_id), rest)


def publish5(topic, payload=b"x", qos=0, packet_id=None, props=b"", flags=0):
    head = b"" if packet_id is None else packet_id.to_bytes(2, "big")
    return packet(0x30 | qos << 1 | flags, text(topic), head, properties(props), payload)


def publish4(topic, payload=b"x", qos=0, packet_id=None):
    head = b"" if packet_id is None else packet_id.to_bytes(2, "big")
    return packet(0x30 | qos << 1, text(topic), head, payload)


def subscribe5(*filters, options=0, packet_id=1, props=b""):
    filters = b"".join(text(name) + bytes([options]) for name in filters)
    return packet(0x82, packet_id.to_bytes(2, "big"), properties(props), filters)


def subscribe4(*filters, options=0, packet_id=1):
    return packet(0x82, packet_id.to_bytes(2, "big"), b"".join(text(name) + bytes([options]) for name in filters))


PINGREQ = bytes.fromhex("c000")

OPENINGS = {
    "nothing": [],
    "connect 5": [(connect5(), "CONNACK 0x00")],
    "connect 3.1.1": [(connect4(), "CONNACK 0x00")],
}


def words(data):
    """Each packet's name and reason codes; many of one code are «256*0x00»."""
    found = []
    while data:
        length, at = read_number(data, 1)
        if len(data) < at + length or at == 1:
            break  # not all there yet
        found.append(word(data[0] >> 4, data[at : at + length]))
        data = data[at + length :]
    return found


def read_number(data, at):
    """The variable byte integer there, and what is behind it."""
    value, shift = 0, 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            break
    return value, at


def word(kind, body):
    name = NAMES[kind]
    if name == "CONNACK":
        codes = body[1:2]
    elif name == "DISCONNECT":
        codes = body[:1]
    elif name in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"):
        codes = body[2:3] or b"\0"
    elif name in ("SUBACK", "UNSUBACK"):
        length, at = read_number(body, 2)
        codes = body[at + length :] or body[2:]  # of MQTT 5 behind its properties, or of 3.1.1 with one code
    else:
        return name
    runs = [(code, len(list(run))) for code, run in groupby(codes)]
    return " ".join([name, *(f"{count}*0x{code:02x}" if count > 1 else f"0x{code:02x}" for code, count in runs)])
