"""
What a gradient step gains where glibc keeps the memory that a step gives back, instead of returning it to the system and
asking for it again in the next step. Each setting has processes of its own, which take turns; one thread::

    OMP_NUM_THREADS=1 python benchmarks/malloc.py
"""

import argparse
import csv
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import speed
import torch as th
from tables import DATA, write

# Thresholds in bytes, above what a step asks for
SETTINGS = {
    "as it is": {},
    "kept": {"MALLOC_TRIM_THRESHOLD_": "2000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"},
}
ALGORITHMS = (speed.BASELINE, "MixtureSAC", "SACNF", "S2AC")
COLUMNS = ["size", "algorithm", "memory", "process", "milliseconds a gradient step"]


def print_times(gradient_steps: int) -> None:
    """Time all algorithms in this process, and print rows without the first columns."""
    th.set_num_threads(1)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for (size_name, size), name in ((size, name) for size in speed.SIZES.items() for name in ALGORITHMS):
        model = speed.ALGORITHMS[name](size)
        speed.fill(model)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            model.train(gradient_steps, size.batch_size)
            times.append((time.perf_counter() - start) / gradient_steps * 1000)
        writer.writerow([size_name, name, f"{np.median(times[1:]):.3f}"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=5, help="of each setting")
    parser.add_argument("--gradient-steps", type=int, default=10, help="in each of five rounds")
    parser.add_argument("--csv", type=Path, default=DATA / "malloc.csv")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return print_times(args.gradient_steps)
    rows = []
    for process in range(args.processes):
        for memory, variables in SETTINGS.items():
            command = [sys.executable, __file__, "--one", "--gradient-steps", str(args.gradient_steps)]
            text = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True, check=True).stdout
            for size, name, milliseconds in csv.reader(io.StringIO(text)):
                values = [size, name, memory, process, milliseconds]
                rows.append(dict(zip(COLUMNS, values, strict=True)))
                print(*values, flush=True)
    write(args.csv, COLUMNS, rows)
    return None


if __name__ == "__main__":
    main()
