"""Examples on the pages of docs/protocols: a program, and what it prints."""

import re
import subprocess
import sys

from lib.gateway import ROOT

USUAL_PORTS = {"61613": "stomp", "1883": "mqtt", "5672": "amqp"}


def examples(page):
    text = (ROOT / "docs/protocols" / page).read_text()
    found = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert len(found) == text.count("```python"), f"{page}: an example without its output"
    return found


def output(gateway, program):
    for usual, listener in USUAL_PORTS.items():
        program = program.replace(usual, str(gateway.ports[listener]))
    return subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=20).stdout
