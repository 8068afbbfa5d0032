"""
Policies with several modes, against exact solutions: MixtureBandit-v0 (KL divergence to the optimal policy, share of
each mode), MultiGoal-v0 and MultiGoalMaxEnt-v0 (share of episodes that reach each goal), with the RL Zoo's training.

Each run is one process, ``python -m sb3_maxent.zoo train``, with the hyperparameters of hyperparams/ALGO.yml.
Its last policy is sampled (20000 actions, 200 episodes). Finished runs are appended to the CSV as they come, and skipped
when the same command is given again::

    python benchmarks/multimodal.py --task bandit-3 bandit-4 multigoal multigoal-maxent --algo s2ac sql sac --seeds 5
    python benchmarks/multimodal.py --report

With ``--save FOLDER`` the models are kept, and benchmarks/multigoal_probe.py can look at them.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch as th
from learning import VERSIONS, add_arguments, run_missing, zoo_train
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from tables import read

from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.reference import histogram_kl
from sb3_maxent.zoo import ALGORITHMS

N_ACTIONS, N_EPISODES = 20_000, 200
THREE = {"means": [[0.6, 0.0], [-0.4, 0.5], [-0.4, -0.5]], "weights": [0.5, 0.3, 0.2]}
# name: environment, its arguments
TASKS: dict[str, tuple[str, dict]] = {
    "bandit-3": ("MixtureBandit-v0", THREE),
    "bandit-4": ("MixtureBandit-v0", {}),
    "multigoal": ("MultiGoal-v0", {}),
    "multigoal-maxent": ("MultiGoalMaxEnt-v0", {}),
}
COLUMNS = ["task", "algo", "label", "seed", "steps", "measures", "seconds", "hyperparams", "versions"]


def measure_bandit(model: BaseAlgorithm, env_kwargs: dict) -> dict:
    """KL divergence of the policy's actions to the optimum, and the share of each mode beside its weight."""
    env = MixtureBanditEnv(**env_kwargs)
    observations = np.zeros((N_ACTIONS, 1), dtype=np.float32)
    actions, _ = model.predict(observations, deterministic=False)
    weights = env.mode_probabilities()
    shares = np.bincount(env.mode_of(actions), minlength=len(weights)) / N_ACTIONS
    factors = np.maximum(shares, 1e-9) / weights
    return {
        "kl": round(histogram_kl(actions, env.log_prob), 4),
        "shares": shares.round(4).tolist(),
        "worst_factor": round(float(np.maximum(factors, 1 / factors).max()), 3),
    }


def measure_goals(model: BaseAlgorithm, env_id: str, env_kwargs: dict) -> dict:
    """
    Shares of the episodes that reach each goal, their lengths and returns; actions are sampled. With obstacles, also the
    share of the episodes that touch one, and of these the share that reaches a goal.
    """
    env = make_vec_env(f"sb3_maxent:{env_id}", n_envs=20, seed=10_000, env_kwargs=env_kwargs)
    episodes: list[dict] = []
    blocked = np.zeros(env.num_envs, dtype=bool)

    def record(step: dict, _: dict) -> None:
        index, done = step["i"], step["done"]
        # An obstacle (or a corner of the square) keeps the point
        blocked[index] |= not done and (step["new_observations"][index] == step["observations"][index]).all()
        if done:
            episodes.append({**step["info"], "blocked": blocked[index]})
            blocked[index] = False

    # The same number from each environment: short episodes would be counted more often otherwise
    evaluate_policy(model, env, N_EPISODES, deterministic=False, callback=record)
    goals = [info["goal"] for info in episodes]
    n_goals = len(env.get_attr("goals")[0])
    shares = [goals.count(f"goal {index}") / len(goals) for index in range(n_goals)]
    lengths, returns = ([info["episode"][key] for info in episodes] for key in ("l", "r"))
    measures = {
        "success": round(sum(shares), 4),
        "shares": shares,
        "length": round(float(np.mean(lengths)), 2),
        "return": round(float(np.mean(returns)), 3),
    }
    if "obstacles" in env_kwargs:
        escaped = [info["is_success"] for info in episodes if info["blocked"]]
        measures |= {"blocked": len(escaped) / len(episodes), "escaped": float(np.mean(escaped)) if escaped else None}
    return measures


def train(task: str, algo: str, seed: int, args: argparse.Namespace) -> list[dict[str, str]]:
    """
    One run.

    :return: its row
    :raises RuntimeError: with the process's output, if it fails
    """
    env, env_kwargs = TASKS[task]
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        extra = ["--eval-freq", "-1"]
        if env_kwargs:
            extra += ["--env-kwargs", *(f"{key}:{value}".replace(" ", "") for key, value in env_kwargs.items())]
        path = zoo_train(env, algo, seed, args, folder, *extra)
        model = (SAC if algo == "sac" else ALGORITHMS[algo].algorithm).load(path, device="cpu")
        if args.save is not None:
            args.save.mkdir(parents=True, exist_ok=True)
            shutil.move(path, args.save / f"{'_'.join(filter(None, [task, algo, args.label, str(seed)]))}.zip")
    seconds = time.time() - start
    th.manual_seed(seed)
    measures = measure_bandit(model, env_kwargs) if env == "MixtureBandit-v0" else measure_goals(model, env, env_kwargs)
    return [
        {
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
    ]


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
    parser.add_argument("--save", type=Path, help="folder for the trained models")
    add_arguments(parser, ["s2ac", "sql", "sac"], steps=20_000, seeds=5, csv_name="multimodal.csv")
    args = parser.parse_args()
    th.set_num_threads(1)
    if args.report:
        report(args.csv)
        return 0
    return run_missing(args, args.task, COLUMNS, train, lambda rows: rows[0]["measures"])


if __name__ == "__main__":
    sys.exit(main())
