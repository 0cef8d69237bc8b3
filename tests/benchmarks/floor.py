"""What the disk alone takes: 4 KiB written over a file that is already there, and synced."""

import os
import statistics
import tempfile
import time

WRITES = 300
FILE_BYTES = 16 << 20


def measure():
    """Milliseconds of each write with its sync. On the file system where the brokers' directories are."""
    block = os.urandom(4096)
    with tempfile.NamedTemporaryFile(prefix="evergate-floor-") as file:
        file.write(bytes(FILE_BYTES))
        file.flush()
        os.fsync(file.fileno())
        times = []
        for number in range(WRITES):
            start = time.perf_counter()
            os.pwrite(file.fileno(), block, number * len(block) % FILE_BYTES)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1000)
    return times


def line(rounds):
    """`rounds`: what each call of `measure` gave."""
    times = sorted(each for times in rounds for each in times)
    p99 = times[len(times) * 99 // 100]
    medians = ", ".join(f"{statistics.median(times):.2f}" for times in rounds)
    return (
        f"Floor of the disk, measured before each round: 4 KiB written over and fdatasync: "
        f"p50 {statistics.median(times):.2f} ms (by round: {medians}), p99 {p99:.2f} ms."
    )
