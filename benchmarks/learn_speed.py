"""
Steps a second of ``learn()``, beside SB3's SAC: all models in one process, in turn, and where the time of each goes.

One step of the environment and one gradient step at a time, batch 64, networks 128-128, one thread. SAC's formulas are
``SACNF`` with ``n_flows=0``, eager and compiled::

    OMP_NUM_THREADS=1 python benchmarks/learn_speed.py --csv learn_speed.csv
"""

import argparse
import csv
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import speed
import torch as th
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env

from sb3_maxent import SACNF

BATCH_SIZE, NET_ARCH, LEARNING_STARTS = 64, [128, 128], 1000
BASELINE = "SB3 SAC"
MODELS: dict[str, tuple[type, dict[str, Any]]] = {
    BASELINE: (SAC, {}),
    "SAC's formulas": (SACNF, {"n_flows": 0}),
    "SAC's formulas, compiled": (SACNF, {"n_flows": 0, "compile": True}),
}
# Parts of learn(): the label, whose method it is, and its name. What a part calls counts for the inner part only.
PARTS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("environment", lambda model: model.env, "step"),
    ("choosing an action", lambda model: model, "_sample_action"),
    ("storing the transition", lambda model: model, "_store_transition"),
    ("sampling a batch", lambda model: model.replay_buffer, "sample"),
    ("gradient step", lambda model: model, "train"),
]


def make(name: str, env_id: str) -> Any:
    """A model that has filled its buffer and trained for some steps, so that nothing is left to compile."""
    algorithm, kwargs = MODELS[name]
    env = make_vec_env(env_id, n_envs=1, seed=0)
    policy_kwargs = {"net_arch": NET_ARCH}
    sizes = {"batch_size": BATCH_SIZE, "learning_starts": LEARNING_STARTS, "buffer_size": 100_000}
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", policy_kwargs=policy_kwargs, **sizes, **kwargs)
    return model.learn(LEARNING_STARTS + 200)


def learn(model: Any, steps: int) -> float:
    """Steps a second."""
    start = time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    return steps / (time.perf_counter() - start)


def parts_of(model: Any, steps: int) -> dict[str, float]:
    """Microseconds a step of each part of ``learn()``, by clocks around the methods; afterwards the methods are as before."""
    spent: defaultdict[str, float] = defaultdict(float)
    inner = [0.0]  # seconds of parts within the part that runs
    originals = []
    for label, owner_of, name in PARTS:
        owner = owner_of(model)
        method = getattr(owner, name)
        originals.append((owner, name))

        def timed(*args: Any, method: Callable = method, label: str = label, **kwargs: Any) -> Any:
            inner.append(0.0)
            start = time.perf_counter()
            result = method(*args, **kwargs)
            seconds = time.perf_counter() - start
            spent[label] += seconds - inner.pop()
            inner[-1] += seconds
            return result

        setattr(owner, name, timed)
    start = time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    total = time.perf_counter() - start
    for owner, name in originals:
        delattr(owner, name)
    parts = {label: spent[label] / steps * 1e6 for label, _, _ in PARTS}
    return {**parts, "the rest (callbacks, logging)": (total - sum(spent.values())) / steps * 1e6}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=1000, help="in each round")
    parser.add_argument("--csv", type=Path, help="file for the figures of all rounds")
    args = parser.parse_args()
    th.set_num_threads(1)

    models = {name: make(name, args.env) for name in MODELS}
    rates: dict[str, list[float]] = {name: [] for name in models}
    parts: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for _ in range(args.rounds):
        for name, model in models.items():
            rates[name].append(learn(model, args.steps))
    for _ in range(args.rounds):
        for name, model in models.items():
            parts[name].append(parts_of(model, args.steps))

    print(f"{speed.packages()}; {speed.processor()}, {os.cpu_count()} cores")
    print(f"{args.env}, {args.rounds} rounds of {args.steps} steps\n")
    print("| algorithm | steps a second (median) | ratio to SB3 SAC (median, lowest - highest) |\n|---|---|---|")
    for name, column in rates.items():
        ratios = np.array(column) / np.array(rates[BASELINE])
        print(f"| {name} | {np.median(column):.0f} | {np.median(ratios):.2f}, {ratios.min():.2f} - {ratios.max():.2f} |")
    print(f"\n| microseconds a step (medians) | {' | '.join(models)} |\n|{'---|' * (len(models) + 1)}")
    for part in parts[BASELINE][0]:
        medians = [np.median([each[part] for each in parts[name]]) for name in models]
        print(f"| {part} | {' | '.join(f'{value:.0f}' for value in medians)} |")
    if args.csv is not None:
        with args.csv.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["algorithm", "what", "round", "value"])
            for name in models:
                rows = [["steps a second", index, rate] for index, rate in enumerate(rates[name])]
                rows += [[f"microseconds: {part}", i, each[part]] for i, each in enumerate(parts[name]) for part in each]
                writer.writerows([name, what, index, f"{value:.1f}"] for what, index, value in rows)


if __name__ == "__main__":
    main()
