#!/usr/bin/env python3
"""What Evergate bears: each figure with its bound. Not part of the tests that every commit runs.

    tests/run stress                                 everything, at full length: about an hour
    tests/stress/run.py --scale 0.02                 the same with a fiftieth of the messages
    tests/stress/run.py --only paging restart --journals sqlite

Needs the package postgresql-15, root for the small disk, and 20 GB on the disk of the temporary directory.
Ends with an error when a bound is missed.
"""

import argparse
import os
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import report  # noqa: E402
from benchmarks.run import build  # noqa: E402
from stress import disk, flat, large, overload, paging, restart, slow, stall  # noqa: E402
from stress.figure import Rows, mark  # noqa: E402

FIGURES = {each.__name__.rpartition(".")[2]: each for each in (flat, paging, large, restart, slow, overload, disk, stall)}
JOURNALS = ("sqlite", "postgres")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--journals", nargs="+", choices=JOURNALS, default=JOURNALS)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the messages, destinations and seconds")
    parser.add_argument("--report", type=Path, metavar="PATH", help="write the table to a file too")
    options = parser.parse_args()
    build()
    found = []
    for name in options.only:
        for journal in options.journals:
            found += figure(name, journal, options.scale)
    table = report.rows(
        ["figure", "what", "value", "bound", ""],
        [[row.figure, row.what, row.value, row.bound, mark(row.holds)] for row in found],
    )
    text = f"Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n\n{table}"
    print("\n" + text)
    if options.report:
        options.report.write_text(text + "\n")
    passed, failed = (sum(row.holds is wanted for row in found) for wanted in (True, False))
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed else 0


def figure(name, journal, scale):
    rows = Rows(f"{name}, {journal}")
    print(f"=== {rows.figure} (load {os.getloadavg()[0]:.1f})", flush=True)
    begin = time.monotonic()
    try:
        FIGURES[name].measure(rows, journal, scale)
    except Exception as error:  # the others are still worth knowing
        rows.fail("the whole figure", error)
    print(f"  {time.monotonic() - begin:.0f} s", flush=True)
    return rows.rows


if __name__ == "__main__":
    sys.exit(main())
