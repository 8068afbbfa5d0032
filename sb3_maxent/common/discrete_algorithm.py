"""What the algorithms for discrete actions share: exploration, action masks, and the bound on values."""

import math
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.utils import LinearSchedule

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.discrete import CategoricalHeads
from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm


class DiscreteAlgorithm(MaxEntAlgorithm):
    """
    The part of an algorithm that is for ``Discrete``, ``MultiDiscrete`` and ``MultiBinary`` actions.

    While it trains, each action is uniformly random, among those that are allowed, with the exploration rate as probability.
    The parameters have DQN's names.
    """

    bound_values: bool
    exploration_fraction: float
    exploration_initial_eps: float
    exploration_final_eps: float
    exploration_schedule: LinearSchedule
    # The largest return without entropy bonus that the rewards of the batches so far allow, one entry
    highest_return: th.Tensor

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

    def _random_actions(self, indices: np.ndarray) -> list[np.ndarray]:
        """
        :param indices: of environments
        :return: for each of them an action, uniformly among those that its last observation allows
        """
        if self.action_mask_key is None:
            return [np.asarray(self.action_space.sample()) for _ in indices]
        assert isinstance(self._last_obs, dict)
        masks = self._last_obs[self.action_mask_key]
        return [self.heads.random_action(masks[index], self.action_space.np_random) for index in indices]

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        greedy, rate = self._acts_greedily(), self._exploration_rate()
        is_first_phase = self.num_timesteps < learning_starts
        if is_first_phase and self.action_mask_key is not None:
            actions = np.stack(self._random_actions(np.arange(n_envs)))
            return actions, actions
        if is_first_phase or (not greedy and rate == 0):
            return super()._sample_action(learning_starts, action_noise, n_envs)
        assert self._last_obs is not None
        actions, _ = self.predict(self._last_obs, deterministic=greedy)
        indices = np.flatnonzero(np.random.rand(n_envs) < rate)
        for index, action in zip(indices, self._random_actions(indices), strict=True):
            actions[index] = action
        return actions, actions

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
