"""
How often random actions reach MountainCar-v0's goal, by how long each is kept: 300 episodes of 200 steps each, no learning::

    python benchmarks/random_actions.py --csv benchmarks/data/random_actions.csv
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
from tables import write

from sb3_maxent.common.repeated_actions import draw_duration

COLUMNS = ["max_duration", "exponent", "episodes", "reached", "highest_position"]
SETTINGS = [(1, 2.0), (50, 2.0), (50, 1.5), (50, 1.0), (1000, 2.0)]


def measure(max_duration: int, exponent: float, n_episodes: int = 300) -> dict[str, object]:
    """
    :param max_duration: as the algorithms' ``exploration_max_duration``
    :param exponent: as ``exploration_duration_exponent``
    :param n_episodes: how many
    :return: a row: episodes that reach the goal, and the median over episodes of the highest position (the goal is at 0.5)
    """
    env = gym.make("MountainCar-v0")
    env.action_space.seed(0)
    np.random.seed(0)
    reached, highest = 0, []
    for episode in range(n_episodes):
        position, left, done = env.reset(seed=episode)[0][0], 0, False
        highest.append(position)
        while not done:
            if left == 0:
                action, left = env.action_space.sample(), draw_duration(max_duration, exponent)
            left -= 1
            observation, _, terminated, truncated, _ = env.step(action)
            highest[-1] = max(highest[-1], observation[0])
            reached += terminated
            done = terminated or truncated
    values = (max_duration, exponent, n_episodes, reached, f"{np.median(highest):.2f}")
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, required=True)
    write(parser.parse_args().csv, COLUMNS, [measure(*setting) for setting in SETTINGS])


if __name__ == "__main__":
    main()
