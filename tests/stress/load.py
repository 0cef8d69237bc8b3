"""The load generator of the benchmarks, run against one gateway."""

import json
import statistics
import subprocess

from benchmarks.run import LOAD
from stress.server import Stolen


class Load:
    def __init__(self, gateway, protocol="mqtt"):
        self.gateway = gateway
        self.protocol = protocol

    def start(self, mode, name, *options, **settings):
        """A run that goes on beside others."""
        arguments = [LOAD, "--mode", mode, "--protocol", self.protocol, "--name", name]
        arguments += ["--address", f"127.0.0.1:{self.gateway.ports[self.protocol]}", "--pids", str(self.gateway.pid)]
        arguments += [f"--{option}" for option in options]
        for setting, value in settings.items():
            arguments += ["--" + setting.replace("_", "-"), str(value)]
        return subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, mode, name, *options, timeout=1800, **settings):
        return result(self.start(mode, name, *options, **settings), timeout)

    def pairs(self, name, *options, **settings):
        return self.run("pairs", name, *options, **settings)

    def fill(self, name, messages, first=0, **settings):
        """Durable messages into a queue that nobody consumes. An error is in the result: what was confirmed counts."""
        return self.run("fill", name, "queues", "durable", messages=messages, first=first, **settings)

    def drain(self, name, messages, first=0, **settings):
        return self.run("drain", name, "queues", "durable", messages=messages, first=first, **settings)


def result(process, timeout=1800):
    """Waits for a run; its figures."""
    try:
        said, fault = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError(f"a load was not done in {timeout} s") from None
    if process.returncode != 0:
        raise RuntimeError(fault.strip())
    return json.loads(said.splitlines()[-1])


# Of a round in which its host gave more of the machine to others, the figures say more of them than of the gateway.
QUIET = 0.02


def alternate(runs, rounds):
    """Runs in turn, each round in the other order: what disturbs the machine meets all of them. Until `rounds` of them
    were quiet, or there were twice as many; the quietest count, whatever they found.

    `runs`: callables by name. Returns the medians of each figure, by name; `stolen_share` is one.
    """
    found = []
    while len(found) < 2 * rounds and sum(each[0] <= QUIET for each in found) < rounds:
        results = {}
        for name in list(runs) if len(found) % 2 == 0 else list(runs)[::-1]:
            with Stolen() as stolen:
                results[name] = runs[name](len(found))
            results[name]["stolen_share"] = stolen.share
        found.append((max(result["stolen_share"] for result in results.values()), results))
    quietest = [results for _, results in sorted(found, key=lambda each: each[0])[:rounds]]
    return {
        name: {figure: statistics.median(each[name][figure] for each in quietest) for figure in quietest[0][name]}
        for name in runs
    }
