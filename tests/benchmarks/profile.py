"""Where the gateway's time goes: linux-perf on the running binary while 8 pairs are at full speed.

Without a working perf: CPU time of each thread, from /proc.
"""

import collections
import re
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks import run as runner

FUNCTIONS = 12
# Seconds that the load runs longer than the samples: perf takes a while to begin.
SPARE = 1.5
PERF = "/usr/bin/perf"


def table(broker, cases, load, seconds, failures):
    texts = ["Where the gateway's time goes (evergate-sqlite; per cent of its CPU samples by thread, part, function):"]
    wanted = [case for case in cases if case.pairs == max(each.pairs for each in cases)]
    for case in wanted:
        arguments = runner.command(broker, case, f"profile-{case.protocol}-{case.mode}", 0, seconds + SPARE)
        client = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)  # connecting and warm-up
        sampled = sample(broker.gateway.pid, seconds)
        said = client.communicate(timeout=60)[1]
        if client.returncode != 0:
            failures.add(f"profile of {case}", said.strip())
            continue
        texts.append(f"{case}:\n\n{sampled}")
    return "\n\n".join(texts)


def sample(pid, seconds):
    with tempfile.TemporaryDirectory(prefix="evergate-perf-") as directory:
        data = Path(directory) / "perf.data"
        record = [PERF, "record", "-q", "-F", "997", "-o", data, "-p", str(pid), "--", "sleep", str(seconds)]
        try:
            subprocess.run(record, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            return by_thread(pid, seconds)
        read = [PERF, "script", "-i", data, "-F", "comm,ip,sym,dso"]
        done = subprocess.run(read, check=True, capture_output=True, text=True, timeout=120)
    threads, parts, functions = collections.Counter(), collections.Counter(), collections.Counter()
    for line in done.stdout.splitlines():
        match = re.match(r"\s*(.+?)\s+[0-9a-f]{6,}\s+(.*) \((.*)\)$", line)
        if match:
            threads[kind(match[1])] += 1
            parts[part(match[2], match[3])] += 1
            functions[tidy(match[2])] += 1
    total = max(sum(functions.values()), 1)
    share = lambda count: f"{100 * count / total:.1f}"  # noqa: E731
    by_name = report.rows(["thread", "%"], [[name, share(count)] for name, count in threads.most_common(6)])
    by_function = report.rows(
        ["function", "%"], [[f"`{name}`", share(count)] for name, count in functions.most_common(FUNCTIONS)]
    )
    by_part = report.rows(["part", "%"], [[name, share(count)] for name, count in parts.most_common(8)])
    return f"{by_name}\n\n{by_part}\n\n{by_function}"


def kind(thread):
    """Threads of one pool count together."""
    return re.sub(r"[-_ ]?\d+$", "", thread)


def part(symbol, file):
    """The package a function belongs to, as far as its name tells; else the file it is in."""
    package = re.search(r"evergate_[a-z0-9]+|\btokio\w*|\bbytes::|\bsqlite3", symbol)
    if package:
        return package[0].rstrip(":")
    if re.search(r"malloc|free|realloc|unlink_chunk", symbol):
        return "allocator"
    if file.startswith("[kernel") or file.startswith("[guest"):
        return "kernel"
    return "libc" if "libc" in file else "other"


def tidy(symbol):
    """Without hash and generics, as far as a person needs it."""
    symbol = re.sub(r"::h[0-9a-f]{16}$|\+0x[0-9a-f]+$", "", symbol)
    symbol = symbol.replace("|", "\\|")
    return symbol if len(symbol) <= 100 else symbol[:97] + "..."


def by_thread(pid, seconds):
    before = ticks(pid)
    time.sleep(seconds)
    after = ticks(pid)
    used = collections.Counter()
    for key, count in after.items():
        used[kind(key[1])] += count - before.get(key, 0)
    total = max(sum(used.values()), 1)
    note = "(perf does not work here; CPU time by thread from /proc)\n\n"
    body = [[name, f"{100 * count / total:.1f}"] for name, count in used.most_common(8)]
    return note + report.rows(["thread", "%"], body)


def ticks(pid):
    used = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, fields = (task / "stat").read_text().rsplit(")", 1)
        except OSError:
            continue
        values = fields.split()
        used[task.name, name.split("(", 1)[1]] = int(values[11]) + int(values[12])
    return used
