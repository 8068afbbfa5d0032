"""The training loop that all algorithms share."""

import io
import math
import pathlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import (
    DictReplayBufferSamples,
    GymEnv,
    MaybeCallback,
    PyTorchObs,
    ReplayBufferSamples,
    Schedule,
    TensorDict,
)
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule, get_parameters_by_name, polyak_update
from torch.nn import functional as F

from sb3_maxent.common.checks import check_number
from sb3_maxent.common.finite_guard import FiniteGuard
from sb3_maxent.common.policies import MaxEntPolicy
from sb3_maxent.common.rng import get_rng_state, set_rng_state
from sb3_maxent.functional import soft_td_target

SelfMaxEntAlgorithm = TypeVar("SelfMaxEntAlgorithm", bound="MaxEntAlgorithm")


class MaxEntAlgorithm(OffPolicyAlgorithm):
    """
    Base class of the maximum-entropy algorithms. They all regress Q towards ``y = r + (1 - d) * gamma^n * V(s')``
    and differ in V, in the actor's loss and in how Q is read. A subclass says only that, in ``_soft_value``,
    ``_actor_loss``, ``_current_q_values`` (and ``_critic_loss`` if it is no plain regression) and
    ``_default_target_entropy``. With SAC's formulas in these hooks the loop is ``stable_baselines3.SAC``,
    bit for bit (tests/test_sac_parity.py).

    Two things go beyond SB3's SAC:

    - ``target_update_interval`` counts gradient steps over the whole training, as its documentation says. (SAC
      counts from zero in each call of ``train()``, so that with ``gradient_steps=1`` it updates every time.)
    - A model with a ``seed`` saves the state of its random generators and goes on with them when it is loaded and
      trained with ``reset_num_timesteps=False``. The environment's state is not saved: SB3 resets it on loading.

    :param policy: The policy model to use (MlpPolicy, CnnPolicy, ...)
    :param env: The environment to learn from (if registered in Gym, can be str)
    :param learning_rate: learning rate of all optimizers (networks and temperature);
        it can be a function of the current progress remaining (from 1 to 0)
    :param ent_coef: the temperature: a number; a function of the current progress remaining (from 1 to 0), or
        ``"lin_X"`` for one that falls linearly from X to 0, ``"lin_X_Y"`` from X to Y; ``"auto"`` to learn it,
        ``"auto_0.1"`` to start from 0.1
    :param target_update_interval: update the target networks every so many gradient steps
    :param target_entropy: target entropy in nats when learning the temperature, or ``"auto"``
    :param ent_coef_bounds: lowest and highest value of a learned temperature, ``None`` for no bounds
    :param kwargs: the other parameters, see :class:`~stable_baselines3.common.off_policy_algorithm.OffPolicyAlgorithm`
    :raises ValueError: where a parameter is out of its range, when the model is set up
    """

    policy: MaxEntPolicy
    actor: BaseModel | None  # type: ignore[assignment]
    critic: BaseModel
    critic_target: BaseModel
    target_entropy: str | float

    def __init__(
        self,
        policy: str | type[MaxEntPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        *,
        ent_coef: str | float | Schedule = "auto",
        target_update_interval: int = 1,
        target_entropy: str | float = "auto",
        ent_coef_bounds: tuple[float, float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(policy, env, learning_rate, sde_support=False, support_multi_env=True, **kwargs)
        self.ent_coef = ent_coef
        self.target_entropy = target_entropy
        self.target_update_interval = target_update_interval
        self.ent_coef_bounds = ent_coef_bounds
        self.log_ent_coef: th.Tensor | None = None
        self.ent_coef_optimizer: th.optim.Adam | None = None
        self.ent_coef_schedule: Schedule | None = None
        self._rng_state: dict[str, Any] | None = None
        self._finite_guard = FiniteGuard(self)
        # What "auto" came out as, to tell it from a number that the user gave when the model is loaded
        self._auto_target_entropy: float | None = None

    # ------------------------------------------------------------------ what an algorithm says

    def _soft_value(self, observations: PyTorchObs, ent_coef: th.Tensor) -> th.Tensor:
        """
        Soft value V(s) from the target critics; called without gradient.

        :param observations: batch of B observations
        :param ent_coef: the temperature
        :return: (B, 1) soft values
        """
        raise NotImplementedError()

    def _actor_loss(self, observations: PyTorchObs, ent_coef: th.Tensor) -> tuple[th.Tensor | None, th.Tensor | None]:
        """
        Loss of the actor; called after the critics' update.

        :param observations: batch of B observations
        :param ent_coef: the temperature, without gradient
        :return: the loss (scalar; ``None`` for a policy without an actor network), and the policy's entropies (B, 1) in
            nats where they are tractable
        """
        raise NotImplementedError()

    def _default_target_entropy(self) -> float:
        """
        :return: what ``target_entropy="auto"`` stands for, in nats
        """
        raise NotImplementedError()

    def _rewards(self, replay_data: ReplayBufferSamples | DictReplayBufferSamples, ent_coef: th.Tensor) -> th.Tensor:
        """
        Rewards of the soft TD target; called without gradient.

        :param replay_data: the batch
        :param ent_coef: the temperature
        :return: (B, 1), those of the replay buffer by default
        """
        return replay_data.rewards

    def _current_q_values(self, observations: PyTorchObs, actions: th.Tensor) -> tuple[th.Tensor, ...]:
        """
        Q(s, a) by each critic.

        :param observations: batch of B observations
        :param actions: (B, action dimension) actions as the replay buffer holds them
        :return: (B, 1) for each critic
        """
        return self.critic(observations, actions)

    def _critic_loss(
        self,
        current_q_values: tuple[th.Tensor, ...],
        target_q_values: th.Tensor,
        replay_data: ReplayBufferSamples | DictReplayBufferSamples,
    ) -> th.Tensor:
        """
        Loss of the critics, a regression towards the soft TD target.

        :param current_q_values: (B, 1) for each critic
        :param target_q_values: (B, 1)
        :param replay_data: the batch
        :return: the loss (scalar)
        """
        loss = 0.5 * sum(F.mse_loss(current_q, target_q_values) for current_q in current_q_values)
        assert isinstance(loss, th.Tensor)  # for the type checker
        return loss

    def _policy_parameters(self) -> dict[str, Any]:
        """
        :return: parameters of the algorithm that the policy is made with, beside those of ``policy_kwargs``
        """
        return {}

    def _diagnostics(self) -> dict[str, th.Tensor]:
        """
        :return: further scalars to log under ``train/``, the same names after each gradient step
        """
        return {}

    def _target_entropy_of(self, observations: PyTorchObs) -> float | th.Tensor:
        """
        Target entropy state by state; the same for all states by default.

        :param observations: batch of B observations
        :return: a number, or (B, 1)
        """
        assert isinstance(self.target_entropy, float)
        return self.target_entropy

    # ------------------------------------------------------------------ setting up

    def _check_parameters(self) -> None:
        """
        :raises ValueError: for the first parameter that is out of its range
        """
        check_number("buffer_size", self.buffer_size, 1, integer=True)
        check_number("learning_starts", self.learning_starts, 0)
        check_number("batch_size", self.batch_size, 1, integer=True)
        check_number("tau", self.tau, 0, 1)
        check_number("gamma", self.gamma, 0, 1)
        check_number("gradient_steps", self.gradient_steps, -1, integer=True)
        check_number("n_steps", self.n_steps, 1, integer=True)
        check_number(
            "train_freq", self.train_freq[0] if isinstance(self.train_freq, tuple) else self.train_freq, 1, integer=True
        )
        check_number("target_update_interval", self.target_update_interval, 1, integer=True)
        if not callable(self.learning_rate):
            check_number("learning_rate", self.learning_rate, 0)
        if self.target_entropy != "auto":
            check_number("target_entropy", self.target_entropy)
        if self.ent_coef_bounds is not None:
            if np.shape(self.ent_coef_bounds) != (2,):
                raise ValueError(f"`ent_coef_bounds` must be (lowest, highest) or None, not {self.ent_coef_bounds!r}")
            lowest, highest = self.ent_coef_bounds
            self.ent_coef_bounds = (lowest, highest)  # from a list, in yml and zip files
            check_number("ent_coef_bounds[0]", lowest, 0)
            check_number("ent_coef_bounds[1]", highest, lowest)

    def _setup_model(self) -> None:
        self._check_parameters()
        policy_kwargs, ours = self.policy_kwargs, self._policy_parameters()
        if twice := ", ".join(f"`{name}`" for name in policy_kwargs if name in ours):
            raise ValueError(f"`policy_kwargs` must not have {twice}: give it to {type(self).__name__} itself")
        self.policy_kwargs = {**policy_kwargs, **ours}
        try:
            super()._setup_model()
        finally:
            self.policy_kwargs = policy_kwargs  # what the user gave stays as it is
        self.actor, self.critic, self.critic_target = self.policy.actor, self.policy.critic, self.policy.critic_target
        # Running mean and variance of batch norm
        self.batch_norm_stats = get_parameters_by_name(self.critic, ["running_"])
        self.batch_norm_stats_target = get_parameters_by_name(self.critic_target, ["running_"])
        if self.target_entropy in ("auto", self._auto_target_entropy):
            self.target_entropy = self._auto_target_entropy = float(self._default_target_entropy())
        self.target_entropy = float(self.target_entropy)
        if isinstance(self.action_space, spaces.Box):  # that of the uniform policy is the largest
            check_number("target_entropy", self.target_entropy, maximum=get_action_dim(self.action_space) * math.log(2))
        self._setup_ent_coef()
        self._tell_policy(self._current_ent_coef)

    def _setup_ent_coef(self) -> None:
        """Create the temperature: a loose tensor, which SB3 restores in place on loading."""
        text = self.ent_coef if isinstance(self.ent_coef, str) else ""
        mode, *numbers = text.split("_") if text.startswith(("auto", "lin")) else ("fixed", self.ent_coef)
        expected = "`ent_coef` must be a number >= 0, a schedule, 'lin_X', 'lin_X_Y', 'auto' or 'auto_X'"
        try:
            values = [float(number) for number in numbers if not callable(number)]
        except (TypeError, ValueError):
            raise ValueError(f"{expected}, not {self.ent_coef!r}") from None
        if mode == "auto" and len(values) <= 1:
            init_value = values[0] if values else 1.0
            if not 0 < init_value < np.inf:
                raise ValueError(f"`ent_coef='auto_X'` needs a number X > 0 to start from, not {self.ent_coef!r}")
            # The logarithm is learned, https://github.com/rail-berkeley/softlearning/issues/37
            self.log_ent_coef = th.log(th.ones(1, device=self.device) * init_value).requires_grad_(True)
            self._clamp_ent_coef()
            self.ent_coef_optimizer = th.optim.Adam([self.log_ent_coef], lr=self.lr_schedule(1))
            return
        if self.ent_coef_bounds is not None:
            raise ValueError(f"`ent_coef_bounds` must be None unless the temperature is learned, not {self.ent_coef_bounds!r}")
        if callable(self.ent_coef):
            self.ent_coef_schedule = FloatSchedule(self.ent_coef)
        elif mode == "lin" and 1 <= len(values) <= 2:
            for value in values:
                check_number("ent_coef", value, 0)
            self.ent_coef_schedule = LinearSchedule(values[0], values[1] if len(values) == 2 else 0.0, 1.0)
        elif mode == "fixed":
            self.ent_coef = values[0]
            self.ent_coef_schedule = None
        else:
            raise ValueError(f"{expected}, not {self.ent_coef!r}")
        self.ent_coef_tensor = th.tensor(self._scheduled_ent_coef(), device=self.device)

    @property
    def _current_ent_coef(self) -> th.Tensor:
        """The temperature without gradient, as ``_soft_value`` and ``_actor_loss`` are given it in a gradient step."""
        return self.ent_coef_tensor if self.log_ent_coef is None else self.log_ent_coef.detach().exp()

    def _tell_policy(self, ent_coef: th.Tensor) -> None:
        """
        Give the policy the temperature that it acts by.

        :param ent_coef: the temperature
        """
        if self.policy.acts_by_ent_coef:
            self.policy.ent_coef.copy_(ent_coef.squeeze())

    def _scheduled_ent_coef(self) -> float:
        """
        :return: a temperature that is not learned, at the current progress
        :raises ValueError: where a schedule gives no number >= 0
        """
        if self.ent_coef_schedule is None:
            assert isinstance(self.ent_coef, float)
            check_number("ent_coef", self.ent_coef, 0)
            return self.ent_coef
        value = self.ent_coef_schedule(self._current_progress_remaining)
        check_number(f"ent_coef` at `progress_remaining={self._current_progress_remaining:g}", value, 0)
        return float(value)

    # ------------------------------------------------------------------ training

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """
        Sample the replay buffer and do the updates.

        :param gradient_steps: how many
        :param batch_size: size of each batch
        :raises ValueError: where a loss is NaN or infinite; the weights are then those of the last copy,
            see :class:`~sb3_maxent.common.finite_guard.FiniteGuard`
        """
        self.policy.set_training_mode(True)
        optimizers = [self.critic.optimizer]
        if self.actor is not None:
            optimizers.append(self.actor.optimizer)
        if self.ent_coef_optimizer is not None:
            optimizers.append(self.ent_coef_optimizer)
        else:
            self.ent_coef_tensor.fill_(self._scheduled_ent_coef())
        self._update_learning_rate(optimizers)
        self._finite_guard.remember_parameters()
        # Scalars stay on the device until the end of the call
        metrics: dict[str, list[th.Tensor]] = defaultdict(list)

        for _ in range(gradient_steps):
            replay_data = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]
            # With n-step returns the discount is gamma^n, less where an episode ended before
            discounts = replay_data.discounts if replay_data.discounts is not None else self.gamma
            ent_coef = self._current_ent_coef
            metrics["ent_coef"].append(ent_coef)
            self._tell_policy(ent_coef)

            with th.no_grad():
                next_values = self._soft_value(replay_data.next_observations, ent_coef)
                rewards = self._rewards(replay_data, ent_coef)
                target_q_values = soft_td_target(rewards, replay_data.dones, discounts, next_values)
            current_q_values = self._current_q_values(replay_data.observations, replay_data.actions)
            critic_loss = self._critic_loss(current_q_values, target_q_values, replay_data)
            metrics["critic_loss"].append(critic_loss.detach())
            metrics["q_mean"].append(th.stack([q_values.detach().mean() for q_values in current_q_values]).mean())
            self._optimize(self.critic.optimizer, critic_loss)

            actor_loss, entropy = self._actor_loss(replay_data.observations, ent_coef)
            if actor_loss is not None and self.actor is not None:
                metrics["actor_loss"].append(actor_loss.detach())
                self._optimize(self.actor.optimizer, actor_loss)
            if entropy is not None:
                metrics["entropy"].append(entropy.detach().mean())
            if self.log_ent_coef is not None and self.ent_coef_optimizer is not None:
                if entropy is None:
                    raise ValueError(f"`ent_coef={self.ent_coef!r}` needs a policy whose entropy is known")
                # Equation 18 of https://arxiv.org/abs/1812.05905, with log(alpha) for alpha
                surplus = entropy.detach() - self._target_entropy_of(replay_data.observations)
                ent_coef_loss = (self.log_ent_coef * surplus).mean()
                metrics["ent_coef_loss"].append(ent_coef_loss.detach())
                self._optimize(self.ent_coef_optimizer, ent_coef_loss)
                self._clamp_ent_coef()

            for name, value in self._diagnostics().items():
                metrics[name].append(value)
            self._update_targets()
            self._n_updates += 1

        self._log_metrics(metrics, gradient_steps)

    def _update_targets(self) -> None:
        """Move the target networks; called after each gradient step."""
        if self._n_updates % self.target_update_interval == 0:
            polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
            # Copy running stats, see https://github.com/DLR-RM/stable-baselines3/issues/996
            polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)

    def _clamp_ent_coef(self) -> None:
        """Keep a learned temperature within its bounds."""
        if self.log_ent_coef is not None and self.ent_coef_bounds is not None:
            lowest, highest = self.ent_coef_bounds
            self.log_ent_coef.data.clamp_(math.log(max(lowest, 1e-30)), math.log(max(highest, 1e-30)))

    @staticmethod
    def _optimize(optimizer: th.optim.Optimizer, loss: th.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _log_metrics(self, metrics: dict[str, list[th.Tensor]], gradient_steps: int) -> dict[str, np.ndarray]:
        """
        Bring the metrics to the host, all at once, check and log their means.

        :param metrics: for each name one scalar for each gradient step
        :param gradient_steps: how many there were
        :return: for each name the values, one for each gradient step
        :raises ValueError: where one is NaN or infinite
        """
        # A loss may be finite and its gradient not: the critic's next loss shows that, for the actor the next action would
        parameters = self.actor.parameters() if self.actor is not None else []
        weights = sum((parameter.detach().sum() for parameter in parameters), th.zeros((), device=self.device))
        columns = [value.reshape(()) for column in metrics.values() for value in column]
        *values, weight = th.stack([*columns, weights]).cpu().numpy()
        table = np.reshape(values, (len(metrics), gradient_steps))
        for step in np.flatnonzero(~np.isfinite(table).all(axis=0))[:1]:
            bad = [f"{name}={value}" for name, value in zip(metrics, table[:, step], strict=True) if not np.isfinite(value)]
            self._finite_guard.stop(f"{', '.join(bad)} in gradient step {self._n_updates - gradient_steps + step + 1}")
        if not np.isfinite(weight):
            self._finite_guard.stop(f"A weight of the actor is NaN or infinite after gradient step {self._n_updates}")
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        values_of = dict(zip(metrics, table, strict=True))
        for name, row in values_of.items():
            self.logger.record(f"train/{name}", row.mean())
        return values_of

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        self._finite_guard.check_transition(new_obs, reward, dones, infos)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)

    # ------------------------------------------------------------------ learn, save, load

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        if reset_num_timesteps or self._last_obs is None:  # the environments will be reset
            self._end_last_episodes()
        self._finite_guard = FiniteGuard(self)  # the parameters may have been set since the last learn()
        self._finite_guard.remember_statistics()
        result = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        self._finite_guard.check("that the environment's reset() returned", {"observations": self._last_obs})
        if self._rng_state is not None and self._rng_state["seed"] == self.seed and not reset_num_timesteps:
            set_rng_state(self._rng_state, self.action_space, self.device)
        self._rng_state = None
        return result

    def _end_last_episodes(self) -> None:
        """
        Mark episodes that are cut off as truncated, so that no n-step return reaches into the next one;
        SB3 does so when an environment ends an episode, but not when it is reset from outside.
        """
        buffer = self.replay_buffer
        if isinstance(buffer, NStepReplayBuffer) and buffer.size() > 0:
            last = buffer.pos - 1
            buffer.timeouts[last] = np.where(buffer.dones[last], buffer.timeouts[last], 1)
            buffer.dones[last] = 1

    def learn(
        self: SelfMaxEntAlgorithm,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfMaxEntAlgorithm:
        """
        Learn; see :class:`stable_baselines3.common.base_class.BaseAlgorithm`.

        :param total_timesteps: number of environment steps, over all environments
        :param callback: called at every step
        :param log_interval: number of episodes between two logs
        :param tb_log_name: name of the TensorBoard run, the class's name by default
        :param reset_num_timesteps: whether to start counting (and the environment) anew, or to continue
        :param progress_bar: whether to display a progress bar (needs tqdm and rich)
        :return: the trained model
        :raises ValueError: where an observation, a reward or a loss is NaN or infinite
        """
        tb_log_name = tb_log_name or type(self).__name__
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """
        Save the model in a zip file, and with it the state of the random generators if the model has a seed.

        :param path: path of the file, or a file object
        :param exclude: names of attributes to leave out
        :param include: names of attributes to put in that are left out otherwise
        """
        pending = self._rng_state  # of a loaded model that was not trained on
        if pending is None and self.seed is not None:
            self._rng_state = {"seed": self.seed, **get_rng_state(self.action_space, self.device)}
        try:
            super().save(path, exclude, include)
        finally:
            self._rng_state = pending  # this process goes on with its own generators

    def set_random_seed(self, seed: int | None = None) -> None:
        """
        Set the seed of the pseudo-random generators (python, numpy, pytorch, gym, action_space).

        :param seed: the seed; where it is another one than the model's, a loaded model does not go on with its
            saved random streams
        """
        super().set_random_seed(seed)
        if seed != self.seed:
            self._rng_state = None

    def set_parameters(
        self, load_path_or_dict: str | TensorDict, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """
        Load parameters from a file or a dictionary, see :class:`stable_baselines3.common.base_class.BaseAlgorithm`.
        A fixed temperature stays the model's own, also where ``load(path, ent_coef=...)`` changes it.

        :param load_path_or_dict: location of the saved data, or what ``get_parameters()`` returned
        :param exact_match: whether all parameters must be there
        :param device: device on which the code should run
        """
        super().set_parameters(load_path_or_dict, exact_match, device)
        if self.log_ent_coef is None and self.ent_coef_schedule is None:
            self._tell_policy(th.tensor(self._scheduled_ent_coef()))

    def _excluded_save_params(self) -> list[str]:
        names = ["actor", "critic", "critic_target", "batch_norm_stats", "batch_norm_stats_target", "_finite_guard"]
        return super()._excluded_save_params() + names

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts = ["policy", *(["actor.optimizer"] if self.actor is not None else []), "critic.optimizer"]
        if self.ent_coef_optimizer is None:
            return state_dicts, ["ent_coef_tensor"]
        return [*state_dicts, "ent_coef_optimizer"], ["log_ent_coef"]
