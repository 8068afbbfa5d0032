"""
Cost of a gradient step, as ratios to SB3's SAC: medians of several rounds.

Each algorithm has a process of its own, as a user's has, together with SB3's SAC and its own compiled form. The models take
turns there. Before each timed turn a model takes some steps that are not timed, so that its weights are in the processor's
cache. 17 observations, 6 actions (HalfCheetah's sizes), each algorithm's defaults otherwise. Two sizes of networks: ``usual``
(batch 256, networks 256-256) and ``small`` (batch 64, networks 128-128). To add an algorithm, add a line to ``ALGORITHMS``.
On a machine that does other work, time with one thread. ``--compiled`` times ours with ``compile=True``, too. All that the
docs tell of speed is from one run, of some 45 minutes, half of which is compiling::

    OMP_WAIT_POLICY=passive python benchmarks/speed.py --threads 1 2 --sizes small usual --compiled "S2AC" "SACNF" ... \
        --rounds 9 --gradient-steps 10 --sbx PYTHON --published PATH --csv benchmarks/data/speed.csv

Peers in the same run: with ``--sbx PYTHON``, the interpreter of an environment that has sbx-rl (JAX is no dependency of
ours), its SAC and DQN, in a process that works while this one waits; with ``--published PATH``, a checkout of the code that
S2AC's authors published, its gradient step (in the ``usual`` size). Compiled models and sbx are timed with one thread.
"""

import argparse
import csv
import importlib
import itertools
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import published
import torch as th
from gymnasium import spaces

N_OBSERVATIONS, N_ACTIONS = 17, 6


class Size(NamedTuple):
    """Rows of a batch, and units of the networks' layers."""

    batch_size: int
    net_arch: tuple[int, ...]


SIZES = {"small": Size(64, (128, 128)), "usual": Size(256, (256, 256))}
USUAL = SIZES["usual"]


class Noise(gym.Env):
    """Random observations and rewards: only the sizes matter here."""

    def __init__(self, action_space: spaces.Space):
        self.observation_space = spaces.Box(-1, 1, (N_OBSERVATIONS,))
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        return self.observation_space.sample(), float(self.np_random.normal()), False, False, {}


def make(module: str, name: str, action_space: spaces.Space, **kwargs: Any) -> Callable[..., Any]:
    """A function of a size that makes the model, or ``None`` where its package is not installed."""

    def build(size: Size = USUAL, **more: Any) -> Any:
        try:
            algorithm = getattr(importlib.import_module(module), name)
        except ImportError:
            return None
        arguments = {**kwargs, **more, "batch_size": size.batch_size, "buffer_size": 10_000}
        arguments["policy_kwargs"] = {"net_arch": list(size.net_arch), **kwargs.get("policy_kwargs", {})}
        return algorithm("MlpPolicy", Noise(action_space), **arguments)

    build.module = module  # type: ignore[attr-defined]
    return build


class AnyActivation(th.nn.ReLU):
    """ReLU that is not recognised as one, so that S2AC takes the way of all other networks."""


# Without preconditioning, bound on the step and likelihood-ratio term, with the step size of the authors' code
PLAIN = {"precondition": False, "max_step_ratio": None, "likelihood_ratio": False, "svgd_step_size": 0.1}
BOX, DISCRETE = spaces.Box(-1, 1, (N_ACTIONS,)), spaces.Discrete(N_ACTIONS)
BASELINE, PUBLISHED, COMPILED = "SB3 SAC", "S2AC, the authors' code", ", compiled"
ALGORITHMS = {
    BASELINE: make("stable_baselines3", "SAC", BOX),
    "DiscreteSAC": make("sb3_maxent", "DiscreteSAC", DISCRETE),
    "DiscreteSAC, q_clip and entropy_penalty": make("sb3_maxent", "DiscreteSAC", DISCRETE, q_clip=0.5, entropy_penalty=0.5),
    "SoftQLearning, discrete": make("sb3_maxent", "SoftQLearning", DISCRETE),
    "SoftQLearning, discrete, 2 critics": make("sb3_maxent", "SoftQLearning", DISCRETE, policy_kwargs={"n_critics": 2}),
    "SoftQLearning, continuous, 16 + 16 particles": make(
        "sb3_maxent", "SoftQLearning", BOX, n_value_particles=16, n_kernel_particles=16
    ),
    "SoftQLearning, continuous, 1 critic": make(
        "sb3_maxent", "SoftQLearning", BOX, n_value_particles=16, n_kernel_particles=16, policy_kwargs={"n_critics": 1}
    ),
    "S2AC": make("sb3_maxent", "S2AC", BOX),
    "S2AC, 6 particles": make("sb3_maxent", "S2AC", BOX, n_particles=6),
    "S2AC, first critic": make("sb3_maxent", "S2AC", BOX, scores_from="first"),
    "S2AC, bfloat16": make("sb3_maxent", "S2AC", BOX, scores_precision="bfloat16"),
    "S2AC, fixed start": make("sb3_maxent", "S2AC", BOX, learned_start=False),
    "S2AC, amortized": make("sb3_maxent", "S2AC", BOX, amortized=True),
    "S2AC, amortized, particles for 16 states": make("sb3_maxent", "S2AC", BOX, amortized=True, particle_batch_size=16),
    "S2AC, amortized, particles for 32 states": make("sb3_maxent", "S2AC", BOX, amortized=True, particle_batch_size=32),
    "S2AC, without our additions": make("sb3_maxent", "S2AC", BOX, **PLAIN),
    "S2AC, general path": make("sb3_maxent", "S2AC", BOX, policy_kwargs={"activation_fn": AnyActivation}),
    "S2AC, Hutchinson": make("sb3_maxent", "S2AC", BOX, entropy_estimator="hutchinson"),
    "S2AC, second order": make("sb3_maxent", "S2AC", BOX, second_order=True),
    "MixtureSAC": make("sb3_maxent", "MixtureSAC", BOX),
    "MixtureSAC, 1 component": make("sb3_maxent", "MixtureSAC", BOX, n_components=1),
    "MixtureSAC, 2 components": make("sb3_maxent", "MixtureSAC", BOX, n_components=2),
    "MixtureSAC, 6 components": make("sb3_maxent", "MixtureSAC", BOX, n_components=6),
    "MixtureSAC, 8 components": make("sb3_maxent", "MixtureSAC", BOX, n_components=8),
    "MixtureSAC, 16 components": make("sb3_maxent", "MixtureSAC", BOX, n_components=16),
    "SACNF, n_flows=0": make("sb3_maxent", "SACNF", BOX, n_flows=0),
    "SACNF": make("sb3_maxent", "SACNF", BOX),
    "SACNF, radial": make("sb3_maxent", "SACNF", BOX, flow="radial"),
    "SACNF, radial, not conditional": make("sb3_maxent", "SACNF", BOX, flow="radial", conditional_flow=False),
    "SACNF, planar": make("sb3_maxent", "SACNF", BOX, flow="planar"),
    "SB3 DQN": make("stable_baselines3", "DQN", DISCRETE),
    "sb3_soft SDSAC": make("sb3_soft", "SDSAC", DISCRETE),
    "sb3_soft SQL": make("sb3_soft", "SQL", DISCRETE),
}
OURS = [name for name, build in ALGORITHMS.items() if build.module == "sb3_maxent"]  # type: ignore[attr-defined]
SBX = {"sbx SAC": ("SAC", BOX), "sbx DQN": ("DQN", DISCRETE)}
ONE_THREAD = (COMPILED, *SBX)  # endings of names
WARM_UP = 3  # steps before each timed turn
# Algorithms that act in other ways than SAC
ACTING = (BASELINE, "S2AC", "SACNF", "MixtureSAC")


class Row(NamedTuple):
    """One measurement, as in the CSV file: milliseconds, seconds or a number, by the name of what it is."""

    what: str
    beside: str  # the algorithm in whose process it was measured
    size: str
    threads: int
    round: int
    value: float


class Sbx:
    """
    A model of sbx in a process of its own, on one core, that works only while this one waits for it.

    :param python: the interpreter of an environment with sbx-rl
    :param name: the row of the table
    :param size: sizes
    """

    def __init__(self, python: Path, name: str, size: Size):
        code = Path(__file__).with_name("sbx_steps.py")
        command = [str(python), str(code), SBX[name][0], str(size.batch_size), *map(str, size.net_arch)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        if self._read() != "ready":
            raise RuntimeError(f"{name} could not be made, see above")

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Gradient steps; returns when they are done."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{gradient_steps} {batch_size}\n")
        self.process.stdin.flush()
        if self._read() != "done":
            raise RuntimeError("sbx has stopped, see above")


def fill(model: Any, steps: int = 1000) -> None:
    """Fill the replay buffer without training."""
    model.learning_starts = steps
    model.learn(steps)


def n_parameters(model: Any, of: str) -> int:
    """Number of parameters that are trained: of the actor, which acts beside the critics, or of all critics (``critic``)."""
    module = getattr(model, of, None)
    return sum(parameter.numel() for parameter in module.parameters()) if module else 0


def measure(models: dict[str, Any], rounds: int, gradient_steps: int, batch_size: int) -> dict[str, list[float]]:
    """
    Time gradient steps, the models in turn.

    :return: for each model milliseconds a step, round by round
    """
    times: dict[str, list[float]] = {name: [] for name in models}
    for round_ in range(rounds + 1):
        for name, model in models.items():
            warm_up, steps = (0, 1) if name == PUBLISHED else (WARM_UP, gradient_steps)
            model.train(gradient_steps=warm_up, batch_size=batch_size)
            start = time.perf_counter()
            model.train(gradient_steps=steps, batch_size=batch_size)
            if round_ > 0:
                times[name].append((time.perf_counter() - start) / steps * 1000)
    return times


def measure_acting(models: dict[str, Any], rounds: int, calls: int = 100) -> dict[str, list[float]]:
    """
    Time ``predict`` for one observation, the models in turn.

    :return: for each model, deterministic or not, milliseconds a call, round by round
    """
    observation = np.zeros(N_OBSERVATIONS, dtype=np.float32)
    times: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        for name, model in models.items():
            for deterministic in (True, False):
                start = time.perf_counter()
                for _ in range(calls):
                    model.predict(observation, deterministic=deterministic)
                column = times.setdefault(f"{name}: predict({deterministic=})".replace("'", ""), [])
                column.append((time.perf_counter() - start) / calls * 1000)
    return {name: column[1:] for name, column in times.items()}


def passes(rows: int, inputs: int, outputs: int, forward: int, to_inputs: int, to_weights: int) -> list[tuple[int, int, int]]:
    """Products (m, k, n) of passes through a network, and back to its inputs or its weights."""
    sizes = [inputs, *USUAL.net_arch, outputs]
    layers = list(itertools.pairwise(sizes))
    result = [(rows, k, n) for k, n in layers] * forward
    result += [(rows, n, k) for k, n in layers] * to_inputs
    result += [(k, rows, n) for k, n in layers] * to_weights
    # Gradients of weights also go back through all layers but the first
    return result + [(rows, n, k) for k, n in layers[1:]] * to_weights


def products_of_continuous_sql(n_particles: int = 16) -> list[tuple[int, int, int]]:
    """
    Sizes (m, k, n) of the matrix products without which no gradient step of continuous SoftQLearning with twin critics
    and as many value as kernel particles can do, whatever else it spares.
    """
    half = USUAL.batch_size * n_particles // 2
    return (
        passes(2 * half, N_ACTIONS, 1, 2, 0, 0)  # target values
        + passes(USUAL.batch_size, N_OBSERVATIONS + N_ACTIONS, 1, 2, 0, 2)  # regression of both critics
        + passes(half, N_ACTIONS, 1, 2, 1, 0)  # gradients at the fixed particles, back through the smaller critic
        + passes(half, N_ACTIONS, N_ACTIONS, 2, 0, 1)  # fixed and updated samples, back to the sampler's weights
    )


def products_of_s2ac(n_particles: int = 10, n_svgd_steps: int = 3) -> list[tuple[int, int, int]]:
    """The same for S2AC with a learned start."""
    rows = USUAL.batch_size * n_particles
    return (
        passes(rows, N_ACTIONS, 1, 2, 1, 0) * n_svgd_steps  # scores: one run serves the target and the actor
        + passes(rows, N_ACTIONS, 1, 2, 0, 0)  # target values
        + passes(rows, N_ACTIONS, 1, 2, 1, 0)  # the actor's values and their gradients
        + passes(USUAL.batch_size, N_OBSERVATIONS + N_ACTIONS, 1, 2, 0, 2)  # regression of both critics
        + passes(USUAL.batch_size, N_OBSERVATIONS, 2 * N_ACTIONS, 2, 0, 1)  # the start's network
    )


PRODUCTS = {
    "SoftQLearning, continuous, 16 + 16 particles": products_of_continuous_sql,
    "S2AC": products_of_s2ac,
}


def time_products(sizes: list[tuple[int, int, int]], rounds: int) -> float:
    """Milliseconds that the matrix products take one after the other; median of the rounds."""
    pairs = [(th.randn(m, k), th.randn(k, n), th.empty(m, n)) for m, k, n in sizes]
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for left, right, result in pairs:
            th.mm(left, right, out=result)
        times.append((time.perf_counter() - start) * 1000)
    return float(np.median(times[1:]))


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--gradient-steps", type=int, default=10, help="in each round")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["usual"])
    parser.add_argument(
        "--only", nargs="+", default=list(ALGORITHMS), choices=list(ALGORITHMS), metavar="NAME", help="names from the table"
    )
    parser.add_argument(
        "--compiled",
        nargs="*",
        choices=OURS,
        metavar="NAME",
        help="with compile=True, too: these, or all of ours without a name",
    )
    parser.add_argument("--sbx", type=Path, metavar="PYTHON", help="the interpreter of an environment with sbx-rl")
    parser.add_argument("--published", type=Path, help="a checkout of the code of S2AC's authors")
    parser.add_argument("--csv", type=Path, help="file for the times of all rounds")
    parser.add_argument("--beside", help=argparse.SUPPRESS)  # measure one algorithm, in this process
    args = parser.parse_args()
    if args.compiled == []:
        args.compiled = [name for name in OURS if name in args.only]
    if left_out := set(args.compiled or ()) - set(args.only):
        parser.error(f"--compiled must be among the names of --only, which lacks {sorted(left_out)}")
    if args.threads[0] != 1 and (args.compiled or args.sbx):
        parser.error("compiled models and sbx are timed with one thread: --threads must begin with 1")
    if args.published is not None and "usual" not in args.sizes and args.beside is None:
        parser.error("--published needs the usual size: --sizes usual")
    return args


def make_models(args: argparse.Namespace, name: str, size: Size) -> dict[str, Any]:
    """SB3's SAC and the models of one algorithm, with full replay buffers; nothing where its package is not installed."""
    models = {BASELINE: ALGORITHMS[BASELINE](size)}
    if name == PUBLISHED:
        models[name] = published.build(args.published, batch_size=size.batch_size)
    elif name in SBX:
        models[name] = Sbx(args.sbx, name, size)
    elif name != BASELINE:
        models[name] = ALGORITHMS[name](size)
    if name in (args.compiled or ()):
        models[name + COMPILED] = ALGORITHMS[name](size, compile=True)
    if any(model is None for model in models.values()):
        return {}
    for of, model in models.items():
        if of not in (PUBLISHED, *SBX):
            fill(model)
    return models


def measure_one(args: argparse.Namespace, name: str, size_name: str) -> list[Row]:
    """Measure one algorithm beside SB3's SAC, in this process."""
    size = SIZES[size_name]
    models = make_models(args, name, size)
    rows: list[Row] = []

    def add(what: str, values: Iterable[float], threads: int = 1) -> None:
        rows.extend(Row(what, name, size_name, threads, index, value) for index, value in enumerate(values))

    for threads in args.threads if models else ():
        th.set_num_threads(threads)
        # Another number of threads would compile all models anew
        timed = {of: model for of, model in models.items() if threads == 1 or not of.endswith(ONE_THREAD)}
        if len(timed) > 1 or name == BASELINE:
            for of, times in measure(timed, args.rounds, args.gradient_steps, size.batch_size).items():
                add(of, times, threads)
        if name in PRODUCTS and size == USUAL:
            sizes = PRODUCTS[name]()
            gflop = 2e-9 * sum(m * k * n for m, k, n in sizes)
            add(f"matrix products alone of {name} ({gflop:.1f} GFLOP)", [time_products(sizes, args.rounds)], threads)
    th.set_num_threads(1)
    for of, model in models.items():
        if of.endswith(COMPILED):
            add(f"{of}: seconds to compile", [model._take_step.compile_seconds])
        elif of == name and of in ALGORITHMS:
            for part in ("actor", "critic"):
                add(f"{of}: parameters of the {part}", [n_parameters(model, part)])
    actors = {of: model for of, model in models.items() if of.startswith(ACTING)}
    if name.startswith(ACTING) and name != PUBLISHED:
        for of, times in measure_acting(actors, args.rounds).items():
            add(of, times)
    return rows


def packages() -> str:
    """Versions of what was measured."""
    found = []
    for package in ("sb3_maxent", "stable_baselines3", "torch", "sb3_soft"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write the CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows([*row[:-1], f"{row.value:.6g}"] for row in rows)


def measure_in_a_process(name: str, size_name: str) -> list[Row]:
    """The rows of one algorithm, from a process that has this one's arguments, too, and compiles without a cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        command = [sys.executable, __file__, *sys.argv[1:], "--sizes", size_name, "--csv", str(path), "--beside", name]
        subprocess.run(command, env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder}, check=True)
        with path.open(newline="") as file:
            return [
                Row(row["what"], row["beside"], row["size"], int(row["threads"]), int(row["round"]), float(row["value"]))
                for row in csv.DictReader(file)
            ]


def lines_of(rows: Sequence[Row]) -> Iterable[str]:
    """Lines on one algorithm: the median of what was timed, and its ratios to SB3's SAC round by round; single numbers."""
    values: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        values.setdefault((row.what, row.threads), []).append(row.value)
    for (what, threads), times in values.items():
        of, separator, action = what.partition(": ")
        baseline = values.get((BASELINE + separator + action, threads))
        if of == BASELINE != rows[0].beside:
            continue
        if baseline is None:
            yield f"| {what} | {threads} | {times[0]:g} | |"
            continue
        over = np.array(times) / (baseline if len(times) == len(baseline) else np.median(baseline))
        yield f"| {what} | {threads} | {np.median(times):.2f} | {np.median(over):.2f}, {over.min():.2f} - {over.max():.2f} |"


def main() -> None:
    """Command line."""
    args = arguments()
    if args.beside is not None:
        write_rows(args.csv, measure_one(args, args.beside, args.sizes[0]))
        return
    print(f"{packages()}; {processor()}, {os.cpu_count()} cores; {args.rounds} rounds of {args.gradient_steps} gradient steps")
    names = list(dict.fromkeys([BASELINE, *args.only]))
    found: list[Row] = []
    for size_name in args.sizes:
        size = SIZES[size_name]
        peers = [
            *(SBX if args.sbx is not None else ()),
            *([PUBLISHED] if args.published is not None and size == USUAL else []),
        ]
        print(f"\nbatch {size.batch_size}, networks {list(size.net_arch)}\n")
        print("| what | threads | ms (median), or a number | ratio to SB3 SAC (median, lowest - highest) |\n|---|---|---|---|")
        for name in [*names, *peers]:
            rows = measure_in_a_process(name, size_name)
            found += rows
            print(*(lines_of(rows) if rows else [f"| {name} | | not installed, left out | |"]), sep="\n", flush=True)
            if args.csv is not None:
                write_rows(args.csv, found)


if __name__ == "__main__":
    main()
