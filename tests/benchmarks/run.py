"""A benchmark from start to end: build, start the brokers, rounds over all cases, ceilings, profile, tables."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ceiling, floor, profile, report
from benchmarks.brokers import Evergate, Mosquitto, RabbitMQ
from lib.gateway import ROOT, binary

LOAD = ROOT / "target/load/release/evergate-load"
STARTERS = {
    "evergate-sqlite": lambda: Evergate("sqlite"),
    "evergate-eager": lambda: Evergate("sqlite", eager=True),
    "evergate-postgres": lambda: Evergate("postgres"),
    "rabbitmq": RabbitMQ,
    "mosquitto": Mosquitto,
}
NEEDS = {
    "evergate-postgres": "/usr/lib/postgresql/15/bin/postgres",
    "rabbitmq": "/usr/lib/rabbitmq",
    "mosquitto": "/usr/sbin/mosquitto",
}


@dataclass(frozen=True)
class Case:
    protocol: str
    mode: str
    pairs: int

    @property
    def words(self):
        return {self.protocol, self.mode, "1-pair" if self.pairs == 1 else f"{self.pairs}-pairs"}

    def __str__(self):
        return f"{self.protocol} {self.mode}, {self.pairs} pair{'s' if self.pairs > 1 else ''}"


CASES = [
    Case(protocol, mode, pairs)
    for protocol in ("mqtt", "amqp", "stomp")
    for mode in ("transient", "durable")
    for pairs in (1, 8)
]


class Failures(list):
    """Runs that gave no figures; the benchmark goes on and ends with an error."""

    def add(self, what, error):
        self.append(f"{what}: {error}")
        print(f"FAILED {what}: {error}", flush=True)


def main(options):
    started = time.monotonic()
    cases = [case for case in CASES if case.words >= set(options.only)]
    if not cases:
        print(f"no case has the words {options.only}", file=sys.stderr)
        return 2
    build()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through `finally`: no broker stays behind
    rounds = options.rounds or (1 if options.quick else 3)
    paced, full = (0.5, 1.0) if options.quick else (0.7, 1.2)
    failures = Failures()
    figures = {}
    floors = []
    brokers = []
    tables = []
    try:
        for name in options.brokers or STARTERS:
            need = NEEDS.get(name)
            if need and not Path(need).exists():
                print(f"{name}: left out, there is no {need}")
                continue
            brokers.append(STARTERS[name]())
            print(f"started {name}: {brokers[-1].version()}", flush=True)
        for number in range(rounds):
            floors.append(floor.measure())
            for case in cases:
                # Interleaved, and each round in another order: what disturbs the machine meets all of them.
                turn = number % len(brokers)
                for broker in brokers[turn:] + brokers[:turn]:
                    measure(broker, case, number, (paced, full), figures, failures)
        tables.append(report.head(brokers, rounds, paced, full))
        tables.append(floor.line(floors))
        tables.append(report.comparison(cases, brokers, figures))
        if not options.no_ceiling:
            tables.append(ceiling.table(brokers, 0.5 if options.quick else 1.5, failures))
        evergate = next((broker for broker in brokers if broker.name == "evergate-sqlite"), None)
        if evergate and not options.no_profile:
            tables.append(profile.table(evergate, cases, LOAD, 1.0 if options.quick else 4.0, failures))
    finally:
        for broker in brokers:
            broker.stop()
    text = "\n\n".join(tables)
    print("\n" + text)
    if options.report:
        options.report.write_text(text + "\n")
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"\n{time.monotonic() - started:.0f} s")
    return 1 if failures else 0


def build():
    if not shutil.which("cargo"):
        raise SystemExit("cargo is needed")
    manifest = ROOT / "tests/benchmarks/load/Cargo.toml"
    target = ROOT / "target/load"
    subprocess.run(
        ["cargo", "build", "-q", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target], check=True
    )
    if not binary().exists():
        subprocess.run(["cargo", "build", "--release", "-p", "evergate"], cwd=ROOT, check=True)


def command(broker, case, name, paced, full):
    arguments = [
        LOAD, "--protocol", case.protocol, "--address", f"127.0.0.1:{broker.port(case.protocol)}",
        "--pairs", str(case.pairs), "--name", name, "--paced-seconds", str(paced), "--full-seconds", str(full),
        "--pids", ",".join(map(str, broker.pids())),
    ]  # fmt: skip
    return [*arguments, "--durable"] if case.mode == "durable" else arguments


def measure(broker, case, number, seconds, figures, failures):
    if case.protocol not in broker.protocols or case.mode not in broker.modes:
        return
    name = f"bench-{case.protocol}-{case.mode}-{case.pairs}-{number}"
    try:
        result = run(command(broker, case, name, *seconds))
        if case.mode == "durable":
            # Nobody consumes meanwhile: no broker can confirm because a consumer has acknowledged.
            alone = run([*command(broker, case, f"{name}-alone", seconds[0], 0), "--later"])
            result |= {"alone_p50_us": alone["confirm_p50_us"], "alone_p99_us": alone["confirm_p99_us"]}
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        failures.add(f"{broker.name}, {case}", error)
        return
    figures.setdefault((case, broker.name), []).append(result)
    confirm = (
        f"  confirm {result['confirm_p50_us'] / 1000:6.2f}, alone {result['alone_p50_us'] / 1000:6.2f} ms"
        if case.mode == "durable"
        else ""
    )
    print(
        f"{case!s:26} {broker.name:18} {result['rate']:>9,.0f}/s  delivery {result['p50_us'] / 1000:6.2f} ms{confirm}"
        f"  {result['cpu_us']:6.2f} us CPU",
        flush=True,
    )


def run(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)
