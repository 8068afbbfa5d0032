"""Soft Q-learning for continuous and discrete actions."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.common.matmul import Matmul
from sb3_maxent.functional.kernels import SteinBandwidthRule
from sb3_maxent.soft_q_learning.box import ONLY_BOX, SoftQBox, ValueProposal
from sb3_maxent.soft_q_learning.discrete import ONLY_DISCRETE, BehaviorPolicy, SoftQDiscrete
from sb3_maxent.soft_q_learning.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, SoftQPolicy

# What target_entropy="auto" is for discrete actions, as a share of log|A| (the experiment in docs/results/discretesac.md)
TARGET_ENTROPY_RATIO = 0.5


class SoftQLearning(SoftQBox, SoftQDiscrete):
    """
    Soft Q-learning: the policy is exp(Q / alpha), normalized, and Q the solution of the soft Bellman equation.

    ``Box`` actions: V(s) by importance sampling, and a network that turns noise into samples of the policy, trained by
    Stein variational gradients. ``Discrete``, ``MultiDiscrete`` and ``MultiBinary`` actions (Q is a sum over their
    components, see :class:`~sb3_maxent.common.discrete.DiscreteCritic`): V(s) is a sum, and the policy a softmax.
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
    :param ent_coef: the temperature: a number, 0 for the limit without entropy; a function of the current progress remaining
        (from 1 to 0), or ``"lin_X"`` for one that falls linearly from X to 0, ``"lin_X_Y"`` from X to Y, ``"lin_X_Y_F"`` in
        the first share F of the training; ``"auto"`` to learn it, ``"auto_0.1"`` to start from 0.1 (``Box``: only with a
        ``noise_dim`` of the policy that is the action's, where the sampler's density is known)
    :param target_update_interval: update the target networks every so many gradient steps
    :param target_entropy: target entropy when learning the temperature: a number of nats, or a function of the current
        progress remaining (from 1 to 0) that gives one; ``"auto"``: -dim(A) for ``Box`` (of actions scaled to [-1, 1]), half
        of log|A| for discrete actions; ``"lin_X_Y"``: linearly from X to Y times dim(A) or log|A|; discrete actions also
        ``"adaptive_X_Y"``: from X times log|A| down to Y times, by a tenth whenever the policy's entropy has been near it for
        1000 gradient steps (``"adaptive"``: from 0.98 to 0.01, after https://arxiv.org/abs/2112.02852)
    :param ent_coef_bounds: lowest and highest value of a learned temperature, ``None`` for no bounds
    :param ent_coef_learning_rate: learning rate of a learned temperature: a number, a function of the current progress
        remaining (from 1 to 0), ``"lin_X"``, ``"lin_X_Y"`` or ``"lin_X_Y_F"``; ``None`` for ``learning_rate``
    :param n_value_particles: ``Box``: actions for each state to compute V(s) from, in [1, inf), for a mixture in [2, inf)
    :param value_proposal: ``Box``: where they come from: ``"uniform"`` (as in the authors' code; poor for many action
        dimensions), ``"sampler"`` (the sampling network, weighted by its density, which is right if it is one-to-one and
        reaches all that matters), or ``"mixture"``, half of them from each. The last two need a ``noise_dim`` that is
        the action's.
    :param n_kernel_particles: ``Box``: samples of the network for each state in the Stein gradient, in [2, inf)
    :param kernel_update_ratio: ``Box``: share of them that is updated, in (0, 1); the gradients of Q are taken at the others
    :param kernel_bandwidth: ``Box``: squared bandwidth h of the kernel ``exp(-|u - u'|^2 / (2 h))`` between actions before
        tanh, state by state: ``"score"``, by the scale of one mode, from the lengths of the gradients
        (:func:`~sb3_maxent.functional.score_bandwidth`); ``"median"`` or ``"mean"`` of the squared distances /
        (2 log(M + 1)), which is wider than a mode where there are several; or a number > 0
    :param munchausen_coef: discrete actions: weight of the clipped alpha log pi(a|s) that is added to the reward, in [0, 1);
        2007.14430 has 0.9 with alpha = 0.03, for rewards in [-1, 1]
    :param munchausen_clip: lowest value of alpha log pi(a|s), <= 0; -1 in 2007.14430
    :param bound_values: discrete actions: whether V(s') in the critics' targets is at most what the highest reward in the
        batches so far, and the largest entropy, give for ever: (r + alpha log|A|) / (1 - gamma). So Q can't run away.
    :param behavior_policy: discrete actions: how to act while training: ``"boltzmann"``, a sample of the policy, or
        ``"greedy"``, its mode (with the exploration below: epsilon-greedy, as DQN)
    :param exploration_fraction: discrete actions: fraction of the training over which the exploration rate is reduced
    :param exploration_initial_eps: discrete actions: initial probability that a uniformly random action begins, 0 for none
    :param exploration_final_eps: discrete actions: final probability that a uniformly random action begins
    :param exploration_max_duration: discrete actions: largest number of steps that a random action is kept, 1 for one step; n
        steps with a probability proportional to ``n ** -exploration_duration_exponent`` (https://arxiv.org/abs/2006.01782)
    :param exploration_duration_exponent: discrete actions: that exponent, in [0, inf); 2 in the paper, less for longer ones
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
        target_entropy: str | float | Schedule = "auto",
        ent_coef_bounds: tuple[float, float] | None = None,
        ent_coef_learning_rate: str | float | Schedule | None = None,
        n_value_particles: int = 16,
        value_proposal: ValueProposal = "uniform",
        n_kernel_particles: int = 32,
        kernel_update_ratio: float = 0.5,
        kernel_bandwidth: SteinBandwidthRule | float = "score",
        munchausen_coef: float = 0.0,
        munchausen_clip: float = -1.0,
        bound_values: bool = True,
        behavior_policy: BehaviorPolicy = "boltzmann",
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 0.0,
        exploration_final_eps: float = 0.0,
        exploration_max_duration: int = 1,
        exploration_duration_exponent: float = 2.0,
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
            supported_action_spaces=(spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary),
        )
        self.n_value_particles = n_value_particles
        self.value_proposal = value_proposal
        self.n_kernel_particles = n_kernel_particles
        self.kernel_update_ratio = kernel_update_ratio
        self.kernel_bandwidth = kernel_bandwidth
        self.munchausen_coef = munchausen_coef
        self.munchausen_clip = munchausen_clip
        self.bound_values = bound_values
        self.behavior_policy = behavior_policy
        self.exploration_fraction = exploration_fraction
        self.exploration_initial_eps = exploration_initial_eps
        self.exploration_final_eps = exploration_final_eps
        self.exploration_max_duration = exploration_max_duration
        self.exploration_duration_exponent = exploration_duration_exponent

        if _init_setup_model:
            self._check_given(vars(self))
            self._setup_model()

    # ------------------------------------------------------------------ setting up

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._check_box_parameters()
        self._check_discrete_parameters()

    def _setup_model(self) -> None:
        super()._setup_model()
        for name, default in self._meaningless().items():
            setattr(self, name, default)  # a saved model may have the default of an earlier version

    def _meaningless(self) -> dict[str, Any]:
        """
        :return: parameters that mean nothing for this kind of action, with their defaults
        """
        parameters = inspect.signature(SoftQLearning.__init__).parameters
        names = ONLY_DISCRETE if isinstance(self.action_space, spaces.Box) else ONLY_BOX
        return {name: parameters[name].default for name in names}

    def _check_given(self, given: Mapping[str, Any]) -> None:
        for name, default in self._meaningless().items():
            if name in given and given[name] != default:
                raise ValueError(f"`{name}` must be {default!r} for {self.action_space}, not {given[name]!r}")

    def _setup_temperature(self) -> None:
        super()._setup_temperature()
        if self.policy.actor is not None:
            self._check_density()

    def _default_target_entropy(self) -> float:
        if self.policy.actor is None:
            return TARGET_ENTROPY_RATIO * self.critic.heads.max_entropy
        return -float(self.policy.actor.action_dim)

    # ------------------------------------------------------------------ the hooks, by kind of action

    def _td_target(self, step: GradientStep) -> th.Tensor:
        return self._discrete_target(step) if self.policy.actor is None else self._box_target(step)

    def _critic_loss(self, step: GradientStep, target: th.Tensor) -> th.Tensor:
        if self.policy.actor is None:
            return self._discrete_critic_loss(step, target)
        return super()._critic_loss(step, target)

    def _actor_loss(self, step: GradientStep) -> tuple[th.Tensor | None, th.Tensor | None]:
        if self.policy.actor is None:
            return None, self._discrete_entropy(step)
        return self._stein_loss(step.batch.observations, step.ent_coef)
