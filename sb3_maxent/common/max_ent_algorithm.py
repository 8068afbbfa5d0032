"""The training loop that all algorithms share."""

import io
import pathlib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

import numpy as np
import torch as th
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule, TensorDict
from stable_baselines3.common.utils import get_parameters_by_name, update_learning_rate
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_maxent.common.checks import check_action_space, check_choice, check_number
from sb3_maxent.common.compiled_step import CompiledStep
from sb3_maxent.common.finite_guard import FiniteGuard
from sb3_maxent.common.gradient_step import ACTOR_NORM, EagerStep, GradientStepHooks, Optimizers, StepResult
from sb3_maxent.common.matmul import Library, Matmul, fastest_matmul, keeps_precision, matmul_by, product_sizes
from sb3_maxent.common.memory import keep_freed_memory
from sb3_maxent.common.policies import MaxEntPolicy
from sb3_maxent.common.rng import get_rng_state, set_rng_state
from sb3_maxent.common.saved_files import algorithm_of, fits, without
from sb3_maxent.common.schedules import as_schedule
from sb3_maxent.common.target_entropy import TargetEntropy
from sb3_maxent.common.temperature import LOGARITHM, NUMBER, OPTIMIZER, Temperature
from sb3_maxent.common.weights import check_tensors, read_tensors

SelfMaxEntAlgorithm = TypeVar("SelfMaxEntAlgorithm", bound="MaxEntAlgorithm")


class MaxEntAlgorithm(GradientStepHooks, OffPolicyAlgorithm):  # type: ignore[misc]
    """
    Base class of the maximum-entropy algorithms. They all regress Q towards ``y = r + (1 - d) * gamma^n * V(s')``
    and differ in V, in the actor's loss and in how Q is read. A subclass says only that, in the hooks of
    :class:`~sb3_maxent.common.gradient_step.GradientStepHooks` and in ``_default_target_entropy``. With SAC's formulas in
    these hooks the loop is ``stable_baselines3.SAC``, bit for bit (tests/test_sac_parity.py).

    Three things go beyond SB3's SAC:

    - ``target_update_interval`` counts gradient steps over the whole training, as its documentation says. (SAC
      counts from zero in each call of ``train()``, so that with ``gradient_steps=1`` it updates every time.)
    - The progress remaining is never below 0. (The last rollout may go on beyond the end of the training. SAC's linear
      schedules then fall below their last value.)
    - A model with a ``seed`` saves the state of its random generators and goes on with them when it is loaded and
      trained with ``reset_num_timesteps=False``. The environment's state is not saved: SB3 resets it on loading.

    :param policy: The policy model to use (MlpPolicy, CnnPolicy, ...)
    :param env: The environment to learn from (if registered in Gym, can be str)
    :param learning_rate: learning rate of all optimizers (networks and temperature);
        it can be a function of the current progress remaining (from 1 to 0)
    :param ent_coef: the temperature: a number; a function of the current progress remaining (from 1 to 0), or ``"lin_X"`` for
        one that falls linearly from X to 0, ``"lin_X_Y"`` from X to Y, ``"lin_X_Y_F"`` in the first share F of the training;
        ``"auto"`` to learn it, ``"auto_0.1"`` to start from 0.1
    :param target_update_interval: update the target networks every so many gradient steps
    :param target_entropy: target entropy when learning the temperature, ``"auto"`` or as in
        :class:`~sb3_maxent.common.target_entropy.TargetEntropy`
    :param ent_coef_bounds: lowest and highest value of a learned temperature, ``None`` for no bounds
    :param ent_coef_learning_rate: learning rate of a learned temperature: a number, a function of the current progress
        remaining (from 1 to 0), ``"lin_X"``, ``"lin_X_Y"`` or ``"lin_X_Y_F"``; ``None`` for ``learning_rate``
    :param compile: whether a gradient step is compiled by ``torch.compile``: several times as fast after some seconds of
        compiling, for the same results up to rounding; see docs/guide/speed.md
    :param matmul: which library multiplies matrices on a CPU: ``"torch"``, the default one; ``"onednn"``, at bfloat16's
        precision on processors that have it in hardware; ``"fastest"``, by measurement the faster one of the two, where it has
        float32's precision. ``None``: ``"fastest"`` with ``compile``, else ``"torch"``.
    :param kwargs: the other parameters, see :class:`~stable_baselines3.common.off_policy_algorithm.OffPolicyAlgorithm`
    :raises ValueError: where a parameter is out of its range, when the model is set up
    """

    policy: MaxEntPolicy
    actor: BaseModel | None  # type: ignore[assignment]

    def __init__(
        self,
        policy: str | type[MaxEntPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        *,
        ent_coef: str | float | Schedule = "auto",
        target_update_interval: int = 1,
        target_entropy: str | float | Schedule = "auto",
        ent_coef_bounds: tuple[float, float] | None = None,
        ent_coef_learning_rate: str | float | Schedule | None = None,
        compile: bool = False,
        matmul: Matmul | None = None,
        **kwargs: Any,
    ):
        self._check_policy_class(policy)
        super().__init__(policy, env, learning_rate, sde_support=False, support_multi_env=True, **kwargs)
        self.ent_coef = ent_coef
        self.target_entropy = target_entropy
        self.target_update_interval = target_update_interval
        self.ent_coef_bounds = ent_coef_bounds
        self.ent_coef_learning_rate = ent_coef_learning_rate
        self.compile = compile
        self.matmul = matmul
        # What "fastest" came out as; saved, so that training goes on with the same rounding
        self._fastest_matmul: Library | None = None
        self._rng_state: dict[str, Any] | None = None
        # What "auto" came out as, to tell it from a number that the user gave when the model is loaded
        self._auto_target_entropy: float | None = None
        # Where an adaptive target entropy stands
        self._adaptive_target: dict[str, Any] = {}

    # ------------------------------------------------------------------ what an algorithm says, beside its hooks

    def _default_target_entropy(self) -> float:
        """
        :return: what ``target_entropy="auto"`` stands for, in nats
        """
        raise NotImplementedError()

    def _policy_parameters(self) -> dict[str, Any]:
        """
        :return: parameters of the algorithm that the policy is made with, beside those of ``policy_kwargs``
        """
        return {}

    def _n_actions_a_transition(self) -> int:
        """
        :return: how many actions of a transition its networks judge at once; the products of matrices have as many rows
        """
        return 1

    def _check_given(self, given: Mapping[str, Any]) -> None:
        """
        :param given: arguments of the constructor, or of ``load()``, by name
        :raises ValueError: for one that means nothing for the action space
        """

    # ------------------------------------------------------------------ the temperature, by SAC's names

    @property
    def log_ent_coef(self) -> th.Tensor | None:
        """Logarithm of a learned temperature, ``None`` for the others."""
        return self.temperature.log_ent_coef

    @property
    def ent_coef_tensor(self) -> th.Tensor:
        """A fixed or scheduled temperature; a learned one has no such attribute, as in SAC."""
        if self.temperature.ent_coef_tensor is None:
            raise AttributeError("`ent_coef_tensor`: the temperature is learned, see `log_ent_coef`")
        return self.temperature.ent_coef_tensor

    @property
    def ent_coef_optimizer(self) -> th.optim.Optimizer | None:
        """The optimizer of a learned temperature, ``None`` for the others."""
        return self.temperature.optimizer

    # ------------------------------------------------------------------ setting up

    @classmethod
    def _check_policy_class(cls, policy: str | type[BasePolicy]) -> None:
        """
        :param policy: name or class of a policy, which may be that of a file
        :raises ValueError: if it is another algorithm's
        """
        own = {*cls.policy_aliases.values()}
        if isinstance(policy, type) and own and not any(fits(policy, each) for each in own):
            names = ", ".join(sorted(each.__name__ for each in own))
            raise ValueError(
                f"{cls.__name__} can't have the policy of {algorithm_of(policy)}, {policy.__name__}: `policy` must be one of "
                f"{names}, or made from one. A saved model is loaded by the class that saved it."
            )

    def _check_parameters(self) -> None:
        """
        :raises ValueError: for the first parameter that is out of its range
        """
        check_action_space(self.action_space)
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
        check_choice("compile", self.compile, (False, True))
        if self.matmul is not None:
            check_choice("matmul", self.matmul, get_args(Matmul))
        if not callable(self.learning_rate):
            check_number("learning_rate", self.learning_rate, 0)

    def _setup_model(self) -> None:
        self._check_parameters()
        keep_freed_memory()
        policy_kwargs, ours = self.policy_kwargs, self._policy_parameters()
        if policy_kwargs.get("use_sde"):
            raise ValueError(
                f"`policy_kwargs['use_sde']` must be False, not True: {type(self).__name__} does not support gSDE"
            )
        if twice := ", ".join(f"`{name}`" for name in policy_kwargs if name in ours):
            raise ValueError(f"`policy_kwargs` must not have {twice}: give it to {type(self).__name__} itself")
        # SB3's SAC writes `use_sde` into the dictionary that it is given
        self.policy_kwargs = {name: value for name, value in {**policy_kwargs, **ours}.items() if name != "use_sde"}
        try:
            super()._setup_model()
        finally:
            self.policy_kwargs = policy_kwargs  # what the user gave stays as it is
        self.actor, self.critic, self.critic_target = self.policy.actor, self.policy.critic, self.policy.critic_target
        # Running mean and variance of batch norm
        self.batch_norm_stats = get_parameters_by_name(self.critic, ["running_"])
        self.batch_norm_stats_target = get_parameters_by_name(self.critic_target, ["running_"])
        self._take_auto_target_entropy(again=True)
        self.entropy_target = TargetEntropy(self.target_entropy, self.action_space, self._adaptive_target, self.device)
        self.target_entropy = self.entropy_target.setting
        self._setup_temperature()
        if not self.temperature.is_learned and self.target_entropy != self._auto_target_entropy:
            warnings.warn(
                f"`target_entropy={self.target_entropy!r}` does nothing, since `ent_coef={self.ent_coef!r}` is not learned. "
                "It is with `ent_coef='auto'`.",
                stacklevel=2,
            )
        self._finite_guard = FiniteGuard(self)
        self._take_step: EagerStep = CompiledStep(self) if self.compile else EagerStep(self)

    def _take_auto_target_entropy(self, again: bool = False) -> None:
        """
        Let ``target_entropy="auto"`` be the number that it stands for.

        :param again: whether that is also done where it is the number that it stood for
        """
        if self.target_entropy == "auto" or (again and self.target_entropy == self._auto_target_entropy is not None):
            self.target_entropy = self._auto_target_entropy = float(self._default_target_entropy())

    def _setup_temperature(self) -> None:
        """Make the temperature that ``ent_coef`` says."""
        if self.ent_coef_learning_rate is not None and not Temperature.learns(self.ent_coef):
            raise ValueError(
                "`ent_coef_learning_rate` must be None unless the temperature is learned, "
                f"not {self.ent_coef_learning_rate!r} for `ent_coef={self.ent_coef!r}`"
            )
        self.temperature = Temperature(self.ent_coef, self.ent_coef_bounds, self._temperature_rate(1), self.device)
        self.ent_coef_bounds = self.temperature.bounds  # from a list, in yml and zip files
        if not self.temperature.is_learned and self.temperature.schedule is None:
            self.ent_coef = float(self.ent_coef)  # type: ignore[arg-type]  # a yml file makes a text of 1e-3
        self.temperature.follow(self.ent_coef, self._current_progress_remaining)
        self.temperature.tell(self.policy)

    def _temperature_rate(self, progress_remaining: float) -> float:
        """
        :param progress_remaining: share of the training that remains, from 1 to 0
        :return: learning rate of a learned temperature
        """
        if self.ent_coef_learning_rate is None:
            return self.lr_schedule(progress_remaining)
        rate = as_schedule("ent_coef_learning_rate", self.ent_coef_learning_rate, 0)(progress_remaining)
        check_number(f"ent_coef_learning_rate` at `progress_remaining={progress_remaining:g}", rate, 0)
        return rate

    def _take_ent_coef(self) -> None:
        """Make the temperature anew where ``ent_coef`` was set to another kind; bounds and rate are those of a learned one."""
        if self.temperature.is_that_of(self.ent_coef):
            return
        if not Temperature.learns(self.ent_coef):
            self.ent_coef_bounds = self.ent_coef_learning_rate = None
        self._setup_temperature()
        self._finite_guard.parameters = None  # the copy has the temperature of before

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
        self._take_ent_coef()
        optimizers = self._optimizers()
        self._update_learning_rate([optimizer for optimizer in optimizers if optimizer is not None])
        if self.temperature.optimizer is not None and self.ent_coef_learning_rate is not None:
            update_learning_rate(self.temperature.optimizer, self._temperature_rate(self._current_progress_remaining))
        self.temperature.follow(self.ent_coef, self._current_progress_remaining)
        self._take_auto_target_entropy()
        self.entropy_target.follow(self.target_entropy, self._current_progress_remaining)
        self._finite_guard.remember_parameters()

        results = []
        with matmul_by(self._matmul_library(batch_size)), self._take_step.ready(optimizers) as take_step:
            for _ in range(gradient_steps):
                batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]
                results.append(take_step(batch, self._n_updates % self.target_update_interval == 0))
                self._n_updates += 1
        self._compile_acting()
        metrics = self._log_metrics(results)
        if "target_entropy" in metrics:
            self.entropy_target.observe(metrics["entropy"], metrics["target_entropy"])

    def _compile_acting(self) -> None:
        """From the first gradient step on; a loaded model that trains on acts in the same way from its first step on."""
        self.policy.compiled_for = self.n_envs if self.compile and self._n_updates > 0 else 0

    def _optimizers(self) -> Optimizers:
        """The optimizers of the critics, of the actor and of the temperature."""
        actor_optimizer = None if self.actor is None else self.actor.optimizer
        return self.critic.optimizer, actor_optimizer, self.temperature.optimizer

    def _matmul_library(self, batch_size: int) -> Library:
        """
        :param batch_size: size of each batch
        :return: the library that multiplies matrices, ``"torch"`` or ``"onednn"``
        """
        asked = self.matmul or ("fastest" if self.compile else "torch")
        if self.device.type != "cpu":
            return "torch"
        if asked != "fastest":
            return asked
        if self._fastest_matmul is None:
            n_rows = batch_size * self._n_actions_a_transition()
            self._fastest_matmul = fastest_matmul(product_sizes([self.policy], n_rows))
        if self._fastest_matmul == "onednn" and not keeps_precision():
            return "torch"  # saved on another processor
        return self._fastest_matmul

    def _log_metrics(self, results: list[StepResult]) -> dict[str, np.ndarray]:
        """
        Bring the metrics to the host, all at once, check and log their means.

        :param results: of each gradient step
        :return: for each name the values, one for each gradient step
        :raises ValueError: where one is NaN or infinite
        """
        names = results[0][0] if results else ()
        table = th.stack([values for _, values in results]).cpu().numpy().T if results else np.zeros((0, 0))
        for step in np.flatnonzero(~np.isfinite(table).all(axis=0))[:1]:
            bad = {name: value for name, value in zip(names, table[:, step], strict=True) if not np.isfinite(value)}
            number = self._n_updates - len(results) + step + 1
            if bad.keys() == {ACTOR_NORM}:
                self._finite_guard.stop(f"`{self._finite_guard.not_finite()}` is NaN or infinite after gradient step {number}")
            what = ", ".join(f"{name}={value}" for name, value in bad.items() if name != ACTOR_NORM)
            self._finite_guard.stop(f"{what} in gradient step {number}")
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, mean in zip(names, table.mean(axis=1).tolist(), strict=True):
            if name != ACTOR_NORM:
                self.logger.record(f"train/{name}", mean)
        return dict(zip(names, table, strict=True))

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

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        # The last rollout may go on beyond the end, where a linear schedule would fall below its last value
        super()._update_current_progress_remaining(min(num_timesteps, total_timesteps), total_timesteps)

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
        self.policy.forget_modules()
        self._compile_acting()
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
        SB3 does so when an environment ends an episode, but not when it is reset from outside. HER does the same for goals.
        """
        buffer = self.replay_buffer
        if isinstance(buffer, HerReplayBuffer):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The last trajectory in the replay buffer will be truncated")
                buffer.truncate_last_trajectory()
        if isinstance(buffer, ReplayBuffer) and buffer.optimize_memory_usage and buffer.size() > 0:
            buffer.dones[buffer.pos - 1] = 1  # the next observation will be another episode's first; it has no timeouts
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
        self._take_ent_coef()  # else the file's parameter and its tensors would be of two kinds
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

    @classmethod
    def load(  # type: ignore[override]
        cls: type[SelfMaxEntAlgorithm],
        path: str | pathlib.Path | io.BufferedIOBase,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> SelfMaxEntAlgorithm:
        """
        Load a model, see :class:`stable_baselines3.common.base_class.BaseAlgorithm`. With an ``ent_coef`` of another kind (a
        number for a learned temperature, or the other way round) the temperature starts anew.

        :param path: path of the file, or a file object
        :param env: environment to go on in, ``None`` for none
        :param device: device on which the code should run
        :param custom_objects: objects to put in the place of saved ones, by name
        :param print_system_info: whether to print the system that saved the model, and this one
        :param force_reset: whether the environment is reset before training goes on
        :param kwargs: parameters to change
        :return: the model
        :raises ValueError: if another algorithm saved the file
        """
        load = super().load
        if "ent_coef" not in kwargs:
            model = load(path, env, device, custom_objects, print_system_info, force_reset, **kwargs)
            model._check_given(kwargs)
            return model
        learns = Temperature.learns(kwargs["ent_coef"])
        if not learns:
            for name in ("ent_coef_bounds", "ent_coef_learning_rate"):  # those of the file are of a learned one
                kwargs.setdefault(name, None)
        path = without(path, [NUMBER], None) if learns else without(path, [NUMBER, LOGARITHM], OPTIMIZER)
        model = load(path, env, device, custom_objects, print_system_info, force_reset, **kwargs)
        model.temperature.tell(model.policy)
        model._check_given(kwargs)
        return model

    def load_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase, truncate_last_traj: bool = True) -> None:
        """
        Load a replay buffer, see :class:`stable_baselines3.common.off_policy_algorithm.OffPolicyAlgorithm`.

        :param path: path of the file, or a file object
        :param truncate_last_traj: whether the last episode of a ``HerReplayBuffer`` ended there
        :raises ValueError: if its spaces, or its number of environments, are not the model's; the model keeps its own then
        """
        before = self.replay_buffer
        try:
            super().load_replay_buffer(path, truncate_last_traj)
            for name in ("observation_space", "action_space", "n_envs"):
                own, loaded = getattr(self, name), getattr(self.replay_buffer, name)
                if own != loaded:
                    raise ValueError(f"The replay buffer in {path} has `{name}` {loaded}, the model has {own}")
        except Exception:
            self.replay_buffer = before
            raise

    def set_parameters(
        self, load_path_or_dict: str | TensorDict, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """
        Load parameters from a file or a dictionary, see :class:`stable_baselines3.common.base_class.BaseAlgorithm`.
        A fixed temperature stays the model's own, also where ``load(path, ent_coef=...)`` changes it, and so does a learned
        one where the parameters are those of a model with a fixed one.

        :param load_path_or_dict: location of the saved data, or what ``get_parameters()`` returned
        :param exact_match: whether all parameters must be there
        :param device: device on which the code should run
        """
        given = load_path_or_dict
        params: dict[str, Any] = dict(given if isinstance(given, dict) else load_from_zip_file(given, device=device)[1])
        saved = params.pop(OPTIMIZER, None)
        if self.temperature.optimizer is not None:  # its own, where a temperature of another kind was saved
            params[OPTIMIZER] = self.temperature.optimizer.state_dict() if saved is None else saved
        super().set_parameters(params, exact_match, device)
        if not self.temperature.is_learned and self.temperature.schedule is None:
            self.temperature.follow(self.ent_coef, self._current_progress_remaining)
            self.temperature.tell(self.policy)

    def load_weights(self, path: str | pathlib.Path | io.BufferedIOBase) -> None:
        """
        Take the weights of a file that ``save()`` wrote, without executing anything of it: for files of others, see
        docs/guide/security.md. Networks, and a learned temperature, become those of the file. Optimizers, a fixed or
        scheduled temperature and all other parameters stay the model's own. Where the file does not fit, nothing changes.

        :param path: path of the file, or a file object
        :raises ValueError: if the file holds something else than tensors, or tensors of other names, shapes or types
        """
        own = {name: state for name, state in self.get_parameters().items() if not name.endswith("optimizer")}
        variables = ["pytorch_variables"] if self.temperature.is_learned else []
        tensors = read_tensors(path, [*own, *variables], self.device)
        for name, state in own.items():
            check_tensors(f"{name}.pth of {path}", tensors[name], state)
        log_ent_coef = self.log_ent_coef
        if log_ent_coef is not None:
            saved = {name: value for name, value in tensors.pop("pytorch_variables").items() if name == "log_ent_coef"}
            if not saved:
                raise ValueError(f"{path} has no learned temperature: make the model with a number as `ent_coef`")
            check_tensors(f"pytorch_variables.pth of {path}", saved, {"log_ent_coef": log_ent_coef})
            log_ent_coef.data.copy_(saved["log_ent_coef"])
        self.set_parameters(dict(tensors), exact_match=False, device=self.device)  # type: ignore[arg-type]  # no optimizers

    def _excluded_save_params(self) -> list[str]:
        # The networks are in the policy, the temperature's tensors are saved by SAC's names, the rest is made anew
        names = [
            "actor",
            "critic",
            "critic_target",
            "batch_norm_stats",
            "batch_norm_stats_target",
            "temperature",
            "entropy_target",
        ]
        return [*super()._excluded_save_params(), *names, "_finite_guard", "_take_step"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, tensors = self.temperature.saved()
        actor = ["actor.optimizer"] if self.actor is not None else []
        return ["policy", *actor, "critic.optimizer", *state_dicts], tensors
