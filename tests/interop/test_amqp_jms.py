"""Apache Qpid JMS: what a JMS application does, by the checks in jms/src/main/java. Needs a JDK and Maven."""

import re
import subprocess

import pytest

from lib.gateway import ROOT, Gateway

MAVEN_SECONDS, CHECKS_SECONDS = 300, 180
pytestmark = pytest.mark.timeout(MAVEN_SECONDS + CHECKS_SECONDS)

PROJECT = ROOT / "tests/interop/jms"
BUILT = ROOT / "tests/.cache/jms"
CLASSES = ("Queues", "Subscriptions", "Transactions")
SMALL = {
    "EVERGATE__LIMITS__TRANSACTION_MESSAGES_MAX": "4",
    "EVERGATE__AMQP__UNSETTLED_PER_LINK_MAX": "10",
    "EVERGATE__LIMITS__TRANSACTION_AGE_SECONDS_MAX": "2",
}
POLICIES = """
[[policy]]
match = "jms-full"
messages_max = 2
on_full = "reject"

[[policy]]
match = "jms-not-made"
auto_create = false
"""


def checks(*classes):
    texts = ((PROJECT / f"src/main/java/{name}.java").read_text() for name in classes)
    return [check for text in texts for check in re.findall(r"public static void (\w+)\(", text)]


@pytest.fixture(scope="module")
def classpath():
    subprocess.run(["mvn", "-q", "-B", "process-classes"], cwd=PROJECT, check=True, timeout=MAVEN_SECONDS)
    return f"{BUILT / 'classes'}:{(BUILT / 'classpath').read_text()}"


def run(classpath, gateway, *classes):
    """The word on each check; all of them run in one virtual machine."""
    address = f"amqp://127.0.0.1:{gateway.ports['amqp']}?jms.requestTimeout=10000"
    command = ["java", "-cp", classpath, "Checks", address, *classes]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=CHECKS_SECONDS)
    assert ran.returncode == 0, ran.stderr
    return dict(line.split("\t", 1) for line in ran.stdout.splitlines())


@pytest.fixture(scope="module")
def results(classpath, gateway):
    return run(classpath, gateway, *CLASSES)


@pytest.fixture(scope="module")
def results_of_limits(classpath):
    small = Gateway(environment=SMALL)
    (small.directory / "evergate.toml").write_text(POLICIES)
    with small as gateway:
        return run(classpath, gateway, "Limits")


@pytest.mark.parametrize("check", checks(*CLASSES))
def test_a_jms_application_finds_that(results, check):
    assert results.get(check) == "ok"


@pytest.mark.parametrize("check", checks("Limits"))
def test_at_a_limit_a_jms_application_finds_that(results_of_limits, check):
    assert results_of_limits.get(check) == "ok"
