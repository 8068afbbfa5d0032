"""Policies of S2AC."""

import math
from typing import Any, Literal, get_args

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.compiled_step import act_compiled
from sb3_maxent.common.particles import CriticChoice, ParticleCritic, Precision, n_states_of
from sb3_maxent.common.policies import MaxEntActor, MaxEntPolicy
from sb3_maxent.common.sampling_network import SamplingNetwork
from sb3_maxent.s2ac.sampler import Particles, Path, SteinSampler, Target

# Those of SB3's SAC
LOG_STD_MIN, LOG_STD_MAX = -20, 2
# Where particles from a fixed start may go: nearly all of the action space, tanh(3) = 0.995
REACH = 3.0
BehaviorPolicy = Literal["random", "softmax"]


class S2ACActor(MaxEntActor):
    """
    The learned parts of the policy other than the critics: the Gaussian from which the particles start, and the amortized
    sampler.

    :param observation_space: Observation space
    :param action_space: Action space
    :param net_arch: Network architecture, of either network
    :param features_extractor: Network to extract features
    :param features_dim: Number of features
    :param activation_fn: Activation function
    :param normalize_images: Whether to normalize images or not, dividing by 255.0 (True by default)
    :param start_std: Standard deviation that the Gaussian has at first, ``None`` for no Gaussian
    :param amortized: Whether there is an amortized sampler
    :param n_summarized: For how many fixed noises a network says which one gives the best sample, beside the policy's entropy;
        0 for no such network
    """

    own_parameters = ("start_std", "amortized", "n_summarized")

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        start_std: float | None = 0.5,
        amortized: bool = False,
        n_summarized: int = 0,
    ):
        super().__init__(
            observation_space, action_space, net_arch, features_extractor, features_dim, activation_fn, normalize_images
        )
        self.start_std, self.amortized, self.n_summarized = start_std, amortized, n_summarized
        action_dim = get_action_dim(action_space)
        if start_std is not None:
            self.latent = nn.Sequential(*create_mlp(features_dim, -1, net_arch, activation_fn))
            last = net_arch[-1] if net_arch else features_dim
            self.mean, self.log_std = nn.Linear(last, action_dim), nn.Linear(last, action_dim)
            nn.init.constant_(self.log_std.bias, math.log(start_std))
        if amortized:
            self.sampling_network = SamplingNetwork(
                observation_space, action_space, net_arch, features_extractor, features_dim, activation_fn, normalize_images
            )
        if n_summarized:
            self.summary_network = nn.Sequential(*create_mlp(features_dim, 1 + n_summarized, net_arch, activation_fn))

    def summary(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """
        What a network says about the amortized samples of a state.

        :param features: (B, F) features of the observations
        :return: (B, 1) the policy's entropy in nats, and (B, N) logits: the highest is that of the fixed noise whose sample
            has the highest Q
        """
        return self.summary_network(features).split([1, self.n_summarized], dim=1)

    def start(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """
        :param features: (B, F) features of the observations
        :return: (B, d) mean and (B, d) logarithm of the standard deviation of the Gaussian, over unbounded actions
        """
        latent = self.latent(features)
        return self.mean(latent), self.log_std(latent).clamp(LOG_STD_MIN, LOG_STD_MAX)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        raise NotImplementedError("the particles need the critics: call `model.policy` in place of `model.actor`")


class S2ACPolicy(MaxEntPolicy):
    """
    Policy class for S2AC: critics, whose particles are the actions, and what the particles start from. The parameters from
    ``learned_start`` on are set by :class:`~sb3_maxent.S2AC`, which documents them.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param learned_start: Whether the particles start from a learned Gaussian
    :param start_std: Its standard deviation, of a learned one at first
    :param amortized: Whether a network that is trained to imitate the particles acts in their place
    :param behavior_policy: Which particle acts, ``"random"`` or ``"softmax"``
    :param scores_from: Which of the critics the particles follow, ``"min"``, ``"first"`` or ``"mean"``
    :param summarized: Whether the actor also has a network that knows the entropy of the amortized samples, and the best one
    :param sampler_kwargs: Parameters of the :class:`~sb3_maxent.s2ac.sampler.SteinSampler`
    :param kwargs: The other parameters, see :class:`~sb3_maxent.common.policies.MaxEntPolicy`
    :raises ValueError: for parameters out of their range
    """

    actor: S2ACActor | None
    critic: ParticleCritic
    critic_target: ParticleCritic
    predict_noise: th.Tensor

    own_parameters = (
        "learned_start",
        "start_std",
        "amortized",
        "behavior_policy",
        "scores_from",
        "summarized",
        "sampler_kwargs",
    )
    acts_by_ent_coef = True

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *args: Any,
        learned_start: bool = True,
        start_std: float = 0.5,
        amortized: bool = False,
        behavior_policy: BehaviorPolicy = "random",
        scores_from: CriticChoice = "min",
        summarized: bool = False,
        sampler_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        check_choice("learned_start", learned_start, (False, True))
        check_number("start_std", start_std, 1e-3, 5)
        check_choice("amortized", amortized, (False, True))
        check_choice("behavior_policy", behavior_policy, get_args(BehaviorPolicy))
        self.learned_start, self.start_std, self.amortized = learned_start, start_std, amortized
        check_choice("scores_from", scores_from, get_args(CriticChoice))
        self.scores_from, self.summarized = scores_from, summarized
        self.behavior_policy, self.sampler_kwargs = behavior_policy, sampler_kwargs or {}
        self.sampler = SteinSampler(**self.sampler_kwargs)
        if not learned_start:
            # Without steps a fixed start would be the policy
            check_number("n_svgd_steps", self.sampler.n_svgd_steps, 1, integer=True)
            # The imitation alone would be what a shared extractor learns from
            if amortized and kwargs.get("share_features_extractor", False):
                raise ValueError("`share_features_extractor` must be False, not True, for `learned_start=False`")
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)
        # Evenly spread noise, the same in each call, for deterministic predictions
        sobol = th.quasirandom.SobolEngine(get_action_dim(action_space), scramble=True, seed=0).draw(self.sampler.n_particles)
        noise = self.sampler.start_noise(sobol.double().clamp(1e-6, 1 - 1e-6)).float()
        self.register_buffer("predict_noise", noise.to(self.device), persistent=False)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> S2ACActor | None:
        if not (self.learned_start or self.amortized):
            return None
        actor_kwargs = self._update_features_extractor(self.actor_kwargs, features_extractor)
        start_std = self.start_std if self.learned_start else None
        n_summarized = self.sampler.n_particles if self.summarized else 0
        actor = S2ACActor(**actor_kwargs, start_std=start_std, amortized=self.amortized, n_summarized=n_summarized)
        return actor.to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ParticleCritic:
        critic_kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return ParticleCritic(**critic_kwargs).to(self.device)

    def draw_noise(self, n_states: int) -> th.Tensor:
        """
        :param n_states: B
        :return: (B, N, d) noise for the particles' start
        """
        return self.sampler.start_noise(th.rand(n_states, *self.predict_noise.shape, device=self.device))

    def particles(
        self,
        critic_features: th.Tensor,
        actor_features: th.Tensor | None,
        ent_coef: th.Tensor,
        noise: th.Tensor,
        with_density: bool = True,
    ) -> Particles:
        """
        Particles that follow exp(Q / alpha) of the critics.

        :param critic_features: (B, F) of :meth:`~sb3_maxent.common.particles.ParticleCritic.particle_features`
        :param actor_features: (B, F) features for the learned start, ``None`` for a fixed one
        :param ent_coef: the temperature
        :param noise: (B, N, d) of :meth:`draw_noise`
        :param with_density: whether to compute their log-densities
        :return: the particles
        """
        start = self.start(actor_features)
        return self.sampler.along(self.path(critic_features, start, ent_coef, noise, with_density), *start)

    def start(self, actor_features: th.Tensor | None) -> tuple[th.Tensor, th.Tensor]:
        """
        :param actor_features: (B, F) features for the learned start, ``None`` for a fixed one
        :return: mean and logarithm of the standard deviation of the start, (B, d) or, for a fixed one, (1, d)
        """
        if actor_features is None:
            mean = th.zeros(1, self.predict_noise.shape[1], device=self.device)
            return mean, th.full_like(mean, math.log(self.start_std))
        assert self.actor is not None
        return self.actor.start(actor_features)

    def path(
        self,
        critic_features: th.Tensor,
        start: tuple[th.Tensor, th.Tensor],
        ent_coef: th.Tensor,
        noise: th.Tensor,
        with_density: bool = True,
        precision: Precision = "float32",
    ) -> Path:
        """
        How particles move from a start; see :meth:`particles` for the other parameters.

        :param start: mean and logarithm of the standard deviation, of :meth:`start`
        :param precision: what scores without a graph are computed in
        :return: the path, for :meth:`SteinSampler.along <sb3_maxent.s2ac.sampler.SteinSampler.along>`
        """
        target = Target(
            q_values=lambda actions: self.critic.q_particles(critic_features, actions, self.scores_from),
            q_gradient=lambda actions: self.critic.q_gradient(critic_features, actions, self.scores_from, precision),
            ent_coef=ent_coef,
        )
        return self.sampler.path(*start, noise, target, with_density, 0.0 if self.learned_start else REACH)

    def actor_features(self, observation: PyTorchObs) -> th.Tensor | None:
        """
        :param observation: batch of B observations
        :return: (B, F) features for :meth:`particles`, ``None`` for a fixed start
        """
        if self.actor is None or not self.learned_start:
            return None
        return self.actor.extract_features(observation, self.actor.features_extractor)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        compiles = self.acting_compiles and not self.amortized and not th.is_inference_mode_enabled()
        if compiles and n_states_of(observation) == self.compiled_for:
            return act_compiled(self, observation, deterministic)
        return self.act(observation, deterministic)

    def act(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        """
        One particle for each row: with ``deterministic`` the one with the highest Q where it ends, from the same start in
        each call; otherwise a random one, or one by its Q. With ``amortized`` the network's samples take the particles' place.

        :param observation: batch of B observations
        :param deterministic: whether to take the best particle
        :return: (B, d) actions in [-1, 1]
        """
        n_states = n_states_of(observation)
        noise = self.predict_noise.expand(n_states, -1, -1) if deterministic else None
        by_q = deterministic or self.behavior_policy == "softmax"
        if self.amortized:
            assert self.actor is not None
            network = self.actor.sampling_network
            if deterministic and self.summarized:
                return self._best_known(observation)
            if noise is None:
                noise = self.draw_noise(n_states) if by_q else self.draw_noise(n_states)[:, :1]
            actions = th.tanh(network.unsquashed(observation, noise))
            critic_features = self.critic.particle_features(observation) if by_q else None
        else:
            critic_features = self.critic.particle_features(observation)
            noise = self.draw_noise(n_states) if noise is None else noise
            features = self.actor_features(observation)
            actions = th.tanh(self.particles(critic_features, features, self.ent_coef, noise, with_density=False).u)
        if not by_q:
            return actions[:, 0]  # the particles are exchangeable: the first one is a random one
        assert critic_features is not None
        q_values = self.critic.q_particles(critic_features, actions)  # (B, N)
        if deterministic:
            chosen = q_values.argmax(dim=1)
        else:
            chosen = th.multinomial((q_values / self.ent_coef.clamp(min=1e-6)).softmax(dim=1), 1).squeeze(1)
        return actions[th.arange(n_states, device=actions.device), chosen]

    def _best_known(self, observation: PyTorchObs) -> th.Tensor:
        """The sample of the noise that the summary holds for the best one, (B, d)."""
        assert self.actor is not None
        features = self.actor.extract_features(observation, self.actor.features_extractor)
        best = self.actor.summary(features)[1].argmax(dim=1)
        noise = self.predict_noise[best].unsqueeze(1)
        return th.tanh(self.actor.sampling_network.unsquashed_of_features(features, noise)).squeeze(1)


MlpPolicy = S2ACPolicy


class CnnPolicy(S2ACPolicy):
    """Policy class for S2AC with image observations, see :class:`S2ACPolicy`."""

    default_features_extractor_class = NatureCNN


class MultiInputPolicy(S2ACPolicy):
    """Policy class for S2AC with dictionary observations, see :class:`S2ACPolicy`."""

    default_features_extractor_class = CombinedExtractor
