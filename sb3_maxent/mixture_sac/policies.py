"""Policies of MixtureSAC."""

import math
from typing import Any, Literal, NamedTuple, get_args

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import nn
from torch.nn import functional as F

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.exact_density import ExactDensityActor
from sb3_maxent.common.particles import ParticleCritic
from sb3_maxent.common.policies import MaxEntPolicy
from sb3_maxent.functional import gaussian_log_probs, log_det_tanh, unsquash

DeterministicAction = Literal["heaviest", "best"]


class Mixture(NamedTuple):
    """
    The policy in each of B states, before tanh: K Gaussians with diagonal covariance.

    :param log_weights: (B, K) logarithms of the weights
    :param means: (B, K, d)
    :param log_stds: (B, K, d) logarithms of the standard deviations
    """

    log_weights: th.Tensor
    means: th.Tensor
    log_stds: th.Tensor

    def log_prob(self, u: th.Tensor) -> th.Tensor:
        """
        Log-density of the actions tanh(u), ``log sum_k w_k N(u; mean_k, std_k) - log det tanh``.

        :param u: (B, N, d) unbounded actions
        :return: (B, N) in nats
        """
        joint = gaussian_log_probs(u, self.means, self.log_stds) + self.log_weights.unsqueeze(1)
        return joint.logsumexp(dim=2) - log_det_tanh(u)


class Components(NamedTuple):
    """
    The policy in each of B states, for people.

    :param weights: (B, K) that add up to 1
    :param means: (B, K, d) of the Gaussians before tanh: ``means.tanh()`` are actions in [-1, 1]
    :param stds: (B, K, d) standard deviations of the Gaussians before tanh
    """

    weights: th.Tensor
    means: th.Tensor
    stds: th.Tensor


def chosen(of_components: th.Tensor, component: th.Tensor) -> th.Tensor:
    """
    :param of_components: (B, K, d)
    :param component: (B, 1) index of a component for each state
    :return: (B, d) what belongs to that component
    """
    index = component.unsqueeze(2).expand(-1, 1, of_components.shape[2])
    return of_components.gather(1, index).squeeze(1)


class MixtureActor(ExactDensityActor):
    """
    SAC's actor with K Gaussians and their weights: ``a = tanh(u)``, u from ``sum_k w_k(s) N(mean_k(s), std_k(s))``.

    :param observation_space: Observation space
    :param action_space: Action space
    :param net_arch: Network architecture
    :param features_extractor: Network to extract features
    :param features_dim: Number of features
    :param activation_fn: Activation function
    :param normalize_images: Whether to normalize images or not, dividing by 255.0 (True by default)
    :param n_components: Number of Gaussians, K
    :param mean_spread: How far the components' actions are spread over the action space at first, in [0, 0.99]
    :param start_std: Standard deviation of several Gaussians at first, before tanh, in [0.0001, 0.99 ``max_std``]
    :param max_std: Largest standard deviation of several Gaussians, before tanh, in [0.001, 7]
    """

    own_parameters = ("n_components", "mean_spread", "start_std", "max_std")

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        n_components: int = 4,
        mean_spread: float = 0.7,
        start_std: float = 0.2,
        max_std: float = 0.5,
    ):
        super().__init__(
            observation_space,
            action_space,
            net_arch,
            features_extractor,
            features_dim,
            activation_fn,
            normalize_images,
            n_gaussians=n_components,
        )
        self.n_components, self.mean_spread, self.start_std, self.max_std = n_components, mean_spread, start_std, max_std
        if n_components == 1:  # SAC's actor: no weights, and nothing that could be spread
            return
        self.logits = nn.Linear(self.latent_dim, n_components)
        nn.init.zeros_(self.logits.bias)
        # What the bound turns into start_std
        nn.init.constant_(self.log_std.bias, math.log(max_std) - math.log(max_std / start_std - 1))
        # Spread over the action space, the same for all seeds: components that start alike would learn the same
        starts = 2 * th.quasirandom.SobolEngine(self.action_dim, scramble=True, seed=1).draw(n_components) - 1
        with th.no_grad():
            self.mu.bias.copy_(unsquash(mean_spread * starts).flatten())

    def mixture(self, obs: PyTorchObs) -> Mixture:
        """
        The policy in each state, for training; :meth:`components` is for people.

        :param obs: batch of B observations
        :return: the mixture, with gradient
        """
        latent, means, log_stds = self._gaussians(obs)
        shape = (-1, self.n_components, self.action_dim)
        if self.n_components == 1:
            log_weights = th.zeros_like(means[:, :1])
            log_stds = log_stds.clamp(max=LOG_STD_MAX)
        else:
            log_weights = self.logits(latent).log_softmax(dim=1)
            # A soft bound, which a deviation can leave again. Without one, components that are broad while Q is still flat
            # come to rest between modes, each on two of them, where the gradient keeps them.
            log_stds = math.log(self.max_std) - F.softplus(math.log(self.max_std) - log_stds)
        return Mixture(log_weights, means.view(shape), log_stds.clamp(min=LOG_STD_MIN).view(shape))

    @th.no_grad()
    def components(self, obs: PyTorchObs) -> Components:
        """
        Weights, means and standard deviations of the policy's Gaussians, for plots and planners.

        :param obs: batch of B observations
        :return: (B, K) weights, and (B, K, d) means and standard deviations before tanh
        """
        log_weights, means, log_stds = self.mixture(obs)
        return Components(log_weights.exp(), means, log_stds.exp())

    def component_actions(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """
        Draw an action of each component in each state, with gradient, also to the weights.

        :param obs: batch of B observations
        :return: (B, K, d) actions in [-1, 1], their log-densities (B, K) under the whole mixture in nats, and the components'
            weights (B, K)
        """
        mixture = self.mixture(obs)
        u = mixture.means + mixture.log_stds.exp() * th.randn_like(mixture.means)
        return th.tanh(u), mixture.log_prob(u), mixture.log_weights.exp()

    def _draw(self, mixture: Mixture) -> th.Tensor:
        """An unbounded action (B, d) of a component that is drawn by weight; no gradient goes to the weights."""
        means, log_stds = mixture.means, mixture.log_stds
        if self.n_components == 1:
            mean, log_std = means[:, 0], log_stds[:, 0]
        else:
            drawn = th.multinomial(mixture.log_weights.exp(), 1)
            mean, log_std = chosen(means, drawn), chosen(log_stds, drawn)
        return mean + log_std.exp() * th.randn_like(mean)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        """
        :param observation: batch of B observations
        :param deterministic: whether to take the mean of the heaviest component instead of a sample
        :return: (B, d) actions in [-1, 1]
        """
        mixture = self.mixture(observation)
        if not deterministic:
            return th.tanh(self._draw(mixture))
        return th.tanh(chosen(mixture.means, mixture.log_weights.argmax(dim=1, keepdim=True)))

    def action_log_prob(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor]:
        """
        Draw an action in each state. The action's gradient goes to the component that it was drawn from, and not to the
        weights, which only the log-density depends on. Training uses :meth:`component_actions`.

        :param obs: batch of B observations
        :return: (B, d) actions in [-1, 1], and their log-densities (B,) in nats, exact
        """
        mixture = self.mixture(obs)
        u = self._draw(mixture)
        return th.tanh(u), mixture.log_prob(u.unsqueeze(1)).squeeze(1)

    def log_prob(self, obs: PyTorchObs, actions: th.Tensor) -> th.Tensor:
        """
        Log-density of given actions.

        :param obs: batch of B observations
        :param actions: (B, d) actions in [-1, 1]
        :return: (B,) in nats
        """
        return self.mixture(obs).log_prob(unsquash(actions).unsqueeze(1)).squeeze(1)


class MixtureSACPolicy(MaxEntPolicy):
    """
    Policy class for MixtureSAC: an actor whose policy is a mixture of Gaussians, and critics that judge an action of each
    component at once. The parameters from ``n_components`` on are set by :class:`~sb3_maxent.MixtureSAC`, which documents
    them.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param n_components: Number of Gaussians
    :param mean_spread: How far the components' actions are spread over the action space at first, in [0, 0.99]
    :param start_std: Standard deviation of several Gaussians at first, before tanh, in [0.0001, 0.99 ``max_std``]
    :param max_std: Largest standard deviation of several Gaussians, before tanh, in [0.001, 7]
    :param deterministic_action: Which component's mean is the deterministic action, ``"heaviest"`` or ``"best"``
    :param kwargs: The other parameters, see :class:`~sb3_maxent.common.policies.MaxEntPolicy`
    :raises ValueError: for parameters out of their range
    """

    actor: MixtureActor
    critic: ParticleCritic
    critic_target: ParticleCritic

    own_parameters = ("n_components", "mean_spread", "start_std", "max_std", "deterministic_action")

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *args: Any,
        n_components: int = 4,
        mean_spread: float = 0.7,
        start_std: float = 0.2,
        max_std: float = 0.5,
        deterministic_action: DeterministicAction = "heaviest",
        **kwargs: Any,
    ):
        check_number("n_components", n_components, 1, 1000, integer=True)
        check_number("mean_spread", mean_spread, 0, 0.99)
        check_number("max_std", max_std, 1e-3, 7)
        check_number("start_std", start_std, 1e-4, 0.99 * max_std)
        check_choice("deterministic_action", deterministic_action, get_args(DeterministicAction))
        self.n_components, self.mean_spread, self.start_std, self.max_std = n_components, mean_spread, start_std, max_std
        self.deterministic_action = deterministic_action
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> MixtureActor:
        actor_kwargs = self._update_features_extractor(self.actor_kwargs, features_extractor)
        own = {name: getattr(self, name) for name in MixtureActor.own_parameters}
        return MixtureActor(**actor_kwargs, **own).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ParticleCritic:
        critic_kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return ParticleCritic(**critic_kwargs).to(self.device)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        if not deterministic or self.deterministic_action == "heaviest" or self.n_components == 1:
            return self.actor(observation, deterministic)
        actions = th.tanh(self.actor.mixture(observation).means)
        q_values = self.critic.q_particles(self.critic.particle_features(observation), actions)  # (B, K)
        return chosen(actions, q_values.argmax(dim=1, keepdim=True))


MlpPolicy = MixtureSACPolicy


class CnnPolicy(MixtureSACPolicy):
    """Policy class for MixtureSAC with image observations, see :class:`MixtureSACPolicy`."""

    default_features_extractor_class = NatureCNN


class MultiInputPolicy(MixtureSACPolicy):
    """Policy class for MixtureSAC with dictionary observations, see :class:`MixtureSACPolicy`."""

    default_features_extractor_class = CombinedExtractor
