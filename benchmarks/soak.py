"""
Memory, open files and logs of a long training: does anything grow that should not?

Each algorithm learns on random observations, eager and compiled, with tiny networks, so that many gradient steps take
minutes. Each configuration has a process of its own; its measurements go to the CSV file when it ends, in place of those of
shorter runs. Runs that the file has are left out, so the same command goes on after a stop::

    OMP_NUM_THREADS=1 python benchmarks/soak.py --csv benchmarks/data/soak.csv --figure docs/figures/soak.svg
"""

import argparse
import csv
import gc
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_maxent import S2AC, SACNF, DiscreteSAC, MixtureSAC, SoftQLearning

BOX, DISCRETE = spaces.Box(-1, 1, (1,)), spaces.Discrete(2)
CONFIGURATIONS: dict[str, tuple[type, spaces.Space, dict[str, Any]]] = {
    "SoftQLearning-Discrete": (SoftQLearning, DISCRETE, {}),
    "DiscreteSAC": (DiscreteSAC, DISCRETE, {}),
    "SACNF": (SACNF, BOX, {"n_flows": 1, "n_bins": 4}),
    "SoftQLearning-Box": (SoftQLearning, BOX, {"n_value_particles": 4, "n_kernel_particles": 4}),
    "S2AC": (S2AC, BOX, {"n_particles": 3, "n_svgd_steps": 1}),
    "MixtureSAC": (MixtureSAC, BOX, {"n_components": 2}),
}
MODES = ("compiled", "eager")
EPISODE_STEPS, GRADIENT_STEPS_A_STEP, MEASUREMENTS = 5, 8, 20
# Share of the steps after which nothing may grow: buffers are full and graphs compiled by then
WARM_UP = 0.2
COLUMNS = (
    "configuration",
    "mode",
    "gradient steps in all",
    "gradient steps",
    "seconds",
    "resident bytes",
    "open files",
    "Python objects",
    "logged names",
    "longest container",
    "episodes of Monitor",
)
CONTAINERS = (list, dict, set, deque)


class Noise(gym.Env):
    """Random observations and rewards in short episodes, so that the logger is at work all the time."""

    observation_space = spaces.Box(-1, 1, (3,))

    def __init__(self, action_space: spaces.Space):
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.time = 0
        return self._observe(), {}

    def _observe(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.time += 1
        return self._observe(), self.np_random.normal(), False, self.time == EPISODE_STEPS, {}


class Measure(BaseCallback):
    """
    Prints a row of measurements every so many gradient steps.

    :param first_columns: what each row starts with
    :param total: number of gradient steps
    """

    def __init__(self, first_columns: Sequence[Any], total: int):
        super().__init__()
        self.first_columns, self.interval, self.due = first_columns, total // MEASUREMENTS, 0
        self.process, self.start = psutil.Process(), time.monotonic()

    def _on_step(self) -> bool:
        if self.model._n_updates >= self.due:
            self.due += self.interval
            self.print_row()
        return True

    def _on_training_end(self) -> None:
        self.print_row()

    def print_row(self) -> None:
        """Print what is there now, garbage left out."""
        gc.collect()
        resident, files, objects = self.process.memory_info().rss, self.process.num_fds(), len(gc.get_objects())
        seconds = f"{time.monotonic() - self.start:.1f}"
        row = [*self.first_columns, self.model._n_updates, seconds, resident, files, objects]
        (episodes,) = (len(each) for each in self.training_env.env_method("get_episode_rewards"))
        row += [len(self.logger.name_to_value), longest_container(self.model), episodes]
        print(",".join(map(str, row)), flush=True)


def longest_container(model: Any) -> int:
    """Entries of the longest list, dictionary, set or deque among the attributes of a model and of its parts."""
    parts = [model, model.logger, model.policy, model.replay_buffer, model.temperature]
    parts += [model._finite_guard, model._take_step, *filter(None, model._optimizers())]
    return max(len(value) for part in parts for value in vars(part).values() if isinstance(value, CONTAINERS))


def soak(name: str, mode: str, total: int) -> None:
    """
    Train in this process, and print the measurements.

    :param name: configuration
    :param mode: ``"compiled"`` or ``"eager"``
    :param total: number of gradient steps
    """
    algorithm, action_space, kwargs = CONFIGURATIONS[name]
    env = make_vec_env(lambda: Noise(action_space), n_envs=1, seed=0)
    sizes = {"batch_size": 8, "buffer_size": 500, "learning_starts": 100, "policy_kwargs": {"net_arch": [8, 8]}}
    steps = {"train_freq": 1, "gradient_steps": GRADIENT_STEPS_A_STEP}
    model = algorithm(
        "MlpPolicy", env, ent_coef="auto", compile=mode == "compiled", seed=0, device="cpu", **sizes, **steps, **kwargs
    )
    model.learn(100 + total // GRADIENT_STEPS_A_STEP, callback=Measure([name, mode, total], total))


def run(name: str, mode: str, total: int) -> list[dict[str, Any]]:
    """
    Train in a process of its own.

    :param name: configuration
    :param mode: ``"compiled"`` or ``"eager"``
    :param total: number of gradient steps
    :return: the measurements, by the names of ``COLUMNS``
    :raises RuntimeError: if the process fails
    """
    command = [sys.executable, __file__, "--one", name, mode, "--steps", str(total)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    if process.returncode != 0:
        raise RuntimeError(f"{name}, {mode}: exit status {process.returncode}\n{process.stderr[-3000:]}")
    return read(process.stdout.splitlines())


def read(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Rows with numbers where there are some."""
    rows = csv.DictReader(lines, COLUMNS)
    texts = {"configuration": str, "mode": str, "seconds": float}
    return [{column: texts.get(column, int)(value) for column, value in row.items()} for row in rows]


def growth(rows: Sequence[dict[str, Any]], column: str) -> float:
    """
    :param rows: of one run
    :param column: what was measured
    :return: how much the largest value after the warm-up exceeds the one at its end, as a share of that one
    """
    late = [row[column] for row in rows if row["gradient steps"] >= WARM_UP * row["gradient steps in all"]]
    return max(late) / late[0] - 1


def runs_of(path: Path) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """The measurements of a file by configuration, mode and number of steps."""
    runs: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in read(path.read_text().splitlines()[1:]) if path.exists() else ():
        runs.setdefault((row["configuration"], row["mode"], row["gradient steps in all"]), []).append(row)
    return runs


def merged(
    runs: dict[tuple[str, str, int], list[dict[str, Any]]], key: tuple[str, str, int], rows: list[dict[str, Any]]
) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """
    :param runs: by configuration, mode and number of steps
    :param key: of another run
    :param rows: its measurements
    :return: all of them in the order of the configurations, without shorter runs of the same configuration and mode
    """
    kept = {other: old for other, old in runs.items() if other[:2] != key[:2] or other[2] > key[2]} | {key: rows}
    order = list(CONFIGURATIONS)
    return {each: kept[each] for each in sorted(kept, key=lambda each: (order.index(each[0]), *each[1:]))}


def write(runs: dict[tuple[str, str, int], list[dict[str, Any]]], path: Path) -> None:
    """Write the measurements of all runs to a CSV file, which is there in full at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for rows in runs.values() for row in rows)
    unfinished.replace(path)


def print_table(runs: dict[tuple[str, str, int], list[dict[str, Any]]]) -> None:
    """Print a line for each run."""
    print("| algorithm | step | gradient steps | seconds | MB at the end | MB grew by | Python objects grew by | open files |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, mode, total), rows in runs.items():
        memory, objects = growth(rows, "resident bytes"), growth(rows, "Python objects")
        files = sorted({row["open files"] for row in rows if row["gradient steps"] >= WARM_UP * total})
        last = rows[-1]
        cells = [name, mode, f"{total:,}", f"{last['seconds']:.0f}", f"{last['resident bytes'] / 1e6:.0f}"]
        cells += [f"{memory:.2%}", f"{objects:.2%}", ", ".join(map(str, files))]
        print(f"| {' | '.join(cells)} |")


def draw(runs: dict[tuple[str, str, int], list[dict[str, Any]]], path: Path) -> None:
    """Draw the memory of all runs."""
    # Not above, where they would add to the memory that is measured
    from drawing import STYLE, save
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from sb3_maxent.reporting.formatting import look
    from sb3_maxent.reporting.looks import legend_of_panels

    with rc_context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        for mode, axes in zip(MODES, figure.subplots(1, len(MODES), sharey=True), strict=True):
            for index, name in enumerate(CONFIGURATIONS):
                for total, rows in ((key[2], rows) for key, rows in runs.items() if key[:2] == (name, mode)):
                    late = [row for row in rows if row["gradient steps"] >= WARM_UP * total]
                    steps = [row["gradient steps"] / 1000 for row in rows]
                    memory = [row["resident bytes"] / late[0]["resident bytes"] for row in rows]
                    axes.plot(steps, memory, label=name, linewidth=1.2, **look(index))
            axes.set(title=mode, xlabel="thousand gradient steps", ylim=(0.95, 1.03))
            axes.axhspan(0.99, 1.01, color="0.9", zorder=0)
        figure.axes[0].set_ylabel("resident memory,\nshare of that after the warm-up")
        lines = legend_of_panels(figure)
        figure.legend(lines.values(), lines.keys(), loc="outside lower left", ncols=3)
        save(figure, path, "Resident memory after the warm-up stays the same to within one per cent")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200_000, help="gradient steps of each configuration")
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS), help="configurations")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="time after which no configuration is begun")
    parser.add_argument("--csv", type=Path, help="file for all measurements; finished runs replace shorter ones")
    parser.add_argument("--figure", type=Path, help="file for a figure of all runs of the CSV file")
    parser.add_argument("--one", nargs=2, metavar=("CONFIGURATION", "MODE"), help="train in this process, and print the rows")
    args = parser.parse_args()
    if args.one:
        th.set_num_threads(1)
        name, mode = args.one
        return soak(name, mode, args.steps)

    runs, start = runs_of(args.csv) if args.csv else {}, time.monotonic()
    for key in ((name, mode, args.steps) for name in args.only for mode in args.modes):
        if key in runs or time.monotonic() - start > 60 * args.minutes:
            continue
        runs = merged(runs, key, run(*key))
        if args.csv:
            write(runs, args.csv)
        print(f"{key}: {runs[key][-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    print_table(runs)
    if args.figure:
        draw(runs, args.figure)
    return None


if __name__ == "__main__":
    main()
