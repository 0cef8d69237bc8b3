"""Bad MQTT. 3.1.1 has no DISCONNECT from the server: there the answer is the close."""

from badinput.case import Case
from badinput.mqtt import (
    PINGREQ, connect4, connect5, number, packet, properties, publish4, publish5, subscribe4, subscribe5, text,
)  # fmt: skip

LEVELS = "/".join("a" * 10_000)


def before_connect(name, send, expect):
    return Case(name, send, expect, "nothing")


def online5(name, send, expect, **more):
    return Case(name, send, expect, "connect 5", **more)


def online4(name, send, expect, **more):
    return Case(name, send, expect, "connect 3.1.1", **more)


def will(topic, payload=b"x", props=b""):
    return properties(props) + text(topic) + len(payload).to_bytes(2, "big") + payload


BEFORE_CONNECT = [
    before_connect("packet type 0", b"\x00\x00", "closed"),
    before_connect("PINGREQ first", PINGREQ, "closed"),
    before_connect("PUBLISH first", publish5("a"), "closed"),
    before_connect("AUTH first", bytes.fromhex("f000"), "closed"),
    before_connect("CONNECT without a byte", bytes.fromhex("1000"), "closed"),
    before_connect("reserved flags of CONNECT", b"\x11" + connect5()[1:], "closed"),
    before_connect("a length of five bytes", bytes.fromhex("10ffffffff7f"), "closed"),
    before_connect("CONNECT of 256 MiB", bytes.fromhex("10ffffff7f"), "closed"),
    before_connect("CONNECT over control_packet_bytes_max", bytes.fromhex("10") + number(256 * 1024), "closed"),
    before_connect("TLS", bytes.fromhex("16030100c8010000c40303"), "closed"),
    before_connect("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "closed"),
    before_connect("AMQP", b"AMQP\x03\x01\x00\x00", "closed"),
    before_connect("another protocol's name", packet(0x10, text("MQTX"), bytes.fromhex("0402000000")), "closed"),
    before_connect("version 0", packet(0x10, text("MQTT"), bytes.fromhex("000200000000")), "CONNACK 0x01, closed"),
    before_connect("version 6", packet(0x10, text("MQTT"), bytes.fromhex("060200000000")), "CONNACK 0x84, closed"),
    before_connect("version 255", packet(0x10, text("MQTT"), bytes.fromhex("ff0200000000")), "CONNACK 0x84, closed"),
    before_connect("reserved connect flag", connect5(flags=0x03), "CONNACK 0x81, closed"),
    before_connect("reserved connect flag, 3.1.1", connect4(flags=0x03), "closed"),
    before_connect("will with QoS 3", connect5(flags=0x1E, rest=will("a")), "CONNACK 0x81, closed"),
    before_connect("QoS of no will", connect5(flags=0x0A), "CONNACK 0x81, closed"),
    before_connect("retain of no will", connect5(flags=0x22), "CONNACK 0x81, closed"),
    before_connect("password without a name, 3.1.1", connect4(flags=0x42, rest=text("x")), "closed"),
    before_connect("client id is not UTF-8", connect5(client_id=b"\xff\xfe"), "CONNACK 0x81, closed"),
    before_connect("client id with NUL", connect5(client_id=b"a\0b"), "CONNACK 0x81, closed"),
    before_connect("client id with a surrogate", connect5(client_id=b"\xed\xa0\x80"), "CONNACK 0x81, closed"),
    before_connect("client id in an overlong form", connect5(client_id=b"\xc0\x80"), "CONNACK 0x81, closed"),
    before_connect("client id of 2,000 bytes", connect5(client_id="a" * 2000), "CONNACK 0x85, closed"),
    before_connect("client id of 2,000 bytes, 3.1.1", connect4(client_id="a" * 2000), "CONNACK 0x02, closed"),
    before_connect("no client id for a session that stays, 3.1.1", connect4(flags=0), "CONNACK 0x02, closed"),
    before_connect(
        "client id longer than the packet",
        packet(0x10, text("MQTT"), bytes.fromhex("0502000000ffff61")), "CONNACK 0x81, closed",
    ),
    before_connect("bytes after the last field", connect5(rest=b"more"), "CONNACK 0x81, closed"),
    before_connect(
        "properties longer than the packet",
        packet(0x10, text("MQTT"), bytes.fromhex("05020000ffff7f")), "CONNACK 0x81, closed",
    ),
    before_connect("a property twice", connect5(props=bytes.fromhex("11000000011100000001")), "CONNACK 0x82, closed"),
    before_connect("an unknown property", connect5(props=bytes.fromhex("7f00")), "CONNACK 0x81, closed"),
    before_connect("a property of PUBLISH", connect5(props=bytes.fromhex("230001")), "CONNACK 0x81, closed"),
    before_connect("receive maximum 0", connect5(props=bytes.fromhex("210000")), "CONNACK 0x82, closed"),
    before_connect("maximum packet size 0", connect5(props=bytes.fromhex("2700000000")), "CONNACK 0x82, closed"),
    # Nothing fits: not even the CONNACK that would say so.
    before_connect("maximum packet size 1", connect5(props=bytes.fromhex("2700000001")), "closed"),
    before_connect("enhanced authentication", connect5(props=b"\x15" + text("KERBEROS")), "CONNACK 0x8c, closed"),
    before_connect("will topic with a wildcard", connect5(flags=0x06, rest=will("a/#")), "CONNACK 0x90, closed"),
    before_connect("will topic with a wildcard, 3.1.1", connect4(flags=0x06, rest=text("a/#") + text("x")), "closed"),
    before_connect("will topic empty", connect5(flags=0x06, rest=will("")), "CONNACK 0x90, closed"),
    before_connect("will topic is not UTF-8", connect5(flags=0x06, rest=will(b"\xff")), "CONNACK 0x81, closed"),
    before_connect("will topic of the gateway", connect5(flags=0x06, rest=will("$SYS/a")), "CONNACK 0x90, closed"),
    before_connect("will topic of 10,000 levels", connect5(flags=0x06, rest=will(LEVELS)), "CONNACK 0x90, closed"),
    before_connect("will payload that is not there", connect5(flags=0x06, rest=will("a")[:-1]), "CONNACK 0x81, closed"),
    Case("half of CONNECT, then no more", connect5()[:8], "closed", "nothing", half_close=True),
]

MALFORMED_5 = [
    online5("a second CONNECT", connect5(), "DISCONNECT 0x82, closed"),
    online5("packet type 0", b"\x00\x00", "DISCONNECT 0x81, closed"),
    online5("reserved flags of SUBSCRIBE", b"\x80" + subscribe5("a")[1:], "DISCONNECT 0x81, closed"),
    online5("reserved flags of PUBREL", bytes.fromhex("60020001"), "DISCONNECT 0x81, closed"),
    online5("reserved flags of PINGREQ", bytes.fromhex("c100"), "DISCONNECT 0x81, closed"),
    online5("PINGREQ with a body", bytes.fromhex("c0020000"), "DISCONNECT 0x81, closed"),
    online5("QoS 3", publish5("a", qos=3, packet_id=1), "DISCONNECT 0x81, closed"),
    online5("DUP with QoS 0", publish5("a", flags=0x08), "DISCONNECT 0x81, closed"),
    online5("packet id 0", publish5("a", qos=1, packet_id=0), "DISCONNECT 0x81, closed"),
    online5("SUBSCRIBE with packet id 0", subscribe5("a", packet_id=0), "DISCONNECT 0x81, closed"),
    online5("topic with a wildcard", publish5("a/+"), "DISCONNECT 0x90, closed"),
    online5("topic is not UTF-8", publish5(b"\xc3\x28"), "DISCONNECT 0x81, closed"),
    online5("topic with NUL", publish5("a\0b"), "DISCONNECT 0x81, closed"),
    online5("topic longer than the packet", bytes.fromhex("3003ffff61"), "DISCONNECT 0x81, closed"),
    online5("topic of 10,000 levels", publish5(LEVELS), "DISCONNECT 0x90, closed"),
    online5("topic of the gateway", publish5("$SYS/a"), "DISCONNECT 0x90, closed"),
    online5("topic of a shared subscription", publish5("$share/g/a"), "DISCONNECT 0x90, closed"),
    online5("a queue without a name", publish5("$queue/"), "DISCONNECT 0x90, closed"),
    online5("a name that is the gateway's own", publish5("_DMQ", qos=1, packet_id=1) + PINGREQ, "PINGRESP, PUBACK 0x87"),
    online5("a length that is not the shortest", bytes.fromhex("c08000"), "DISCONNECT 0x81, closed"),
    online5("a length of five bytes", bytes.fromhex("30ffffffff7f"), "DISCONNECT 0x81, closed"),
    online5("PUBLISH of 256 MiB", bytes.fromhex("30ffffff7f"), "DISCONNECT 0x95, closed"),
    online5("SUBSCRIBE of 256 MiB", bytes.fromhex("82ffffff7f"), "DISCONNECT 0x95, closed"),
    online5("properties longer than the packet", packet(0x30, text("a"), b"\x7f"), "DISCONNECT 0x81, closed"),
    online5("a property cut off", publish5("a", props=b"\x02\x00"), "DISCONNECT 0x81, closed"),
    online5("an unknown property", publish5("a", props=b"\x7f\x00"), "DISCONNECT 0x81, closed"),
    online5("a property of CONNECT", publish5("a", props=bytes.fromhex("1100000001")), "DISCONNECT 0x81, closed"),
    online5("content type twice", publish5("a", props=(b"\x03" + text("a")) * 2), "DISCONNECT 0x82, closed"),
    online5("user property is not UTF-8", publish5("a", props=b"\x26" + text(b"\xff") + text("v")), "DISCONNECT 0x81, closed"),
    online5("response topic with a wildcard", publish5("a", props=b"\x08" + text("a/#")), "DISCONNECT 0x82, closed"),
    online5("payload format 2", publish5("a", props=b"\x01\x02"), "DISCONNECT 0x82, closed"),
    online5("a client's subscription id", publish5("a", props=b"\x0b\x01"), "DISCONNECT 0x82, closed"),
    online5("AUTH", bytes.fromhex("f000"), "DISCONNECT 0x82, closed"),
    online5("CONNACK of a client", bytes.fromhex("2003000000"), "DISCONNECT 0x82, closed"),
    online5("SUBACK of a client", bytes.fromhex("900400010000"), "DISCONNECT 0x82, closed"),
    online5("PINGRESP of a client", bytes.fromhex("d000"), "DISCONNECT 0x82, closed"),
    online5("session expiry in DISCONNECT after none", bytes.fromhex("e00700051100000001"), "DISCONNECT 0x82, closed"),
    online5("PUBACK cut off", bytes.fromhex("400100"), "DISCONNECT 0x81, closed"),
    online5("half of PUBLISH, then no more", publish5("a", b"x" * 50)[:20], "closed", half_close=True),
    online5("more after DISCONNECT", bytes.fromhex("e000") + PINGREQ * 1000, "closed"),
]

STATE_5 = [
    online5("topic alias 0", publish5("a", props=bytes.fromhex("230000")), "DISCONNECT 0x94, closed"),
    online5("topic alias over the maximum", publish5("a", props=bytes.fromhex("230041")), "DISCONNECT 0x94, closed"),
    online5("topic alias that was not set", publish5("", props=bytes.fromhex("230001")), "DISCONNECT 0x82, closed"),
    online5("neither topic nor alias", publish5(""), "DISCONNECT 0x82, closed"),
    online5(
        "receive maximum exceeded",
        b"".join(publish5("a", qos=2, packet_id=n) for n in range(1, 1026)), "…, DISCONNECT 0x93, closed",
    ),
    # Sent again before PUBREL: taken once, confirmed twice. [MQTT-4.3.3-10]
    online5("a packet id again", publish5("a", qos=2, packet_id=7) * 2, "PUBREC, PUBREC"),
    online5("PUBREL of nothing", bytes.fromhex("62020009"), "PUBCOMP 0x92"),
    online5("PUBREC of nothing", bytes.fromhex("50020009"), "PUBREL 0x92"),
    online5("PUBACK and PUBCOMP of nothing", bytes.fromhex("4002000970020009") + PINGREQ, "PINGRESP"),
    online5("SUBSCRIBE without a filter", packet(0x82, b"\0\1\0"), "DISCONNECT 0x82, closed"),
    online5("UNSUBSCRIBE without a filter", packet(0xA2, b"\0\1\0"), "DISCONNECT 0x82, closed"),
    online5("reserved subscription options", subscribe5("a", options=0xC0), "DISCONNECT 0x81, closed"),
    online5("subscription with QoS 3", subscribe5("a", options=0x03), "DISCONNECT 0x81, closed"),
    online5("retain handling 3", subscribe5("a", options=0x30), "DISCONNECT 0x82, closed"),
    online5("subscription id 0", subscribe5("a", props=b"\x0b\x00"), "DISCONNECT 0x82, closed"),
    online5("no local on a shared subscription", subscribe5("$share/g/a", options=0x04), "DISCONNECT 0x82, closed"),
    online5(
        "filters that are none",
        subscribe5("a/#/b", "a+", "#a", "", "$share/g", "$share//a", "$share/g+/a", "$queue/", "$regex/(((", LEVELS),
        "SUBACK 10*0x8f",
    ),
    online5("filter is not UTF-8", subscribe5(b"\xff"), "DISCONNECT 0x81, closed"),
    online5("10,000 filters in one SUBSCRIBE", subscribe5(*(f"f/{n}" for n in range(10_000))), "SUBACK 256*0x00 9744*0x97"),
    online5(
        "10,000 SUBSCRIBEs",
        b"".join(subscribe5(f"f/{n}", packet_id=n + 1) for n in range(10_000)), "…, SUBACK 0x97",
    ),
    online5("10,000 filters in one UNSUBSCRIBE", packet(0xA2, b"\0\1\0", *(text(f"f/{n}") for n in range(10_000))),
            "UNSUBACK 256*0x11 9744*0x97"),
]  # fmt: skip

MALFORMED_4 = [
    online4("a second CONNECT, 3.1.1", connect4(), "closed"),
    online4("QoS 3, 3.1.1", publish4("a", qos=3, packet_id=1), "closed"),
    online4("packet id 0, 3.1.1", publish4("a", qos=1, packet_id=0), "closed"),
    online4("topic with a wildcard, 3.1.1", publish4("#"), "closed"),
    online4("topic empty, 3.1.1", publish4(""), "closed"),
    online4("topic is not UTF-8, 3.1.1", publish4(b"\xff"), "closed"),
    online4("a name that is the gateway's own, 3.1.1", publish4("_DMQ", qos=1, packet_id=1), "closed"),
    online4("AUTH, 3.1.1", bytes.fromhex("f000"), "closed"),
    online4("subscription options of 5, 3.1.1", subscribe4("a", options=0x04), "closed"),
    online4("a filter that is none, 3.1.1", subscribe4("a/#/b"), "SUBACK 0x80"),
    online4("SUBSCRIBE without a filter, 3.1.1", packet(0x82, b"\0\1"), "closed"),
    online4("PUBLISH of 256 MiB, 3.1.1", bytes.fromhex("30ffffff7f"), "closed"),
    online4("DISCONNECT with a body, 3.1.1", bytes.fromhex("e00100"), "closed"),
]

CASES = BEFORE_CONNECT + MALFORMED_5 + STATE_5 + MALFORMED_4
