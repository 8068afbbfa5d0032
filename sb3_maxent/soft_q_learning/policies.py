"""Policies of SoftQLearning."""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from sb3_maxent.common.checks import check_number
from sb3_maxent.common.discrete import DiscreteCritic
from sb3_maxent.common.particles import ParticleCritic, particle_forward
from sb3_maxent.common.policies import MaxEntPolicy


class SamplingNetwork(BasePolicy):
    """
    Sampler of an energy-based policy, ``a = tanh(A noise + f(s, noise))`` with standard normal noise.

    Deviation from the paper: the linear path A (the identity where noise and action have the same dimension, else
    random orthonormal, and learned). Without it the first samples lie close together between the modes, all of them
    end in the same mode, and the Stein gradient, which sees no other, leaves them there.

    :param observation_space: Observation space
    :param action_space: Action space
    :param net_arch: Network architecture
    :param features_extractor: Network to extract features
    :param features_dim: Number of features
    :param activation_fn: Activation function
    :param normalize_images: Whether to normalize images or not, dividing by 255.0 (True by default)
    :param noise_dim: Dimension of the noise, the action's if ``None``
    """

    features_extractor: BaseFeaturesExtractor

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        noise_dim: int | None = None,
    ):
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
            squash_output=True,
        )
        self.net_arch, self.activation_fn, self.features_dim = net_arch, activation_fn, features_dim
        self.action_dim = get_action_dim(action_space)
        self.noise_dim = self.action_dim if noise_dim is None else noise_dim
        self.net = nn.Sequential(*create_mlp(features_dim + self.noise_dim, self.action_dim, net_arch, activation_fn))
        self.linear_path = nn.Linear(self.noise_dim, self.action_dim, bias=False)
        if self.noise_dim == self.action_dim:
            nn.init.eye_(self.linear_path.weight)
        else:
            nn.init.orthogonal_(self.linear_path.weight)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        names = ("net_arch", "features_extractor", "features_dim", "activation_fn", "noise_dim")
        return {**super()._get_constructor_parameters(), **{name: getattr(self, name) for name in names}}

    def draw_noise(self, n_states: int, n_particles: int) -> th.Tensor:
        """
        :param n_states: B
        :param n_particles: N
        :return: (B, N, noise_dim) standard normal noise
        """
        return th.randn(n_states, n_particles, self.noise_dim, device=self.device)

    def unsquashed(self, obs: PyTorchObs, noise: th.Tensor) -> th.Tensor:
        """
        Samples before tanh.

        :param obs: batch of B observations
        :param noise: (B, N, noise_dim)
        :return: (B, N, d)
        """
        return self.unsquashed_of_features(self.extract_features(obs, self.features_extractor), noise)

    def unsquashed_of_features(self, features: th.Tensor, noise: th.Tensor) -> th.Tensor:
        """
        :param features: (B, F) features of the observations
        :param noise: (B, N, noise_dim)
        :return: (B, N, d) samples before tanh
        """
        return particle_forward(self.net, features, noise) + self.linear_path(noise)

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        return self._predict(obs, deterministic)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        """
        :param observation: batch of B observations
        :param deterministic: whether the noise is 0 instead of a sample
        :return: (B, d) actions in [-1, 1]
        """
        features = self.extract_features(observation, self.features_extractor)
        noise = self.draw_noise(len(features), 1)
        return th.tanh(self.unsquashed_of_features(features, noise * (not deterministic))).squeeze(1)


class SoftQPolicy(MaxEntPolicy):
    """
    Policy class for SoftQLearning: for ``Box`` actions critics and a sampling network, for ``Discrete`` and
    ``MultiDiscrete`` ones critics alone, whose softmax is the policy.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param n_critics: Number of critic networks, of which the minimum counts; 1 is the original algorithm. ``None``: 2 for
        ``Box``, where Q is maximised over actions it was not trained on, and 1 for discrete actions, as in DQN.
    :param noise_dim: ``Box``: dimension of the sampler's noise, in [1, inf), the action's if ``None``. The sampler's density
        is known only where it is the action's.
    :param n_particles: ``Box``: how many samples ``predict(deterministic=True)`` takes the best one of, by Q; in [1, inf).
        Their noise is the same in each call: the quantiles of a Sobol sequence.
    :param kwargs: The other parameters, see :class:`~sb3_maxent.common.policies.MaxEntPolicy`
    :raises ValueError: for parameters out of their range, or without a meaning for the action space
    """

    actor: SamplingNetwork | None
    critic: Any  # ParticleCritic for Box, DiscreteCritic for discrete actions
    critic_target: Any
    ent_coef: th.Tensor
    predict_noise: th.Tensor

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *args: Any,
        n_critics: int | None = None,
        noise_dim: int | None = None,
        n_particles: int = 32,
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
        self.noise_dim, self.n_particles = noise_dim, n_particles
        kwargs["n_critics"] = (2 if self.is_continuous else 1) if n_critics is None else n_critics
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)
        # The softmax needs it; of a sampler, which has learned it, it is a record
        self.register_buffer("ent_coef", th.zeros((), device=self.device))
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

    def soft_minimum(self, q_values: tuple[th.Tensor, ...], ent_coef: th.Tensor) -> th.Tensor:
        """
        Minimum over the critics, for discrete actions.

        :param q_values: (B, A) for each critic
        :param ent_coef: the temperature
        :return: (B, A)
        """
        heads, stacked = self.critic.heads, th.stack(q_values)
        return heads.min_of_critics(stacked, lambda: heads.soft_maximum(stacked, ent_coef))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"noise_dim": self.noise_dim, "n_particles": self.n_particles}
        return {**super()._get_constructor_parameters(), **own}

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        if self.actor is None:
            q_values = self.soft_minimum(self.critic(observation), self.ent_coef)
            return self.critic.heads.actions(self.critic.heads.boltzmann_log_probs(q_values, self.ent_coef), deterministic)
        if not deterministic:
            return self.actor(observation)
        features = self.actor.extract_features(observation, self.actor.features_extractor)
        noise = self.predict_noise.expand(len(features), -1, -1)
        actions = th.tanh(self.actor.unsquashed_of_features(features, noise))  # (B, N, d)
        best = self.critic.q_particles(self.critic.particle_features(observation), actions).argmax(dim=1)
        return actions[th.arange(len(actions), device=actions.device), best]


MlpPolicy = SoftQPolicy


class CnnPolicy(SoftQPolicy):
    """Policy class for SoftQLearning with image observations, see :class:`SoftQPolicy`."""

    default_features_extractor_class = NatureCNN


class MultiInputPolicy(SoftQPolicy):
    """Policy class for SoftQLearning with dictionary observations, see :class:`SoftQPolicy`."""

    default_features_extractor_class = CombinedExtractor
