"""Soft actor-critic for discrete actions."""

import copy
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch.nn import functional as F

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.discrete_algorithm import DiscreteAlgorithm
from sb3_maxent.common.gradient_step import GradientStep, polyak_average
from sb3_maxent.common.matmul import Matmul
from sb3_maxent.discrete_sac.policies import (
    CnnPolicy,
    DiscreteActor,
    DiscreteCritic,
    DiscreteSACPolicy,
    MlpPolicy,
    MultiInputPolicy,
)
from sb3_maxent.functional import categorical_entropy, policy_soft_value

QReduction = Literal["min", "mean"]
# Rate of the Polyak average that the entropy penalty compares the actor with
ACTOR_OLD_TAU = 0.005


class DiscreteSAC(DiscreteAlgorithm):
    """
    Soft Actor-Critic for ``Discrete``, ``MultiDiscrete`` and ``MultiBinary`` actions.
    All expectations over actions are exact sums, also those of the temperature's loss.
    Papers: https://arxiv.org/abs/1910.07207 (the algorithm), https://arxiv.org/abs/2209.10081 (``q_reduction="mean"``,
    ``q_clip``, ``entropy_penalty``), https://arxiv.org/abs/2509.09838 (``critic_ent_coef``)

    ``MultiDiscrete`` and ``MultiBinary`` actions have independent components, and Q is a sum over them
    (see :class:`~sb3_maxent.common.discrete.DiscreteCritic`).

    :param policy: The policy model to use (MlpPolicy, CnnPolicy, ...)
    :param env: The environment to learn from (if registered in Gym, can be str)
    :param learning_rate: learning rate for adam optimizer, the same for networks and temperature;
        it can be a function of the current progress remaining (from 1 to 0)
    :param buffer_size: size of the replay buffer
    :param learning_starts: how many steps of the model to collect transitions for before learning starts
    :param batch_size: Minibatch size for each gradient update
    :param tau: the soft update coefficient ("Polyak update", between 0 and 1); 1 together with a
        ``target_update_interval`` gives hard updates
    :param gamma: the discount factor
    :param train_freq: Update the model every ``train_freq`` steps. Alternatively pass a tuple of frequency and unit
        like ``(5, "step")`` or ``(2, "episode")``.
    :param gradient_steps: How many gradient steps to do after each rollout (see ``train_freq``),
        ``-1``: as many as steps done in the environment
    :param replay_buffer_class: Replay buffer class to use (for instance ``HerReplayBuffer``).
        If ``None``, it will be automatically selected.
    :param replay_buffer_kwargs: Keyword arguments to pass to the replay buffer on creation.
    :param optimize_memory_usage: Enable a memory efficient variant of the replay buffer
    :param n_steps: length of the n-step returns
    :param ent_coef: the temperature: a number; a function of the current progress remaining (from 1 to 0), or ``"lin_X"`` for
        one that falls linearly from X to 0, ``"lin_X_Y"`` from X to Y, ``"lin_X_Y_F"`` in the first share F of the training;
        ``"auto"`` to learn it, ``"auto_0.1"`` to start from 0.1
    :param target_update_interval: update the target networks every so many gradient steps
    :param target_entropy: target entropy when learning the temperature: a number of nats in [0, log|A|], or a function of
        the current progress remaining (from 1 to 0) that gives one; ``"auto"``: ``target_entropy_ratio * log|A|``;
        ``"lin_X_Y"``: linearly from X to Y times log|A|; ``"adaptive_X_Y"``: from X times log|A| down to Y times, by a tenth
        whenever the policy's entropy has been near it for 1000 gradient steps (``"adaptive"``: from 0.98 to 0.01, after
        https://arxiv.org/abs/2112.02852). With action masks it is scaled state by state by the entropy of the uniform choice
        among the allowed actions.
    :param target_entropy_ratio: the ratio that ``target_entropy="auto"`` stands for, in [0, 1]. The paper's 0.98 leaves
        almost no freedom for few actions (0.679 of 0.693 nats for two); the default was found by the experiment in
        docs/results/discretesac.md.
    :param ent_coef_bounds: lowest and highest value of a learned temperature, ``None`` for no bounds
        (as ``min_alpha`` and ``max_alpha`` of TorchRL's DiscreteSACLoss)
    :param ent_coef_learning_rate: learning rate of a learned temperature: a number, a function of the current progress
        remaining (from 1 to 0), ``"lin_X"``, ``"lin_X_Y"`` or ``"lin_X_Y_F"``; ``None`` for ``learning_rate``
    :param critic_ent_coef: the temperature in the critic's target, in [0, inf); 0 leaves the entropy bonus out of Q,
        ``None`` takes the actor's temperature
    :param q_reduction: how the critics are combined: their ``"min"`` (clipped double Q-learning) or their ``"mean"``
        (double average Q-learning, 2209.10081). The minimum is taken action by action; for ``MultiDiscrete``, where only
        the sum over components has a meaning, state by state: the critic with the smaller expected value.
    :param q_clip: bound c on the critic's step: the loss is the larger one of those of Q and of
        Q' + clip(Q - Q', -c, c), with Q' the target critic (2209.10081, whose code uses 0.5); in (0, inf),
        in units of return; ``None`` for none
    :param entropy_penalty: coefficient of (H(pi_old) - H(pi))^2 in the actor's loss (2209.10081, whose code
        uses 0.5); in [0, inf), 0 for none
    :param bound_values: whether V(s') in the critics' targets is at most what the highest reward in the batches so far, and
        the largest entropy, give for ever: (r + alpha log|A|) / (1 - gamma). So Q can't run away.
    :param exploration_fraction: fraction of the training over which the exploration rate is reduced
    :param exploration_initial_eps: initial probability that a uniformly random action begins, 0 for none
    :param exploration_final_eps: final probability that a uniformly random action begins
    :param exploration_max_duration: largest number of steps that a random action is kept, 1 for one step; n steps
        with a probability proportional to ``n ** -exploration_duration_exponent`` (https://arxiv.org/abs/2006.01782)
    :param exploration_duration_exponent: that exponent, in [0, inf); 2 in the paper, less for longer ones
    :param compile: whether a gradient step is compiled by ``torch.compile``: several times as fast after some seconds of
        compiling, for the same results up to rounding; see docs/guide/speed.md
    :param matmul: which library multiplies matrices on a CPU: ``"torch"``, the default one; ``"onednn"``, at bfloat16's
        precision on processors that have it in hardware; ``"fastest"``, by measurement the faster one of the two, where it has
        float32's precision. ``None``: ``"fastest"`` with ``compile``, else ``"torch"``.
    :param stats_window_size: Window size for the rollout logging
    :param tensorboard_log: the log location for tensorboard (if None, no logging)
    :param policy_kwargs: additional arguments to be passed to the policy on creation,
        see :class:`~sb3_maxent.discrete_sac.policies.DiscreteSACPolicy`
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
    policy: DiscreteSACPolicy
    actor: DiscreteActor
    critic: DiscreteCritic
    critic_target: DiscreteCritic

    def __init__(
        self,
        policy: str | type[DiscreteSACPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        buffer_size: int = 1_000_000,  # 1e6
        learning_starts: int = 100,
        batch_size: int = 256,
        tau: float = 0.005,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        ent_coef: str | float | Schedule = "auto",
        target_update_interval: int = 1,
        target_entropy: str | float | Schedule = "auto",
        target_entropy_ratio: float = 0.5,
        ent_coef_bounds: tuple[float, float] | None = None,
        ent_coef_learning_rate: str | float | Schedule | None = None,
        critic_ent_coef: float | None = None,
        q_reduction: QReduction = "min",
        q_clip: float | None = None,
        entropy_penalty: float = 0.0,
        bound_values: bool = True,
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
            supported_action_spaces=(spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary),
        )
        self.target_entropy_ratio = target_entropy_ratio
        self.critic_ent_coef = critic_ent_coef
        self.q_reduction = q_reduction
        self.q_clip = q_clip
        self.entropy_penalty = entropy_penalty
        self.bound_values = bound_values
        self.exploration_fraction = exploration_fraction
        self.exploration_initial_eps = exploration_initial_eps
        self.exploration_final_eps = exploration_final_eps
        self.exploration_max_duration = exploration_max_duration
        self.exploration_duration_exponent = exploration_duration_exponent

        if _init_setup_model:
            self._setup_model()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._check_discrete_algorithm()
        check_number("target_entropy_ratio", self.target_entropy_ratio, 0, 1)
        check_number("entropy_penalty", self.entropy_penalty, 0)
        check_choice("q_reduction", self.q_reduction, get_args(QReduction))
        if self.critic_ent_coef is not None:
            check_number("critic_ent_coef", self.critic_ent_coef, 0)
        if self.q_clip is not None:
            check_number("q_clip", self.q_clip, float(np.finfo(np.float32).tiny))

    def _setup_model(self) -> None:
        super()._setup_model()
        # Deviation from the paper: pi_old is a Polyak average of the actor, not the entropy at the time of acting,
        # which only a replay buffer of our own could hold
        self.actor_old = copy.deepcopy(self.actor)
        self.actor_old.set_training_mode(False)

    def _default_target_entropy(self) -> float:
        return self.target_entropy_ratio * self.actor.heads.max_entropy

    def _reduce(self, q_values: tuple[th.Tensor, ...], log_probs: th.Tensor) -> th.Tensor:
        """
        Combine the critics.

        :param q_values: (B, A) for each critic
        :param log_probs: (B, A) log-probabilities of the policy
        :return: (B, A)
        """
        stacked = th.stack(q_values)  # (n_critics, B, A)
        if self.q_reduction == "mean":
            return stacked.mean(dim=0)
        return self.actor.heads.min_of_critics(stacked, lambda: (log_probs.exp() * stacked).sum(dim=2, keepdim=True))

    def _td_target(self, step: GradientStep) -> th.Tensor:
        log_probs = self.actor.action_log_probs(step.batch.next_observations)
        q_values = self._reduce(self.critic_target(step.batch.next_observations), log_probs)
        ent_coef = step.ent_coef if self.critic_ent_coef is None else self.critic_ent_coef
        return step.soft_td_target(self._bounded(policy_soft_value(q_values, log_probs, ent_coef), step, ent_coef))

    def _critic_loss(self, step: GradientStep, target: th.Tensor) -> th.Tensor:
        batch, select = step.batch, self.critic.heads.select
        current_q_values = [select(q_values, batch.actions) for q_values in self.critic(batch.observations)]
        loss = step.regression_loss(current_q_values, target)
        if self.q_clip is None:
            return loss
        with th.no_grad():
            old_q_values = [select(q_values, batch.actions) for q_values in self.critic_target(batch.observations)]
        loss = th.zeros_like(loss)
        for current_q, old_q in zip(current_q_values, old_q_values, strict=True):
            # Deviation from the authors' code: the larger loss sample by sample, not the larger mean
            clipped_q = old_q + (current_q - old_q).clamp(-self.q_clip, self.q_clip)
            loss = loss + 0.5 * th.maximum((current_q - target) ** 2, (clipped_q - target) ** 2).mean()
        return loss

    def _actor_loss(self, step: GradientStep) -> tuple[th.Tensor, th.Tensor]:
        observations = step.batch.observations
        log_probs = self.actor.action_log_probs(observations)  # (B, A)
        with th.no_grad():
            q_values = self._reduce(self.critic(observations), log_probs)
        # Sum over the actions, mean over the batch: Equation 12 of 1910.07207
        loss = -policy_soft_value(q_values, log_probs, step.ent_coef).mean()
        entropy = categorical_entropy(log_probs)
        if self.entropy_penalty > 0:
            with th.no_grad():
                old_entropy = categorical_entropy(self.actor_old.action_log_probs(observations))
            loss = loss + self.entropy_penalty * F.mse_loss(entropy, old_entropy)
        return loss, entropy

    def _update_targets(self, step: GradientStep) -> None:
        super()._update_targets(step)
        if self.entropy_penalty == 0:
            return
        # At a rate of its own: with hard updates of the critics, tau = 1 would leave no difference to penalize
        polyak_average(list(self.actor.parameters()), list(self.actor_old.parameters()), ACTOR_OLD_TAU)
        for buffer, old_buffer in zip(self.actor.buffers(), self.actor_old.buffers(), strict=True):
            old_buffer.copy_(buffer)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor_old"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        if self.entropy_penalty == 0:  # not used, but the penalty may be switched on when the model is loaded
            self.actor_old.load_state_dict(self.actor.state_dict())
        state_dicts, tensors = super()._get_torch_save_params()
        return [*state_dicts, "actor_old"], tensors
