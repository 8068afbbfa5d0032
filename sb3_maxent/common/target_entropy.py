"""The target entropy of a learned temperature: fixed, scheduled or adaptive."""

import math
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule

from sb3_maxent.common.checks import check_number
from sb3_maxent.common.schedules import linear_schedule

EXPECTED = (
    "`target_entropy` must be 'auto', a number of nats, 'lin_X', 'lin_X_Y', 'lin_X_Y_F', 'adaptive', 'adaptive_X', "
    "'adaptive_X_Y' or a function of the progress remaining"
)
# The adaptive target: first and last ratio, factor of a step down (2112.02852); rate of the running mean and variance of the
# policy's entropy; how near the mean has to be to the target, how large the deviation may be (both as shares of the largest
# entropy), and for how many gradient steps in a row
ADAPTIVE_START, ADAPTIVE_END, ADAPTIVE_FACTOR = 0.98, 0.01, 0.9
AVERAGE_RATE, NEAR, STEADY, WAIT = 0.001, 0.01, 0.05, 1000


def components_of(action_space: spaces.Space) -> np.ndarray:
    """
    :param action_space: ``Discrete``, ``MultiDiscrete`` or ``MultiBinary``
    :return: how many actions each component has
    """
    match action_space:
        case spaces.Discrete():
            return np.array([action_space.n])
        case spaces.MultiBinary():
            return np.full(action_space.shape, 2)
        case spaces.MultiDiscrete():
            return action_space.nvec
    raise ValueError(f"`action_space` must be Discrete, MultiDiscrete or MultiBinary, not {action_space}")


def largest_entropy(action_space: spaces.Space) -> float:
    """
    :param action_space: ``Box``, ``Discrete``, ``MultiDiscrete`` or ``MultiBinary``
    :return: the entropy of the uniform policy in nats: log|A|, or that of a ``Box`` scaled to [-1, 1]
    """
    if isinstance(action_space, spaces.Box):
        return get_action_dim(action_space) * math.log(2)
    return float(np.log(components_of(action_space)).sum())


class TargetEntropy:
    """
    The entropy that a learned temperature aims at. It is a number (nats), follows a schedule, or is adaptive: it falls by a
    tenth whenever the policy's entropy has been near it for a while (after https://arxiv.org/abs/2112.02852).

    Numbers and functions are in nats. ``"lin_X_Y"`` and ``"adaptive_X_Y"`` are ratios of the largest entropy log|A|, for
    ``Box`` actions of their dimension (so that -1 is SAC's default).

    :param setting: as the algorithms' parameter ``target_entropy``, but not ``"auto"``
    :param action_space: the action space
    :param state: the state of an adaptive target, which changes in place; empty at the start
    :param device: device of the tensor
    :raises ValueError: for a setting without a meaning, or a target that no policy can reach
    """

    def __init__(
        self, setting: str | float | Schedule, action_space: spaces.Space, state: dict[str, Any], device: th.device | str
    ):
        self.is_box = isinstance(action_space, spaces.Box)
        self.highest = largest_entropy(action_space)
        self.lowest = -math.inf if self.is_box else 0.0
        # What a ratio is a ratio of
        self.unit = float(get_action_dim(action_space)) if self.is_box else self.highest
        self.state = state
        # A graph takes it as an input; a number would be a constant of it
        self.value = th.zeros((), device=device)
        self.take(setting)

    def take(self, setting: str | float | Schedule, progress_remaining: float = 1.0) -> None:
        """
        Go over to another setting; an adaptive target starts anew.

        :param setting: as in the constructor
        :param progress_remaining: share of the training that remains, from 1 to 0
        :raises ValueError: as there; nothing changes then
        """
        schedule: Schedule | None = None
        ratios = None
        if callable(setting):
            schedule = FloatSchedule(setting)
        elif isinstance(setting, str) and setting.startswith("lin"):
            ratio = linear_schedule("target_entropy", setting, *((-math.inf, math.log(2)) if self.is_box else (0, 1)))

            def in_nats(progress_remaining: float) -> float:
                return self.unit * ratio(progress_remaining)

            schedule = in_nats
        elif isinstance(setting, str) and setting.startswith("adaptive"):
            ratios = self._adaptive_ratios(setting)
        else:
            try:
                setting = setting if isinstance(setting, bool) else float(setting)  # a yml file makes a text of 1e-3
            except (TypeError, ValueError):
                raise ValueError(f"{EXPECTED}, not {setting!r}") from None
            check_number("target_entropy", setting, self.lowest, self.highest)
        if schedule is not None:
            self._value_of(schedule, progress_remaining)
        self.setting, self.schedule, self.ratios = setting, schedule, ratios
        if self.state.get("setting") != setting or ratios is None:
            self.state.clear()
        if ratios is not None and not self.state:
            self.state.update(setting=setting, ratio=ratios[0], mean=ratios[0], variance=0.0, n_steps=0)
        self._fill(progress_remaining)

    def _adaptive_ratios(self, setting: str) -> tuple[float, float]:
        if self.is_box:
            raise ValueError(f"`target_entropy` can be adaptive for discrete actions only, not {setting!r} for a Box")
        mode, *numbers = setting.split("_")
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = [math.nan]
        if mode != "adaptive" or len(values) > 2 or not all(0 < value <= 1 for value in values):
            raise ValueError(f"{EXPECTED}, with X and Y in (0, 1], not {setting!r}")
        start = values[0] if values else ADAPTIVE_START
        end = values[1] if len(values) == 2 else min(ADAPTIVE_END, start)
        if end > start:
            raise ValueError(f"`target_entropy='adaptive_X_Y'` must have Y <= X, since it only falls, not {setting!r}")
        return start, end

    def follow(self, setting: str | float | Schedule, progress_remaining: float) -> None:
        """
        Take the value that the target has now.

        :param setting: as the algorithms' parameter ``target_entropy``, which may have been set to something else
        :param progress_remaining: share of the training that remains, from 1 to 0
        :raises ValueError: where a schedule gives a target that no policy can reach
        """
        if setting != self.setting:
            self.take(setting, progress_remaining)
        self._fill(progress_remaining)

    def _value_of(self, schedule: Schedule, progress_remaining: float) -> float:
        value = schedule(progress_remaining)
        name = f"target_entropy` at `progress_remaining={progress_remaining:g}"
        check_number(name, value, self.lowest - 1e-6, self.highest + 1e-6)
        return value

    def _fill(self, progress_remaining: float) -> None:
        if self.ratios is not None:
            value = self.state["ratio"] * self.unit
        elif self.schedule is not None:
            value = self._value_of(self.schedule, progress_remaining)
        else:
            value = float(self.setting)  # type: ignore[arg-type]
        self.value.fill_(value)

    def observe(self, entropies: np.ndarray, targets: np.ndarray) -> None:
        """
        Let an adaptive target see the policy's entropies, and fall where they have been near it for long enough.

        :param entropies: mean entropies of the batches of some gradient steps, in nats
        :param targets: mean targets of these batches, in nats: with action masks those of the states
        """
        if self.ratios is None:
            return
        state = self.state
        # As shares of the largest entropy
        for share in entropies / np.maximum(targets, 1e-8) * state["ratio"]:
            difference = float(share) - state["mean"]
            state["mean"] += AVERAGE_RATE * difference
            state["variance"] = (1 - AVERAGE_RATE) * (state["variance"] + AVERAGE_RATE * difference**2)
            near = abs(state["mean"] - state["ratio"]) <= NEAR and state["variance"] <= STEADY**2
            state["n_steps"] = state["n_steps"] + 1 if near else 0
            if state["n_steps"] >= WAIT:
                state["ratio"], state["n_steps"] = max(ADAPTIVE_FACTOR * state["ratio"], self.ratios[1]), 0
        self.value.fill_(state["ratio"] * self.unit)

    @property
    def changes(self) -> bool:
        """Whether the target changes in the course of the training."""
        return self.schedule is not None or self.ratios is not None
