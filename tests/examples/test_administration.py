"""docs/administration.md: its example runs, and its table names what there is."""

import json
import re
import subprocess
import sys

import pytest

from lib.gateway import ROOT, Gateway

PAGE = (ROOT / "docs/administration.md").read_text()


@pytest.fixture(scope="module")
def gateway():
    with Gateway() as running:
        yield running


def run(example, gateway):
    """What the example's listener prints first."""
    program = example.replace("61613", str(gateway.ports["stomp"])) + "\nimport time\ntime.sleep(30)\n"
    with subprocess.Popen([sys.executable, "-uc", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            return process.stdout.readline().strip()
        finally:
            process.kill()


def test_the_example_runs(gateway):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert re.fullmatch(r"\d+\.\d+\.\d+", run(example, gateway))


def test_the_table_names_every_operation(gateway):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    asking_help = example.replace("node.status", "help").replace(
        'print(json.loads(frame.body)["result"]["version"])', 'print(json.dumps(json.loads(frame.body)["result"]))'
    )
    told = set(json.loads(run(asking_help, gateway)))
    named = re.findall(r"^\| ((?:`[a-z.]+`(?:, )?)+) \|", PAGE, re.MULTILINE)
    shown = {name for names in named for name in re.findall(r"[a-z]+\.[a-z]+", names)}
    assert shown == told
