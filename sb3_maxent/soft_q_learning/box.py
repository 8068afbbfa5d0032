"""Soft Q-learning with continuous actions: V(s) by importance sampling, and a network that samples the policy."""

import math
from typing import Any, Literal, get_args

import numpy as np
import torch as th
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm
from sb3_maxent.common.particles import n_states_of
from sb3_maxent.functional import importance_soft_value, log_abs_det_jacobian, log_det_tanh
from sb3_maxent.functional.kernels import SteinBandwidthRule
from sb3_maxent.soft_q_learning.policies import SoftQPolicy

ValueProposal = Literal["uniform", "sampler", "mixture"]
# A Jacobian costs as many backward passes as there are action dimensions: where the entropy is only logged, few states do
N_STATES_FOR_THE_LOG = 32
# Parameters that mean nothing for discrete actions
ONLY_BOX = (
    "action_noise",
    "n_value_particles",
    "value_proposal",
    "n_kernel_particles",
    "kernel_update_ratio",
    "kernel_bandwidth",
)


class SoftQBox(MaxEntAlgorithm):
    """The part of ``SoftQLearning`` that is for ``Box`` actions."""

    policy: SoftQPolicy
    critic: Any  # ParticleCritic, or ComposedCritic
    critic_target: Any
    n_value_particles: int
    value_proposal: ValueProposal
    n_kernel_particles: int
    kernel_update_ratio: float
    kernel_bandwidth: SteinBandwidthRule | float

    def _check_box_parameters(self) -> None:
        smallest = float(np.finfo(np.float32).tiny)
        check_choice("value_proposal", self.value_proposal, get_args(ValueProposal))
        # A mixture has particles of both kinds
        check_number("n_value_particles", self.n_value_particles, 2 if self.value_proposal == "mixture" else 1, integer=True)
        check_number("n_kernel_particles", self.n_kernel_particles, 2, integer=True)
        check_number("kernel_update_ratio", self.kernel_update_ratio, smallest, 1 - 1e-6)
        if isinstance(self.kernel_bandwidth, str):
            check_choice("kernel_bandwidth", self.kernel_bandwidth, get_args(SteinBandwidthRule))
        else:
            check_number("kernel_bandwidth", self.kernel_bandwidth, smallest)

    def _check_density(self) -> None:
        """
        :raises ValueError: for the first parameter that needs a density which the sampler does not have
        """
        if self._has_density:
            return
        advice = "which the sampler has for a `noise_dim` equal to the action's dimension only"
        if self.value_proposal != "uniform":
            raise ValueError(
                f"`value_proposal={self.value_proposal!r}` needs a known density, {advice}, not for {self._noise}"
            )
        if self.temperature.is_learned:
            raise ValueError(
                f"`ent_coef={self.ent_coef!r}` needs a policy whose entropy is known, {advice}, not for {self._noise}"
            )

    @property
    def _has_density(self) -> bool:
        """Whether the sampler's density is known."""
        return self.policy.actor is not None and self.policy.actor.noise_dim == self.policy.actor.action_dim

    @property
    def _noise(self) -> str:
        assert self.policy.actor is not None
        return f"noise_dim={self.policy.actor.noise_dim} and {self.policy.actor.action_dim} action dimensions"

    def _box_target(self, step: GradientStep) -> th.Tensor:
        """
        :param step: the gradient step
        :return: (B, 1) the TD target, with V(s') by importance sampling (Equation 10)
        """
        observations = step.batch.next_observations
        actions, log_proposal = self._propose(observations)
        q_values = self.critic_target.q_particles(self.critic_target.particle_features(observations), actions)
        return step.soft_td_target(importance_soft_value(q_values, log_proposal, step.ent_coef))

    def _propose(self, observations: PyTorchObs) -> tuple[th.Tensor, th.Tensor]:
        """
        Actions to compute V(s) from.

        :param observations: batch of B observations
        :return: (B, N, d) actions and (B, N) their log-densities
        """
        assert self.policy.actor is not None
        dim, n_particles = self.policy.actor.action_dim, self.n_value_particles
        n_sampled = {"uniform": 0, "sampler": n_particles, "mixture": n_particles // 2}[self.value_proposal]
        actions = 2 * th.rand(n_states_of(observations), n_particles - n_sampled, dim, device=self.device) - 1
        log_density = th.full(actions.shape[:2], -dim * math.log(2), device=self.device)
        if n_sampled == 0:
            return actions, log_density
        # Each half is weighted by its own density, so that both are unbiased estimates of exp(V / alpha)
        features = self.policy.actor.extract_features(observations, self.policy.actor.features_extractor)
        u, sampled_density = self._sample_with_density(features, n_sampled)
        return th.cat([actions, th.tanh(u)], dim=1), th.cat([log_density, sampled_density], dim=1)

    def _sample_with_density(self, features: th.Tensor, n_samples: int) -> tuple[th.Tensor, th.Tensor]:
        """
        Samples of the network with the log-densities of their actions, by the Jacobian of noise -> action.

        :param features: (B, F) the actor's features of the observations
        :param n_samples: N
        :return: (B, N, d) samples before tanh, and (B, N), without gradient
        """
        actor = self.policy.actor
        assert actor is not None
        noise = actor.draw_noise(len(features), n_samples)
        log_density = -0.5 * (noise**2 + math.log(2 * math.pi)).sum(dim=2)
        with th.enable_grad():
            noise.requires_grad_()
            u = actor.unsquashed_of_features(features.detach(), noise)
            log_density = log_density - log_abs_det_jacobian(u, noise)
        u = u.detach()
        return u, log_density - log_det_tanh(u)

    def _stein_loss(self, observations: PyTorchObs, ent_coef: th.Tensor) -> tuple[th.Tensor, th.Tensor | None]:
        """
        Loss of the sampling network, and its entropy.

        :param observations: batch of B observations
        :param ent_coef: the temperature
        :return: the loss (scalar), and (B, 1) entropies where the sampler's density is known
        """
        actor = self.policy.actor
        assert actor is not None
        features = actor.extract_features(observations, actor.features_extractor)
        n_updated = min(max(round(self.n_kernel_particles * self.kernel_update_ratio), 1), self.n_kernel_particles - 1)
        loss = actor.stein_loss(
            features,
            lambda actions: self.critic.q_gradient(self.critic.particle_features(observations), actions),
            ent_coef,
            n_updated=n_updated,
            n_fixed=self.n_kernel_particles - n_updated,
            kernel_bandwidth=self.kernel_bandwidth,
        )
        if not self._has_density:
            return loss, None
        n_states = len(features) if self.temperature.is_learned else N_STATES_FOR_THE_LOG
        _, log_density = self._sample_with_density(features[:n_states], 1)
        return loss, -log_density
