"""The algorithms for discrete actions against exact solutions: value iteration on tabular MDPs, MultiDiscrete bandits."""

import functools
import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from scipy.special import softmax
from stable_baselines3.common.env_util import make_vec_env
from toys import TabularMDP

from sb3_maxent import DiscreteSAC, SoftQLearning
from sb3_maxent.reference import munchausen_value_iteration, soft_value_iteration


def random_mdp(seed, n_states=5, n_actions=3) -> tuple[np.ndarray, np.ndarray]:
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


def learn(env, algorithm=DiscreteSAC, steps=80_000, **kwargs):
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
    return algorithm("MlpPolicy", make_vec_env(env, n_envs=10, seed=0), **parameters).learn(steps)


def soft_q_learn(env, n_critics, **kwargs):
    """Linear in the one-hot observation, that is a table: less data and fewer steps are enough."""
    parameters = {
        "learning_rate": lambda progress: 0.05 * progress**2 + 1e-4,
        "learning_starts": 10_000,
        "train_freq": 100,
        "gradient_steps": 150,
        "tau": 0.2,
        "policy_kwargs": {"net_arch": [], "n_critics": n_critics},
    }
    return learn(env, SoftQLearning, 30_000, **{**parameters, **kwargs})


DISCRETE_SAC = [functools.partial(learn, q_reduction=q_reduction) for q_reduction in ("min", "mean")]
SOFT_Q = [functools.partial(soft_q_learn, n_critics=n_critics) for n_critics in (1, 2)]


def name_of(learner):
    return "-".join([learner.func.__name__, *map(str, learner.keywords.values())])


def slow(rows):
    return [pytest.param(*row, marks=pytest.mark.slow) for row in rows]


def total_variation(probabilities, expected):
    return 0.5 * np.abs(probabilities - expected).sum(axis=-1)


def evaluate(model, observations):
    """Probabilities, and the critics' Q-values."""
    with th.no_grad():
        obs = th.as_tensor(observations)
        q_values = model.critic(obs)
        if model.actor is not None:
            log_probs = model.actor.action_log_probs(obs)
        else:
            minimum = model.policy.soft_minimum(q_values, model.policy.ent_coef)
            log_probs = model.critic.heads.boltzmann_log_probs(minimum, model.policy.ent_coef)
        return log_probs.exp().numpy(), [q.numpy() for q in q_values]


def assert_optimal(model, optimal_q, policy):
    probabilities, q_values = evaluate(model, np.arange(len(optimal_q)))
    variation = total_variation(probabilities, policy)
    assert variation.max() <= 0.05, variation
    for q in q_values:
        assert np.abs(q - optimal_q).max() <= 0.05 * np.ptp(optimal_q)


@pytest.mark.parametrize(
    ("learner", "mdp"),
    [
        (SOFT_Q[0], random_mdp(0)),
        *slow(itertools.product(DISCRETE_SAC, [random_mdp(0), random_mdp(1), random_mdp(2), chain()])),
        *slow([(SOFT_Q[0], chain()), (SOFT_Q[1], random_mdp(0)), (SOFT_Q[1], chain())]),
    ],
    ids=lambda value: name_of(value) if callable(value) else "",
)
def test_soft_optimal_policy(learner, mdp: tuple[np.ndarray, np.ndarray]):
    alpha, gamma = 0.3, 0.9
    optimal_q, _, _ = soft_value_iteration(*mdp, gamma, alpha)
    model = learner(lambda: TabularMDP(*mdp, start=5), gamma=gamma, ent_coef=alpha)
    assert_optimal(model, optimal_q, softmax(optimal_q / alpha, axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("learner", SOFT_Q, ids=name_of)
def test_munchausen(learner):
    """With a clip that binds for some actions, and a bonus that changes the policy."""
    mdp, alpha, gamma, coefficient, lowest = random_mdp(0), 0.3, 0.9, 0.5, -0.5
    optimal_q, values, policy = munchausen_value_iteration(*mdp, gamma, alpha, coefficient, lowest)
    clipped = optimal_q - values[:, None] < lowest
    assert clipped.any() and not clipped.all()
    assert total_variation(policy, soft_value_iteration(*mdp, gamma, alpha)[2]).max() > 0.1
    kwargs = {"munchausen_coef": coefficient, "munchausen_clip": lowest}
    assert_optimal(learner(lambda: TabularMDP(*mdp), gamma=gamma, ent_coef=alpha, **kwargs), optimal_q, policy)


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


@pytest.mark.slow
@pytest.mark.parametrize("learner", [*SOFT_Q, *DISCRETE_SAC], ids=name_of)
def test_multi_discrete(learner):
    """The optimum over independent components is the product of their softmaxes, and Q the sum of their rewards."""
    alpha = 0.3
    model = learner(TwoLevers, ent_coef=alpha)
    probabilities, q_values = evaluate(model, np.zeros((1, 1), dtype=np.float32))
    for part, rewards in zip(np.split(probabilities[0], [3]), TwoLevers.rewards, strict=True):
        assert total_variation(part, softmax(rewards / alpha)) <= 0.05
    for q in q_values:
        joint = q[0, :3, None] + q[0, None, 3:]
        assert np.abs(joint - np.add.outer(*TwoLevers.rewards)).max() <= 0.05 * 1.3


@pytest.mark.slow
def test_learned_temperature_reaches_the_target_entropy():
    model = learn(lambda: TabularMDP(*random_mdp(0)), gamma=0.9, ent_coef="auto_0.1", target_entropy=0.6)
    probabilities, _ = evaluate(model, np.arange(5))
    frequencies = np.bincount(model.replay_buffer.observations[: model.replay_buffer.pos].ravel(), minlength=5)
    entropy = np.average(-(probabilities * np.log(probabilities)).sum(axis=1), weights=frequencies)
    assert abs(entropy - 0.6) < 0.03
