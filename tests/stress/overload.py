"""Three times the publishers that the gateway can carry, which push all they can: it keeps its pace and its memory."""

from stress.load import Load, alternate, result
from stress.server import Watch, memory, metrics, peak, started

SECONDS = 120
PAIRS = 8
# Each publisher may have four times what the gateway takes from a connection before it stops reading.
WINDOW = 16_384


def measure(rows, journal, scale):
    seconds = max(SECONDS * scale, 10)
    with started(journal) as gateway:
        load = Load(gateway)

        def at_peak(number):
            return load.pairs(f"peak-{number}", "durable", "queues", pairs=PAIRS, paced_seconds=0.1, full_seconds=5)

        capacity = alternate({"peak": at_peak}, 3)["peak"]
        # Without pause, and without waiting for their consumers.
        pushing = load.start(
            "pairs", "over", "durable", "queues", pairs=3 * PAIRS, paced_seconds=0.1, full_seconds=seconds,
            window=WINDOW, delivery_window=1e12,
        )  # fmt: skip
        with memory(gateway) as rss, Watch(lambda: metrics(gateway), 1.0) as watch:
            found = result(pushing, 60 + 10 * seconds)
    tell(rows, capacity, found, rss, watch.values, seconds)


def tell(rows, capacity, found, rss, samples, seconds):
    rows.tell("peak messages/s", capacity["rate"])
    begin = samples[0][0]
    # Without the first seconds, in which queues and windows fill, and without the end, in which they empty.
    inner = [(at, value) for at, value in samples if 5 < at - begin < seconds - 1]
    (start, before), (end, after) = inner[0], inner[-1]
    for what in ("published", "delivered"):
        name = f"evergate_messages_{what}_total"
        rate = (after[name] - before[name]) / (end - start)
        if what == "delivered":
            rows.at_least("delivered while overloaded, % of the peak", 100 * rate / capacity["rate"], 90)
        else:
            rows.tell("taken from publishers while overloaded, % of the peak", 100 * rate / capacity["rate"])
    values = [value for at, value in rss.values if 5 < at - begin < seconds - 1]
    third = max(len(values) // 3, 1)
    first, last = max(values[:third]), max(values[-third:])
    rows.tell("RSS MiB, peak of the first and of the last third", f"{first:.0f}, {last:.0f}")
    rows.at_most("growth of these, %", 100 * last / first - 100, 10)
    rows.tell("RSS MiB, peak", peak(rss))
    # What all publishers together may have unconfirmed takes this long at the peak's pace.
    window = 3 * PAIRS * WINDOW / capacity["rate"]
    rows.at_most("confirm p99, s", found["busy_confirm_p99_us"] / 1e6, 2 * window)
    rows.tell("confirm p50, longest, s", f"{found['busy_confirm_p50_us'] / 1e6:.2f}, {found['busy_confirm_max_us'] / 1e6:.2f}")
    rows.tell("messages, each once and in order", found["messages"])
