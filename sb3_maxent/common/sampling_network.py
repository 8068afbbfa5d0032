"""A network that turns noise into samples of an energy-based policy."""

from collections.abc import Callable

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_maxent.common.particles import particle_forward
from sb3_maxent.common.policies import MaxEntActor
from sb3_maxent.functional import squashed_gradient, stein_direction
from sb3_maxent.functional.kernels import SteinBandwidthRule


class SamplingNetwork(MaxEntActor):
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

    own_parameters = ("noise_dim",)

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
            observation_space, action_space, net_arch, features_extractor, features_dim, activation_fn, normalize_images
        )
        self.action_dim = get_action_dim(action_space)
        self.noise_dim = self.action_dim if noise_dim is None else noise_dim
        self.net = nn.Sequential(*create_mlp(features_dim + self.noise_dim, self.action_dim, net_arch, activation_fn))
        self.linear_path = nn.Linear(self.noise_dim, self.action_dim, bias=False)
        if self.noise_dim == self.action_dim:
            nn.init.eye_(self.linear_path.weight)
        else:
            nn.init.orthogonal_(self.linear_path.weight)

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

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        """
        :param observation: batch of B observations
        :param deterministic: whether the noise is 0 instead of a sample
        :return: (B, d) actions in [-1, 1]
        """
        features = self.extract_features(observation, self.features_extractor)
        noise = self.draw_noise(features.shape[0], 1)
        return th.tanh(self.unsquashed_of_features(features, noise * (not deterministic))).squeeze(1)

    def stein_loss(
        self,
        features: th.Tensor,
        q_gradient: Callable[[th.Tensor], th.Tensor],
        ent_coef: th.Tensor,
        n_updated: int,
        n_fixed: int,
        kernel_bandwidth: SteinBandwidthRule | float,
    ) -> th.Tensor:
        """
        Half the squared length of alpha times the Stein direction. Its gradient moves each sample of the network that far
        (Equation 14 of 1702.08165); it is 0 where the samples follow exp(Q / alpha).

        :param features: (B, F) features of the observations
        :param q_gradient: takes actions (B, N, d) to the gradients (B, N, d) of Q
        :param ent_coef: the temperature alpha
        :param n_updated: samples of the network for each state that are moved, >= 1
        :param n_fixed: samples where the gradients are taken, >= 1
        :param kernel_bandwidth: see :func:`~sb3_maxent.functional.stein_direction`
        :return: the loss (scalar)
        """
        noise = self.draw_noise(len(features), n_updated + n_fixed)
        updated = self.unsquashed_of_features(features, noise[:, :n_updated])
        with th.no_grad():
            fixed = self.unsquashed_of_features(features, noise[:, n_updated:])
            actions = th.tanh(fixed)
            gradients = squashed_gradient(q_gradient(actions), actions, ent_coef)
            goal = updated + stein_direction(updated, fixed, gradients, ent_coef, kernel_bandwidth)
        return 0.5 * ((updated - goal) ** 2).sum(dim=2).mean()
