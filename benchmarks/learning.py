"""
Learning curves over seeds, with the RL Zoo's own training and hyperparameters, as CSV.

Each run is one process, ``python -m sb3_maxent.zoo train``, that evaluates 20 deterministic episodes (``--eval-episodes``)
at ten equal intervals. Finished runs are appended to the CSV as they come, and skipped when the same command is given again::

    python benchmarks/learning.py --algo discretesac dqn --env CartPole-v1 -n 50000 --seeds 10
    python benchmarks/learning.py --report
    python benchmarks/learning.py --csv benchmarks/data/s2ac.csv --env Hopper-v5 HalfCheetah-v5 --figure curves.png
"""

import argparse
import csv
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sb3_maxent.compare.report import draw_learning_curves
from sb3_maxent.compare.results import Result
from sb3_maxent.compare.statistics import learning_curve
from sb3_maxent.measures import current_ent_coef
from sb3_maxent.zoo import ALGORITHMS

EVALUATIONS = 10
COLUMNS = [
    "env",
    "algo",
    "label",
    "seed",
    "step",
    "mean_return",
    "std_return",
    "seconds",
    "ent_coef",
    "hyperparams",
    "versions",
]
VERSIONS = " ".join(f"{name}=={version(name)}" for name in ("sb3_maxent", "stable_baselines3", "torch", "gymnasium"))
SOLVED = {"CartPole-v1": 475.0, "Acrobot-v1": -85.0, "LunarLander-v3": 200.0, "MountainCar-v0": -110.0, "Pendulum-v1": -200.0}


def read(path: Path) -> list[dict[str, str]]:
    """Rows of the CSV, none if there is no file yet."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def write(path: Path, columns: list[str], rows: list[dict[str, Any]], append: bool = False) -> None:
    """Write a CSV, or append to what it holds."""
    new = not append or not path.exists()
    with path.open("w" if new else "a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def last_ent_coef(algo: str, path: Path) -> str:
    """The temperature at the end of training, learned or not; empty for the algorithms of others."""
    if algo not in ALGORITHMS:
        return ""
    model = ALGORITHMS[algo][0].load(path, device="cpu", custom_objects={"buffer_size": 1})
    return f"{current_ent_coef(model):.4g}"


def zoo_train(env: str, algo: str, seed: int, args: argparse.Namespace, folder: str, *extra: str) -> Path:
    """
    The zoo's own training, in a process of its own with one thread.

    :return: the trained model's file
    :raises RuntimeError: with the process's output, if it fails
    """
    command = [sys.executable, "-m", "sb3_maxent.zoo", "train", "--algo", algo, "--env", env, "--seed", str(seed)]
    command += ["-n", str(args.steps), "--num-threads", "1", "--device", "cpu", "--log-interval", "-2", "-f", folder, *extra]
    if args.hyperparams:
        command += ["--hyperparams", *args.hyperparams]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    paths = list(Path(folder).glob(f"*/*/{env}.zip"))
    if result.returncode != 0 or not paths:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stdout[-3000:]}")
    return paths[0]


def train(env: str, algo: str, seed: int, args: argparse.Namespace) -> list[dict[str, str]]:
    """
    One run.

    :return: its rows, one for each evaluation
    :raises RuntimeError: with the process's output, if it fails
    """
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        evaluation = ["--eval-freq", str(args.steps // EVALUATIONS), "--eval-episodes", str(args.eval_episodes)]
        path = zoo_train(env, algo, seed, args, folder, *evaluation)
        data = np.load(path.with_name("evaluations.npz"))
        ent_coef = last_ent_coef(algo, path)
    common = {"env": env, "algo": algo, "label": args.label, "seed": str(seed)}
    last = {
        "seconds": f"{time.time() - start:.0f}",
        "ent_coef": ent_coef,
        "hyperparams": " ".join(args.hyperparams),
        "versions": VERSIONS,
    }
    return [
        {**common, "step": str(step), "mean_return": f"{returns.mean():.2f}", "std_return": f"{returns.std():.2f}", **last}
        for step, returns in zip(data["timesteps"], data["results"], strict=True)
    ]


def run_missing(
    args: argparse.Namespace,
    tasks: list[str],
    columns: list[str],
    train: Callable[[str, str, int, argparse.Namespace], list[dict[str, str]]],
    summary: Callable[[list[dict[str, str]]], str],
) -> int:
    """
    Train what is not in the CSV yet, and append it as it comes.

    :param tasks: names in the first column
    :param columns: of the CSV
    :param train: makes the rows of a run from task, algorithm, seed and arguments
    :param summary: what to print of them
    :return: number of failed runs
    """
    finished = {(row[columns[0]], row["algo"], row["label"], row["seed"]) for row in read(args.csv)}
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    lock, failures = Lock(), []

    def work(task: str, seed: int, algo: str) -> None:
        name = f"{algo} {args.label} {task} seed {seed}"
        if (task, algo, args.label, str(seed)) in finished:
            print(f"{name}: already in {args.csv}", flush=True)
            return
        try:
            rows = train(task, algo, seed, args)
        except RuntimeError as error:
            failures.append(name)
            print(error, flush=True)
            return
        with lock:
            write(args.csv, columns, rows, append=True)
        print(f"{name}: {summary(rows)} ({rows[-1]['seconds']} s)", flush=True)

    with ThreadPoolExecutor(args.n_jobs) as pool:
        list(pool.map(lambda arguments: work(*arguments), itertools.product(tasks, seeds, args.algo)))
    return len(failures)


def report(path: Path) -> None:
    """Print a Markdown table of the returns at the end of training."""
    groups: dict[tuple[str, str, str], dict[str, list[dict[str, str]]]] = {}
    for row in read(path):
        seeds = groups.setdefault((row["env"], row["algo"], row["label"]), {})
        seeds.setdefault(row["seed"], []).append(row)
    print("| environment | algorithm | steps | seeds | final return, mean ± std | lowest | solved | temperature | minutes |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (env, algo, label), seeds in sorted(groups.items()):
        final = np.array([float(rows[-1]["mean_return"]) for rows in seeds.values()])
        solved = f"{(final >= SOLVED[env]).sum()} of {len(final)} (≥ {SOLVED[env]:g})" if env in SOLVED else ""
        minutes = np.median([float(rows[-1]["seconds"]) for rows in seeds.values()]) / 60
        steps = next(iter(seeds.values()))[-1]["step"]
        name = f"{algo} {label}".strip()
        temperatures = [float(rows[-1]["ent_coef"]) for rows in seeds.values() if rows[-1]["ent_coef"]]
        temperature = f"{min(temperatures):.3g} to {max(temperatures):.3g}" if temperatures else ""
        print(
            f"| {env} | {name} | {steps} | {len(final)} | {final.mean():.1f} ± {final.std():.1f} | "
            f"{final.min():.1f} | {solved} | {temperature} | {minutes:.1f} |"
        )


def draw(path: Path, envs: list[str], output: Path) -> None:
    """Learning curves of what is in the CSV, one panel for each environment, one curve for each algorithm and label."""
    runs: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in read(path):
        name = f"{row['algo']} {row['label']}".strip()
        runs.setdefault((row["env"], name, row["seed"]), []).append(row)
    figure = Figure(figsize=(5.5 * len(envs), 4), layout="constrained")
    for axes, env in zip(figure.subplots(1, len(envs), squeeze=False)[0], envs, strict=True):
        results: dict[str, list[Result]] = {}
        for (of_env, name, seed), rows in sorted(runs.items()):
            if of_env == env:
                steps = np.array([int(row["step"]) for row in rows])
                returns = np.array([[float(row["mean_return"])] for row in rows])
                results.setdefault(name, []).append(Result(name, env, int(seed), int(steps[-1]), "finished", steps, returns))
        draw_learning_curves(axes, [learning_curve(of_algo) for of_algo in results.values()])
        axes.set_title(env)
        axes.legend()
    figure.savefig(output, dpi=100)
    print(f"Saved {output}")


def add_arguments(parser: argparse.ArgumentParser, algorithms: list[str], steps: int, seeds: int, csv_name: str) -> None:
    """The arguments that benchmarks over seeds share, with their defaults."""
    parser.add_argument("--algo", nargs="+", default=algorithms, help="zoo keys")
    parser.add_argument("-n", "--steps", type=int, default=steps, help="environment steps")
    parser.add_argument("--seeds", type=int, default=seeds, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--hyperparams", nargs="*", default=[], help="overwrite the zoo's (e.g. learning_rate:0.01)")
    parser.add_argument("--label", default="", help="name of these hyperparameters in the CSV")
    parser.add_argument("--n-jobs", type=int, default=os.cpu_count(), help="runs at a time, one thread each")
    parser.add_argument("--csv", type=Path, default=Path(__file__).with_name("data") / csv_name)
    parser.add_argument("--report", action="store_true", help="print a table of what is in the CSV, train nothing")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="+", default=["CartPole-v1"], help="environment ids")
    parser.add_argument("--eval-episodes", type=int, default=20, help="episodes of each evaluation")
    add_arguments(parser, ["discretesac", "dqn"], steps=50_000, seeds=10, csv_name="discretesac.csv")
    parser.add_argument("--figure", type=Path, help="draw the learning curves that are in the CSV, train nothing")
    args = parser.parse_args()
    if args.report:
        report(args.csv)
        return 0
    if args.figure is not None:
        draw(args.csv, args.env, args.figure)
        return 0

    def summary(rows: list[dict[str, str]]) -> str:
        return " ".join(f"{float(row['mean_return']):.0f}" for row in rows)

    return run_missing(args, args.env, COLUMNS, train, summary)


if __name__ == "__main__":
    sys.exit(main())
