"""
Policies with several modes, against exact solutions: MixtureBandit-v0 (KL divergence to the optimal policy, share of
each mode) and MultiGoal-v0 (share of episodes that reach each goal), with the RL Zoo's training.

Each run is one process, ``python -m sb3_maxent.zoo train``, with the hyperparameters of hyperparams/sql.yml, or of
benchmarks/sac.yml for SB3's SAC. Its last policy is sampled (20000 actions, 200 episodes). Finished runs are appended
to the CSV as they come, and skipped when the same command is given again::

    python benchmarks/multimodal.py --task bandit-3 bandit-4 multigoal --algo sql sac --seeds 5
    python benchmarks/multimodal.py --report
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import gymnasium as gym
import numpy as np
import torch as th
from learning import VERSIONS, read
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env

from sb3_maxent.reference import histogram_kl
from sb3_maxent.zoo import ALGORITHMS

N_ACTIONS, N_EPISODES = 20_000, 200
THREE = {"means": [[0.6, 0.0], [-0.4, 0.5], [-0.4, -0.5]], "weights": [0.5, 0.3, 0.2]}
# name: environment, its arguments
TASKS: dict[str, tuple[str, dict]] = {
    "bandit-3": ("MixtureBandit-v0", THREE),
    "bandit-4": ("MixtureBandit-v0", {}),
    "multigoal": ("MultiGoal-v0", {}),
}
COLUMNS = ["task", "algo", "label", "seed", "steps", "measures", "seconds", "hyperparams", "versions"]


def measure_bandit(model: BaseAlgorithm, env_kwargs: dict) -> dict:
    """KL divergence of the policy's actions to the optimum, and the share of each mode beside its weight."""
    env = gym.make("MixtureBandit-v0", **env_kwargs).unwrapped
    observations = np.zeros((N_ACTIONS, *env.observation_space.shape), dtype=np.float32)
    actions, _ = model.predict(observations, deterministic=False)
    weights = env.mode_probabilities()
    shares = np.bincount(env.mode_of(actions), minlength=len(weights)) / N_ACTIONS
    factors = np.maximum(shares, 1e-9) / weights
    return {
        "kl": round(histogram_kl(actions, env.log_prob), 4),
        "shares": shares.round(4).tolist(),
        "worst_factor": round(float(np.maximum(factors, 1 / factors).max()), 3),
    }


def measure_goals(model: BaseAlgorithm, env_kwargs: dict) -> dict:
    """Shares of the episodes that reach each goal, their lengths and returns; actions are sampled."""
    env = make_vec_env("sb3_maxent:MultiGoal-v0", n_envs=20, seed=10_000, env_kwargs=env_kwargs)
    episodes: list[dict] = []
    observations = env.reset()
    # The same number from each environment: short episodes would be counted more often otherwise
    counts = np.zeros(env.num_envs, dtype=int)
    while counts.min() < N_EPISODES // env.num_envs:
        observations, _, dones, infos = env.step(model.predict(observations, deterministic=False)[0])
        for index in np.flatnonzero(dones):
            if counts[index] < N_EPISODES // env.num_envs:
                episodes.append(infos[index])
                counts[index] += 1
    goals = [info["goal"] for info in episodes]
    shares = [goals.count(f"goal {index}") / len(goals) for index in range(4)]
    lengths, returns = ([info["episode"][key] for info in episodes] for key in ("l", "r"))
    return {
        "success": round(sum(shares), 4),
        "shares": shares,
        "length": round(float(np.mean(lengths)), 2),
        "return": round(float(np.mean(returns)), 3),
    }


def train(task: str, algo: str, seed: int, args: argparse.Namespace) -> dict[str, str]:
    """
    One run in its own process.

    :return: its row
    :raises RuntimeError: with the process's output, if it fails
    """
    env, env_kwargs = TASKS[task]
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sb3_maxent.zoo", "train", "--algo", algo, "--env", env, "--seed", str(seed)]
        command += ["-n", str(args.steps), "--eval-freq", "-1", "--num-threads", "1", "--device", "cpu"]
        command += ["--log-interval", "-2", "-f", folder]
        if algo == "sac":
            command += ["-conf", str(Path(__file__).with_name("sac.yml"))]
        if env_kwargs:
            command += ["--env-kwargs", *(f"{key}:{value}".replace(" ", "") for key, value in env_kwargs.items())]
        if args.hyperparams:
            command += ["--hyperparams", *args.hyperparams]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        path, *_ = [*Path(folder).glob(f"*/*/{env}.zip"), None]
        if result.returncode != 0 or path is None:
            raise RuntimeError(f"{' '.join(command)} failed:\n{result.stdout[-3000:]}")
        model = (SAC if algo == "sac" else ALGORITHMS[algo][0]).load(path, device="cpu")
        if args.save is not None:
            args.save.mkdir(parents=True, exist_ok=True)
            path.rename(args.save / f"{task}_{algo}{args.label and '_' + args.label}_{seed}.zip")
    seconds = time.time() - start
    th.manual_seed(seed)
    measures = (measure_bandit if env == "MixtureBandit-v0" else measure_goals)(model, env_kwargs)
    return {
        "task": task,
        "algo": algo,
        "label": args.label,
        "seed": str(seed),
        "steps": str(model.num_timesteps),
        "measures": json.dumps(measures),
        "seconds": f"{seconds:.0f}",
        "hyperparams": " ".join(args.hyperparams),
        "versions": VERSIONS,
    }


def run(args: argparse.Namespace) -> int:
    """Train what is missing; the number of failed runs."""
    th.set_num_threads(1)
    finished = {(row["task"], row["algo"], row["label"], row["seed"]) for row in read(args.csv)}
    runs = [
        (task, algo, seed)
        for task in args.task
        for seed in range(args.first_seed, args.first_seed + args.seeds)
        for algo in args.algo
    ]
    lock, failures = Lock(), []

    def work(task: str, algo: str, seed: int) -> None:
        name = f"{task} {algo} {args.label} seed {seed}"
        if (task, algo, args.label, str(seed)) in finished:
            print(f"{name}: already in {args.csv}", flush=True)
            return
        try:
            row = train(task, algo, seed, args)
        except RuntimeError as error:
            failures.append(name)
            print(error, flush=True)
            return
        with lock:
            new = not args.csv.exists()
            with args.csv.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)
        print(f"{name}: {row['measures']} ({row['seconds']} s)", flush=True)

    with ThreadPoolExecutor(args.n_jobs) as pool:
        list(pool.map(lambda arguments: work(*arguments), runs))
    return len(failures)


def report(path: Path) -> None:
    """Print a Markdown table, a line for each run."""
    print("| task | algorithm | seed | steps | measures | seconds |\n|---|---|---|---|---|---|")
    for row in sorted(read(path), key=lambda row: (row["task"], row["algo"], row["label"], int(row["seed"]))):
        measures = ", ".join(f"{name} {value}" for name, value in json.loads(row["measures"]).items())
        name = f"{row['algo']} {row['label']}".strip()
        print(f"| {row['task']} | {name} | {row['seed']} | {row['steps']} | {measures} | {row['seconds']} |")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--algo", nargs="+", default=["sql", "sac"], help="zoo keys")
    parser.add_argument("-n", "--steps", type=int, default=20_000, help="environment steps")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--hyperparams", nargs="*", default=[], help="overwrite the zoo's (e.g. ent_coef:0.5)")
    parser.add_argument("--label", default="", help="name of these hyperparameters in the CSV")
    parser.add_argument("--save", type=Path, help="folder for the trained models")
    parser.add_argument("--n-jobs", type=int, default=os.cpu_count(), help="runs at a time, one thread each")
    parser.add_argument("--csv", type=Path, default=Path(__file__).with_name("multimodal.csv"))
    parser.add_argument("--report", action="store_true", help="print a table of what is in the CSV, train nothing")
    args = parser.parse_args()
    if args.report:
        report(args.csv)
        return 0
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
