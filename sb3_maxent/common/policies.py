"""The base classes of policies and of actors: networks, targets and optimizers are built here, once for all algorithms."""

from typing import Any, ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, get_actor_critic_arch
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from sb3_maxent.common.checks import check_finite, check_number
from sb3_maxent.common.observations import TraceableFeatures


class MaxEntActor(TraceableFeatures, BasePolicy):  # type: ignore[misc]
    """
    Base class of the actors.

    :param observation_space: Observation space
    :param action_space: Action space
    :param net_arch: Network architecture
    :param features_extractor: Network to extract features
    :param features_dim: Number of features
    :param activation_fn: Activation function
    :param normalize_images: Whether to normalize images or not, dividing by 255.0 (True by default)
    """

    features_extractor: BaseFeaturesExtractor

    # Names of the constructor parameters that a subclass adds; it keeps them as attributes of the same names
    own_parameters: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
    ):
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
            squash_output=isinstance(action_space, spaces.Box),
        )
        self.net_arch, self.activation_fn, self.features_dim = net_arch, activation_fn, features_dim

    def _get_constructor_parameters(self) -> dict[str, Any]:
        names = ("net_arch", "features_extractor", "features_dim", "activation_fn", *self.own_parameters)
        return {**super()._get_constructor_parameters(), **{name: getattr(self, name) for name in names}}

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        return self._predict(obs, deterministic)


class MaxEntPolicy(BasePolicy):
    """
    Base class of the policies (actor, critics and target critics).

    A subclass says how its networks are made, in ``make_actor`` and ``make_critic``. A policy for other
    observations only changes ``default_features_extractor_class``.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param net_arch: The specification of the policy and value networks, a list of layer sizes or
        ``dict(pi=[...], qf=[...])`` for networks that differ
    :param activation_fn: Activation function
    :param features_extractor_class: Features extractor to use, the policy's default if ``None``
    :param features_extractor_kwargs: Keyword arguments to pass to the features extractor
    :param normalize_images: Whether to normalize images or not, dividing by 255.0 (True by default)
    :param optimizer_class: The optimizer to use, ``th.optim.Adam`` by default
    :param optimizer_kwargs: Additional keyword arguments, excluding the learning rate, to pass to the optimizer
    :param n_critics: Number of critic networks to create
    :param share_features_extractor: Whether actor and critics share one features extractor,
        which then learns from the actor's loss only
    :raises ValueError: if there is no critic, or nothing that a shared features extractor could learn from
    """

    actor: BaseModel | None
    critic: BaseModel
    critic_target: BaseModel
    ent_coef: th.Tensor

    # Names of the constructor parameters that a subclass adds; it keeps them as attributes of the same names
    own_parameters: ClassVar[tuple[str, ...]] = ()
    # Whether acting depends on the temperature, which the policy then keeps as a buffer ``ent_coef``
    acts_by_ent_coef: ClassVar[bool] = False
    default_features_extractor_class: ClassVar[type[BaseFeaturesExtractor]] = FlattenExtractor

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        n_critics: int = 2,
        share_features_extractor: bool = False,
    ):
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class or self.default_features_extractor_class,
            features_extractor_kwargs,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            # The networks' continuous actions lie in [-1, 1] and are scaled to the bounds of the action space
            squash_output=isinstance(action_space, spaces.Box),
            normalize_images=normalize_images,
        )
        check_number("n_critics", n_critics, 1, integer=True)
        self.net_arch = [256, 256] if net_arch is None else net_arch
        self.activation_fn = activation_fn
        self.n_critics = n_critics
        self.share_features_extractor = share_features_extractor

        actor_arch, critic_arch = get_actor_critic_arch(self.net_arch)
        net_kwargs = {
            "observation_space": observation_space,
            "action_space": action_space,
            "activation_fn": activation_fn,
            "normalize_images": normalize_images,
        }
        self.actor_kwargs: dict[str, Any] = {**net_kwargs, "net_arch": actor_arch}
        self.critic_kwargs: dict[str, Any] = {
            **net_kwargs,
            "net_arch": critic_arch,
            "n_critics": n_critics,
            "share_features_extractor": share_features_extractor,
        }
        # For how many states at once acting is compiled, where it is worth that; 0 for none. The algorithm says it
        self.compiled_for, self.acting_compiles = 0, True
        self._switched: list[nn.Module] | None = None
        self._build(lr_schedule)
        if self.acts_by_ent_coef:
            self.register_buffer("ent_coef", th.ones((), device=self.device))

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> BaseModel | None:
        """
        Make the actor.

        :param features_extractor: Features extractor to use, a new one if ``None``
        :return: The actor, ``None`` where the policy follows from the critics alone
        """
        raise NotImplementedError()

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> BaseModel:
        """
        Make the critics, one module for all of them.

        :param features_extractor: Features extractor to use, a new one if ``None``
        :return: The critics
        """
        raise NotImplementedError()

    def _build(self, lr_schedule: Schedule) -> None:
        # The order is SAC's, so that equal seeds give equal weights
        self.actor = self.make_actor()
        shared = None
        if self.actor is not None:
            self.actor.optimizer = self._make_optimizer(list(self.actor.parameters()), lr_schedule)
            shared = self.actor.features_extractor if self.share_features_extractor else None
        elif self.share_features_extractor:
            raise ValueError(
                "`share_features_extractor` must be False, not True, for a policy without an actor network: a shared "
                "features extractor would learn from the actor's loss only"
            )

        self.critic = self.make_critic(shared)
        # A shared features extractor learns from the actor's loss only
        critic_parameters = [
            parameter
            for name, parameter in self.critic.named_parameters()
            if not (self.share_features_extractor and "features_extractor" in name)
        ]
        # The targets have a features extractor of their own in any case
        self.critic_target = self.make_critic()
        self.critic_target.load_state_dict(self.critic.state_dict())
        self.critic.optimizer = self._make_optimizer(critic_parameters, lr_schedule)
        self.critic_target.set_training_mode(False)

    def _make_optimizer(self, parameters: list[nn.Parameter], lr_schedule: Schedule) -> th.optim.Optimizer:
        kwargs = self.optimizer_kwargs
        if self.optimizer_class in (th.optim.Adam, th.optim.AdamW):
            # The same numbers bit for bit, with one call for all parameters; torch's default on GPUs only
            if not kwargs.keys() & {"foreach", "fused", "differentiable"}:
                kwargs = {**kwargs, "foreach": True}
        return self.optimizer_class(parameters, lr=lr_schedule(1), **kwargs)  # type: ignore[call-arg]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "lr_schedule": self._dummy_schedule,  # not needed for loading the policy alone
            "net_arch": self.net_arch,
            "activation_fn": self.activation_fn,
            "features_extractor_class": self.features_extractor_class,
            "features_extractor_kwargs": self.features_extractor_kwargs,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
            "n_critics": self.n_critics,
            "share_features_extractor": self.share_features_extractor,
            **self._own_values(),
        }

    def _own_values(self) -> dict[str, Any]:
        """The parameters that a subclass adds, by name."""
        return {name: getattr(self, name) for name in self.own_parameters}

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        return self._predict(obs, deterministic=deterministic)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        assert self.actor is not None, "a policy without an actor network says itself how it predicts"
        return self.actor(observation, deterministic)

    def obs_to_tensor(self, observation: np.ndarray | dict[str, np.ndarray]) -> tuple[PyTorchObs, bool]:
        """
        Convert an observation for the networks, see :class:`stable_baselines3.common.policies.BasePolicy`.

        :param observation: one observation or a batch
        :return: the observation as tensors, and whether it was a batch
        :raises ValueError: where it holds NaN or infinity, with the first entry that does
        """
        check_finite("observation", observation, "to act on")
        return super().obs_to_tensor(observation)

    def set_training_mode(self, mode: bool) -> None:
        """
        Put actor and critics in training or evaluation mode (this affects batch norm and dropout).
        The target critics stay in evaluation mode.

        :param mode: Whether it is training mode
        """
        networks = [self.critic] if self.actor is None else [self.actor, self.critic]
        if self._switched is None:
            modules = [module for network in networks for module in network.modules()]
            # A module that decides itself what training means (a frozen batch norm, say) is asked
            self._switched = [] if any(type(m).train is not nn.Module.train for m in modules) else modules
        if not self._switched:
            for network in networks:
                network.set_training_mode(mode)
        # What Module.train() does, at a tenth of its cost: this happens three times for each step of the environment
        for module in self._switched:
            module.__dict__["training"] = mode
        self.training = mode

    def forget_modules(self) -> None:
        """Look anew for the modules of actor and critics, where one was replaced."""
        self._switched = None
