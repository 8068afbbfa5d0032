"""DiscreteSAC against exact solutions: soft value iteration on tabular MDPs, closed forms for MultiDiscrete bandits."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from scipy.special import softmax
from stable_baselines3.common.env_util import make_vec_env
from toys import TabularMDP

from sb3_maxent import DiscreteSAC
from sb3_maxent.reference import soft_value_iteration


def random_mdp(seed, n_states=5, n_actions=3):
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.full(n_states, 0.3), size=(n_states, n_actions))
    return transitions, rng.uniform(size=(n_states, n_actions))


def chain(n_states=6):
    """Left or right along a line, deterministic; the reward waits at the right end, a smaller one at the left."""
    transitions, rewards = np.zeros((n_states, 2, n_states)), np.zeros((n_states, 2))
    for state in range(n_states):
        transitions[state, 0, max(state - 1, 0)] = 1
        transitions[state, 1, min(state + 1, n_states - 1)] = 1
    rewards[0, 0], rewards[-1, 1] = 0.3, 1.0
    return transitions, rewards


def learn(env, **kwargs):
    """Data from uniform actions first, then gradient steps with decaying learning rate."""
    parameters = {
        "learning_rate": lambda progress: 3e-3 * progress + 1e-5,
        "learning_starts": 30_000,  # train() begins after the next 10 x train_freq steps
        "train_freq": 1000,
        "gradient_steps": 800,
        "tau": 0.05,
        "batch_size": 256,
        "policy_kwargs": {"net_arch": [32]},
        "seed": 0,
        **kwargs,
    }
    return DiscreteSAC("MlpPolicy", make_vec_env(env, n_envs=10, seed=0), **parameters).learn(80_000)


def total_variation(probabilities, expected):
    return 0.5 * np.abs(probabilities - expected).sum(axis=-1)


def evaluate(model, observations):
    with th.no_grad():
        obs = th.as_tensor(observations)
        return model.actor.action_log_probs(obs).exp().numpy(), [q.numpy() for q in model.critic(obs)]


@pytest.mark.parametrize("q_reduction", ["min", "mean"])
@pytest.mark.parametrize("mdp", [random_mdp(0), random_mdp(1), random_mdp(2), chain()], ids=["0", "1", "2", "chain"])
def test_soft_optimal_policy(mdp, q_reduction):
    alpha, gamma = 0.3, 0.9
    optimal_q, _, _ = soft_value_iteration(*mdp, gamma, alpha)
    model = learn(lambda: TabularMDP(*mdp, start=5), gamma=gamma, ent_coef=alpha, q_reduction=q_reduction)
    probabilities, q_values = evaluate(model, np.arange(len(optimal_q)))
    variation = total_variation(probabilities, softmax(optimal_q / alpha, axis=1))
    assert variation.max() <= 0.05, variation
    for q in q_values:
        assert np.abs(q - optimal_q).max() <= 0.05 * np.ptp(optimal_q)


class TwoLevers(gym.Env):
    """One-step problem with two independent components, whose rewards add up."""

    rewards = (np.array([0.0, 0.5, 1.0]), np.array([0.3, 0.0]))

    def __init__(self):
        self.observation_space = spaces.Box(0, 1, (1,))
        self.action_space = spaces.MultiDiscrete([3, 2], start=[1, -1])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action):
        reward = self.rewards[0][action[0] - 1] + self.rewards[1][action[1] + 1]
        return np.zeros(1, dtype=np.float32), float(reward), True, False, {}


@pytest.mark.parametrize("q_reduction", ["min", "mean"])
def test_multi_discrete(q_reduction):
    """The optimum over independent components is the product of their softmaxes, and Q the sum of their rewards."""
    alpha = 0.3
    model = learn(TwoLevers, ent_coef=alpha, q_reduction=q_reduction)
    probabilities, q_values = evaluate(model, np.zeros((1, 1), dtype=np.float32))
    for part, rewards in zip(np.split(probabilities[0], [3]), TwoLevers.rewards, strict=True):
        assert total_variation(part, softmax(rewards / alpha)) <= 0.05
    for q in q_values:
        joint = q[0, :3, None] + q[0, None, 3:]
        assert np.abs(joint - np.add.outer(*TwoLevers.rewards)).max() <= 0.05 * 1.3


def test_learned_temperature_reaches_the_target_entropy():
    model = learn(lambda: TabularMDP(*random_mdp(0)), gamma=0.9, ent_coef="auto_0.1", target_entropy=0.6)
    probabilities, _ = evaluate(model, np.arange(5))
    frequencies = np.bincount(model.replay_buffer.observations[: model.replay_buffer.pos].ravel(), minlength=5)
    entropy = np.average(-(probabilities * np.log(probabilities)).sum(axis=1), weights=frequencies)
    assert abs(entropy - 0.6) < 0.03
