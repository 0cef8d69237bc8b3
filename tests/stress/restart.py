"""A journal with 1,000,000 live and 10,000,000 past messages: killed, started, serving."""

import statistics
import time

from stress.load import Load, result
from stress.server import DEEP, cpu_seconds, started

LIVE = 1_000_000
PAST = 10_000_000
SLICES = 10
RESTARTS = 3


def measure(rows, journal, scale):
    live, past = int(LIVE * scale), int(PAST * scale)
    with started(journal, DEEP) as gateway:
        load = Load(gateway)
        passed = history(load, live, past)
        rows.tell("past messages", passed)
        taken, times, ready, used = 0, [], [], []
        for _ in range(RESTARTS):
            # What was settled a moment ago may come again after a kill: that is not what is measured.
            time.sleep(1)
            gateway.kill()
            begin = time.monotonic()
            gateway.launch()
            # Connects as soon as the port is there.
            first = load.drain("live", 1, taken, connect_seconds=60)
            times.append(time.monotonic() - begin)
            ready.append(gateway.log.rpartition("ready_ms=")[2].split()[0])
            used.append(sum(cpu_seconds(gateway)))
            taken += first["received"]
        rows.tell("ready, by the gateway's log, ms", ", ".join(ready))
        rows.tell("first message of the queue after start, s", ", ".join(f"{each:.2f}" for each in times))
        rows.tell("CPU time of the gateway until then, s", ", ".join(f"{each:.2f}" for each in used))
        rows.at_most("the median of these, s", statistics.median(times), 2.0)
        drained = load.drain("live", live - taken, taken)
        rows.equal("live messages, each once and in order", taken + drained["received"], live)


def history(load, live, past):
    """Live messages between past ones; returns how many are past."""
    passed = 0
    for number in range(SLICES):
        part = live // SLICES
        filling = load.start("fill", "live", "queues", "durable", messages=part, first=number * part, window=128)
        while passed < past * (number + 1) // SLICES:
            run = load.pairs(f"past-{number}-{passed}", "durable", pairs=4, paced_seconds=0, full_seconds=3)
            passed += run["messages"]
        if error := result(filling)["error"]:
            raise RuntimeError(error)
    return passed
