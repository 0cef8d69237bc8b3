"""PostgreSQL stands still for 10 s: durable messages wait, transient ones go on, nothing is lost."""

import os
import signal
import time

from benchmarks.brokers import family
from stress.load import Load, result
from stress.server import memory, peak, started

SECONDS = 10


def measure(rows, journal, scale):  # noqa: ARG001: there is no shorter form
    if journal != "postgres":
        return
    with started(journal) as gateway:
        load = Load(gateway)
        settings = {"rate": 2000, "paced_seconds": SECONDS + 6, "full_seconds": 1}
        with memory(gateway) as watch:
            durable = load.start("pairs", "stalled", "durable", pairs=4, **settings)
            transient = load.start("pairs", "going-on", pairs=4, **settings)
            time.sleep(3)
            stand_still(gateway.server)
            durable, transient = result(durable, 120), result(transient, 120)
    rows.tell("durable messages, each once and in order", durable["messages"])
    rows.at_least("longest wait for a confirm, s", durable["confirm_max_us"] / 1e6, SECONDS - 1)
    rows.at_most("and not much longer than the journal stood still, s", durable["confirm_max_us"] / 1e6, SECONDS + 2)
    rows.tell("transient messages meanwhile", transient["messages"])
    rows.at_most("their longest delivery, s", transient["max_us"] / 1e6, 1)
    rows.at_most("RSS MiB, peak", peak(watch), 300)


def stand_still(server):
    pids = family(server.process.pid)
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(SECONDS)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
