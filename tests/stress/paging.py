"""5,000,000 durable messages wait in one queue: little memory, and the others do not notice.

Two gateways, one with the deep queue and one without, are measured in turn.
"""

from stress.load import Load, alternate
from stress.server import DEEP, cpu_seconds, memory, peak, started

MESSAGES = 5_000_000
BODY = 1024
ROUNDS = 7


def measure(rows, journal, scale):
    messages = int(MESSAGES * scale)
    with started(journal, DEEP) as empty, started(journal, DEEP) as deep:
        loads = {"empty": Load(empty), "deep": Load(deep)}
        with memory(deep) as filling:
            first, last = fill(rows, loads["deep"], messages)
        rows.at_most(f"RSS MiB, peak, while {messages:,} of {BODY} bytes are published", peak(filling), 300)
        with memory(deep) as resting:
            compare(rows, loads)
        rows.at_most("RSS MiB, peak, while they wait", peak(resting), 300)
        # The gateway's own. The kernel's part is told beside it: a file that grows into memory which a virtual machine has
        # not used yet takes many times the kernel's time for each page, whoever writes it.
        rows.at_most("own CPU us/message, last of them against first, %", 100 * last[0] / first[0], 120)
        rows.tell("  own and kernel's, first, last", f"{first[0]:.2f} + {first[1]:.2f}, {last[0]:.2f} + {last[1]:.2f}")
        with memory(deep) as draining:
            drained = loads["deep"].drain("deep", messages, body=BODY)
        rows.equal("drained in order", drained["received"], messages)
        rows.tell("drained/s", drained["rate"])
        rows.at_most("RSS MiB, peak, while drained", peak(draining), 300)


def fill(rows, load, messages):
    """Fills in ten parts; the CPU time of a message, its own and the kernel's, in the first and in the last."""
    part = messages // 10
    costs, rates = [], []
    for number in range(10):
        before = cpu_seconds(load.gateway)
        filled = load.fill("deep", part, number * part, body=BODY, window=4000)
        if filled["error"]:
            raise RuntimeError(filled["error"])
        costs.append([(now - then) * 1e6 / part for now, then in zip(cpu_seconds(load.gateway), before, strict=True)])
        rates.append(filled["rate"])
    rows.tell("published/s, first and last tenth", f"{rates[0]:,.0f}, {rates[-1]:,.0f}")
    return costs[0], costs[-1]


def compare(rows, loads):
    def run(load):
        return lambda number: load.pairs(f"other-{number}", "durable", "queues", paced_seconds=0.3, full_seconds=2)

    found = alternate({name: run(load) for name, load in loads.items()}, ROUNDS)
    empty, deep = found["empty"], found["deep"]
    rows.at_least("throughput of another queue, % of that without", 100 * deep["rate"] / empty["rate"], 90)
    rows.at_most("its CPU us/message, % of that without", 100 * deep["cpu_us"] / empty["cpu_us"], 120)
    rows.tell("its messages/s without, with", f"{empty['rate']:,.0f}, {deep['rate']:,.0f}")
    rows.tell("its delivery p50 us without, with", f"{empty['p50_us']:.0f}, {deep['p50_us']:.0f}")
