"""
Training with small numbers, in every process that has this folder on its PYTHONPATH: Python imports a module of this name when
it starts. For the documentation's code blocks (tests/test_docs.py), which would train for hours as they stand.
"""

import functools
from collections.abc import Callable
from typing import Any

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

STEPS, LEARNING_STARTS, BATCH_SIZE, GRADIENT_STEPS = 100, 50, 8, 2


def with_small_numbers(learn: Callable[..., Any]) -> Callable[..., Any]:
    """``learn()`` for a few steps, of which some are gradient steps."""

    @functools.wraps(learn)
    def wrapped(self: Any, total_timesteps: int, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, OffPolicyAlgorithm):
            self.learning_starts = min(self.learning_starts, LEARNING_STARTS)
            self.gradient_steps = min(self.gradient_steps, GRADIENT_STEPS)
        self.batch_size = min(self.batch_size, BATCH_SIZE)
        return learn(self, min(total_timesteps, STEPS), *args, **kwargs)

    return wrapped


OffPolicyAlgorithm.learn = with_small_numbers(OffPolicyAlgorithm.learn)  # type: ignore[method-assign]
OnPolicyAlgorithm.learn = with_small_numbers(OnPolicyAlgorithm.learn)  # type: ignore[method-assign]
