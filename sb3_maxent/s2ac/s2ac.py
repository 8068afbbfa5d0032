"""Stein soft actor-critic."""

import warnings
from typing import Any, ClassVar, get_args

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import GymEnv, PyTorchObs, Schedule
from torch.nn import functional as F

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.gradient_step import GradientStep, StepResult
from sb3_maxent.common.matmul import Matmul
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm
from sb3_maxent.common.observations import choose_observations, first_observations
from sb3_maxent.common.particles import CriticChoice, ParticleCritic, Precision, differentiable_q
from sb3_maxent.functional.kernels import BandwidthRule
from sb3_maxent.s2ac.policies import BehaviorPolicy, CnnPolicy, MlpPolicy, MultiInputPolicy, S2ACActor, S2ACPolicy
from sb3_maxent.s2ac.sampler import EntropyEstimator, OutOfBounds, Particles

# Parameters of the algorithm that the policy needs for acting, and those of its sampler
POLICY_PARAMETERS = ("learned_start", "start_std", "amortized", "behavior_policy", "scores_from")
MIN_NEIGHBOURS = 0.01
SAMPLER_PARAMETERS = (
    "n_particles",
    "n_svgd_steps",
    "svgd_step_size",
    "max_step_ratio",
    "kernel_bandwidth",
    "precondition",
    "truncation",
    "out_of_bounds",
    "entropy_estimator",
    "second_order",
)


class S2AC(MaxEntAlgorithm):
    """
    Stein soft actor-critic (S2AC): the policy is a sampler. Particles start from a Gaussian and follow exp(Q / alpha) by
    Stein variational gradient descent (SVGD); their density, and with it the policy's entropy, is known. So the
    policy may have any number of modes, and what is maximised is the MaxEnt objective itself.
    Paper: https://arxiv.org/abs/2405.00987. Where this differs from the authors' code: docs/modules/s2ac.md.

    :param policy: The policy model to use (MlpPolicy, CnnPolicy, ...)
    :param env: The environment to learn from (if registered in Gym, can be str)
    :param learning_rate: learning rate for adam optimizer, the same for networks and temperature;
        it can be a function of the current progress remaining (from 1 to 0)
    :param buffer_size: size of the replay buffer
    :param learning_starts: how many steps of the model to collect transitions for before learning starts
    :param batch_size: Minibatch size for each gradient update
    :param tau: the soft update coefficient ("Polyak update", between 0 and 1)
    :param gamma: the discount factor
    :param train_freq: Update the model every ``train_freq`` steps. Alternatively pass a tuple of frequency and unit
        like ``(5, "step")`` or ``(2, "episode")``.
    :param gradient_steps: How many gradient steps to do after each rollout (see ``train_freq``),
        ``-1``: as many as steps done in the environment
    :param action_noise: noise that is added to the actions
    :param replay_buffer_class: Replay buffer class to use (for instance ``HerReplayBuffer``).
        If ``None``, it will be automatically selected.
    :param replay_buffer_kwargs: Keyword arguments to pass to the replay buffer on creation.
    :param optimize_memory_usage: Enable a memory efficient variant of the replay buffer
    :param n_steps: length of the n-step returns
    :param ent_coef: the temperature: a number (the authors have 0.2); a function of the current progress remaining (from 1 to
        0), or ``"lin_X"`` for one that falls linearly from X to 0, ``"lin_X_Y"`` from X to Y, ``"lin_X_Y_F"`` in the first
        share F of the training; ``"auto"`` to learn it from the estimated entropy, ``"auto_0.1"`` to start from 0.1. Below
        1e-6 the particles follow exp(Q / 1e-6).
    :param target_update_interval: update the target networks every so many gradient steps
    :param target_entropy: target entropy when learning the temperature (of actions scaled to [-1, 1], at most dim(A) log 2,
        the uniform policy's): a number of nats, or a function of the current progress remaining (from 1 to 0) that gives
        one; ``"auto"``: -dim(A); ``"lin_X_Y"``: linearly from X to Y times dim(A), so that -1 is the default
    :param ent_coef_bounds: lowest and highest value of a learned temperature, ``None`` for no bounds
    :param ent_coef_learning_rate: learning rate of a learned temperature: a number, a function of the current progress
        remaining (from 1 to 0), ``"lin_X"``, ``"lin_X_Y"`` or ``"lin_X_Y_F"``; ``None`` for ``learning_rate``
    :param n_particles: particles for each state, in [2, inf); the cost of a gradient step is proportional. 10 in the paper.
        Each has its density from its neighbours: few of them mean a poor entropy. More of them want more steps.
    :param n_svgd_steps: SVGD steps from start to action, in [0, inf), the cost is nearly proportional. 3 in the paper for
        MuJoCo. More lead nearer to exp(Q / alpha) and make the entropy less certain; 0 leaves the Gaussian of SAC, truncated.
    :param svgd_step_size: eps in [1e-6, 1000], the largest size of a step. The authors have 0.1 without ``precondition``.
    :param max_step_ratio: bound on ``eps |grad phi|`` in (0, 1): where the kernel's part of the Jacobian is larger, eps is
        made smaller for that state. ``None`` for none, as in the paper; the density means nothing where the ratio reaches
        1. (The Hessian of Q is not in it: with a sharp smooth Q and a narrow kernel steps may fold all the same.)
    :param kernel_bandwidth: squared bandwidth h of the kernel ``exp(-|x - x'|^2 / (2 h))`` between particles: ``"median"`` or
        ``"mean"`` of the squared distances / (2 log(N + 1)), state by state, or a number in [1e-4, 1e4]
    :param precondition: whether the particles move in the units of their start, ``x = (u - mean) / std``, which makes eps and
        a bandwidth that is a number independent of the scale of Q and of actions. Deviation from the paper, where
        particles move in u (before tanh).
    :param learned_start: whether the particles start from a Gaussian that a network gives for each state and that learns
        from the actor's loss: S2AC(phi, theta). Otherwise the start is N(0, start_std^2) everywhere, and there is
        neither an actor network nor an actor's loss: S2AC(phi).
    :param likelihood_ratio: whether the learned start's gradient has, beside the one through the particles, the
        likelihood-ratio term of their start: only this one sees how often each mode is reached. Deviation from the paper.
    :param start_std: standard deviation of the start before tanh, of a learned one at first; in [0.001, 5]. The authors
        have 0.5 for the fixed one.
    :param truncation: where the start is truncated, in standard deviations, in [0.1, 8] (3 in the paper), ``None``: nowhere
    :param out_of_bounds: what happens to a particle that a step would take out of these bounds: ``"hold"`` leaves it where it
        is, its density unchanged (the paper drops such particles), ``"clip"`` puts it onto the bound (which is not one-to-one,
        so that the entropy is too high), ``"free"`` lets it go, as the authors' code does. From a fixed start particles may
        go as far as 3 before tanh in any case.
    :param entropy_estimator: how a step changes the density: ``"secant"``, by differences of the scores between particles,
        with what particles know of each other (docs/results/s2ac.md derives it); ``"closed_form"``, the paper's trace without
        the Hessian of Q (too high where particles gather, by more in more dimensions); ``"hutchinson"``, the trace with the
        Hessian, estimated with random vectors; ``"exact"``, the log-determinant of the map of one particle, others held fixed
        (the last two need second derivatives, and are too low: they leave out what particles know of each other)
    :param second_order: whether the actor's gradient goes through the scores, too (about twice the cost; by the gradient of
        the gradient of Q, which is 0 almost everywhere for ReLU networks); not for a fixed start
    :param amortized: whether a network is trained to imitate where the Stein gradients move the particles, and acts in their
        place, about as fast as SAC's actor; training goes on with the particles
    :param particle_batch_size: for how many states of a batch the particles run in a gradient step, in [1, batch_size], all
        for ``None``. With ``amortized`` only: the critics' targets then come from the network's samples and from the entropy
        that it has learned to expect, and a deterministic action from the sample that it holds for the best.
    :param behavior_policy: which particle acts while training (and in ``predict(deterministic=False)``): a ``"random"`` one,
        which is a sample of the policy, or one by ``"softmax"`` of Q / alpha, which is greedier
    :param scores_from: which of the critics the particles follow: the smallest in each place (``"min"``, the authors' way),
        the first one alone (``"first"``, cheaper), or their mean (``"mean"``). What the actor learns is always the smallest.
    :param scores_precision: what the scores of a gradient step are computed in: ``"float32"`` or ``"bfloat16"``, several times
        as fast on processors that multiply bfloat16 matrices in hardware, and slower on others. All else is in float32.
    :param compile: whether a gradient step is compiled by ``torch.compile``: several times as fast after some seconds of
        compiling, for the same results up to rounding; see docs/guide/speed.md
    :param matmul: which library multiplies matrices on a CPU: ``"torch"``, the default one; ``"onednn"``, at bfloat16's
        precision on processors that have it in hardware; ``"fastest"``, by measurement the faster one of the two, where it has
        float32's precision. ``None``: ``"fastest"`` with ``compile``, else ``"torch"``.
    :param stats_window_size: Window size for the rollout logging
    :param tensorboard_log: the log location for tensorboard (if None, no logging)
    :param policy_kwargs: additional arguments to be passed to the policy on creation,
        see :class:`~sb3_maxent.common.policies.MaxEntPolicy`
    :param verbose: Verbosity level: 0 for no output, 1 for info messages, 2 for debug messages
    :param seed: Seed for the pseudo random generators
    :param device: Device (cpu, cuda, ...) on which the code should be run
    :param _init_setup_model: Whether or not to build the network at the creation of the instance
    :raises ValueError: where a parameter is out of its range, when the model is set up
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: S2ACPolicy
    actor: S2ACActor | None  # type: ignore[assignment]
    critic: ParticleCritic
    critic_target: ParticleCritic

    def __init__(
        self,
        policy: str | type[S2ACPolicy],
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
        ent_coef: str | float | Schedule = "auto",
        target_update_interval: int = 1,
        target_entropy: str | float | Schedule = "auto",
        ent_coef_bounds: tuple[float, float] | None = None,
        ent_coef_learning_rate: str | float | Schedule | None = None,
        n_particles: int = 10,
        n_svgd_steps: int = 3,
        svgd_step_size: float = 0.5,
        max_step_ratio: float | None = 0.5,
        kernel_bandwidth: BandwidthRule | float = "median",
        precondition: bool = True,
        learned_start: bool = True,
        likelihood_ratio: bool = True,
        start_std: float = 0.5,
        truncation: float | None = 3.0,
        out_of_bounds: OutOfBounds = "hold",
        entropy_estimator: EntropyEstimator = "secant",
        second_order: bool = False,
        amortized: bool = False,
        particle_batch_size: int | None = None,
        behavior_policy: BehaviorPolicy = "random",
        scores_from: CriticChoice = "min",
        scores_precision: Precision = "float32",
        compile: bool = False,
        matmul: Matmul | None = None,
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
            ent_coef_learning_rate=ent_coef_learning_rate,
            compile=compile,
            matmul=matmul,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            supported_action_spaces=(spaces.Box,),
        )
        self.n_particles = n_particles
        self.n_svgd_steps = n_svgd_steps
        self.svgd_step_size = svgd_step_size
        self.max_step_ratio = max_step_ratio
        self.kernel_bandwidth = kernel_bandwidth
        self.precondition = precondition
        self.learned_start = learned_start
        self.likelihood_ratio = likelihood_ratio
        self.start_std = start_std
        self.truncation = truncation
        self.out_of_bounds = out_of_bounds
        self.entropy_estimator = entropy_estimator
        self.second_order = second_order
        self.amortized = amortized
        self.particle_batch_size = particle_batch_size
        self.behavior_policy = behavior_policy
        self.scores_from = scores_from
        self.scores_precision = scores_precision
        self._warned = False

        if _init_setup_model:
            self._setup_model()

    # ------------------------------------------------------------------ setting up

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self.learned_start and self.second_order:
            raise ValueError("`second_order` must be False, not True, for `learned_start=False`: the start learns nothing")
        check_choice("likelihood_ratio", self.likelihood_ratio, (False, True))
        check_choice("scores_precision", self.scores_precision, get_args(Precision))
        if self.second_order and self.scores_precision != "float32":
            raise ValueError(
                "`scores_precision` must be 'float32', not 'bfloat16', for `second_order=True`, which needs a graph"
            )
        if self.particle_batch_size is not None:
            check_number("particle_batch_size", self.particle_batch_size, 1, self.batch_size, integer=True)
            if not self.amortized:
                raise ValueError(
                    f"`particle_batch_size` must be None, not {self.particle_batch_size}, without `amortized=True`: no "
                    "network would stand in for the particles of the other states"
                )

    def _policy_parameters(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in POLICY_PARAMETERS},
            "summarized": self.particle_batch_size is not None,
            "sampler_kwargs": {name: getattr(self, name) for name in SAMPLER_PARAMETERS},
        }

    def _default_target_entropy(self) -> float:
        return -float(get_action_dim(self.action_space))

    def _n_actions_a_transition(self) -> int:
        return self.n_particles

    # ------------------------------------------------------------------ training

    def _td_target(self, step: GradientStep) -> th.Tensor:
        # One run of the sampler serves the critics' target and the actor. Where an episode has ended the target needs no
        # next value, and the critics know nothing of the next state: there the run is that of the state itself.
        batch = step.batch
        all_observations = choose_observations(batch.dones > 0, batch.observations, batch.next_observations)
        observations = first_observations(all_observations, self.particle_batch_size or len(batch.dones))
        critic_features = self.critic.particle_features(observations)
        start = self.policy.start(self.policy.actor_features(observations))
        noise = self.policy.draw_noise(len(critic_features))
        path = self.policy.path(critic_features, start, step.ent_coef, noise, precision=self.scores_precision)
        particles = self.policy.sampler.along(path, *start)
        step.metrics.update({f"svgd_{name}": value for name, value in particles.diagnostics.items()})
        entropy = self._entropy(particles)
        step.memory.update(observations=observations, path=path, entropy=entropy)
        if self.particle_batch_size is not None:
            return step.soft_td_target(self._amortized_values(all_observations, step.ent_coef))
        target_features = self.critic_target.particle_features(observations)
        q_values = self.critic_target.q_particles(target_features, th.tanh(particles.u))
        return step.soft_td_target(q_values.mean(dim=1, keepdim=True) + step.ent_coef * entropy)

    def _amortized_values(self, observations: PyTorchObs, ent_coef: th.Tensor) -> th.Tensor:
        """Soft values (B, 1) from one sample of the network for each state, and from the entropy that it expects."""
        assert self.actor is not None
        features = self.actor.extract_features(observations, self.actor.features_extractor)
        noise = self.policy.draw_noise(len(features))[:, :1]
        actions = th.tanh(self.actor.sampling_network.unsquashed_of_features(features, noise))
        q_values = self.critic_target.q_particles(self.critic_target.particle_features(observations), actions)
        return q_values + ent_coef * self.actor.summary(features)[0]

    @staticmethod
    def _entropy(particles: Particles) -> th.Tensor:
        """Estimate of the policy's entropy from its particles, (B, 1)."""
        return -particles.log_prob.mean(dim=1, keepdim=True)

    def _actor_loss(self, step: GradientStep) -> tuple[th.Tensor | None, th.Tensor | None]:
        if self.actor is None:
            return None, step.memory["entropy"]
        observations, path, ent_coef = step.memory["observations"], step.memory["path"], step.ent_coef
        actor_features = self.actor.extract_features(observations, self.actor.features_extractor)
        critic_features = self.critic.particle_features(observations)
        start = self.policy.start(actor_features if self.learned_start else None)
        if self.learned_start and not self.policy.sampler.keeps_path:
            # The same path, with its gradient
            path = self.policy.path(critic_features, start, ent_coef, path.noise, precision=self.scores_precision)
        particles = self.policy.sampler.along(path, *start)
        entropy, loss = self._entropy(particles), actor_features.new_zeros(())
        if self.learned_start:
            q_values = differentiable_q(self.critic, critic_features, th.tanh(particles.u))
            loss = -(q_values.mean() + (ent_coef * entropy).mean())
            if self.likelihood_ratio:
                loss = loss + self._likelihood_ratio_loss(particles, q_values.detach(), ent_coef)
        if self.amortized:
            # From the same noise to where the Stein gradients have moved the particle
            imitated = self.actor.sampling_network.unsquashed_of_features(actor_features, path.noise)
            loss = loss + 0.5 * ((imitated - particles.u.detach()) ** 2).sum(dim=2).mean()
        if self.particle_batch_size is not None:
            loss = loss + self._summary_loss(actor_features, critic_features, entropy.detach())
        return loss, entropy.detach()

    def _summary_loss(self, actor_features: th.Tensor, critic_features: th.Tensor, entropy: th.Tensor) -> th.Tensor:
        """
        What the summary learns from: the particles' entropy, and which of the fixed noises gives the sample of highest Q.

        :param actor_features: (B, F)
        :param critic_features: (B, F)
        :param entropy: (B, 1), without gradient
        :return: the loss (scalar)
        """
        assert self.actor is not None
        expected, logits = self.actor.summary(actor_features)
        with th.no_grad():
            noise = self.policy.predict_noise.expand(len(entropy), -1, -1)
            samples = self.actor.sampling_network.unsquashed_of_features(actor_features, noise)
            best = self.critic.q_particles(critic_features, th.tanh(samples)).argmax(dim=1)
        return 0.5 * F.mse_loss(expected, entropy) + F.cross_entropy(logits, best)

    def _likelihood_ratio_loss(self, particles: Particles, q_values: th.Tensor, ent_coef: th.Tensor) -> th.Tensor:
        """
        A loss of value 0 whose gradient is the likelihood-ratio estimate of the same objective: more density for the start of
        particles that end better than the state's others. (That the truncation moves with the start is left out: at 3
        standard deviations 3% of the mean's gradient, at 1 most of it.)

        Deviation from the paper. The gradient through the particles sees where each of them could go from where it is, but not
        that another start leads to another mode: how much each mode gets is left to chance. This term sees that, too. (What
        both see counts twice; Adam takes no notice of the factor.)

        :param particles: the particles
        :param q_values: (B, N) their Q-values, without gradient
        :param ent_coef: the temperature
        :return: the loss (scalar)
        """
        costs = ent_coef * particles.log_prob.detach() - q_values
        # The mean of the state's other particles is the baseline
        advantages = (costs - costs.mean(dim=1, keepdim=True)) * (self.n_particles / (self.n_particles - 1))
        return (advantages * (particles.start_log_prob - particles.start_log_prob.detach())).mean()

    def _log_metrics(self, results: list[StepResult]) -> dict[str, np.ndarray]:
        values_of = super()._log_metrics(results)
        if not self._warned and "svgd_step_ratio" in values_of:
            self._warn(values_of["svgd_step_ratio"].max(), values_of["svgd_neighbours"].min())
        return values_of

    def _warn(self, ratio: float, neighbour: float) -> None:
        """
        Warn, once in each run, where the density means nothing.

        :param ratio: largest step ratio
        :param neighbour: smallest sum of a particle's kernels with the others
        """
        if neighbour < MIN_NEIGHBOURS:
            self._warned = True
            warnings.warn(
                f"SVGD's kernel hardly sees neighbours (sum of a particle's kernels with the others: {neighbour:.3g}), from "
                "which the density comes: the policy's entropy means nothing. Raise `kernel_bandwidth`, or use 'median'. "
                "This is said once in each run; train/svgd_neighbours has the figure.",
                UserWarning,
                stacklevel=4,
            )
        elif ratio >= 1:
            self._warned = True
            warnings.warn(
                f"SVGD steps have eps * |grad phi| = {ratio:.3g}, which reaches 1: they may fold, and the policy's density "
                "and entropy mean nothing there. Set `max_step_ratio` (0.5 by default), or lower `svgd_step_size`, or raise "
                "`kernel_bandwidth`. This is said once in each run; train/svgd_step_ratio has the figure.",
                UserWarning,
                stacklevel=4,
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        self._warned = False
        return super()._setup_learn(*args, **kwargs)
