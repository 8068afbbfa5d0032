"""
What a policy does, found by looking at it: episodes, the actions that it draws in a state, the Q of its critics there, and
entropies.

For all that has ``predict``, ``observation_space`` and ``action_space``: the algorithms of this package, of SB3 and of
contrib. Actions are scaled to [-1, 1], the units in which SB3's critics take them and in which entropies count. A state is
one observation as the model sees it, so normalized where there is a ``VecNormalize``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from numpy.typing import ArrayLike
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.type_aliases import PolicyPredictor

from sb3_maxent.reference import histogram_entropy, optimal_entropy


@dataclass(frozen=True)
class Episode:
    """
    One episode of T steps.

    :param observations: (T + 1, ...), from the first to the last
    :param actions: (T, ...), as the environment took them
    :param rewards: (T,)
    :param info: of the last step
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    info: dict[str, Any]

    @cached_property
    def blocked(self) -> bool:
        """Whether a step left the observation as it was, as a wall of MultiGoal does."""
        changes = self.observations[1:] != self.observations[:-1]
        return not changes.reshape(len(changes), -1).any(axis=1).all()


def play(model: PolicyPredictor, env: gym.Env, seed: int | None = None) -> Episode:
    """
    Play one episode with sampled actions.

    :param model: what acts
    :param env: a Gymnasium environment, not a ``VecEnv``
    :param seed: seed of the environment, ``None`` to go on with its random numbers
    :return: the episode
    :raises TypeError: for another kind of environment
    """
    if not isinstance(env, gym.Env):
        raise TypeError(f"`env` must be a Gymnasium environment, not {type(env).__name__}")
    observation, info = env.reset(seed=seed)
    observations, actions, rewards = [observation], [], []
    done = False
    while not done:
        action, _ = model.predict(observation, deterministic=False)
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(float(reward))
        done = terminated or truncated
    return Episode(np.stack(observations), np.stack(actions), np.array(rewards), info)


def sample_actions(model: PolicyPredictor, state: ArrayLike, n_actions: int) -> np.ndarray:
    """
    Draw actions in one state.

    :param model: what acts
    :param state: one observation
    :param n_actions: how many, at least 1
    :return: (n_actions, d) in [-1, 1]
    :raises ValueError: for a state of another shape, or actions that are not from a bounded ``Box`` with one axis
    """
    if n_actions < 1:
        raise ValueError(f"`n_actions` must be at least 1, not {n_actions!r}")
    space = _action_space(model)
    actions, _ = model.predict(_repeated(model, state, n_actions), deterministic=False)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    return np.clip(2 * (actions - low) / (high - low) - 1, -1, 1)


def q_function(model: PolicyPredictor, state: ArrayLike) -> Callable[[np.ndarray], np.ndarray]:
    """
    Q in one state, as a function of the action: the smallest of the critics' values, or the mean where critics return
    quantiles (TQC).

    :param model: one that has critics Q(s, a), as MixtureSAC, S2AC, SoftQLearning, SAC, TQC and TD3 have
    :param state: one observation
    :return: function from actions (M, d) in [-1, 1] to values (M,)
    :raises TypeError: for a model without such critics
    :raises ValueError: for a state of another shape, or actions that are not from a bounded ``Box`` with one axis
    """
    _action_space(model)
    if not has_q_function(model):
        raise TypeError(
            "`model` must have critics Q(s, a), as MixtureSAC, S2AC, SoftQLearning, SAC and TQC have, which "
            f"{_name(model)} has not"
        )
    _repeated(model, state, 1)  # an error now, not at the first call

    def q_values(actions: np.ndarray) -> np.ndarray:
        policy: Any = model.policy  # type: ignore[attr-defined]
        policy.set_training_mode(False)
        observations, _ = policy.obs_to_tensor(_repeated(model, state, len(actions)))
        with th.no_grad():
            values = policy.critic(observations, th.as_tensor(actions, dtype=th.float32, device=policy.device))
        # TQC: (M, critics, quantiles); the others: (M, 1) for each critic
        q = values.mean(dim=(1, 2)) if isinstance(values, th.Tensor) else th.cat(values, dim=1).amin(dim=1)
        return q.double().cpu().numpy()

    return q_values


def has_q_function(model: PolicyPredictor) -> bool:
    """
    :param model: any
    :return: whether it has critics Q(s, a)
    """
    # Not any `critic`: RecurrentPPO's is a layer in front of its state value
    return isinstance(getattr(getattr(model, "policy", None), "critic", None), BaseModel)


def current_ent_coef(model: PolicyPredictor) -> float:
    """
    :param model: one with a temperature
    :return: the temperature that it has now, learned or not
    :raises TypeError: if it has none
    """
    logarithm = getattr(model, "log_ent_coef", None)
    ent_coef = getattr(model, "ent_coef_tensor", None) if logarithm is None else logarithm.exp()
    if ent_coef is None:
        raise TypeError(f"`model` must have a temperature, which {_name(model)} has not")
    return float(ent_coef.detach())


def current_target_entropy(model: PolicyPredictor) -> float:
    """
    :param model: one with a learned temperature
    :return: the entropy that it aims at now, in nats; of a schedule in a loaded model, that of its start
    :raises TypeError: if it has none
    """
    scheduled = getattr(model, "entropy_target", None)
    target = getattr(model, "target_entropy", None) if scheduled is None else scheduled.value.item()
    if target is None:
        raise TypeError(f"`model` must have a target entropy, which {_name(model)} has not")
    return float(target)


def entropy_of_actions(model: PolicyPredictor, state: ArrayLike, n_actions: int = 10_000) -> float:
    """
    Entropy of the actions that a policy draws in one state, by their histogram, see
    :func:`~sb3_maxent.reference.histogram_entropy` for its error.

    :param model: what acts
    :param state: one observation
    :param n_actions: how many to draw
    :return: nats, at most d log 2 (the uniform policy's)
    :raises ValueError: as :func:`sample_actions`
    """
    return histogram_entropy(sample_actions(model, state, n_actions))


def entropy_of_q(model: PolicyPredictor, state: ArrayLike, ent_coef: float | None = None) -> float:
    """
    Entropy of exp(Q / alpha) in one state, by quadrature: what the policy that is best for the learned Q has.

    :param model: one that has critics, see :func:`q_function`
    :param state: one observation
    :param ent_coef: the temperature alpha, in (0, inf); the model's own if ``None``
    :return: nats, at most d log 2
    :raises TypeError: for a model without critics, or without a temperature if none is given
    :raises ValueError: as :func:`q_function`
    """
    q_values = q_function(model, state)
    return optimal_entropy(q_values, current_ent_coef(model) if ent_coef is None else ent_coef, action_dim(model))


def action_dim(model: PolicyPredictor) -> int:
    """
    :param model: what acts
    :return: d, the number of dimensions of its actions
    :raises ValueError: if its actions are not from a bounded ``Box`` with one axis
    """
    return _action_space(model).shape[0]


def _action_space(model: Any) -> spaces.Box:
    space = model.action_space
    if not (isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded()):
        raise ValueError(f"`model` must have actions from a bounded Box with one axis, not from {space}")
    return space


def _repeated(model: Any, state: ArrayLike, n: int) -> np.ndarray:
    """The state n times, (n, ...)."""
    space = model.observation_space
    if space.shape is None:
        raise ValueError(f"`model` must have observations that are arrays, not from {space}")
    array = np.asarray(state, dtype=space.dtype)
    if array.shape != space.shape:
        raise ValueError(f"`state` must have the shape {space.shape} of one observation, not {array.shape}")
    return np.repeat(array[None], n, axis=0)


def _name(model: Any) -> str:
    return type(model).__name__
