"""Soft actor-critic with a normalizing-flow policy."""

from typing import Any, ClassVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.common.matmul import Matmul
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm
from sb3_maxent.common.observations import BoxCritic
from sb3_maxent.sacnf.families import FlowFamily
from sb3_maxent.sacnf.policies import FLOW_PARAMETERS, CnnPolicy, FlowActor, MlpPolicy, MultiInputPolicy, SACNFPolicy


class SACNF(MaxEntAlgorithm):
    """
    Soft actor-critic with normalizing flows (SAC-NF): SAC, whose Gaussian goes through a flow before tanh, so that the
    policy's shape is learned and its density stays exact. Needs Zuko (``pip install "sb3_maxent[flows]"``).
    Paper: https://arxiv.org/abs/1905.06893. Where this differs from it: docs/modules/sacnf.md.

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
    :param ent_coef: the temperature: a number; a function of the current progress remaining (from 1 to 0), or ``"lin_X"`` for
        one that falls linearly from X to 0, ``"lin_X_Y"`` from X to Y, ``"lin_X_Y_F"`` in the first share F of the training;
        ``"auto"`` to learn it, ``"auto_0.1"`` to start from 0.1
    :param target_update_interval: update the target networks every so many gradient steps
    :param target_entropy: target entropy when learning the temperature (of actions scaled to [-1, 1], at most dim(A) log 2,
        the uniform policy's): a number of nats, or a function of the current progress remaining (from 1 to 0) that gives
        one; ``"auto"``: -dim(A); ``"lin_X_Y"``: linearly from X to Y times dim(A), so that -1 is the default
    :param ent_coef_bounds: lowest and highest value of a learned temperature, ``None`` for no bounds
    :param ent_coef_learning_rate: learning rate of a learned temperature: a number, a function of the current progress
        remaining (from 1 to 0), ``"lin_X"``, ``"lin_X_Y"`` or ``"lin_X_Y_F"``; ``None`` for ``learning_rate``
    :param flow: family of the transforms: ``"spline"``, a neural spline flow (https://arxiv.org/abs/1906.04032,
        autoregressive), which can take on nearly any shape and costs most; or the paper's shallow flows, ``"radial"`` and
        ``"planar"`` (https://arxiv.org/abs/1505.05770), which have few parameters and keep few modes
    :param n_flows: how many transforms follow one another, in [0, 100]; 0 leaves SAC's Gaussian
    :param conditional_flow: whether the transforms depend on the observation (by what the policy network's last layer
        shows). Deviation from the paper, where only the Gaussian before them does.
    :param n_bins: bins of each spline, in [2, 100]; for ``flow="spline"``
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
    :raises ImportError: without Zuko, when the model is set up
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: SACNFPolicy
    actor: FlowActor
    critic: BoxCritic
    critic_target: BoxCritic

    def __init__(
        self,
        policy: str | type[SACNFPolicy],
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
        flow: FlowFamily = "spline",
        n_flows: int = 3,
        conditional_flow: bool = True,
        n_bins: int = 8,
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
        self.flow = flow
        self.n_flows = n_flows
        self.conditional_flow = conditional_flow
        self.n_bins = n_bins

        if _init_setup_model:
            self._setup_model()

    # ------------------------------------------------------------------ setting up

    def _policy_parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in FLOW_PARAMETERS}

    def _default_target_entropy(self) -> float:
        return -float(get_action_dim(self.action_space))

    # ------------------------------------------------------------------ training

    def _td_target(self, step: GradientStep) -> th.Tensor:
        actions, log_prob = self.actor.action_log_prob(step.batch.next_observations)
        q_values = th.cat(self.critic_target(step.batch.next_observations, actions), dim=1).amin(dim=1)  # (B,)
        return step.soft_td_target((q_values - step.ent_coef * log_prob).unsqueeze(1))

    def _actor_loss(self, step: GradientStep) -> tuple[th.Tensor, th.Tensor]:
        # Equation 7 of https://arxiv.org/abs/1812.05905
        actions, log_prob = self.actor.action_log_prob(step.batch.observations)
        q_values = th.cat(self.critic(step.batch.observations, actions), dim=1).min(dim=1).values  # (B,)
        return (step.ent_coef * log_prob - q_values).mean(), -log_prob.detach().unsqueeze(1)
