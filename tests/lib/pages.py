"""Examples on the pages of docs: programs in Python, what they print, and the settings that they need."""

import re
import subprocess
import sys
from dataclasses import dataclass

from lib.gateway import ROOT

USUAL_PORTS = {"61613": "stomp", "1883": "mqtt", "5672": "amqp", "15672": "http"}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Example:
    program: str
    printed: str
    settings: str  # what evergate.toml has; empty: nothing


def blocks(page, kind):
    """The fenced blocks of one kind."""
    return [text for found, text in FENCED.findall(text_of(page)) if found == kind]


def examples(page):
    """Each program with the output that the page shows behind it and, if there is one, the settings before it."""
    found = []
    before = ("", "")
    fenced = FENCED.findall(text_of(page))
    for (kind, text), (next_kind, printed) in zip(fenced, [*fenced[1:], ("", "")], strict=True):
        if kind == "python":
            assert next_kind == "text", f"{page}: an example without its output"
            found.append(Example(text, printed, before[1] if before[0] == "toml" else ""))
        before = kind, text
    assert found, f"{page} has no example"
    return found


def text_of(page):
    return (ROOT / "docs" / page).read_text()


def here(program, gateway):
    """The program with this gateway's ports in place of the usual ones."""
    for usual, name in USUAL_PORTS.items():
        program = re.sub(rf"\b{usual}\b", str(gateway.ports[name]), program)
    return program


# stomp.py takes long for a large frame; a busy machine takes several times that.
OUTPUT_SECONDS = 100


def output(gateway, program):
    """What it prints until it ends."""
    command = [sys.executable, "-uc", here(program, gateway)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=OUTPUT_SECONDS).stdout
