"""
Steps a second of ``learn()`` on images, by the zoo files' entries, beside SB3's DQN: all models in one process, in turn.

The replay buffer is small, so that filling it takes no time; the batches, networks and gradient steps are the entries'::

    OMP_NUM_THREADS=1 python benchmarks/pixel_speed.py --csv pixel_speed.csv
"""

import argparse
import contextlib
import io
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import speed
import torch as th
from tables import write

from sb3_maxent import zoo

ENVIRONMENTS = ("PongNoFrameskip-v4", "MinAtar/Breakout-v1")
BASELINE = "SB3 DQN"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    BASELINE: ("dqn", {}),
    "QR-DQN": ("qrdqn", {}),
    "DiscreteSAC": ("discretesac", {}),
    "DiscreteSAC, compiled": ("discretesac", {"compile": True}),
    "SoftQLearning": ("sql", {}),
    "SoftQLearning, compiled": ("sql", {"compile": True}),
}
COLUMNS = ["env", "algorithm", "round", "steps_a_second"]
SMALL = {"learning_starts": 200, "buffer_size": 5000}


def make(algo: str, env_id: str, options: dict[str, Any], folder: str) -> Any:
    """A model of the zoo's entry that has trained for some steps, so that nothing is left to compile."""
    from rl_zoo3.exp_manager import ExperimentManager

    manager = ExperimentManager(
        argparse.Namespace(), algo, env_id, folder, hyperparams={**SMALL, **options}, eval_freq=-1, verbose=0, device="cpu"
    )
    made = manager.setup_experiment()
    assert made is not None
    return made[0].learn(400)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", default=ENVIRONMENTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400, help="in each round")
    parser.add_argument("--csv", type=Path, help="file for the figures of all rounds")
    args = parser.parse_args()
    th.set_num_threads(1)
    zoo.register()
    print(f"{speed.packages()}; {speed.processor()}, {os.cpu_count()} cores")
    rows = []
    for env_id in args.envs:
        # The zoo prints each entry
        with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            models = {name: make(algo, env_id, options, folder) for name, (algo, options) in MODELS.items()}
        rates: dict[str, list[float]] = {name: [] for name in models}
        for index in range(args.rounds):
            for name, model in models.items():
                start = time.perf_counter()
                model.learn(args.steps, reset_num_timesteps=False)
                rates[name].append(args.steps / (time.perf_counter() - start))
                rows.append(dict(zip(COLUMNS, (env_id, name, index, f"{rates[name][-1]:.1f}"), strict=True)))
        print(f"\n| {env_id} | steps a second (median) | ratio to {BASELINE} (median) |\n|---|---|---|")
        for name, column in rates.items():
            print(f"| {name} | {np.median(column):.0f} | {np.median(np.array(column) / np.array(rates[BASELINE])):.2f} |")
    if args.csv is not None:
        write(args.csv, COLUMNS, rows)


if __name__ == "__main__":
    main()
