"""rhea: what a Node application does, by the checks in node/rhea_features.mjs."""

import re
import subprocess

import pytest

from lib.gateway import ROOT

SCRIPT = ROOT / "tests/interop/node/rhea_features.mjs"
CHECKS = re.findall(r"^  async (\w+)\(\) \{", SCRIPT.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def results(gateway):
    command = ["node", SCRIPT, str(gateway.ports["amqp"])]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=SCRIPT.parent)
    assert ran.returncode == 0, ran.stderr
    return dict(line.split("\t", 1) for line in ran.stdout.splitlines())


@pytest.mark.parametrize("check", CHECKS)
def test_a_node_application_finds_that(results, check):
    assert results.get(check) == "ok"
