"""Bad STOMP: every fault is an ERROR frame that names it, then the close."""

from badinput.case import Case
from badinput.stomp import CONNECT, frame


def before_connect(name, send, expect, **more):
    return Case(name, send, expect, "nothing", **more)


def online(name, send, expect, **more):
    return Case(name, send, expect, "connect", **more)


def subscribe(number, *more, destination="/topic/hostile"):
    return frame("SUBSCRIBE", f"id:{number}", f"destination:{destination}", *more)


BEFORE_CONNECT = [
    before_connect("an unknown command", b"HELLO\n\n\0", "ERROR unknown command, closed"),
    before_connect("a command in lower case", b"connect\n\n\0", "ERROR unknown command, closed"),
    before_connect("NUL", b"\0" * 100 + b"\n", "ERROR unknown command, closed"),
    before_connect("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "ERROR unknown command, closed"),
    before_connect("TLS", bytes.fromhex("16030100c8010000c40303") + b"\n", "ERROR unknown command, closed"),
    before_connect("SEND before CONNECT", frame("SEND", "destination:/queue/a"), "ERROR SEND before CONNECT, closed"),
    before_connect("CONNECTED of a client", frame("CONNECTED", "version:1.2"), "ERROR CONNECTED before CONNECT, closed"),
    before_connect("a version of the future", frame("CONNECT", "accept-version:9.9"), "ERROR none of the versions, closed"),
    before_connect(
        "10,000 versions", frame("CONNECT", "accept-version:" + ",".join("9" * 3000)), "ERROR none of the versions, closed"
    ),
    before_connect("a heart-beat that is none", frame("CONNECT", "accept-version:1.2", "heart-beat:-1,x"),
                   "ERROR heart-beat must be, closed"),
    before_connect("CONNECT with a body", frame("CONNECT", "accept-version:1.2", body=b"x"),
                   "ERROR CONNECT frames must not have a body, closed"),
    before_connect("CONNECT with 4 GiB of body", frame("CONNECT", "accept-version:1.2", "content-length:4294967296"),
                   "ERROR CONNECT frames must not have a body, closed"),
    before_connect("a command line without end", b"C" * 100_000, "ERROR a header line is longer, closed"),
    before_connect("a header line without end", b"CONNECT\n" + b"h" * 100_000, "ERROR a header line is longer, closed"),
    before_connect("10,000 header lines", frame("CONNECT", *(f"h{n}:v" for n in range(10_000))),
                   "ERROR a frame has more than 128 headers, closed"),
    before_connect("headers over 64 KiB", frame("CONNECT", *(f"h{n}:{'v' * 8000}" for n in range(20))),
                   "ERROR the headers of a frame are longer, closed"),
    before_connect("a header without a colon", frame("CONNECT", "host"), "ERROR a header line has no colon, closed"),
    before_connect("a header without a name", frame("CONNECT", ":v"), "ERROR a header has an empty name, closed"),
    before_connect("headers are not UTF-8", frame("CONNECT", b"host:\xff\xfe"), "ERROR the headers are not UTF-8, closed"),
    before_connect("NUL in the headers", b"CONNECT\nhost:a\0b\n\n\0", "ERROR NUL before, closed"),
    before_connect("half of CONNECT, then no more", CONNECT[:20], "closed", half_close=True),
]  # fmt: skip

FRAMES = [
    online("CONNECT again", CONNECT, "ERROR this connection is connected already, closed"),
    online("MESSAGE of a client", frame("MESSAGE", "destination:/queue/a"), "ERROR a client cannot send MESSAGE, closed"),
    online("ERROR of a client", frame("ERROR", "message:x"), "ERROR a client cannot send ERROR, closed"),
    online("an unknown command later", b"SENT\n\n\0", "ERROR unknown command, closed"),
    online("an undefined escape", frame("SEND", r"destination:/queue/\t"), "ERROR undefined escape, closed"),
    online("an escape cut off", frame("SEND", "destination:/queue/a\\"), "ERROR undefined escape, closed"),
    online("carriage return in a line", frame("SEND", "destination:/queue/a\rb"), "ERROR carriage return, closed"),
    online("a content-length that is no number", frame("SEND", "destination:/queue/a", "content-length:x"),
           "ERROR content-length is not a number, closed"),
    online("a content-length below 0", frame("SEND", "destination:/queue/a", "content-length:-1"),
           "ERROR content-length is not a number, closed"),
    online("a content-length of 2^64", frame("SEND", "destination:/queue/a", "content-length:18446744073709551616"),
           "ERROR the body is longer, closed"),
    online("a content-length of 1,000 digits", frame("SEND", "destination:/queue/a", "content-length:" + "9" * 1000),
           "ERROR the body is longer, closed"),
    online("a content-length that is too short", frame("SEND", "destination:/queue/a", "content-length:1", body=b"abc"),
           "ERROR no NUL after content-length, closed"),
    online("a body over the limit", frame("SEND", "destination:/queue/a", f"content-length:{17 << 20}"),
           "ERROR the body is longer, closed"),
    online("a body over the limit without its length", frame("SEND", "destination:/queue/a", body=b"x" * (5 << 20)),
           "ERROR the body is longer, closed"),
    online("a large body of SUBSCRIBE", frame("SUBSCRIBE", "destination:/queue/a", "id:1", f"content-length:{17 << 20}"),
           "ERROR SUBSCRIBE frames must not have a body, closed"),
    online("a header line without end later", b"SEND\n" + b"h" * 100_000, "ERROR a header line is longer, closed"),
    online("10,000 header lines later", frame("SEND", *(f"h{n}:v" for n in range(10_000))),
           "ERROR a frame has more than 128 headers, closed"),
    online("half of SEND, then no more", b"SEND\ndestination:/queue/a\n\nbody", "closed", half_close=True),
    online("more after DISCONNECT", frame("DISCONNECT", "receipt:end") + b"x" * 10_000, "RECEIPT end, closed"),
]  # fmt: skip

REQUESTS = [
    online("SEND to nowhere", frame("SEND", "receipt:r"), "ERROR SEND without a destination header r, closed"),
    online("SEND to an empty name", frame("SEND", "destination:/queue/", "receipt:r"), "ERROR the destination name is empty r, closed"),
    online("SEND to a pattern", frame("SEND", "destination:/topic/a/#", "receipt:r"), "ERROR a message cannot be sent to a wildcard, closed"),
    online("SEND to a name with NUL", frame("SEND", "destination:/queue/a\0b"), "ERROR NUL before, closed"),
    online("SEND to the gateway's own", frame("SEND", "destination:/queue/_DMQ", "receipt:r"), "ERROR the message was not taken, closed"),
    online("SEND to a session's queue", frame("SEND", "destination:/queue/$session/a", "receipt:r"), "ERROR the message was not taken, closed"),
    online("an expiry that is no number", frame("SEND", "destination:/topic/a", "expires:never", "receipt:r"), "ERROR expires must be milliseconds, closed"),
    online("SEND in a transaction that nobody began", frame("SEND", "destination:/queue/a", "transaction:t"), "ERROR SEND: there is no transaction t, closed"),
    online("BEGIN twice", frame("BEGIN", "transaction:t") * 2, "ERROR BEGIN: there is a transaction t already, closed"),
    online("SUBSCRIBE without an id", frame("SUBSCRIBE", "destination:/topic/a"), "ERROR SUBSCRIBE without a id header, closed"),
    online("SUBSCRIBE twice with an id", subscribe(1) * 2, "ERROR there is a subscription 1 already, closed"),
    online("SUBSCRIBE to no filter", subscribe(1, destination="/topic/a/#/b"), "ERROR + must fill a level of the topic filter, closed"),
    online("SUBSCRIBE to a session's queue", subscribe(1, destination="/queue/$session/a"), "ERROR queues that begin, closed"),
    online("an ack mode that is none", subscribe(1, "ack:never"), "ERROR ack must be, closed"),
    online("a prefetch that is no number", subscribe(1, "prefetch-count:-1"), "ERROR prefetch-count must be, closed"),
    online("a selector", subscribe(1, "selector:" + "(" * 5000), "ERROR selector: , closed"),
    online("a durable subscription of nobody", subscribe(1, "durable:true"), "ERROR a durable subscription needs, closed"),
    online("10,000 SUBSCRIBEs", b"".join(map(subscribe, range(10_000))), "ERROR a connection has at most 1024, closed"),
    online("UNSUBSCRIBE of nothing", frame("UNSUBSCRIBE", "id:1"), "ERROR there is no subscription 1, closed"),
    online("ACK without an id", frame("ACK"), "ERROR ACK without a id header, closed"),
    online("ACK of nothing", frame("ACK", "id:1-2-3", "receipt:r"), "ERROR ACK: no message 1-2-3 awaits, closed"),
    online("NACK of a number too large", frame("NACK", f"id:1-1-{1 << 64}"), "ERROR NACK: no message, closed"),
]

CASES = BEFORE_CONNECT + FRAMES + REQUESTS
