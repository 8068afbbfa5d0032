"""
What is a policy worth that knows several ways? The agents of comparisons on TwoWays-v0 are let loose as they are at the end of
their training: with both ways open, and with either of them closed, which none of them has ever met::

    python -m sb3_maxent.compare --algos sac s2ac sacnf mixturesac --envs TwoWays-v0 --seeds 5 -n 20000 -f runs/ways
    python benchmarks/two_ways.py -f runs/ways

From each of 50 starts there are 10 attempts, with sampled actions. An agent that may try again from the same start needs one
of its attempts to succeed: that is the share "within 5 attempts". Agents that are in the CSV already are skipped.
"""

import argparse
from math import comb
from pathlib import Path
from typing import get_args

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from tables import DATA, read, write

from sb3_maxent.envs.two_ways import Way
from sb3_maxent.measures import current_ent_coef
from sb3_maxent.zoo import trained_agents

N_STARTS, N_ATTEMPTS, WITHIN = 50, 10, 5
KEY = ["algo", "label", "seed", "closed"]
COLUMNS = [*KEY, "steps", "ent_coef", "success", "within_5", "up", "down", "both_from_a_start", "length", "deterministic"]


def attempt(model: BaseAlgorithm, env: gym.Env, start: int, deterministic: bool = False) -> tuple[bool, Way | None, int]:
    """
    :param start: seed of the episode's start
    :return: whether the goal is reached, the last way, the number of actions
    """
    observation, _ = env.reset(seed=10_000 + start)
    n_actions, done = 0, False
    while not done:
        action, _ = model.predict(observation, deterministic=deterministic)
        observation, _, terminated, truncated, info = env.step(action)
        n_actions, done = n_actions + 1, terminated or truncated
    return info["is_success"], info["way"], n_actions


def measure(model: BaseAlgorithm, closed: Way | None) -> dict[str, str]:
    """
    Over 50 starts with 10 attempts each: the share that succeeds, that of the starts where one of 5 attempts does (unbiased,
    from the 10), those that succeed on each way, the share of the starts from which both ways were taken to the goal, the mean
    number of actions of those that succeed, and the share of the deterministic policy's attempts that succeed.
    """
    env = gym.make("TwoWays-v0", closed=closed)
    attempts = [[attempt(model, env, start) for _ in range(N_ATTEMPTS)] for start in range(N_STARTS)]
    ways = np.array([[way if success else "" for success, way, _ in of_start] for of_start in attempts])
    successes = (ways != "").sum(axis=1)
    none_of = [comb(N_ATTEMPTS - int(n), WITHIN) / comb(N_ATTEMPTS, WITHIN) for n in successes]
    lengths = [length for of_start in attempts for success, _, length in of_start if success]
    values = {
        "success": successes.mean() / N_ATTEMPTS,
        "within_5": 1 - np.mean(none_of),
        **{way: (ways == way).mean() for way in get_args(Way)},
        "both_from_a_start": np.all([(ways == way).any(axis=1) for way in get_args(Way)], axis=0).mean(),
        "length": np.mean(lengths) if lengths else float("nan"),
        "deterministic": np.mean([attempt(model, env, start, deterministic=True)[0] for start in range(N_STARTS)]),
    }
    return {name: f"{value:.4g}" for name, value in values.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, nargs="+", required=True, help="of comparisons")
    parser.add_argument("--csv", type=Path, default=DATA / "two_ways.csv")
    args = parser.parse_args()
    th.set_num_threads(1)
    there = [{name: row[name] for name in KEY} for row in read(args.csv)]
    for agent in (agent for folder in args.folder for agent in trained_agents(folder) if agent.env == "TwoWays-v0"):
        label = agent.variant.removeprefix(f"{agent.algo}-")
        model = agent.load("cpu")
        for closed in (None, *get_args(Way)):
            key = {"algo": agent.algo, "label": label, "seed": str(agent.seed), "closed": closed or ""}
            if key in there:
                continue
            th.manual_seed(agent.seed)
            common = {"steps": str(model.num_timesteps), "ent_coef": f"{current_ent_coef(model):.4g}"}
            row = {**key, **common, **measure(model, closed)}
            write(args.csv, COLUMNS, [row], append=True)
            print(row, flush=True)


if __name__ == "__main__":
    main()
