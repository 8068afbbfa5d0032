"""Policies of SACNF."""

from typing import Any, get_args

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import nn

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.exact_density import ExactDensityActor
from sb3_maxent.common.observations import BoxCritic
from sb3_maxent.common.policies import MaxEntPolicy
from sb3_maxent.functional import log_det_tanh, truncated_normal_log_prob, unsquash
from sb3_maxent.sacnf.families import FlowFamily

FLOW_PARAMETERS = ("flow", "n_flows", "conditional_flow", "n_bins")


class FlowActor(ExactDensityActor):
    """
    SAC's actor, whose Gaussian goes through a flow before tanh: ``a = tanh(f(mean(s) + std(s) * noise))``.

    :param observation_space: Observation space
    :param action_space: Action space
    :param net_arch: Network architecture
    :param features_extractor: Network to extract features
    :param features_dim: Number of features
    :param activation_fn: Activation function
    :param normalize_images: Whether to normalize images or not, dividing by 255.0 (True by default)
    :param flow: Family of the transforms, ``"spline"``, ``"radial"`` or ``"planar"``
    :param n_flows: How many transforms follow one another
    :param conditional_flow: Whether the transforms depend on the observation
    :param n_bins: Bins of each spline
    :raises ImportError: without Zuko
    """

    own_parameters = FLOW_PARAMETERS

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        flow: FlowFamily = "spline",
        n_flows: int = 3,
        conditional_flow: bool = True,
        n_bins: int = 8,
    ):
        super().__init__(
            observation_space, action_space, net_arch, features_extractor, features_dim, activation_fn, normalize_images
        )
        self.flow, self.n_flows, self.conditional_flow, self.n_bins = flow, n_flows, conditional_flow, n_bins
        try:
            from sb3_maxent.sacnf.flows import make_flows
        except ImportError as error:
            raise ImportError(f'SACNF needs Zuko: pip install "sb3_maxent[flows]" ({error})') from error
        context_dim = self.latent_dim if conditional_flow else 0
        self.flows = make_flows(flow, n_flows, self.action_dim, context_dim, n_bins, activation_fn)

    def _base(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor, list[Any]]:
        """Mean and log-deviation (B, d) of the Gaussian before the flow, and the transforms that follow it."""
        latent, mean, log_std = self._gaussians(obs)
        context = latent if self.conditional_flow else None
        return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX), [flow(context) for flow in self.flows]

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        """
        :param observation: batch of B observations
        :param deterministic: whether the Gaussian's mean goes through the flow instead of a sample (as in the authors'
            code). That is the distribution's median for one action dimension; it need not be near a mode.
        :return: (B, d) actions in [-1, 1]
        """
        mean, log_std, flows = self._base(observation)
        u = mean if deterministic else mean + log_std.exp() * th.randn_like(mean)
        for flow in flows:
            u = flow(u)
        return th.tanh(u)

    def action_log_prob(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor]:
        """
        Draw an action in each state, with gradient.

        :param obs: batch of B observations
        :return: (B, d) actions in [-1, 1], and their log-densities (B,) in nats, exact
        """
        mean, log_std, flows = self._base(obs)
        noise = th.randn_like(mean)
        u = mean + log_std.exp() * noise
        log_prob = (truncated_normal_log_prob(noise) - log_std).sum(dim=1)
        for flow in flows:
            u, log_det = flow.call_and_ladj(u)
            log_prob = log_prob - log_det
        return th.tanh(u), log_prob - log_det_tanh(u)

    def log_prob(self, obs: PyTorchObs, actions: th.Tensor) -> th.Tensor:
        """
        Log-density of given actions, by the flow's inverse.

        :param obs: batch of B observations
        :param actions: (B, d) actions in [-1, 1]
        :return: (B,) in nats
        """
        mean, log_std, flows = self._base(obs)
        u = unsquash(actions)
        log_prob = -log_det_tanh(u)
        for flow in reversed(flows):
            before = flow.inv(u)
            log_prob = log_prob - flow.log_abs_det_jacobian(before, u)
            u = before
        return log_prob + (truncated_normal_log_prob((u - mean) * (-log_std).exp()) - log_std).sum(dim=1)


class SACNFPolicy(MaxEntPolicy):
    """
    Policy class for SACNF. The parameters from ``flow`` on are set by :class:`~sb3_maxent.SACNF`, which documents them.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param flow: Family of the transforms, ``"spline"``, ``"radial"`` or ``"planar"``
    :param n_flows: How many transforms follow one another
    :param conditional_flow: Whether the transforms depend on the observation
    :param n_bins: Bins of each spline
    :param kwargs: The other parameters, see :class:`~sb3_maxent.common.policies.MaxEntPolicy`
    :raises ValueError: for parameters out of their range
    :raises ImportError: without Zuko
    """

    actor: FlowActor
    critic: BoxCritic
    critic_target: BoxCritic

    own_parameters = FLOW_PARAMETERS

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *args: Any,
        flow: FlowFamily = "spline",
        n_flows: int = 3,
        conditional_flow: bool = True,
        n_bins: int = 8,
        **kwargs: Any,
    ):
        check_choice("flow", flow, get_args(FlowFamily))
        check_number("n_flows", n_flows, 0, 100, integer=True)
        check_choice("conditional_flow", conditional_flow, (False, True))
        check_number("n_bins", n_bins, 2, 100, integer=True)
        self.flow, self.n_flows, self.conditional_flow, self.n_bins = flow, n_flows, conditional_flow, n_bins
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> FlowActor:
        actor_kwargs = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return FlowActor(**actor_kwargs, **self._own_values()).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> BoxCritic:
        critic_kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return BoxCritic(**critic_kwargs).to(self.device)


MlpPolicy = SACNFPolicy


class CnnPolicy(SACNFPolicy):
    """Policy class for SACNF with image observations, see :class:`SACNFPolicy`."""

    default_features_extractor_class = NatureCNN


class MultiInputPolicy(SACNFPolicy):
    """Policy class for SACNF with dictionary observations, see :class:`SACNFPolicy`."""

    default_features_extractor_class = CombinedExtractor
