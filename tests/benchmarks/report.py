"""Tables in Markdown."""

import datetime
import os
import platform
import statistics
from pathlib import Path


def rows(head, body):
    """A Markdown table; columns of numbers are aligned to the right."""
    text = ("case", "broker", "thread", "part", "function")
    lines = [head, ["---" if name in text else "---:" for name in head], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def head(brokers, rounds, paced, full):
    machine = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    versions = ", ".join(f"{broker.name} ({broker.version()})" for broker in brokers)
    return (
        f"{datetime.date.today()}, {os.cpu_count()} cores ({machine}), Linux {platform.release()}, load generator on the "
        f"same machine over loopback.\n{versions}.\n\n"
        f"Medians of {rounds} interleaved round{'s' if rounds > 1 else ''}. Bodies of 256 bytes. "
        f"Latency at 1,000 messages a second in all ({paced} s), from the time a message was due: delivery, to its receipt by the "
        f"consumer;\nconfirm, to the publisher's confirm; alone, the same while nobody consumes. Rate with full windows ({full} s).\n"
        "Before a durable message is confirmed, Evergate has synced it to disk (SQLite: WAL with synchronous=FULL; "
        "PostgreSQL: synchronous_commit=on);\nRabbitMQ has synced it or a consumer has acknowledged it; "
        "mosquitto has it in memory only.\n"
        "Before it is delivered, Evergate has synced it too; evergate-eager (SQLite), RabbitMQ and mosquitto have it in memory."
    )


def medians(results):
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def comparison(cases, brokers, figures):
    body = []
    for case in cases:
        found = {broker.name: medians(figures[case, broker.name]) for broker in brokers if (case, broker.name) in figures}
        for name, figure in found.items():
            body.append(
                [
                    str(case),
                    name,
                    f"{figure['rate']:,.0f}",
                    *(latency(figure, kind) for kind in ("", "confirm_", "alone_")),
                    f"{figure['cpu_us']:.1f}",
                    f"{figure['load_cpu_us']:.1f}",
                    ratio(name, found, "rabbitmq"),
                    ratio(name, found, "mosquitto"),
                ]
            )
    columns = ["case", "broker", "messages/s", "delivery p50, p99 ms", "confirm p50, p99 ms", "alone p50, p99 ms"]
    columns += ["CPU us/message", "load CPU us", "x RabbitMQ", "x mosquitto"]
    return rows(columns, body)


def latency(figure, kind):
    """Median and 99th percentile in milliseconds; nothing where there are none."""
    p50, p99 = (figure.get(f"{kind}{part}_us", 0) / 1000 for part in ("p50", "p99"))
    return f"{p50:.2f}, {p99:.2f}" if p99 else ""


def ratio(name, found, other):
    """How many times the other broker's rate. Only for Evergate."""
    if not name.startswith("evergate") or other not in found:
        return ""
    return f"{found[name]['rate'] / found[other]['rate']:.1f}"
