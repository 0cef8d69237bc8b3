"""Apache Qpid JMS: what a JMS application does, by the checks in jms/src/main/java. Needs a JDK and Maven."""

import re
import subprocess

import pytest

from lib.gateway import ROOT

MAVEN_SECONDS, CHECKS_SECONDS = 300, 180
pytestmark = pytest.mark.timeout(MAVEN_SECONDS + CHECKS_SECONDS)

PROJECT = ROOT / "tests/interop/jms"
BUILT = ROOT / "tests/.cache/jms"
CHECKS = [
    name
    for source in ("Queues", "Subscriptions", "Transactions")
    for name in re.findall(r"public static void (\w+)\(", (PROJECT / f"src/main/java/{source}.java").read_text())
]


@pytest.fixture(scope="module")
def results(gateway):
    """The word on each check; all of them run in one virtual machine."""
    subprocess.run(["mvn", "-q", "-B", "process-classes"], cwd=PROJECT, check=True, timeout=MAVEN_SECONDS)
    classpath = f"{BUILT / 'classes'}:{(BUILT / 'classpath').read_text()}"
    address = f"amqp://127.0.0.1:{gateway.ports['amqp']}?jms.requestTimeout=10000"
    command = ["java", "-cp", classpath, "Checks", address]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=CHECKS_SECONDS)
    assert ran.returncode == 0, ran.stderr
    return dict(line.split("\t", 1) for line in ran.stdout.splitlines())


@pytest.mark.parametrize("check", CHECKS)
def test_a_jms_application_finds_that(results, check):
    assert results.get(check) == "ok"
