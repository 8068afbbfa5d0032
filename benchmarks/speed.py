"""
Cost of a gradient step, as ratios to SB3's SAC: all algorithms in one process, in turn, medians of several rounds.

Batch 256, networks 256-256, 17 observations, 6 actions (HalfCheetah's sizes), each algorithm's defaults otherwise. To
add an algorithm, add a line to ``ALGORITHMS``. On a machine that does other work, time with one thread::

    OMP_WAIT_POLICY=passive python benchmarks/speed.py --threads 1

With ``--published PATH``, a checkout of the code that S2AC's authors published, its gradient step is timed in the same run.
"""

import argparse
import csv
import importlib
import itertools
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import published
import torch as th
from gymnasium import spaces

BATCH_SIZE, NET_ARCH, N_OBSERVATIONS, N_ACTIONS = 256, [256, 256], 17, 6


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


def make(module: str, name: str, action_space: spaces.Space, **kwargs: Any) -> Callable[[], Any]:
    """A function that makes the model, or ``None`` where its package is not installed."""

    def build() -> Any:
        try:
            algorithm = getattr(importlib.import_module(module), name)
        except ImportError:
            return None
        policy_kwargs = {"net_arch": NET_ARCH, **kwargs.pop("policy_kwargs", {})}
        env = Noise(action_space)
        return algorithm("MlpPolicy", env, batch_size=BATCH_SIZE, buffer_size=10_000, policy_kwargs=policy_kwargs, **kwargs)

    return build


class AnyActivation(th.nn.ReLU):
    """ReLU that is not recognised as one, so that S2AC takes the way of all other networks."""


# Without preconditioning, bound on the step and likelihood-ratio term, with the step size of the authors' code
PLAIN = {"precondition": False, "max_step_ratio": None, "likelihood_ratio": False, "svgd_step_size": 0.1}
BOX, DISCRETE = spaces.Box(-1, 1, (N_ACTIONS,)), spaces.Discrete(N_ACTIONS)
BASELINE, PUBLISHED = "SB3 SAC", "S2AC, the authors' code"
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
    "S2AC, fixed start": make("sb3_maxent", "S2AC", BOX, learned_start=False),
    "S2AC, amortized": make("sb3_maxent", "S2AC", BOX, amortized=True),
    "S2AC, without our additions": make("sb3_maxent", "S2AC", BOX, **PLAIN),
    "S2AC, general path": make("sb3_maxent", "S2AC", BOX, policy_kwargs={"activation_fn": AnyActivation}),
    "S2AC, Hutchinson": make("sb3_maxent", "S2AC", BOX, entropy_estimator="hutchinson"),
    "S2AC, second order": make("sb3_maxent", "S2AC", BOX, second_order=True),
    "SACNF": make("sb3_maxent", "SACNF", BOX),
    "SACNF, radial": make("sb3_maxent", "SACNF", BOX, flow="radial"),
    "SACNF, radial, not conditional": make("sb3_maxent", "SACNF", BOX, flow="radial", conditional_flow=False),
    "SACNF, planar": make("sb3_maxent", "SACNF", BOX, flow="planar"),
    "SB3 DQN": make("stable_baselines3", "DQN", DISCRETE),
    "sb3_soft SDSAC": make("sb3_soft", "SDSAC", DISCRETE),
    "sb3_soft SQL": make("sb3_soft", "SQL", DISCRETE),
}


def fill(model: Any, steps: int = 1000) -> None:
    """Fill the replay buffer without training."""
    model.learning_starts = steps
    model.learn(steps)


def n_parameters(model: Any) -> str:
    """Numbers of parameters that are trained: of what acts beside the critics, and of all critics."""
    actor, critic = (getattr(model, name, None) for name in ("actor", "critic"))
    return " | ".join(str(sum(p.numel() for p in module.parameters())) if module else "" for module in (actor, critic))


def measure(models: dict[str, Any], rounds: int, gradient_steps: int) -> dict[str, list[float]]:
    """
    Time gradient steps, the models in turn.

    :return: for each model milliseconds a step, round by round
    """
    times: dict[str, list[float]] = {name: [] for name in models}
    for name, model in models.items():  # warm up
        model.train(gradient_steps=1 if name == PUBLISHED else gradient_steps, batch_size=BATCH_SIZE)
    for _ in range(rounds):
        for name, model in models.items():
            steps = 1 if name == PUBLISHED else gradient_steps
            start = time.perf_counter()
            model.train(gradient_steps=steps, batch_size=BATCH_SIZE)
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
    sizes = [inputs, *NET_ARCH, outputs]
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
    half = BATCH_SIZE * n_particles // 2
    return (
        passes(2 * half, N_ACTIONS, 1, 2, 0, 0)  # target values
        + passes(BATCH_SIZE, N_OBSERVATIONS + N_ACTIONS, 1, 2, 0, 2)  # regression of both critics
        + passes(half, N_ACTIONS, 1, 2, 1, 0)  # gradients at the fixed particles, back through the smaller critic
        + passes(half, N_ACTIONS, N_ACTIONS, 2, 0, 1)  # fixed and updated samples, back to the sampler's weights
    )


def products_of_s2ac(n_particles: int = 10, n_svgd_steps: int = 3) -> list[tuple[int, int, int]]:
    """The same for S2AC with a learned start."""
    rows = BATCH_SIZE * n_particles
    return (
        passes(rows, N_ACTIONS, 1, 2, 1, 0) * (2 * n_svgd_steps)  # scores, for the target's and the actor's particles
        + passes(rows, N_ACTIONS, 1, 2, 0, 0)  # target values
        + passes(rows, N_ACTIONS, 1, 2, 1, 0)  # the actor's values and their gradients
        + passes(BATCH_SIZE, N_OBSERVATIONS + N_ACTIONS, 1, 2, 0, 2)  # regression of both critics
        + passes(BATCH_SIZE, N_OBSERVATIONS, 2 * N_ACTIONS, 2, 0, 1)  # the start's network
    )


PRODUCTS = {
    "SoftQLearning, continuous, 16 + 16": products_of_continuous_sql,
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


def line(name: str, threads: int, times: list[float], baseline: list[float]) -> str:
    """A line of the table."""
    ratios = np.array(times) / np.array(baseline)
    spread = f"{np.median(ratios):.2f}, {ratios.min():.2f} - {ratios.max():.2f}"
    return f"| {name} | {threads} | {np.median(times):.2f} | {spread} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--gradient-steps", type=int, default=40, help="in each round")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", default=list(ALGORITHMS), help="names from the table")
    parser.add_argument("--published", type=Path, help="a checkout of the code of S2AC's authors")
    parser.add_argument("--csv", type=Path, help="file for the times of all rounds")
    args = parser.parse_args()

    models = {name: ALGORITHMS[name]() for name in dict.fromkeys([BASELINE, *args.only])}
    for name in [name for name, model in models.items() if model is None]:
        print(f"{name}: not installed, left out")
        del models[name]
    for model in models.values():
        fill(model)
    if args.published is not None:
        models[PUBLISHED] = published.build(args.published, batch_size=BATCH_SIZE)
    rows = []
    packages = []
    for package in ("sb3_maxent", "stable_baselines3", "torch", "sb3_soft"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    print(f"{', '.join(packages)}; {processor()}, {os.cpu_count()} cores")
    print(f"batch {BATCH_SIZE}, networks {NET_ARCH}, {args.rounds} rounds of {args.gradient_steps} gradient steps\n")
    print("| algorithm | threads | ms a step (median) | ratio to SB3 SAC (median, lowest - highest) |\n|---|---|---|---|")
    for threads in args.threads:
        th.set_num_threads(threads)
        times = measure(models, args.rounds, args.gradient_steps)
        for name, column in times.items():
            rows += [[name, threads, index, f"{value:.4f}"] for index, value in enumerate(column)]
            print(line(name, threads, column, times[BASELINE]), flush=True)
        for of, sizes_of in PRODUCTS.items():
            sizes = sizes_of()
            products, flop = time_products(sizes, args.rounds), 2e-9 * sum(m * k * n for m, k, n in sizes)
            name = f"matrix products alone of {of} ({flop:.1f} GFLOP)"
            rows.append([name, threads, 0, f"{products:.4f}"])
            print(f"| {name} | {threads} | {products:.2f} | {products / np.median(times[BASELINE]):.2f} |", flush=True)
    th.set_num_threads(1)
    print("\n| algorithm | parameters of the actor | of the critics |\n|---|---|---|")
    for name, model in models.items():
        if name != PUBLISHED:
            print(f"| {name} | {n_parameters(model)} |")
    print("\n| acting for one observation | threads | ms (median) | ratio to SB3 SAC (median, lowest - highest) |")
    print("|---|---|---|---|")
    actors = {
        name: model for name, model in models.items() if name in ALGORITHMS and name.startswith((BASELINE, "S2AC", "SACNF"))
    }
    times = measure_acting(actors, args.rounds)
    for name, column in times.items():
        rows += [[name, 1, index, f"{value:.4f}"] for index, value in enumerate(column)]
        baseline = times[f"{BASELINE}: {name.rpartition(': ')[2]}"]
        print(line(name, 1, column, baseline), flush=True)
    if args.csv is not None:
        with args.csv.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["algorithm", "threads", "round", "milliseconds a gradient step"])
            writer.writerows(rows)


if __name__ == "__main__":
    main()
