"""Three times the publishers that the gateway can carry, which push all they can: it keeps its pace and its memory."""

import statistics

from stress.load import Load
from stress.server import Share, memory, started

SECONDS = 120
PAIRS = 8
# Each publisher may have four times what the gateway takes from a connection before it stops reading.
WINDOW = 16_384


def measure(rows, journal, scale):
    seconds = max(SECONDS * scale, 10)
    with started(journal) as gateway:
        load = Load(gateway)
        with Share(gateway) as before:
            peaks = [at_peak(load, number) for number in range(3)]
        # Without pause, and without waiting for their consumers.
        with Share(gateway) as during, memory(gateway) as rss:
            found = load.pairs(
                "over", "durable", "queues", pairs=3 * PAIRS, paced_seconds=0, full_seconds=seconds,
                window=WINDOW, delivery_window=1e12,
            )  # fmt: skip
        with Share(gateway) as after:
            peaks += [at_peak(load, number) for number in range(3, 6)]
    shares = (before.share + after.share) / 2, during.share
    tell(rows, statistics.median(peaks), found, shares)
    tell_memory(rows, rss)


def at_peak(load, number):
    return load.pairs(f"peak-{number}", "durable", "queues", pairs=PAIRS, paced_seconds=0, full_seconds=5)["rate"]


def tell(rows, peak_rate, found, shares):
    rows.tell("messages/s at the peak, while overloaded", f"{peak_rate:,.0f}, {found['rate']:,.0f}")
    rows.tell("share of the machine's processors that others left, %", ", ".join(f"{100 * share:.0f}" for share in shares))
    # What others took of the machine is not the gateway's fault.
    rows.at_least(
        "throughput while overloaded, % of the peak, for the same share",
        100 * found["rate"] / shares[1] / (peak_rate / shares[0]),
        90,
    )
    # What all publishers together may have unconfirmed takes this long.
    window = 3 * PAIRS * WINDOW / found["rate"]
    rows.at_most("confirm p99, s; twice the publishers' own windows", found["busy_confirm_p99_us"] / 1e6, 2 * window)
    rows.tell("confirm p50, longest, s", f"{found['busy_confirm_p50_us'] / 1e6:.2f}, {found['busy_confirm_max_us'] / 1e6:.2f}")
    rows.tell("messages, each once and in order", found["messages"])


def tell_memory(rows, rss):
    values = [value for _, value in rss.values]
    third = max(len(values) // 3, 1)
    first, last = max(values[:third]), max(values[-third:])
    rows.tell("RSS MiB, peak of the first and of the last third", f"{first:.0f}, {last:.0f}")
    rows.at_most("growth of these, %", 100 * last / first - 100, 10)
