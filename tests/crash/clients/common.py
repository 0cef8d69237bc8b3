"""What the three share."""

import itertools

OPEN_SECONDS = 5
_numbers = itertools.count(1)


def unique(name):
    """A client id that nobody had before."""
    return f"{name}-{next(_numbers)}"


class Refused(OSError):
    """The gateway does not take this connection now."""
