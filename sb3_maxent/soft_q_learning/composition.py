"""New models from trained ones: composition of their Q-functions, and fine-tuning on another task."""

import copy
import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.type_aliases import GymEnv, PyTorchObs, Schedule
from stable_baselines3.common.utils import obs_as_tensor
from torch import nn

from sb3_maxent.common.checks import check_number
from sb3_maxent.common.gradient_step import OptimizerUpdate
from sb3_maxent.soft_q_learning.policies import SoftQPolicy
from sb3_maxent.soft_q_learning.soft_q_learning import SoftQLearning


class ComposedCritic(BaseModel):
    """
    Weighted sum of critics, ``Q(s, a) = sum_i w_i min_k Q_ik(s, a)``, in the place of a single critic.

    :param observation_space: Observation space
    :param action_space: Action space
    :param critics: what is summed
    :param weights: one for each
    :param ent_coefs: the temperature of each, by which twin critics for ``MultiDiscrete`` actions find their minimum
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        critics: list[BaseModel],
        weights: list[float],
        ent_coefs: list[float],
    ):
        super().__init__(observation_space, action_space)
        self.critics, self.weights, self.ent_coefs = nn.ModuleList(critics), weights, ent_coefs
        if not isinstance(action_space, spaces.Box):
            self.heads: Any = critics[0].heads

    def _sum(self, values: list[th.Tensor]) -> th.Tensor:
        return th.stack([weight * value for weight, value in zip(self.weights, values, strict=True)]).sum(dim=0)

    def forward(self, obs: PyTorchObs, *actions: th.Tensor) -> tuple[th.Tensor]:
        """
        :param obs: batch of B observations
        :param actions: ``Box``: (B, d) actions
        :return: (B, 1) for ``Box``, (B, A) for discrete actions
        """
        stacked = [th.stack(critic(obs, *actions)) for critic in self.critics]
        if actions:
            return (self._sum([values.amin(dim=0) for values in stacked]),)
        heads = self.heads
        minima = [
            heads.min_of_critics(values, lambda values=values, alpha=alpha: heads.soft_maximum(values, alpha))
            for values, alpha in zip(stacked, self.ent_coefs, strict=True)
        ]
        return (self._sum(minima),)

    def particle_features(self, obs: PyTorchObs) -> list[th.Tensor]:
        """
        :param obs: batch of B observations
        :return: the features of each critic
        """
        return [critic.particle_features(obs) for critic in self.critics]  # type: ignore[operator]

    def q_particles(self, features: list[th.Tensor], actions: th.Tensor) -> th.Tensor:
        """
        :param features: of :meth:`particle_features`
        :param actions: (B, N, d) actions in [-1, 1]
        :return: (B, N)
        """
        pairs = zip(self.critics, features, strict=True)
        return self._sum([critic.q_particles(feature, actions) for critic, feature in pairs])  # type: ignore[operator]

    def q_gradient(self, features: list[th.Tensor], actions: th.Tensor) -> th.Tensor:
        """
        :param features: of :meth:`particle_features`
        :param actions: (B, N, d) actions in [-1, 1]
        :return: (B, N, d) gradient of :meth:`q_particles` with respect to the actions
        """
        pairs = zip(self.critics, features, strict=True)
        return self._sum([critic.q_gradient(feature, actions) for critic, feature in pairs])  # type: ignore[operator]


class ComposedPolicy(SoftQPolicy):
    """
    Policy class of a composed model.

    :param observation_space: Observation space
    :param action_space: Action space
    :param lr_schedule: Learning rate schedule (could be constant)
    :param components: class, constructor arguments and temperature of the policies whose critics are summed
    :param weights: one for each
    :param kwargs: The other parameters (of the sampling network), see :class:`SoftQPolicy`
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *args: Any,
        components: list[dict[str, Any]],
        weights: list[float],
        **kwargs: Any,
    ):
        self.components, self.weights = components, weights
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)

    def make_critic(self, features_extractor: Any = None) -> ComposedCritic:  # type: ignore[override]
        critics = [component["policy_class"](**component["kwargs"]).critic for component in self.components]
        ent_coefs = [component["ent_coef"] for component in self.components]
        return ComposedCritic(self.observation_space, self.action_space, critics, self.weights, ent_coefs).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "components": self.components, "weights": self.weights}


def _new_model(like: SoftQLearning, policy: type[SoftQPolicy], env: GymEnv | str | None, **kwargs: Any) -> SoftQLearning:
    """
    A new model with the parameters of another one, where ``kwargs`` does not say otherwise.

    :raises ValueError: without an environment, or with one that has other spaces
    """
    renamed = {"stats_window_size": "_stats_window_size"}
    names = [name for name in inspect.signature(SoftQLearning.__init__).parameters if name not in ("self", "policy", "env")]
    arguments = {name: getattr(like, renamed.get(name, name)) for name in names if name != "_init_setup_model"}
    arguments |= {name: copy.deepcopy(arguments[name]) for name in ("action_noise", "policy_kwargs")}
    arguments["replay_buffer_kwargs"] = dict(like.replay_buffer_kwargs)
    with_n_steps = like.replay_buffer_class is NStepReplayBuffer and like.n_steps > 1
    if with_n_steps or like.replay_buffer_class in (ReplayBuffer, DictReplayBuffer):
        # What SB3 chose; with another n_steps or gamma it chooses anew
        arguments["replay_buffer_class"] = None
    if with_n_steps:
        for name in ("n_steps", "gamma"):
            del arguments["replay_buffer_kwargs"][name]
    if arguments["target_entropy"] == like._auto_target_entropy:
        arguments["target_entropy"] = "auto"
    env = like.get_env() if env is None else env
    if env is None:
        raise ValueError("`env` must be an environment, not None, for models that were loaded without theirs")
    model = SoftQLearning(policy, env, **{**arguments, **kwargs})
    for name in ("observation_space", "action_space"):
        if getattr(model, name) != getattr(like, name):
            raise ValueError(f"`env` must have the models' {name}, {getattr(like, name)}, not {getattr(model, name)}")
    return model


def fine_tune(model: SoftQLearning, env: GymEnv | str, **kwargs: Any) -> SoftQLearning:
    """
    A model that starts on another task with what a trained one knows (Section 5.2 of https://arxiv.org/abs/1702.08165):
    a copy of its networks, with fresh optimizers and an empty replay buffer. (To go on with the same task,
    ``SoftQLearning.load`` and ``learn(reset_num_timesteps=False)`` keep all of that.) The first ``learning_starts`` actions
    are random, as in any new model, and a learned temperature starts anew: both are parameters.

    :param model: trained model, which stays as it is
    :param env: the environment to learn from, with the same spaces (and the same ``VecNormalize``, if the model has one)
    :param kwargs: parameters that shall differ from the model's
    :return: the new model; call ``learn()``
    :raises ValueError: if the spaces differ
    """
    tuned = _new_model(model, type(model.policy), env, **kwargs)
    ent_coef = tuned.policy.ent_coef.clone()
    tuned.policy.load_state_dict(model.policy.state_dict())
    tuned.policy.ent_coef.copy_(ent_coef)
    tuned.highest_return.copy_(model.highest_return)  # what its Q has learned is not cut off
    return tuned


def compose(
    models: Sequence[SoftQLearning],
    weights: Sequence[float] | None = None,
    env: GymEnv | str | None = None,
    observations: np.ndarray | dict[str, np.ndarray] | None = None,
    gradient_steps: int = 5000,
    **kwargs: Any,
) -> SoftQLearning:
    """
    A model whose Q is a weighted sum of trained models' Qs (https://arxiv.org/abs/1803.06773, Section IV): with equal weights
    that sum to 1 its policy approximates the optimal one for the mean of their rewards, without interaction. For discrete
    actions that is all; for ``Box`` actions its sampling network is trained on states that the models have seen.
    The result is a model like any other: it predicts, saves, loads, and may go on learning.

    :param models: trained models with the same spaces, which stay as they are. Models whose environment had a
        ``VecNormalize`` must still have it, and one that they share: their networks know observations in its units.
    :param weights: any number for each (a negative one avoids what a model seeks); 1 / number of models if ``None``
    :param env: environment of the new model, with the same spaces; that of the first model if ``None``
    :param observations: (S, ...) states to train the sampling network on, as the models see them (normalized, if they are);
        those in the models' replay buffers if ``None``
    :param gradient_steps: of the sampling network
    :param kwargs: parameters that shall differ from the first model's; ``ent_coef`` is needed where the temperatures differ
    :return: the new model
    :raises ValueError: if the models don't fit together, or there are no states to train on
    """
    models = list(models)
    if not models or not all(isinstance(model, SoftQLearning) for model in models):
        raise ValueError(f"`models` must be SoftQLearning models, at least one, not {models!r}")
    first = models[0]
    for model in models[1:]:
        if (model.observation_space, model.action_space) != (first.observation_space, first.action_space):
            raise ValueError(
                f"`models` must have the same spaces, not {first.observation_space}, {first.action_space} and "
                f"{model.observation_space}, {model.action_space}"
            )
    weights = [1 / len(models)] * len(models) if weights is None else [float(weight) for weight in weights]
    if len(weights) != len(models):
        raise ValueError(f"`weights` must be {len(models)} numbers, one for each model, not {weights!r}")
    for index, weight in enumerate(weights):
        check_number(f"weights[{index}]", weight)
    check_number("gradient_steps", gradient_steps, 0, integer=True)
    normalizers = {id(model.get_vec_normalize_env()) for model in models}
    if len(normalizers) > 1:
        raise ValueError("`models` must share one VecNormalize (or have none): their networks see observations in other units")

    ent_coefs = [model.policy.ent_coef.item() for model in models]
    if "ent_coef" not in kwargs and not np.allclose(ent_coefs, ent_coefs[0], rtol=1e-4):
        raise ValueError(f"`ent_coef` must be given for models whose temperatures differ: {ent_coefs}")
    if "ent_coef" not in kwargs and first.temperature.schedule is not None and ent_coefs[0] == 0:
        raise ValueError("`ent_coef` must be given for models whose temperature has fallen to 0")
    components = [
        {"policy_class": type(model.policy), "kwargs": model.policy._get_constructor_parameters(), "ent_coef": ent_coef}
        for model, ent_coef in zip(models, ent_coefs, strict=True)
    ]
    policy_kwargs = {
        "features_extractor_class": first.policy.features_extractor_class,
        **first.policy_kwargs,
        **kwargs.get("policy_kwargs", {}),
        "components": components,
        "weights": weights,
    }
    kwargs = {"ent_coef": ent_coefs[0], "ent_coef_bounds": None, **kwargs, "policy_kwargs": policy_kwargs}
    composed = _new_model(first, ComposedPolicy, env, **kwargs)
    for critic in (composed.critic, composed.critic_target):
        for component, model in zip(critic.critics, models, strict=True):
            component.load_state_dict(model.critic.state_dict())
    composed.highest_return.fill_(math.inf)  # a sum with any weights has no bound that is known
    if composed.policy.actor is not None:
        _train_sampler(composed, models, observations, gradient_steps)
    return composed


def _train_sampler(
    composed: SoftQLearning,
    models: list[SoftQLearning],
    observations: np.ndarray | dict[str, np.ndarray] | None,
    gradient_steps: int,
) -> None:
    """Train the sampling network towards exp(Q / alpha) of the given Q, on states of each model in turn."""
    buffers = [(model.replay_buffer, model.get_vec_normalize_env()) for model in models]
    if observations is None and any(buffer is None or buffer.size() == 0 for buffer, _ in buffers):
        raise ValueError("`observations` must be states to train on, not None, for models with an empty replay buffer")
    if observations is not None:
        _check_observations(observations, composed.observation_space)
    assert composed.policy.actor is not None
    update = OptimizerUpdate(composed.policy.actor.optimizer)
    # The critics are what they were: their batch norm neither uses nor gathers statistics of these batches
    composed.policy.set_training_mode(False)
    composed.policy.actor.set_training_mode(True)
    for step in range(gradient_steps):
        if observations is None:
            buffer, normalizer = buffers[step % len(buffers)]
            batch = buffer.sample(composed.batch_size, env=normalizer).observations  # type: ignore[union-attr]
        elif isinstance(observations, dict):
            rows = np.random.randint(len(next(iter(observations.values()))), size=composed.batch_size)
            batch = obs_as_tensor({key: value[rows] for key, value in observations.items()}, composed.device)
        else:
            rows = np.random.randint(len(observations), size=composed.batch_size)
            batch = obs_as_tensor(observations[rows], composed.device)
        loss, _ = composed._stein_loss(batch, composed.policy.ent_coef)
        update.apply(th.autograd.grad(loss, update.parameters, allow_unused=True))
    composed.policy.set_training_mode(False)


def _check_observations(observations: np.ndarray | dict[str, np.ndarray], space: spaces.Space) -> None:
    """
    :param observations: (S, ...) states, or a dictionary of these
    :param space: what they are of
    :raises ValueError: if they are of another shape, or none
    """
    arrays = observations if isinstance(space, spaces.Dict) else {"": observations}
    parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    if not isinstance(arrays, dict) or arrays.keys() != parts.keys():
        raise ValueError(f"`observations` must be states of {space}, not {observations!r}")
    for key, part in parts.items():
        shape = np.asarray(arrays[key]).shape
        # Replay buffers hold Discrete observations as (S, 1)
        if len(shape) == 0 or shape[0] == 0 or shape[1:] not in (part.shape, part.shape or (1,)):
            name = f"observations[{key!r}]" if key else "observations"
            raise ValueError(f"`{name}` must have the shape (S, *{part.shape}) with S > 0, not {shape}")
