"""Environments with sb3_contrib's method ``action_masks()``, through our wrapper."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from sb3_contrib import MaskablePPO
from sb3_contrib.common.envs import (
    InvalidActionEnvDiscrete,
    InvalidActionEnvMultiBinary,
    InvalidActionEnvMultiDiscrete,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize
from toys import SMALL, Toy

from sb3_maxent import DiscreteSAC, SoftQLearning
from sb3_maxent.envs import ActionMaskWrapper

CONTRIB: dict[str, Any] = {
    "Discrete": lambda: InvalidActionEnvDiscrete(dim=20, n_invalid_actions=10),
    "MultiDiscrete": lambda: InvalidActionEnvMultiDiscrete(dims=[3, 4], n_invalid_actions=2),
    "MultiBinary": lambda: InvalidActionEnvMultiBinary(dims=4, n_invalid_actions=2),
}
KWARGS = {"policy_kwargs": {"net_arch": [16], "action_mask_key": "action_mask"}, **SMALL}


class Strict(gym.Wrapper):
    """An action that is not allowed is an error."""

    def step(self, action):
        mask = np.asarray(self.env.get_wrapper_attr("action_masks")())
        nvec = getattr(self.action_space, "nvec", [2] * np.size(action) if np.ndim(action) else [mask.size])
        assert mask[np.atleast_1d(action).astype(int) + np.cumsum([0, *nvec[:-1]])].all(), (action, mask)
        return self.env.step(action)


class Continuous(Toy):
    """Continuous observations that are not normalized, and a mask of one action."""

    def __init__(self, start=2):
        super().__init__(spaces.Box(-100, 100, (3,)), spaces.Discrete(4, start=start))

    def action_masks(self):
        return [action == 1 for action in range(4)]


@pytest.mark.parametrize(
    ("kind", "vec_env_cls", "algorithm"),
    [(kind, DummyVecEnv, algorithm) for kind in CONTRIB for algorithm in (DiscreteSAC, SoftQLearning)]
    + [("MultiDiscrete", SubprocVecEnv, DiscreteSAC)],
)
def test_contribs_environments(kind, vec_env_cls, algorithm):
    env = make_vec_env(lambda: ActionMaskWrapper(Strict(CONTRIB[kind]())), n_envs=2, vec_env_cls=vec_env_cls, seed=0)
    model = algorithm("MultiInputPolicy", env, exploration_final_eps=0.3, **KWARGS).learn(120)
    for deterministic in (False, True):
        mean, _ = evaluate_policy(model, env, n_eval_episodes=4, deterministic=deterministic)
        assert 0 <= np.mean(mean) <= 100
    env.close()


def test_masks_help():
    """One of twenty actions is right, and all but two are forbidden: nearly half of the random ones are right."""
    env = ActionMaskWrapper(InvalidActionEnvDiscrete(dim=20, n_invalid_actions=18))
    model = DiscreteSAC("MultiInputPolicy", env, **KWARGS)
    mean, _ = evaluate_policy(model, env, n_eval_episodes=5, deterministic=False, warn=False)
    assert 35 < np.mean(mean) < 65


def test_observation():
    env = ActionMaskWrapper(Continuous())
    assert env.observation_space == spaces.Dict(
        {"observation": spaces.Box(-100, 100, (3,)), "action_mask": spaces.MultiBinary(4)}
    )
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation["action_mask"], [0, 1, 0, 0])
    np.testing.assert_array_equal(env.step(3)[0]["action_mask"], env.action_masks())
    check_env(env, skip_render_check=True)
    nested = ActionMaskWrapper(env, key="again")
    assert nested.observation_space.spaces.keys() == {"observation", "action_mask", "again"}
    assert nested.reset()[0].keys() == {"observation", "action_mask", "again"}


def test_with_vec_normalize(tmp_path):
    """The mask stays a mask; the only allowed action is the only one that is taken; saved and loaded."""
    env = VecNormalize(make_vec_env(lambda: ActionMaskWrapper(Continuous()), n_envs=2), norm_obs_keys=["observation"])
    model = DiscreteSAC("MultiInputPolicy", env, **KWARGS).learn(100)
    assert (model.replay_buffer.actions[: model.replay_buffer.pos] == 3).all()
    model.save(tmp_path / "model")
    loaded = DiscreteSAC.load(tmp_path / "model", env=env)
    observation = env.reset()
    np.testing.assert_array_equal(loaded.predict(observation)[0], [3, 3])
    np.testing.assert_array_equal(observation["action_mask"], [[0, 1, 0, 0]] * 2)


def test_maskable_ppo_still_works():
    """A user compares with it: the wrapped environment keeps the method."""
    model = MaskablePPO("MultiInputPolicy", ActionMaskWrapper(Continuous(start=0)), n_steps=16, batch_size=16, n_epochs=1)
    model.learn(16)
    assert (model.rollout_buffer.actions == 1).all()


@pytest.mark.parametrize(
    ("env", "key", "message"),
    [
        (lambda: Toy(action_space=spaces.Discrete(3)), "action_mask", r"`env` must have a method `action_masks\(\)`"),
        (lambda: Toy(action_space=spaces.Box(-1, 1, (2,))), "action_mask", "`env` must have Discrete, .* not Box"),
        (Continuous, "observation", "`key` must be none of 'observation', not 'observation'"),
    ],
)
def test_bad_arguments(env, key, message):
    with pytest.raises(ValueError, match=message):
        ActionMaskWrapper(env(), key=key)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([True] * 3, r"must give 4 values for Discrete\(4.*, not \[True, True, True\]"),
        ([[True] * 3, [True]], "must give 4 values .*, those of all components side by side"),
        # What is added to logits has 0 for allowed actions
        ([0, -np.inf, 0, -np.inf], "must give booleans, or 1 for allowed and 0 for forbidden actions"),
        ([0, np.nan, 0, 1], "must give booleans"),
        ([0, 1, 2, 3], "must give booleans"),
        (["0", "0", "0", "1"], "must give booleans"),
    ],
)
def test_bad_masks(mask, message, monkeypatch):
    env = Continuous()
    monkeypatch.setattr(env, "action_masks", lambda: mask)
    with pytest.raises(ValueError, match=r"`action_masks\(\)` " + message):
        ActionMaskWrapper(env).reset()


@pytest.mark.parametrize("mask", [[1, 0, 0, 1], (1.0, 0.0, 0.0, 1.0), np.array([True, False, False, True])])
def test_masks_of_zeros_and_ones(mask, monkeypatch):
    env = Continuous()
    monkeypatch.setattr(env, "action_masks", lambda: mask)
    np.testing.assert_array_equal(ActionMaskWrapper(env).reset()[0]["action_mask"], [1, 0, 0, 1])


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
def test_a_mask_that_no_policy_obeys(algorithm):
    """Who wraps an environment wants the mask obeyed; without its key the policy would take it for an observation."""
    env = ActionMaskWrapper(Continuous())
    with pytest.warns(UserWarning, match=r"`policy_kwargs=dict\(action_mask_key='action_mask'\)`"):
        algorithm("MultiInputPolicy", env, **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        algorithm("MultiInputPolicy", env, **KWARGS)
