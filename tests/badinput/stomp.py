"""STOMP 1.2 by hand."""


def frame(command, *headers, body=b"", end=b"\0"):
    """A frame of header lines as they are."""
    lines = [line if isinstance(line, bytes) else line.encode() for line in (command, *headers)]
    return b"\n".join(lines) + b"\n\n" + body + end


CONNECT = frame("CONNECT", "accept-version:1.2", "host:localhost", "heart-beat:0,0")

OPENINGS = {"nothing": [], "connect": [(CONNECT, "CONNECTED")]}


def words(data):
    """Each frame's command, with what an ERROR says and whose RECEIPT it is."""
    found = []
    while True:
        data = data.lstrip(b"\r\n")
        head, separator, rest = data.partition(b"\n\n")
        if not separator:
            return found
        command, *lines = head.decode().split("\n")
        headers = dict(line.split(":", 1) for line in lines)
        length = int(headers.get("content-length", rest.find(b"\0")))
        if length < 0 or len(rest) <= length:
            return found
        message = headers.get("message", "").replace("\\c", ":")
        found.append(" ".join(filter(None, [command, message, headers.get("receipt-id")])))
        data = rest[length + 1 :]
