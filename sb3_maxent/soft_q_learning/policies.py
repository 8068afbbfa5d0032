"""Policies of SoftQLearning."""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule

from sb3_maxent.common.checks import check_number
from sb3_maxent.common.discrete import DiscreteCritic, check_action_mask_key
from sb3_maxent.common.particles import ParticleCritic
from sb3_maxent.common.policies import MaxEntPolicy
from sb3_maxent.common.sampling_network import SamplingNetwork


class SoftQPolicy(MaxEntPolicy):
    """
    Policy class for SoftQLearning: for ``Box`` actions critics and a sampling network, for ``Discrete``,
    ``MultiDiscrete`` and ``MultiBinary`` ones critics alone, whose softmax is the policy.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param n_critics: Number of critic networks, of which the minimum counts; 1 is the original algorithm. ``None``: 2 for
        ``Box``, where Q is maximised over actions it was not trained on, and 1 for discrete actions, as in DQN.
    :param noise_dim: ``Box``: dimension of the sampler's noise, in [1, inf), the action's if ``None``. The sampler's density
        is known only where it is the action's.
    :param n_particles: ``Box``: how many samples ``predict(deterministic=True)`` takes the best one of, by Q; in [1, inf).
        Their noise is the same in each call: the quantiles of a Sobol sequence.
    :param action_mask_key: discrete actions: key of a dictionary observation under which the action mask stands, see
        :class:`~sb3_maxent.discrete_sac.policies.DiscreteSACPolicy`
    :param kwargs: The other parameters, see :class:`~sb3_maxent.common.policies.MaxEntPolicy`
    :raises ValueError: for parameters out of their range, or without a meaning for the action space
    """

    actor: SamplingNetwork | None
    critic: Any  # ParticleCritic for Box, DiscreteCritic for discrete actions
    critic_target: Any
    predict_noise: th.Tensor

    own_parameters = ("noise_dim", "n_particles", "action_mask_key")
    acts_by_ent_coef = True  # the softmax needs it; of a sampler, which has learned it, it is a record

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *args: Any,
        n_critics: int | None = None,
        noise_dim: int | None = None,
        n_particles: int = 32,
        action_mask_key: str | None = None,
        **kwargs: Any,
    ):
        self.is_continuous = isinstance(action_space, spaces.Box)
        if noise_dim is not None:
            if not self.is_continuous:
                raise ValueError(
                    f"`noise_dim` must be None for {action_space}, whose policy has no sampler, not {noise_dim!r}"
                )
            check_number("noise_dim", noise_dim, 1, integer=True)
        check_number("n_particles", n_particles, 1, integer=True)
        if not self.is_continuous:
            check_action_mask_key(action_mask_key, observation_space, action_space)
        elif action_mask_key is not None:
            raise ValueError(f"`action_mask_key` must be None for {action_space}, not {action_mask_key!r}")
        self.noise_dim, self.n_particles, self.action_mask_key = noise_dim, n_particles, action_mask_key
        kwargs["n_critics"] = (2 if self.is_continuous else 1) if n_critics is None else n_critics
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)
        if self.actor is not None:
            sobol = th.quasirandom.SobolEngine(self.actor.noise_dim, scramble=True, seed=0).draw(n_particles)
            noise = th.special.ndtri(sobol.double().clamp(1e-6, 1 - 1e-6)).float()
            self.register_buffer("predict_noise", noise.to(self.device), persistent=False)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SamplingNetwork | None:
        if not self.is_continuous:
            return None
        actor_kwargs = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return SamplingNetwork(**actor_kwargs, noise_dim=self.noise_dim).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ParticleCritic | DiscreteCritic:
        critic_kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return (ParticleCritic if self.is_continuous else DiscreteCritic)(**critic_kwargs).to(self.device)

    def soft_minimum(
        self, q_values: tuple[th.Tensor, ...], ent_coef: th.Tensor, observations: PyTorchObs | None = None
    ) -> th.Tensor:
        """
        Minimum over the critics, for discrete actions; very low where an action is not allowed.

        :param q_values: (B, A) for each critic
        :param ent_coef: the temperature
        :param observations: batch of B observations, needed where they hold an action mask
        :return: (B, A)
        """
        heads = self.critic.heads
        if self.action_mask_key is not None:
            mask = observations[self.action_mask_key]  # type: ignore[index]
            q_values = tuple(heads.masked(each, mask) for each in q_values)
        stacked = th.stack(q_values)
        return heads.min_of_critics(stacked, lambda: heads.soft_maximum(stacked, ent_coef))

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        if self.actor is None:
            q_values = self.soft_minimum(self.critic(observation), self.ent_coef, observation)
            return self.critic.heads.actions(self.critic.heads.boltzmann_log_probs(q_values, self.ent_coef), deterministic)
        if not deterministic:
            return self.actor(observation)
        features = self.actor.extract_features(observation, self.actor.features_extractor)
        noise = self.predict_noise.expand(features.shape[0], -1, -1)
        actions = th.tanh(self.actor.unsquashed_of_features(features, noise))  # (B, N, d)
        best = self.critic.q_particles(self.critic.particle_features(observation), actions).argmax(dim=1)
        return actions[th.arange(actions.shape[0], device=actions.device), best]


MlpPolicy = SoftQPolicy


class CnnPolicy(SoftQPolicy):
    """Policy class for SoftQLearning with image observations, see :class:`SoftQPolicy`."""

    default_features_extractor_class = NatureCNN


class MultiInputPolicy(SoftQPolicy):
    """Policy class for SoftQLearning with dictionary observations, see :class:`SoftQPolicy`."""

    default_features_extractor_class = CombinedExtractor
