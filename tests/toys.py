"""Small environments, networks and models for the tests."""

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.zoo import ALGORITHMS

# An action space of each kind that an algorithm of the registry takes
ACTION_SPACES = {
    spaces.Box: spaces.Box(-2, 3, (2,)),
    spaces.Discrete: spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete: spaces.MultiDiscrete([3, 2], start=[1, -1]),
    spaces.MultiBinary: spaces.MultiBinary(2),
}
KINDS = [(entry.algorithm, ACTION_SPACES[kind]) for entry in ALGORITHMS.values() for kind in entry.action_spaces]
SMALL = {"batch_size": 16, "learning_starts": 20, "buffer_size": 500, "seed": 0}


class TabularMDP(gym.Env):
    """
    Any finite MDP, observed as a ``Discrete`` state; an episode is truncated after ``horizon`` steps.

    :param transitions: (S, A, S) probabilities
    :param rewards: (S, A)
    :param horizon: number of steps
    :param start: the action space's first action
    """

    def __init__(self, transitions, rewards, horizon=50, start=0):
        self.transitions, self.rewards, self.horizon, self.start = transitions, rewards, horizon, start
        self.observation_space = spaces.Discrete(len(rewards))
        self.action_space = spaces.Discrete(rewards.shape[1], start=start)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.time = int(self.np_random.integers(len(self.rewards))), 0
        return self.state, {}

    def step(self, action):
        action -= self.start
        reward = self.rewards[self.state, action]
        self.state = int(self.np_random.choice(len(self.rewards), p=self.transitions[self.state, action]))
        self.time += 1
        return self.state, float(reward), False, self.time >= self.horizon, {}


class Toy(gym.Env):
    """
    Random observations and rewards in episodes of ten steps, for any pair of spaces.

    :param observation_space: any
    :param action_space: any
    :param fault: called with the number of the step and (observation, reward), returns them, perhaps spoilt
    """

    def __init__(
        self, observation_space=None, action_space=None, fault=lambda step, observation, reward: (observation, reward)
    ):
        self.observation_space = observation_space or spaces.Box(-1, 1, (3,))
        self.action_space = action_space or spaces.Discrete(3)
        self.fault, self.steps = fault, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.time = 0
        return self.fault(self.steps, self.observation_space.sample(), 0.0)[0], {}

    def step(self, action):
        assert self.action_space.contains(action if np.ndim(action) else int(action)), action
        self.steps, self.time = self.steps + 1, self.time + 1
        observation, reward = self.fault(self.steps, self.observation_space.sample(), float(np.sum(action) % 2))
        return observation, reward, False, self.time >= 10, {}


class BatchNormExtractor(FlattenExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.norm = th.nn.BatchNorm1d(self.features_dim)

    def forward(self, observations):
        return self.norm(super().forward(observations))


def make_model(algorithm, action_space=None, observation_space=None, policy="MlpPolicy", steps=28, n_envs=1, **kwargs):
    """A small model that has learned for some steps."""
    env = make_vec_env(lambda: Toy(observation_space, action_space), n_envs=n_envs, seed=0)
    policy_kwargs = {"net_arch": [16], **kwargs.pop("policy_kwargs", {})}
    return algorithm(policy, env, policy_kwargs=policy_kwargs, **{**SMALL, **kwargs}).learn(steps)


def step_on(observations, ent_coef, data=None):
    """
    A gradient step on some observations, which are the next ones, too. Rewards are 0 and the discount is 1, so that the target
    is the soft value of the observations. With ``data`` it works on that batch, undiscounted.
    """
    if data is None:
        first = next(iter(observations.values())) if isinstance(observations, dict) else observations
        zeros = th.zeros(len(first), 1)
        data = ReplayBufferSamples(observations, zeros, observations, zeros, zeros)
    return GradientStep(data, th.as_tensor(ent_coef), 1.0 if data.discounts is None else data.discounts)


def soft_value(model, observations, ent_coef):
    """V(s) of a batch of observations, from the target that the model gives; the batch's actions are the space's first."""
    step = step_on(observations, ent_coef)
    first = np.broadcast_to(np.float32(getattr(model.action_space, "start", 0)), model.action_space.shape or (1,))
    step.batch = step.batch._replace(actions=th.as_tensor(first.copy()).expand(len(step.batch.rewards), -1))
    munchausen_term = model._rewards(step) if hasattr(model, "_rewards") else 0.0
    return model._td_target(step) - munchausen_term
