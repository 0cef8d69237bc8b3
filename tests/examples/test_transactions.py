"""docs/transactions.md: its example runs."""

import re
import subprocess
import sys

import pytest

from lib.gateway import ROOT, Gateway

PAGE = (ROOT / "docs/transactions.md").read_text()


@pytest.fixture
def gateway():
    with Gateway() as running:
        yield running


def test_the_example_prints_what_was_committed_and_nothing_else(gateway):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (expected,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    program = example.replace("61613", str(gateway.ports["stomp"])) + "\nimport time\ntime.sleep(1)\n"
    done = subprocess.run([sys.executable, "-uc", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == expected
