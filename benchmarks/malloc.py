"""
What a gradient step gains where glibc keeps the memory that a step gives back, instead of returning it to the system and
asking for it again in the next step: without ``sb3_maxent.common.memory``, with it, and with glibc's own environment
variables. Each algorithm has processes of its own with each setting, which take turns; networks 256-256, batches of 256, one
thread::

    OMP_NUM_THREADS=1 python benchmarks/malloc.py --csv malloc.csv
"""

import argparse
import contextlib
import itertools
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import speed
import torch as th
from tables import DATA, write

from sb3_maxent.common import max_ent_algorithm

GIVEN_BACK, AS_IT_IS, KEPT = "given back", "as it is", "all kept"
# Thresholds in bytes, above what a step asks for
VARIABLES = {"MALLOC_TRIM_THRESHOLD_": "2000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}
ALGORITHMS = (speed.BASELINE, "MixtureSAC", "SACNF", "S2AC")
COLUMNS = ["algorithm", "memory", "process", "milliseconds a gradient step", "page faults a step"]


def print_times(name: str, memory: str, gradient_steps: int) -> None:
    """Time an algorithm in this process, and print the last two columns of its row."""
    th.set_num_threads(1)
    with mock.patch.object(max_ent_algorithm, "keep_freed_memory") if memory == GIVEN_BACK else contextlib.nullcontext():
        model = speed.ALGORITHMS[name](speed.USUAL)
    speed.fill(model)
    times, faults = [], []
    for _ in range(6):
        n_faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        model.train(gradient_steps, speed.USUAL.batch_size)
        times.append((time.perf_counter() - start) / gradient_steps * 1000)
        faults.append((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - n_faults) / gradient_steps)
    print(f"{np.median(times[1:]):.3f},{np.median(faults[1:]):.0f}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=3, help="of each setting")
    parser.add_argument("--gradient-steps", type=int, default=10, help="in each of five rounds")
    parser.add_argument("--csv", type=Path, default=DATA / "malloc.csv")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "MEMORY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        name, memory = args.one
        return print_times(name, memory, args.gradient_steps)
    if args.processes < 1:
        parser.error(f"--processes must be at least 1, not {args.processes}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    rows = []
    settings = itertools.product(range(args.processes), ALGORITHMS, (GIVEN_BACK, AS_IT_IS, KEPT))
    for process, name, memory in settings:
        command = [sys.executable, __file__, "--gradient-steps", str(args.gradient_steps), "--one", name, memory]
        environment = clean | (VARIABLES if memory == KEPT else {})
        text = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        values = [name, memory, process, *text.strip().split(",")]
        rows.append(dict(zip(COLUMNS, values, strict=True)))
        print(*values, flush=True)
    write(args.csv, COLUMNS, rows)
    return None


if __name__ == "__main__":
    main()
