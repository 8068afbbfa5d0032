"""What the algorithms for discrete actions share: exploration, action masks, and the target entropy of masked states."""

import numpy as np
import torch as th
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.utils import LinearSchedule

from sb3_maxent.common.checks import check_number
from sb3_maxent.common.discrete import CategoricalHeads
from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm


class DiscreteAlgorithm(MaxEntAlgorithm):
    """
    The part of an algorithm that is for ``Discrete``, ``MultiDiscrete`` and ``MultiBinary`` actions.

    While it trains, each action is uniformly random, among those that are allowed, with the exploration rate as probability.
    The parameters have DQN's names.
    """

    exploration_fraction: float
    exploration_initial_eps: float
    exploration_final_eps: float
    exploration_schedule: LinearSchedule

    @property
    def action_mask_key(self) -> str | None:
        """Key of a dictionary observation under which the action mask stands."""
        return self.policy.action_mask_key  # type: ignore[return-value]

    @property
    def heads(self) -> CategoricalHeads:
        """The distributions of the policy."""
        return self.critic.heads  # type: ignore[return-value]

    def _check_exploration(self) -> None:
        """
        :raises ValueError: for a parameter of the exploration that is out of its range
        """
        check_number("exploration_fraction", self.exploration_fraction, float(np.finfo(np.float32).tiny), 1)
        check_number("exploration_initial_eps", self.exploration_initial_eps, 0, 1)
        check_number("exploration_final_eps", self.exploration_final_eps, 0, 1)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.exploration_schedule = LinearSchedule(
            self.exploration_initial_eps, self.exploration_final_eps, self.exploration_fraction
        )

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
