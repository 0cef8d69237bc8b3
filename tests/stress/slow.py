"""1,000 subscribers of one topic, of which 10 never read: the others do not notice."""

import statistics

from stress.load import Load, alternate, result
from stress.server import Watch, memory, metrics, peak, started

SUBSCRIBERS = 1000
STALLED = 10
ROUNDS = 3
# Small, so that those who do not read reach what they may hold within the run.
LIMITS = {"EVERGATE__LIMITS__QUEUE_RESIDENT_BYTES_MAX": "2 MiB", "EVERGATE__LOG__EVENTS_FILE": "events.jsonl"}


def measure(rows, journal, scale):
    subscribers = max(int(SUBSCRIBERS * scale), 100)
    with started(journal, LIMITS) as gateway:
        load, dropped_before = Load(gateway), 0
        for mode, options in {"QoS 0": (), "QoS 1": ("durable",)}.items():
            seen, told_before = {}, len(gateway.events)
            settings = {"body": 4096, "rate": 20, "paced_seconds": 2, "full_seconds": 12, "delivery_window": 256}

            def healthy(number):
                return load.run("fanout", f"all-{number}", *options, subscribers=subscribers - STALLED, **settings)

            def mixed(number):
                running = load.start(
                    "fanout", f"some-{number}", *options, subscribers=subscribers, stalled=STALLED, **settings
                )
                with Watch(lambda: metrics(gateway), 1.0) as watch:
                    found = result(running, 120)
                seen["metrics"] = watch.values
                return found

            try:
                with memory(gateway) as watch:
                    found = alternate({"healthy": healthy, "mixed": mixed}, ROUNDS)
            except RuntimeError as error:
                rows.fail(f"{mode}: {subscribers:,} subscribers", error)
                continue
            tell(rows, mode, found["healthy"], found["mixed"])
            rows.at_most(f"{mode}: RSS MiB, peak", peak(watch), 600)
            rows.true(f"{mode}: slow ones are seen in the metrics", any(slow_ones(value) == STALLED for _, value in seen["metrics"]))
            told = {event.get("queue") for event in gateway.events[told_before:] if "do not keep up" in event["event"]}
            stalled = {f"$session/some-{number}-{one}-s" for number in range(ROUNDS) for one in range(STALLED)}
            rows.equal(f"{mode}: of the slow ones, told by the event log", len(told & stalled), len(stalled))
            now = dropped(gateway)
            rows.tell(f"{mode}: messages dropped", now - dropped_before)
            dropped_before = now


def dropped(gateway):
    return int(metrics(gateway).get("evergate_messages_dropped_total", 0))


def tell(rows, mode, healthy, mixed):
    rows.at_least(f"{mode}: throughput of the others, %", 100 * mixed["rate"] / healthy["rate"], 90)
    rows.at_most(f"{mode}: their paced p99, %", 100 * mixed["p99_us"] / healthy["p99_us"], 150)
    rows.tell("  deliveries/s without, with", f"{healthy['rate']:,.0f}, {mixed['rate']:,.0f}")
    rows.tell("  p99 ms without, with", f"{healthy['p99_us'] / 1000:.1f}, {mixed['p99_us'] / 1000:.1f}")


def slow_ones(sample):
    """How many destinations have a backlog well above the usual."""
    depths = [value for name, value in sample.items() if name.startswith("evergate_destination_messages{")]
    usual = statistics.median(depths) if depths else 0
    return sum(depth > 2 * usual + 100 for depth in depths)
