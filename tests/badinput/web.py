"""HTTP/1.1 and WebSocket by hand."""

from badinput import mqtt

MASK = b"\x01\x02\x03\x04"


def request(*lines, body=b""):
    lines = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(*headers, path="/health/live", host="localhost:PORT"):
    return request(f"GET {path} HTTP/1.1", f"Host: {host}", *headers)


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "mqtt",
}


def upgrade(*more, path="/mqtt", host="localhost:PORT", **changed):
    """An upgrade request; a header changed to None is left out."""
    headers = UPGRADE | {name.replace("_", "-"): value for name, value in changed.items()}
    return get(*(f"{name}: {value}" for name, value in headers.items() if value is not None), *more, path=path, host=host)


def message(payload, opcode=2, final=True, mask=MASK, reserved=0, length=None):
    """A frame; `length` may lie."""
    length = len(payload) if length is None else length
    masked = 0x80 if mask else 0
    if length < 126:
        size = bytes([masked | length])
    elif length < 1 << 16:
        size = bytes([masked | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([masked | 127]) + length.to_bytes(8, "big")
    if mask:
        key = (mask * (len(payload) // 4 + 1))[: len(payload)]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")
    return bytes([(0x80 if final else 0) | reserved << 4 | opcode]) + size + (mask or b"") + payload


OPENINGS = {
    "nothing": [],
    "mqtt": [(upgrade(), "101")],
    "stomp": [(upgrade(path="/stomp", Sec_WebSocket_Protocol="v12.stomp"), "101")],
    "amqp": [(upgrade(path="/amqp", Sec_WebSocket_Protocol="amqp"), "101")],
}

OPENINGS["mqtt online"] = [*OPENINGS["mqtt"], (message(mqtt.connect5()), "binary 20")]

OPCODES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}


def words(data):
    """Statuses of responses; after 101, frames, a close with its code, binary messages in hexadecimal."""
    found = []
    while data:
        if data.startswith(b"HTTP/1."):
            head, separator, rest = data.partition(b"\r\n\r\n")
            if not separator:
                break
            status = head[9:12].decode()
            found.append(status)
            lengths = [line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
            data = rest if status == "101" else rest[int(lengths[0]) if lengths else len(rest) :]
            continue
        if len(data) < 2:
            break
        length, at = data[1] & 0x7F, 2
        if length >= 126:
            at += 2 if length == 126 else 8
            length = int.from_bytes(data[2:at], "big")
        if len(data) < at + length:
            break
        payload, name = data[at : at + length], OPCODES[data[0] & 0x0F]
        if name == "close":
            name += f" {int.from_bytes(payload[:2], 'big')}" if payload else ""
        elif name == "binary":
            name += f" {payload.hex()}"
        found.append(name)
        data = data[at + length :]
    return found
