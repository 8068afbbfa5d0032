"""Soft Q-learning for continuous and discrete actions."""

import inspect
import math
from typing import Any, ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, PyTorchObs, Schedule
from stable_baselines3.common.utils import LinearSchedule

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm
from sb3_maxent.common.particles import n_states_of
from sb3_maxent.functional import (
    categorical_entropy,
    importance_soft_value,
    log_abs_det_jacobian,
    log_det_tanh,
)
from sb3_maxent.functional.kernels import BANDWIDTH_RULES
from sb3_maxent.soft_q_learning.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, SoftQPolicy

# What target_entropy="auto" is for discrete actions, as a share of log|A| (the experiment in docs/modules/discretesac.md)
TARGET_ENTROPY_RATIO = 0.5
# A Jacobian costs as many backward passes as there are action dimensions: where the entropy is only logged, few states do
N_STATES_FOR_THE_LOG = 32
# Parameters that mean nothing for the other kind of action
ONLY_BOX = (
    "action_noise",
    "n_value_particles",
    "value_proposal",
    "n_kernel_particles",
    "kernel_update_ratio",
    "kernel_bandwidth",
)
ONLY_DISCRETE = (
    "munchausen_coef",
    "munchausen_clip",
    "behavior_policy",
    "exploration_fraction",
    "exploration_initial_eps",
    "exploration_final_eps",
)


class SoftQLearning(MaxEntAlgorithm):
    """
    Soft Q-learning: the policy is exp(Q / alpha), normalized, and Q the solution of the soft Bellman equation.

    ``Box`` actions: V(s) by importance sampling, and a network that turns noise into samples of the policy, trained by
    Stein variational gradients. ``Discrete`` and ``MultiDiscrete`` actions (for which Q is a sum over components, see
    :class:`~sb3_maxent.common.discrete.DiscreteCritic`): V(s) is a sum, and the policy a softmax.
    Papers: https://arxiv.org/abs/1702.08165 (the algorithm; code: https://github.com/haarnoja/softqlearning),
    https://arxiv.org/abs/2007.14430 (the Munchausen term)

    :param policy: The policy model to use (MlpPolicy, CnnPolicy, ...)
    :param env: The environment to learn from (if registered in Gym, can be str)
    :param learning_rate: learning rate for adam optimizer, the same for networks and temperature;
        it can be a function of the current progress remaining (from 1 to 0)
    :param buffer_size: size of the replay buffer
    :param learning_starts: how many steps of the model to collect transitions for before learning starts
    :param batch_size: Minibatch size for each gradient update
    :param tau: the soft update coefficient ("Polyak update", between 0 and 1); 1 together with a
        ``target_update_interval`` gives the hard updates of the paper (every 1000 gradient steps there)
    :param gamma: the discount factor
    :param train_freq: Update the model every ``train_freq`` steps. Alternatively pass a tuple of frequency and unit
        like ``(5, "step")`` or ``(2, "episode")``.
    :param gradient_steps: How many gradient steps to do after each rollout (see ``train_freq``),
        ``-1``: as many as steps done in the environment
    :param action_noise: noise that is added to ``Box`` actions
    :param replay_buffer_class: Replay buffer class to use (for instance ``HerReplayBuffer``).
        If ``None``, it will be automatically selected.
    :param replay_buffer_kwargs: Keyword arguments to pass to the replay buffer on creation.
    :param optimize_memory_usage: Enable a memory efficient variant of the replay buffer
    :param n_steps: length of the n-step returns
    :param ent_coef: the temperature: a number, 0 for the limit without entropy; a function of the current progress
        remaining (from 1 to 0), or ``"lin_X"`` for one that falls linearly from X to 0, ``"lin_X_Y"`` from X to Y;
        ``"auto"`` to learn it, ``"auto_0.1"`` to start from 0.1 (``Box``: only with a ``noise_dim`` of the policy that is
        the action's, where the sampler's density is known)
    :param target_update_interval: update the target networks every so many gradient steps
    :param target_entropy: target entropy in nats when learning the temperature; ``"auto"``: -dim(A) for ``Box`` (of
        actions scaled to [-1, 1]), half of log|A| for discrete actions
    :param ent_coef_bounds: lowest and highest value of a learned temperature, ``None`` for no bounds
    :param n_value_particles: ``Box``: actions for each state to compute V(s) from, in [1, inf), for a mixture in [2, inf)
    :param value_proposal: ``Box``: where they come from: ``"uniform"`` (as in the authors' code; poor for many action
        dimensions), ``"sampler"`` (the sampling network, weighted by its density, which is right if it is one-to-one and
        reaches all that matters), or ``"mixture"``, half of them from each. The last two need a ``noise_dim`` that is
        the action's.
    :param n_kernel_particles: ``Box``: samples of the network for each state in the Stein gradient, in [2, inf)
    :param kernel_update_ratio: ``Box``: share of them that is updated, in (0, 1); the gradients of Q are taken at the others
    :param kernel_bandwidth: ``Box``: squared bandwidth h of the kernel ``exp(-|u - u'|^2 / (2 h))`` between actions before
        tanh: ``"median"`` or ``"mean"`` of the squared distances / (2 log(M + 1)), state by state, or a number > 0
    :param munchausen_coef: discrete actions: weight of the clipped alpha log pi(a|s) that is added to the reward, in [0, 1);
        2007.14430 has 0.9 with alpha = 0.03, for rewards in [-1, 1]
    :param munchausen_clip: lowest value of alpha log pi(a|s), <= 0; -1 in 2007.14430
    :param behavior_policy: discrete actions: how to act while training: ``"boltzmann"``, a sample of the policy, or
        ``"greedy"``, its mode (with the exploration below: epsilon-greedy, as DQN)
    :param exploration_fraction: discrete actions: fraction of the training over which the exploration rate is reduced
    :param exploration_initial_eps: discrete actions: initial probability of a uniformly random action, 0 for none
    :param exploration_final_eps: discrete actions: final probability of a uniformly random action
    :param compile: whether a gradient step is compiled by ``torch.compile``: several times as fast after some seconds of
        compiling, for the same results up to rounding; see docs/guide/speed.md
    :param matmul: which library multiplies matrices on a CPU: ``"torch"``, the default one; ``"onednn"``, at bfloat16's
        precision on processors that have it in hardware; ``"fastest"``, by measurement the faster one of the two, where it has
        float32's precision. ``None``: ``"fastest"`` with ``compile``, else ``"torch"``.
    :param stats_window_size: Window size for the rollout logging
    :param tensorboard_log: the log location for tensorboard (if None, no logging)
    :param policy_kwargs: additional arguments to be passed to the policy on creation,
        see :class:`~sb3_maxent.soft_q_learning.policies.SoftQPolicy`
    :param verbose: Verbosity level: 0 for no output, 1 for info messages, 2 for debug messages
    :param seed: Seed for the pseudo random generators
    :param device: Device (cpu, cuda, ...) on which the code should be run
    :param _init_setup_model: Whether or not to build the network at the creation of the instance
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: SoftQPolicy
    critic: Any  # ParticleCritic for Box, DiscreteCritic for discrete actions, ComposedCritic for either
    critic_target: Any

    def __init__(
        self,
        policy: str | type[SoftQPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        buffer_size: int = 1_000_000,  # 1e6
        learning_starts: int = 100,
        batch_size: int = 256,
        tau: float = 0.005,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        action_noise: ActionNoise | None = None,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        ent_coef: str | float | Schedule = 0.2,
        target_update_interval: int = 1,
        target_entropy: str | float = "auto",
        ent_coef_bounds: tuple[float, float] | None = None,
        n_value_particles: int = 16,
        value_proposal: str = "uniform",
        n_kernel_particles: int = 16,
        kernel_update_ratio: float = 0.5,
        kernel_bandwidth: str | float = "median",
        munchausen_coef: float = 0.0,
        munchausen_clip: float = -1.0,
        behavior_policy: str = "boltzmann",
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 0.0,
        exploration_final_eps: float = 0.0,
        compile: bool = False,
        matmul: str | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ):
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            batch_size=batch_size,
            tau=tau,
            gamma=gamma,
            train_freq=train_freq,
            gradient_steps=gradient_steps,
            action_noise=action_noise,
            replay_buffer_class=replay_buffer_class,
            replay_buffer_kwargs=replay_buffer_kwargs,
            optimize_memory_usage=optimize_memory_usage,
            n_steps=n_steps,
            ent_coef=ent_coef,
            target_update_interval=target_update_interval,
            target_entropy=target_entropy,
            ent_coef_bounds=ent_coef_bounds,
            compile=compile,
            matmul=matmul,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            supported_action_spaces=(spaces.Box, spaces.Discrete, spaces.MultiDiscrete),
        )
        self.n_value_particles = n_value_particles
        self.value_proposal = value_proposal
        self.n_kernel_particles = n_kernel_particles
        self.kernel_update_ratio = kernel_update_ratio
        self.kernel_bandwidth = kernel_bandwidth
        self.munchausen_coef = munchausen_coef
        self.munchausen_clip = munchausen_clip
        self.behavior_policy = behavior_policy
        self.exploration_fraction = exploration_fraction
        self.exploration_initial_eps = exploration_initial_eps
        self.exploration_final_eps = exploration_final_eps

        if _init_setup_model:
            self._setup_model()

    # ------------------------------------------------------------------ setting up

    def _check_parameters(self) -> None:
        super()._check_parameters()
        smallest = float(np.finfo(np.float32).tiny)
        check_choice("value_proposal", self.value_proposal, ("uniform", "sampler", "mixture"))
        # A mixture has particles of both kinds
        check_number("n_value_particles", self.n_value_particles, 2 if self.value_proposal == "mixture" else 1, integer=True)
        check_number("n_kernel_particles", self.n_kernel_particles, 2, integer=True)
        check_number("kernel_update_ratio", self.kernel_update_ratio, smallest, 1 - 1e-6)
        if isinstance(self.kernel_bandwidth, str):
            check_choice("kernel_bandwidth", self.kernel_bandwidth, BANDWIDTH_RULES)
        else:
            check_number("kernel_bandwidth", self.kernel_bandwidth, smallest)
        check_number("munchausen_coef", self.munchausen_coef, 0, 1 - 1e-6)
        check_number("munchausen_clip", self.munchausen_clip, maximum=0)
        check_choice("behavior_policy", self.behavior_policy, ("boltzmann", "greedy"))
        check_number("exploration_fraction", self.exploration_fraction, smallest, 1)
        check_number("exploration_initial_eps", self.exploration_initial_eps, 0, 1)
        check_number("exploration_final_eps", self.exploration_final_eps, 0, 1)

    def _check_meaning(self) -> None:
        """
        :raises ValueError: for the first parameter that means nothing for this action space or policy
        """
        is_box = isinstance(self.action_space, spaces.Box)
        defaults = inspect.signature(SoftQLearning.__init__).parameters
        for name in ONLY_DISCRETE if is_box else ONLY_BOX:
            default = defaults[name].default
            if getattr(self, name) != default:
                raise ValueError(f"`{name}` must be {default!r} for {self.action_space}, not {getattr(self, name)!r}")
        if self._has_density or not is_box:
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

    def _setup_model(self) -> None:
        super()._setup_model()
        self._check_meaning()
        if self.policy.actor is None:
            check_number("target_entropy", self.target_entropy, 0, self.critic.heads.max_entropy)
        self.exploration_schedule = LinearSchedule(
            self.exploration_initial_eps, self.exploration_final_eps, self.exploration_fraction
        )

    def _default_target_entropy(self) -> float:
        if self.policy.actor is None:
            return TARGET_ENTROPY_RATIO * self.critic.heads.max_entropy
        return -float(self.policy.actor.action_dim)

    # ------------------------------------------------------------------ discrete and continuous actions

    def _td_target(self, step: GradientStep) -> th.Tensor:
        observations = step.batch.next_observations
        if self.policy.actor is None:
            q_values = self.policy.soft_minimum(self.critic_target(observations), step.ent_coef)
            next_values = self.critic_target.heads.soft_maximum(q_values, step.ent_coef)
            return step.soft_td_target(next_values, self._rewards(step))
        actions, log_proposal = self._propose(observations)
        q_values = self.critic_target.q_particles(self.critic_target.particle_features(observations), actions)
        return step.soft_td_target(importance_soft_value(q_values, log_proposal, step.ent_coef))  # Equation 10

    def _critic_loss(self, step: GradientStep, target: th.Tensor) -> th.Tensor:
        if self.policy.actor is not None:
            return super()._critic_loss(step, target)
        all_q_values = self.critic(step.batch.observations)
        step.memory["q_values"] = [q_values.detach() for q_values in all_q_values]
        return step.regression_loss([self.critic.heads.select(q, step.batch.actions) for q in all_q_values], target)

    def _actor_loss(self, step: GradientStep) -> tuple[th.Tensor | None, th.Tensor | None]:
        if self.policy.actor is not None:
            return self._stein_loss(step.batch.observations, step.ent_coef)
        # Q of before this step's update of the critic, which saves a forward pass
        q_values = self.policy.soft_minimum(step.memory["q_values"], step.ent_coef)
        return None, categorical_entropy(self.critic.heads.boltzmann_log_probs(q_values, step.ent_coef))

    # ------------------------------------------------------------------ continuous actions

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

    # ------------------------------------------------------------------ discrete actions

    def _rewards(self, step: GradientStep) -> th.Tensor:
        """
        :param step: the gradient step
        :return: (B, 1) rewards with the Munchausen term
        """
        batch = step.batch
        if self.munchausen_coef == 0:
            return batch.rewards
        heads = self.critic_target.heads
        q_values = self.policy.soft_minimum(self.critic_target(batch.observations), step.ent_coef)
        # alpha log pi(a|s) = Q(s, a) - V(s)
        bonus = heads.select(q_values, batch.actions) - heads.soft_maximum(q_values, step.ent_coef)
        return batch.rewards + self.munchausen_coef * bonus.clamp(self.munchausen_clip, 0)

    def _exploration_rate(self) -> float:
        return self.exploration_schedule(self._current_progress_remaining)

    def _on_step(self) -> None:
        if self.exploration_initial_eps > 0 or self.exploration_final_eps > 0:
            self.logger.record("rollout/exploration_rate", self._exploration_rate())

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        exploration_rate = self._exploration_rate()
        if self.num_timesteps < learning_starts or (self.behavior_policy == "boltzmann" and exploration_rate == 0):
            return super()._sample_action(learning_starts, action_noise, n_envs)
        assert self._last_obs is not None
        actions, _ = self.predict(self._last_obs, deterministic=self.behavior_policy == "greedy")
        for index in np.flatnonzero(np.random.rand(n_envs) < exploration_rate):
            actions[index] = self.action_space.sample()
        return actions, actions
