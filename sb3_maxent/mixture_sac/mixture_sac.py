"""Soft actor-critic whose policy is a mixture of Gaussians."""

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
from sb3_maxent.common.particles import ParticleCritic, differentiable_q
from sb3_maxent.mixture_sac.policies import (
    CnnPolicy,
    DeterministicAction,
    MixtureActor,
    MixtureSACPolicy,
    MlpPolicy,
    MultiInputPolicy,
)


class MixtureSAC(MaxEntAlgorithm):
    """
    Soft actor-critic whose policy is a mixture of K squashed Gaussians: several modes, with an exact density. Each state's
    soft value and the actor's loss are sums over the components, weighted, with one action of each: no component is drawn
    in a gradient step. With one component it is SAC.
    Paper: https://arxiv.org/abs/2605.09157. Where this differs from it: docs/modules/mixturesac.md.

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
    :param n_components: number of Gaussians, K, in [1, 1000]
    :param mean_spread: how far the means of several Gaussians are spread over the action space at first, in [0, 0.99]: 0 is
        its centre, 0.99 nearly all of it
    :param start_std: standard deviation of several Gaussians at first, before tanh, in [0.0001, 0.99 ``max_std``]
    :param max_std: largest standard deviation of several Gaussians, before tanh, in [0.001, 7]. Components that may be broad
        come to rest between modes.
    :param deterministic_action: whose mean ``predict(deterministic=True)`` gives: that of the ``"heaviest"`` component, or
        of the ``"best"`` one, by the critics
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
    policy: MixtureSACPolicy
    actor: MixtureActor
    critic: ParticleCritic
    critic_target: ParticleCritic

    def __init__(
        self,
        policy: str | type[MixtureSACPolicy],
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
        n_components: int = 4,
        mean_spread: float = 0.7,
        start_std: float = 0.2,
        max_std: float = 0.5,
        deterministic_action: DeterministicAction = "heaviest",
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
        self.n_components = n_components
        self.mean_spread = mean_spread
        self.start_std = start_std
        self.max_std = max_std
        self.deterministic_action = deterministic_action

        if _init_setup_model:
            self._setup_model()

    # ------------------------------------------------------------------ setting up

    def _policy_parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in MixtureSACPolicy.own_parameters}

    def _default_target_entropy(self) -> float:
        return -float(get_action_dim(self.action_space))

    def _n_actions_a_transition(self) -> int:
        return self.n_components

    # ------------------------------------------------------------------ training

    def _td_target(self, step: GradientStep) -> th.Tensor:
        observations = step.batch.next_observations
        actions, log_prob, weights = self.actor.component_actions(observations)
        q_values = self.critic_target.q_particles(self.critic_target.particle_features(observations), actions)
        return step.soft_td_target((weights * (q_values - step.ent_coef * log_prob)).sum(dim=1, keepdim=True))

    def _actor_loss(self, step: GradientStep) -> tuple[th.Tensor, th.Tensor]:
        actions, log_prob, weights = self.actor.component_actions(step.batch.observations)
        critic_features = self.critic.particle_features(step.batch.observations)
        q_values = differentiable_q(self.critic, critic_features, actions)
        loss = (weights * (step.ent_coef * log_prob - q_values)).sum(dim=1).mean()
        return loss, -(weights * log_prob).detach().sum(dim=1, keepdim=True)
