"""Random actions that are kept for some steps: the temporally extended epsilon-greedy exploration of 2006.01782."""

import functools

import numpy as np

# Of 2006.01782
LONGEST = 10_000


def draw_duration(longest: int, exponent: float) -> int:
    """
    :param longest: largest number of steps, at most ``LONGEST``
    :param exponent: mu >= 0 of the zeta distribution
    :return: n in 1, ..., longest with a probability proportional to ``n ** -mu`` (2006.01782)
    """
    if longest == 1:
        return 1
    return int(np.searchsorted(_cumulated(longest, exponent), np.random.rand(), side="right")) + 1


@functools.lru_cache(maxsize=8)
def _cumulated(longest: int, exponent: float) -> np.ndarray:
    """Probabilities of at most 1, ..., longest steps."""
    weights = np.arange(1.0, longest + 1) ** -exponent
    cumulated = np.cumsum(weights / weights.sum())
    cumulated[-1] = 1  # where rounding leaves less, a number drawn above it would find no place
    return cumulated


class RepeatedActions:
    """
    The random actions under way, one for each environment.

    :param n_envs: number of environments
    """

    def __init__(self, n_envs: int):
        self.n_steps_left = np.zeros(n_envs, dtype=int)
        self._actions: dict[int, np.ndarray] = {}

    def begin(self, index: int, action: np.ndarray, n_steps: int) -> None:
        """
        :param index: of the environment
        :param action: the action, which this step takes
        :param n_steps: how many steps take it, this one included
        """
        self._actions[index] = action
        self.n_steps_left[index] = n_steps - 1

    def under_way(self) -> dict[int, np.ndarray]:
        """
        :return: by environment the actions that this step is to repeat
        """
        return {index: self._actions[index] for index in np.flatnonzero(self.n_steps_left).tolist()}

    def repeat(self, index: int) -> None:
        """
        :param index: of an environment whose action this step takes once more
        """
        self.n_steps_left[index] -= 1

    def end(self, indices: np.ndarray | int) -> None:
        """
        :param indices: of environments whose episode has ended, or whose action is no longer allowed; or which of all have
        """
        self.n_steps_left[indices] = 0
