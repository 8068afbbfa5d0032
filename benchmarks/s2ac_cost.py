"""
What a gradient step of S2AC costs, and how that grows: time against the number of particles, of SVGD steps, of states in
a batch and of action dimensions (one thread, networks 256-256, everything else as in speed.py), the share of the parts of
a step, and the largest resident memory of a process that does nothing else::

    python benchmarks/s2ac_cost.py --csv benchmarks/data/s2ac_cost.csv --figure docs/figures/s2ac_cost.svg
    python benchmarks/s2ac_cost.py --report
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib
import numpy as np
import speed
import torch as th
from drawing import STYLE, save
from gymnasium import spaces
from matplotlib.figure import Figure
from tables import DATA, read, write
from torch.profiler import ProfilerActivity, profile

from sb3_maxent.common.particles import ParticleCritic
from sb3_maxent.reporting.looks import BLUE, ORANGE, rows_and_columns
from sb3_maxent.s2ac.sampler import SteinSampler

COLUMNS = ["what", "value", "milliseconds", "megabytes"]
GRID = {
    "n_particles": [2, 5, 10, 20, 32, 64],
    "n_svgd_steps": [0, 1, 2, 3, 5, 10],
    "batch_size": [32, 64, 128, 256, 512],
    "action dimensions": [1, 2, 6, 17, 32],
}
# The matrix products, whichever way they are called
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm")


def make(what: str, value: int) -> tuple[Any, int]:
    """A model with one parameter changed, and its batch size."""
    kwargs = {what: value} if what.startswith("n_") else {}
    n_actions = value if what == "action dimensions" else speed.N_ACTIONS
    model = speed.make("sb3_maxent", "S2AC", spaces.Box(-1, 1, (n_actions,)), **kwargs)()
    speed.fill(model)
    return model, value if what == "batch_size" else speed.USUAL.batch_size


def milliseconds(model: Any, batch_size: int, rounds: int, gradient_steps: int = 3) -> float:
    """Time of a gradient step, median of the rounds."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        model.train(gradient_steps, batch_size)
        times.append((time.perf_counter() - start) / gradient_steps * 1000)
    return float(np.median(times[1:]))


def megabytes(what: str, value: int) -> float:
    """What gradient steps add to the largest resident memory of a process."""
    command = [sys.executable, __file__, "--memory", what, str(value)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def print_memory(what: str, value: int) -> None:
    """Run in a process of its own."""
    model, batch_size = make(what, value)
    before = resident("VmRSS")
    model.train(3, batch_size)
    print(resident("VmHWM") - before)


def resident(name: str) -> float:
    """Megabytes of resident memory, now (VmRSS) or at most (VmHWM); Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def parts(rounds: int) -> list[dict[str, Any]]:
    """Where the time of a step with the defaults goes."""
    model, batch_size = make("n_particles", 10)
    total = milliseconds(model, batch_size, rounds)
    clock: dict[tuple[Any, str], float] = {}

    def timed(owner: Any, name: str) -> Any:
        original = getattr(owner, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = original(*args, **kwargs)
            clock[owner, name] = clock.get((owner, name), 0.0) + time.perf_counter() - start
            return result

        return patch.object(owner, name, wrapper)

    steps = 3 * rounds
    with timed(ParticleCritic, "q_gradient"), timed(SteinSampler, "path"), timed(SteinSampler, "along"):
        model.train(steps, batch_size)
    # A method that is never called has no entry
    scores, path, along = (
        clock[key] / steps * 1000 for key in ((ParticleCritic, "q_gradient"), (SteinSampler, "path"), (SteinSampler, "along"))
    )
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        model.train(steps, batch_size)
    products = sum(event.self_cpu_time_total for event in profiler.key_averages() if event.key in PRODUCTS)
    rows = {
        "a gradient step": total,
        "scores at the particles, in each SVGD step": scores,
        "the rest of the sampler: kernel, density, steps": path + along - scores,
        "all else: target, losses, optimizers, replay buffer": total - path - along,
        "matrix products within the step": products / steps / 1000,
        "matrix products alone": speed.time_products(speed.products_of_s2ac(), rounds),
    }
    return [{"what": f"part: {name}", "value": "", "milliseconds": f"{value:.2f}"} for name, value in rows.items()]


def draw(rows: list[dict[str, str]], figure_path: Path) -> None:
    """Time against each of the four, and memory against the particles."""
    panels = [*((what, "milliseconds", "time", BLUE, "o-") for what in GRID)]
    panels.append(("n_particles", "megabytes", "memory", ORANGE, "s--"))
    n_rows, n_columns = rows_and_columns(len(panels))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.9 * n_columns, 2.5 * n_rows + 0.4), layout="constrained")
        grid = figure.subplots(n_rows, n_columns).ravel()
        for axes, (what, column, name, color, style) in zip(grid, panels, strict=False):
            points = [(int(row["value"]), float(row[column])) for row in rows if row["what"] == what]
            axes.plot(*zip(*points, strict=True), style, color=color, label=f"{name} of a gradient step")
            axes.set(xlabel=what, ylabel=column, xlim=(0, None), ylim=(0, None))
        for axes in grid[len(panels) :]:
            axes.remove()
        lines = [axes.lines[0] for axes in (grid[0], grid[len(panels) - 1])]
        figure.legend(handles=lines, loc="outside lower left", ncols=2)
        save(figure, figure_path, "What a gradient step of S2AC costs: time and memory grow in proportion to the particles")


def report(rows: list[dict[str, str]]) -> None:
    """Print Markdown tables."""
    print("| part | ms |\n|---|---|")
    for row in rows:
        if row["what"].startswith("part: "):
            print(f"| {row['what'].removeprefix('part: ')} | {float(row['milliseconds']):.1f} |")
    print("\n| varied | value | ms a gradient step | memory added, MB |\n|---|---|---|---|")
    for row in rows:
        if row["what"] in GRID:
            memory = f"{float(row['megabytes']):.0f}" if row["megabytes"] else ""
            print(f"| {row['what']} | {row['value']} | {float(row['milliseconds']):.1f} | {memory} |")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--csv", type=Path, default=DATA / "s2ac_cost.csv")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--report", action="store_true", help="print tables of what is in the CSV, measure nothing")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    th.set_num_threads(1)
    if args.memory:
        print_memory(args.memory[0], int(args.memory[1]))
        return
    if not args.report:
        rows = parts(args.rounds)
        for what, values in GRID.items():
            for value in values:
                row = {"what": what, "value": value, "milliseconds": f"{milliseconds(*make(what, value), args.rounds):.2f}"}
                rows.append({**row, "megabytes": f"{megabytes(what, value):.0f}" if what == "n_particles" else ""})
                print(rows[-1], flush=True)
        write(args.csv, COLUMNS, rows)
    table = read(args.csv)
    report(table)
    if args.figure is not None:
        draw(table, args.figure)


if __name__ == "__main__":
    main()
