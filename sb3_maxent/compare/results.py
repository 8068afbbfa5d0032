"""What a comparison's runs left behind, as the report reads it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Result:
    """
    One run: an algorithm on an environment with a seed.

    :param algo: zoo key
    :param env: environment id
    :param seed: the seed
    :param n_timesteps: environment steps that were asked for
    :param status: ``"finished"``; ``"unfinished"`` (interrupted, or still under way), ``"failed"``, ``"missing"`` (not begun)
    :param steps: (E,) environment steps at which the agent was evaluated, increasing; E may be 0
    :param returns: (E, K) undiscounted returns of the K episodes of each evaluation
    :param seconds: wall-clock time of the run, ``None`` where it did not finish
    :param num_timesteps: environment steps that it took in that time (PPO takes whole rollouts, so more than it was asked),
        ``None`` where that is not known
    """

    algo: str
    env: str
    seed: int
    n_timesteps: int
    status: Literal["finished", "unfinished", "failed", "missing"]
    steps: np.ndarray
    returns: np.ndarray
    seconds: float | None = None
    num_timesteps: int | None = None
