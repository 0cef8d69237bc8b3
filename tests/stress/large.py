"""A body of 2 GiB goes from socket to journal to consumer: little memory, and small messages keep their pace.

Small durable messages are measured before it and beside it: on other links of the same AMQP connection, and on connections of
others. The large body is sent and taken by processes that stream it themselves. Beside others it keeps the pace that the
configuration gives it; how fast it is alone is measured, too.
"""

import json
import statistics
import subprocess
import sys
import time

from lib.gateway import ROOT
from stress.load import Load, result
from stress.server import MIB, ROOM_FOR_LARGE, memory, peak, started

BYTES = 2 << 30
LIMITS = {"EVERGATE__LIMITS__QUEUE_BYTES_MAX": "16 GiB"}
# Seconds of a measurement of the other connections; as many as fit are made while the body is under way.
SLICE_SECONDS = 1.5
# Without the body.
BEFORE_SECONDS = 10
# Of everything: a body is taken in two seconds, and a second in which the disk stalls decides a p99.
ROUNDS = 3
BESIDE = {"mqtt": 200, "amqp": 200, "stomp": 200}


def measure(rows, journal, scale):
    size = int(BYTES * scale)
    found = {}
    with started(journal, LIMITS, ROOM_FOR_LARGE) as gateway:
        warm_up(gateway)
        for _ in range(ROUNDS):
            # What is sent is taken.
            for sender, taker in (("amqp", "stomp"), ("stomp", "amqp")):
                for way in ((sender, "send"), (taker, "take")):
                    found.setdefault(way, []).append(one_way(gateway, *way, size))
        alone = {way: streamed_alone(gateway, *way, size) for way in found}
    before = befores(run for runs in found.values() for run in runs)
    for way, runs in found.items():
        tell(rows, *way, size, medians(runs), before, alone[way])


def warm_up(gateway):
    """What any load makes the gateway keep is no growth."""
    for protocol in BESIDE:
        Load(gateway, protocol).pairs("warm", "durable", "queues", paced_seconds=0.5, full_seconds=1)
    for action in ("send", "take"):
        result_of(stream(gateway, "amqp", action, 32 * MIB, 0.1))


def streamed_alone(gateway, protocol, action, size):
    """Seconds that it takes with nothing beside it."""
    time.sleep(2)
    return result_of(stream(gateway, protocol, action, size, 0))["seconds"]


def one_way(gateway, protocol, action, size):
    """The figures of small messages, without a large body and with one."""
    time.sleep(2)  # what the one before left to be written is no part of this one
    name = f"{protocol}-{action}"
    begin = time.monotonic()
    # Over AMQP it measures its own small messages first, while the others are measured.
    if protocol == "amqp":
        running = stream(gateway, protocol, action, size, BEFORE_SECONDS)
    before = []
    while time.monotonic() < begin + BEFORE_SECONDS - 2 * SLICE_SECONDS:
        before.append(beside(gateway, f"{name}-before-{len(before)}"))
    first = gateway.rss_bytes() / MIB
    during = []
    with memory(gateway) as watch:
        if protocol == "amqp":
            time.sleep(begin + BEFORE_SECONDS + 0.5 - time.monotonic())
        else:
            running = stream(gateway, protocol, action, size, 0)
        while running.poll() is None:
            found = beside(gateway, f"{name}-{len(during)}")
            # What ran on after its end tells nothing, unless there is no other.
            if running.poll() is None or not during:
                during.append(found)
        found = result_of(running)
    figures = {}
    if protocol == "amqp":
        for what in ("confirm", "delivery"):
            figures[f"{what} on other links"] = found["before"][what]["p99_us"], found["during"][what]["p99_us"]
    for each in BESIDE:
        for kind, figure in (("confirm", "confirm_p99_us"), ("delivery", "p99_us")):
            then, now = (statistics.median(run[each][figure] for run in runs) for runs in (before, during))
            figures[f"{kind} on other connections, {each}"] = then, now
    return {"seconds": found["seconds"], "growth": peak(watch) - first, "small": figures}


def befores(runs):
    """Without a body all ways are the same: what small messages take then is the median of all of them."""
    times = {}
    for run in runs:
        for what, (before, _) in run["small"].items():
            times.setdefault(what, []).append(before)
    return {what: statistics.median(each) for what, each in times.items()}


def medians(runs):
    """Of the rounds; but the most that memory grew in one of them."""
    during = {what: statistics.median(run["small"][what][1] for run in runs) for what in runs[0]["small"]}
    seconds = statistics.median(run["seconds"] for run in runs)
    return {"seconds": seconds, "growth": max(run["growth"] for run in runs), "small": during}


def tell(rows, protocol, action, size, found, before, alone):
    words = f"{protocol} {'to the journal' if action == 'send' else 'from the journal'}"
    rows.tell(f"{words}: MiB/s of {size >> 20:,} MiB beside others", size / MIB / found["seconds"])
    rows.tell(f"{words}: MiB/s alone", size / MIB / alone)
    rows.at_most(f"{words}: growth of RSS, MiB", found["growth"], 64)
    for what, during in found["small"].items():
        seen = f"{before[what] / 1000:.2f} ms, now {during / 1000:.2f}"
        rows.at_most(f"{words}: {what}, p99, % of that without ({seen})", 100 * during / before[what], 200)


def beside(gateway, name):
    """Small durable messages of all protocols at once, for one slice of time."""
    loads = {
        protocol: Load(gateway, protocol).start(
            "pairs", f"{protocol}-{name}", "durable", "queues", rate=rate, paced_seconds=SLICE_SECONDS, full_seconds=0
        )
        for protocol, rate in BESIDE.items()
    }
    return {protocol: result(load, 60) for protocol, load in loads.items()}


def stream(gateway, protocol, action, size, before):
    # A client elsewhere takes no processor time from the gateway and from those who are measured. Over AMQP it is one of those.
    arguments = ["nice", "-n", 0 if protocol == "amqp" else 19, sys.executable, "-m", "stress.streams", protocol, action]
    arguments += ["--port", gateway.ports[protocol], "--bytes", size, "--before", before]
    return subprocess.Popen(
        list(map(str, arguments)), cwd=ROOT / "tests", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result_of(process):
    said, fault = process.communicate(timeout=1800)
    if process.returncode != 0:
        raise RuntimeError(fault.strip())
    return json.loads(said)
