"""Bad HTTP/1.1 and WebSocket (RFC 9112, RFC 6455)."""

from badinput import mqtt
from badinput.case import Case
from badinput.web import get, message, request, upgrade

CONNECT = message(mqtt.connect5())


def http(name, send, expect, **more):
    return Case(name, send, expect, "nothing", **more)


def socket(name, send, expect, after="mqtt"):
    return Case(name, send, expect, after)


REQUESTS = [
    http("binary", b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\r\n\r\n", "400, closed"),
    http("MQTT", mqtt.connect5() + b"\r\n\r\n", "400, closed"),
    http("HTTP/2 without being asked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "closed"),
    http("a version of the future", request("GET / HTTP/9.9", "Host: localhost:PORT"), "400, closed"),
    http("no version", b"GET /\r\n\r\n", "400, closed"),
    http("a header without a colon", get("nonsense"), "400, closed"),
    http("a header's name with a space", get("Bad Name: x"), "400, closed"),
    http("a header with NUL", get("X: a\0b"), "400, closed"),
    http("10,000 headers", get(*(f"h{n}: v" for n in range(10_000))), "431, closed"),
    http("a header of 1 MiB", get("X: " + "v" * (1 << 20)), "431, closed"),
    http("a path of 1 MiB", get(path="/" + "a" * (1 << 20)), "431, closed"),
    http("a content-length below 0", request("POST /api/overview HTTP/1.1", "Host: localhost:PORT", "Content-Length: -1"), "400, closed"),
    http("two content-lengths", request("POST / HTTP/1.1", "Host: localhost:PORT", "Content-Length: 1", "Content-Length: 2"), "400, closed"),
    http("a content-length of 2^64", request("POST / HTTP/1.1", "Host: localhost:PORT", "Content-Length: 18446744073709551616"), "400, closed"),
    http("chunked and a length", request("POST / HTTP/1.1", "Host: localhost:PORT", "Content-Length: 5", "Transfer-Encoding: chunked",
                                        body=b"0\r\n\r\n"), "405"),
    http("a chunk that is none", request("POST /health/live HTTP/1.1", "Host: localhost:PORT", "Transfer-Encoding: chunked", body=b"zz\r\n"),
         "405, closed"),
    http("a body that never comes", request("POST /health/live HTTP/1.1", "Host: localhost:PORT", "Content-Length: 1000000000"), "405, closed"),
    http("an unknown method", request("BREW /health/live HTTP/1.1", "Host: localhost:PORT"), "405"),
    http("a way out of the files", get(path="/../../../../etc/passwd"), "404"),
    http("a way out of the files, encoded", get(path="/%2e%2e/%2e%2e/etc/passwd"), "404"),
    http("a thousand requests at once", get() * 1000, ", ".join(["200"] * 1000)),
    http("half of a request, then no more", b"GET / HTTP/1.1\r\nHo", "closed", half_close=True),
]  # fmt: skip

WHO = [
    http("no Host", request("GET /health/live HTTP/1.1"), "403"),
    http("two Hosts", get("Host: localhost:PORT"), "403"),
    http("a foreign Host (DNS rebinding)", get(host="attacker.example:PORT"), "403"),
    http("a foreign Host, upgrade", upgrade(host="attacker.example:PORT"), "403"),
    http("a foreign Host that looks like ours", get(host="localhost.attacker.example:PORT"), "403"),
    http("a Host with another port", get(host="localhost:1"), "403"),
    http("a Host with a name and password", get(host="localhost:PORT@attacker.example"), "403"),
    http("another address", get(host="10.0.0.1:PORT"), "403"),
    http("a foreign Origin", upgrade("Origin: https://attacker.example"), "403"),
    http("a foreign Origin, API", get("Origin: https://attacker.example", path="/api/overview"), "403"),
    http("Origin null", upgrade("Origin: null"), "403"),
    http("Origin of a file", upgrade("Origin: file://"), "403"),
    http("two Origins", upgrade("Origin: http://localhost:PORT", "Origin: https://attacker.example"), "403"),
    http("an Origin that looks like ours", upgrade("Origin: http://localhost.attacker.example:PORT"), "403"),
    http("our own Origin", upgrade("Origin: http://localhost:PORT"), "101"),
]

UPGRADES = [
    http("no upgrade", get(path="/mqtt"), "426"),
    http("upgrade to something else", upgrade(Upgrade="h2c"), "426"),
    http("WebSocket version 8", upgrade(Sec_WebSocket_Version="8"), "426"),
    http("no key", upgrade(Sec_WebSocket_Key=None), "400"),
    http("a short key", upgrade(Sec_WebSocket_Key="eA=="), "400"),
    http("an unknown subprotocol", upgrade(Sec_WebSocket_Protocol="wamp"), "400"),
    http("no subprotocol", upgrade(Sec_WebSocket_Protocol=None), "400"),
    http("upgrade by POST", upgrade().replace(b"GET", b"POST", 1), "426"),
    http("upgrade of a page", upgrade(path="/"), "200"),
    http("upgrade in HTTP/1.0", upgrade().replace(b"HTTP/1.1", b"HTTP/1.0", 1), "426, closed"),
]

SOCKETS = [
    socket("an unmasked frame", message(mqtt.connect5(), mask=None), "close 1002, closed"),
    socket("a reserved bit", message(mqtt.connect5(), reserved=4), "close 1002, closed"),
    socket("a reserved opcode", message(b"", opcode=3), "close 1002, closed"),
    socket("a reserved control opcode", message(b"", opcode=11), "close 1002, closed"),
    socket("a continuation of nothing", message(b"x", opcode=0), "close 1002, closed"),
    socket("a message within a message", message(b"x", final=False) + message(b"y"), "close 1002, closed"),
    socket("a ping of 126 bytes", message(b"x" * 126, opcode=9), "close 1002, closed"),
    socket("a ping in fragments", message(b"x", opcode=9, final=False), "close 1002, closed"),
    socket("a frame of 1 GiB", message(b"x", length=1 << 30), "close 1009, closed"),
    socket("a frame of 2^63 bytes", message(b"x", length=(1 << 63) - 1), "close 1009, closed"),
    socket("a frame of 2^64 bytes", message(b"x", length=(1 << 64) - 1), "close 1009, closed"),
    socket("fragments of more than the largest message",
           message(bytes(1 << 20), final=False) + message(bytes(1 << 20), opcode=0, final=False) * 20, "close 1009, closed"),
    socket("text where MQTT wants binary", message(b"x", opcode=1), "close 1003, closed"),
    socket("text where AMQP wants binary", message(b"x", opcode=1), "close 1003, closed", "amqp"),
    socket("text that is not UTF-8", message(b"\xff\xfe", opcode=1), "close 1007, closed", "stomp"),
    socket("a close of one byte", message(b"\x03", opcode=8), "close 1002, closed"),
    socket("a close with a forbidden code", message(b"\x03\xed", opcode=8), "close 1002, closed"),
    socket("a close that is not UTF-8", message(b"\x03\xe8\xff", opcode=8), "close 1007, closed"),
    socket("a close, answered", message(b"\x03\xe8bye", opcode=8), "close 1000, closed"),
    socket("bad MQTT", message(b"\x00\x00"), "close, closed"),
    socket("bad MQTT after CONNECT", message(b"\x00\x00"), "binary e0, close, closed", "mqtt online"),
    socket("bad STOMP", message(b"HELLO\n\n\0"), "binary 4552524f52, close, closed", "stomp"),
    socket("bad AMQP", message(b"AMQP\x00\x02\x00\x00"), "binary 414d515003010000, close, closed", "amqp"),
    socket("CONNECT in fragments of a byte",
           b"".join(message(mqtt.connect5()[n : n + 1], opcode=0 if n else 2, final=False) for n in range(len(mqtt.connect5())))
           + message(b"", opcode=0), "binary 20"),
    socket("10,000 empty fragments", message(b"", final=False) + message(b"", opcode=0, final=False) * 10_000
           + message(mqtt.connect5(), opcode=0), "binary 20"),
    socket("10,000 empty messages", message(b"") * 10_000 + CONNECT, "binary 20"),
]  # fmt: skip

CASES = REQUESTS + WHO + UPGRADES + SOCKETS
