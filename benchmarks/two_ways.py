"""
What is a policy worth that knows several ways? The agents of comparisons on TwoWays-v0 are let loose as they are at the end of
their training: with both ways open, and with either of them closed, which none of them has ever met::

    python -m sb3_maxent.compare --algos sac s2ac sacnf mixturesac --envs TwoWays-v0 --seeds 5 -n 20000 -f runs/ways
    python benchmarks/two_ways.py -f runs/ways
    python benchmarks/two_ways.py -f runs/ways --figure docs/figures/two_ways.svg

From each of 50 starts there are 10 attempts, with sampled actions. An agent that may try again from the same start needs one
of its attempts to succeed: that is the share "within 5 attempts". Agents that are in the CSV already are skipped. With
``--figure`` the agents of seed 0 are drawn instead.
"""

import argparse
from math import comb
from pathlib import Path
from typing import get_args

import gymnasium as gym
import matplotlib as mpl
import numpy as np
import torch as th
from drawing import STYLE, save
from matplotlib.figure import Figure
from result_tables.returns import ON_TWO_WAYS
from stable_baselines3.common.base_class import BaseAlgorithm
from tables import DATA, keys_in, label_of, write

from sb3_maxent.envs.two_ways import Way
from sb3_maxent.measures import current_ent_coef
from sb3_maxent.reporting.looks import BLUE, VERMILLION, legend_of_panels, rows_and_columns
from sb3_maxent.zoo import TrainedAgent, trained_agents

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


def measure(model: BaseAlgorithm, closed: Way | None, n_starts: int = N_STARTS) -> dict[str, str]:
    """
    Over the starts, with 10 attempts each: the share that succeeds, that of the starts where one of 5 attempts does (unbiased,
    from the 10), those that succeed on each way, the share of the starts from which both ways were taken to the goal, the mean
    number of actions of those that succeed, and the share of the deterministic policy's attempts that succeed.
    """
    env = gym.make("TwoWays-v0", closed=closed)
    attempts = [[attempt(model, env, start) for _ in range(N_ATTEMPTS)] for start in range(n_starts)]
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
        "deterministic": np.mean([attempt(model, env, start, deterministic=True)[0] for start in range(n_starts)]),
    }
    return {name: f"{value:.4g}" for name, value in values.items()}


def draw(agents: list[TrainedAgent], n_starts: int) -> Figure:
    """Episodes of each agent with both ways open, in the colour of their way."""
    env = gym.make("TwoWays-v0")
    n_rows, n_columns = rows_and_columns(len(agents))
    figure = Figure(figsize=(4.2 * n_columns, 3.2 * n_rows + 0.4), layout="constrained")
    for place, agent in enumerate(agents, start=1):
        axes, model = figure.add_subplot(n_rows, n_columns, place), agent.load("cpu")
        env.get_wrapper_attr("_draw_background")(axes)
        th.manual_seed(0)
        ways, lengths = [], []
        for start in range(n_starts):
            _, way, length = attempt(model, env, start)
            trajectory = env.get_wrapper_attr("trajectory")
            path = np.array([*trajectory[::3], trajectory[-1]])
            axes.plot(*path.T, color=BLUE if way == "up" else VERMILLION, linewidth=0.7, alpha=0.6, label=f"goes {way}")
            ways.append(way)
            lengths.append(length)
        axes.set(ylim=(-2.5, 2.5), xlabel="x, m", ylabel="y, m", aspect="equal")
        title = f"{ON_TWO_WAYS[agent.algo]}: {ways.count('up')} up, {ways.count('down')} down, {np.mean(lengths):.1f} actions"
        axes.set_title(title, loc="left", fontsize="medium")
    handles = legend_of_panels(figure)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, nargs="+", required=True, help="of comparisons")
    parser.add_argument("--csv", type=Path, default=DATA / "two_ways.csv")
    parser.add_argument("--starts", type=int, default=N_STARTS)
    parser.add_argument("--figure", type=Path, help="file to write")
    args = parser.parse_args()
    th.set_num_threads(1)
    agents = [agent for folder in args.folder for agent in trained_agents(folder) if agent.env == "TwoWays-v0"]
    if args.figure is not None:
        first = {agent.algo: agent for agent in agents if agent.seed == 0}
        with mpl.rc_context(STYLE):
            figure = draw([first[algo] for algo in ON_TWO_WAYS if algo in first], min(args.starts, 25))
            save(figure, args.figure, "Both ways are taken by all algorithms")
        return
    there = keys_in(args.csv, KEY)
    for agent in agents:
        model = agent.load("cpu")
        for closed in (None, *get_args(Way)):
            key = {"algo": agent.algo, "label": label_of(agent), "seed": str(agent.seed), "closed": closed or ""}
            if key in there:
                continue
            th.manual_seed(agent.seed)
            common = {"steps": str(model.num_timesteps), "ent_coef": f"{current_ent_coef(model):.4g}"}
            row = {**key, **common, **measure(model, closed, args.starts)}
            write(args.csv, COLUMNS, [row], append=True)
            print(row, flush=True)


if __name__ == "__main__":
    main()
