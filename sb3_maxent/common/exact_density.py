"""What the actors share whose policy has an exact density: SAC's networks, and the two ways to ask for the density."""

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_maxent.common.policies import MaxEntActor


class ExactDensityActor(MaxEntActor):
    """
    Base class of the actors with an exact density: SAC's networks make the means and deviations of one or more Gaussians
    before tanh. A subclass says what becomes of them.

    :param observation_space: Observation space
    :param action_space: Action space
    :param net_arch: Network architecture
    :param features_extractor: Network to extract features
    :param features_dim: Number of features
    :param activation_fn: Activation function
    :param normalize_images: Whether to normalize images or not, dividing by 255.0 (True by default)
    :param n_gaussians: Number of Gaussians, K
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        n_gaussians: int = 1,
    ):
        super().__init__(
            observation_space, action_space, net_arch, features_extractor, features_dim, activation_fn, normalize_images
        )
        # The names and the order are those of SB3's SAC, so that equal seeds give equal weights
        self.latent_dim, self.action_dim = net_arch[-1] if net_arch else features_dim, get_action_dim(action_space)
        self.latent_pi = nn.Sequential(*create_mlp(features_dim, -1, net_arch, activation_fn))
        self.mu = nn.Linear(self.latent_dim, n_gaussians * self.action_dim)
        self.log_std = nn.Linear(self.latent_dim, n_gaussians * self.action_dim)

    def _gaussians(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Latent features (B, L), and means and log-deviations (B, K * d), not bounded yet, of the Gaussians before tanh."""
        latent = self.latent_pi(self.extract_features(obs, self.features_extractor))
        log_std = self.log_std(latent)  # first, which decides in what order gradients are added
        return latent, self.mu(latent), log_std

    def action_log_prob(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor]:
        """
        Draw an action in each state.

        :param obs: batch of B observations
        :return: (B, d) actions in [-1, 1], and their log-densities (B,) in nats, exact
        """
        raise NotImplementedError()

    def log_prob(self, obs: PyTorchObs, actions: th.Tensor) -> th.Tensor:
        """
        Log-density of given actions.

        :param obs: batch of B observations
        :param actions: (B, d) actions in [-1, 1]
        :return: (B,) in nats
        """
        raise NotImplementedError()
