"""What the algorithms for discrete actions share: exploration, action masks, and the bound on values."""

import math
import warnings
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.utils import LinearSchedule

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.discrete import CategoricalHeads
from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm
from sb3_maxent.common.repeated_actions import LONGEST, RepeatedActions, draw_duration


class DiscreteAlgorithm(MaxEntAlgorithm):
    """
    The part of an algorithm that is for ``Discrete``, ``MultiDiscrete`` and ``MultiBinary`` actions.

    While it trains, each step begins a uniformly random action, among those that are allowed, with the exploration rate as
    probability. The parameters have DQN's names. A random action can be kept for some steps (temporally extended
    epsilon-greedy, https://arxiv.org/abs/2006.01782): until these are over, the episode ends, or it is no longer allowed. So
    more steps than the rate says are random: a share of ``rate * n / (1 + rate * (n - 1))`` for a mean number of n steps. The
    actions before ``learning_starts`` are kept, too.
    """

    bound_values: bool
    exploration_fraction: float
    exploration_initial_eps: float
    exploration_final_eps: float
    exploration_max_duration: int
    exploration_duration_exponent: float
    exploration_schedule: LinearSchedule
    # The largest return without entropy bonus that the rewards of the batches so far allow, one entry
    highest_return: th.Tensor

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Not made by _setup_model(), which load() calls after it has set what was saved
        self._repeated_actions: RepeatedActions | None = None

    @property
    def action_mask_key(self) -> str | None:
        """Key of a dictionary observation under which the action mask stands."""
        return self.policy.action_mask_key  # type: ignore[return-value]

    @property
    def heads(self) -> CategoricalHeads:
        """The distributions of the policy."""
        return self.critic.heads  # type: ignore[return-value]

    def _check_discrete_algorithm(self) -> None:
        """
        :raises ValueError: for a parameter that is out of its range
        """
        check_choice("bound_values", self.bound_values, (False, True))
        check_number("exploration_fraction", self.exploration_fraction, float(np.finfo(np.float32).tiny), 1)
        check_number("exploration_initial_eps", self.exploration_initial_eps, 0, 1)
        check_number("exploration_final_eps", self.exploration_final_eps, 0, 1)
        if self.exploration_final_eps > self.exploration_initial_eps:
            warnings.warn(
                f"The exploration rate rises, from `exploration_initial_eps={self.exploration_initial_eps}` to "
                f"`exploration_final_eps={self.exploration_final_eps}`. DQN's default for the first is 1, here it is 0.",
                stacklevel=2,
            )
        check_number("exploration_max_duration", self.exploration_max_duration, 1, LONGEST, integer=True)
        check_number("exploration_duration_exponent", self.exploration_duration_exponent, 0)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.highest_return = th.zeros((), device=self.device)
        self.exploration_schedule = LinearSchedule(
            self.exploration_initial_eps, self.exploration_final_eps, self.exploration_fraction
        )

    def _bounded(self, next_values: th.Tensor, step: GradientStep, ent_coef: th.Tensor | float) -> th.Tensor:
        """
        Values that are at most what a reward r, and the largest entropy, give for ever. What no batch has shown no Q has
        learned, so rewards that are still to come need no room.

        :param next_values: (B, 1) soft values of the next states
        :param step: the gradient step
        :param ent_coef: the temperature in them
        :return: (B, 1)
        """
        # Where each step costs something, the best is that the episode ends: it starts from 0
        rest = 1 - th.as_tensor(step.discounts, device=self.device)
        returns = th.where(rest > 0, step.batch.rewards / rest.clamp(min=1e-8), math.inf)
        self.highest_return.copy_(th.maximum(self.highest_return, returns.max()))
        if not self.bound_values or self.gamma == 1:
            return next_values
        return th.minimum(next_values, self.highest_return + ent_coef * self.heads.max_entropy / (1 - self.gamma))

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        """
        See :class:`~sb3_maxent.common.max_ent_algorithm.MaxEntAlgorithm`. What rewards the networks have learned from is not
        known then, so that values have no bound; ``load()`` brings it back.

        :param args: as there
        :param kwargs: as there
        """
        super().set_parameters(*args, **kwargs)
        self.highest_return.fill_(math.inf)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, tensors = super()._get_torch_save_params()
        return state_dicts, [*tensors, "highest_return"]

    def _exploration_rate(self) -> float:
        return self.exploration_schedule(self._current_progress_remaining)

    def _on_step(self) -> None:
        if self.exploration_initial_eps > 0 or self.exploration_final_eps > 0:
            self.logger.record("rollout/exploration_rate", self._exploration_rate())

    def _acts_greedily(self) -> bool:
        """
        :return: whether it acts by the policy's mode while it trains, and not by a sample
        """
        return False

    def _end_last_episodes(self) -> None:
        super()._end_last_episodes()
        self._repeated_actions = None

    def _mask_of(self, index: int) -> np.ndarray | None:
        """
        :param index: of an environment
        :return: (A,) the mask in its last observation, ``None`` without masks
        """
        if self.action_mask_key is None:
            return None
        assert isinstance(self._last_obs, dict)
        return self._last_obs[self.action_mask_key][index]

    def _random_action(self, index: int) -> np.ndarray:
        """
        :param index: of an environment
        :return: an action, uniformly among those that its last observation allows
        """
        mask = self._mask_of(index)
        if mask is None:
            return np.asarray(self.action_space.sample())
        return self.heads.random_action(mask, self.action_space.np_random)

    def _explore(self, actions: np.ndarray, is_random: np.ndarray) -> None:
        """
        Put random actions in the place of others.

        :param actions: (n_envs, ...) of the policy
        :param is_random: (n_envs,) whether an environment begins with a random action, if none is under way
        """
        if self._repeated_actions is None:
            self._repeated_actions = RepeatedActions(len(actions))
        repeated = self._repeated_actions
        for index, action in repeated.under_way().items():
            mask = self._mask_of(index)
            if mask is None or self.heads.allows(mask, action):
                repeated.repeat(index)
                actions[index], is_random[index] = action, False
            else:
                repeated.end(index)
        for index in np.flatnonzero(is_random).tolist():
            actions[index] = self._random_action(index)
            duration = draw_duration(self.exploration_max_duration, self.exploration_duration_exponent)
            repeated.begin(index, actions[index].copy(), duration)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        greedy, rate = self._acts_greedily(), self._exploration_rate()
        is_first_phase = self.num_timesteps < learning_starts
        explores = is_first_phase or rate > 0 or (self._repeated_actions is not None and self._repeated_actions.under_way())
        if isinstance(self.action_space, spaces.Box) or (not explores and not greedy):
            return super()._sample_action(learning_starts, action_noise, n_envs)
        if is_first_phase:
            actions = np.empty((n_envs, *self.action_space.shape), dtype=self.action_space.dtype)  # type: ignore[misc]
            self._explore(actions, np.ones(n_envs, dtype=bool))
            return actions, actions
        assert self._last_obs is not None
        actions, _ = self.predict(self._last_obs, deterministic=greedy)
        self._explore(actions, np.random.rand(n_envs) < rate)
        return actions, actions

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        if self._repeated_actions is not None:
            self._repeated_actions.end(dones)

    def _target_entropy_of(self, step: GradientStep) -> th.Tensor:
        """
        :param step: the gradient step
        :return: one entry, or (B, 1) with action masks: scaled by the entropy of the uniform choice among the allowed actions
        """
        target_entropy = super()._target_entropy_of(step)
        if self.action_mask_key is None:
            return target_entropy
        mask = step.batch.observations[self.action_mask_key]  # type: ignore[index,call-overload]
        return target_entropy / max(self.heads.max_entropy, 1e-8) * self.heads.largest_entropies(mask)
