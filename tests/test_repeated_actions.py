"""Random actions that are kept for some steps (temporally extended epsilon-greedy)."""

from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from toys import Toy

from sb3_maxent import DiscreteSAC, SoftQLearning
from sb3_maxent.common import discrete_algorithm
from sb3_maxent.common.repeated_actions import draw_duration

SMALL: dict[str, Any] = {"batch_size": 8, "buffer_size": 4000, "policy_kwargs": {"net_arch": [8]}, "seed": 0}
SPACES = [spaces.Discrete(9, start=-3), spaces.MultiDiscrete([5, 5]), spaces.MultiBinary(4)]


@pytest.mark.parametrize(
    ("exponent", "expected"),
    # 1, 1/4, 1/9, 1/16 sum to 205/144; 1, 1/2, 1/3, 1/4 to 25/12
    [(2.0, [144 / 205, 36 / 205, 16 / 205, 9 / 205]), (1.0, [12 / 25, 6 / 25, 4 / 25, 3 / 25]), (0.0, [0.25] * 4)],
)
def test_durations(exponent, expected):
    np.random.seed(0)
    drawn = [draw_duration(4, exponent) for _ in range(8000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=5)[1:] / 8000, expected, atol=0.02)


def test_one_step_draws_nothing():
    """Else the default would not be what it was before there were durations."""
    np.random.seed(0)
    before = np.random.get_state()[2]
    assert draw_duration(1, 2.0) == 1
    assert np.random.get_state()[2] == before


def acts_by_zeros(model):
    """Let the policy's mode and its samples be the first action of each component."""
    logits = model.critic.q_networks if isinstance(model, SoftQLearning) else [model.actor.logits_net]
    for network in logits:
        with th.no_grad():
            network[-1].weight.zero_()
            network[-1].bias.fill_(0)
            network[-1].bias[np.cumsum([0, *model.heads.nvec[:-1]])] = 1000


def runs(actions):
    """Lengths of the runs of equal actions, and the actions."""
    starts = [0, *(1 + np.flatnonzero(np.any(actions[1:] != actions[:-1], axis=1)))]
    return [(end - start, tuple(actions[start])) for start, end in zip(starts, [*starts[1:], len(actions)], strict=True)]


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
@pytest.mark.parametrize("action_space", SPACES, ids=str)
def test_actions_are_kept(action_space, algorithm, monkeypatch):
    """Each random action is taken four times in a row, in each environment by itself, and never across an episode's end."""
    monkeypatch.setattr(discrete_algorithm, "draw_duration", lambda longest, exponent: 4)
    env = make_vec_env(lambda: Toy(action_space=action_space), n_envs=3)
    exploration = {"exploration_initial_eps": 0.1, "exploration_final_eps": 0.1, "exploration_max_duration": 4}
    model = algorithm("MlpPolicy", env, learning_starts=0, train_freq=1000, **exploration, **SMALL)
    acts_by_zeros(model)
    model.learn(3000, log_interval=10**6)
    actions = model.replay_buffer.actions[:1000].reshape(1000, 3, -1)
    zeros = tuple(np.ravel(model.heads.start.numpy()))
    lengths = [
        length
        for index in range(3)
        for episode in range(100)
        for length, action in runs(actions[10 * episode : 10 * episode + 10, index])[:-1]  # the last may be cut off
        if action != zeros
    ]
    # Two random actions in a row may be equal, and a random one those of the policy
    assert len(lengths) > 50 and set(lengths) <= {4, 8} and lengths.count(4) > 0.8 * len(lengths)
    firsts = np.any(actions[::10] != zeros, axis=2)
    assert 0.05 < firsts.mean() < 0.15  # an episode begins with one as often as the rate says: none is left of the last
    share = np.any(actions != zeros, axis=2).mean()
    assert 0.2 < share < 0.4  # 0.1 a step begins one of four: 4 / (4 + 9) of the steps, less at an episode's ends


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
def test_random_phase_keeps_actions(algorithm):
    env = make_vec_env(lambda: Toy(action_space=spaces.Discrete(50)), n_envs=2)
    model = algorithm(
        "MlpPolicy", env, learning_starts=2000, exploration_max_duration=10, exploration_duration_exponent=0, **SMALL
    )
    model.learn(2000, log_interval=10**6)
    actions = model.replay_buffer.actions[:1000].reshape(100, 10, 2)
    changes = (actions[:, 1:] != actions[:, :-1]).mean()
    # A new one begins in a step with 1 / 10 after its first, 1 / 10 + 1 / 100 after its second, ...: 1.1^k / 11 ...
    expected = np.mean([1.1**k / 10 for k in range(9)])
    assert changes == pytest.approx(expected * 0.98, abs=0.03)
    assert model.replay_buffer.actions.dtype == np.int64


def test_where_training_goes_on_the_action_is_kept(tmp_path):
    env = make_vec_env(lambda: Toy(action_space=spaces.Discrete(50)), n_envs=1)
    model = DiscreteSAC(
        "MlpPolicy", env, learning_starts=100, exploration_max_duration=10**4, exploration_duration_exponent=0, **SMALL
    )
    model.learn(3)
    model.learn(4, reset_num_timesteps=False)  # the episode goes on
    model.save(tmp_path / "model")
    loaded = DiscreteSAC.load(tmp_path / "model", env=env, force_reset=False)
    loaded.learn(2, reset_num_timesteps=False)
    taken = [*model.replay_buffer.actions[:7, 0, 0], *loaded.replay_buffer.actions[:2, 0, 0]]
    assert len(set(taken)) == 1
    anew = DiscreteSAC.load(tmp_path / "model", env=env)  # which resets the environment
    anew.learn(1, reset_num_timesteps=False)
    assert anew.replay_buffer.actions[0, 0, 0] != taken[0]
    model.learn(1)
    assert model.replay_buffer.actions[7, 0, 0] != taken[0]


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning])
def test_the_last_random_action_ends_after_the_random_phase(algorithm, monkeypatch):
    monkeypatch.setattr(discrete_algorithm, "draw_duration", lambda longest, exponent: 5)
    model = algorithm("MlpPolicy", Toy(action_space=spaces.Discrete(50)), learning_starts=7, train_freq=100, **SMALL)
    acts_by_zeros(model)
    model.learn(10)  # 5 steps of one action and 5 of another, 3 of them after the random phase
    assert [length for length, _ in runs(model.replay_buffer.actions[:10, 0])] == [5, 5]


def test_an_action_is_kept_while_it_is_allowed(monkeypatch):
    """Action 2 is forbidden in every third step; a random one that is kept for all of an episode ends there only."""
    monkeypatch.setattr(discrete_algorithm, "draw_duration", lambda longest, exponent: 10)

    class Masked(Toy):
        def __init__(self):
            super().__init__(spaces.Dict({"x": spaces.Box(-1, 1, (3,)), "mask": spaces.MultiBinary(3)}), spaces.Discrete(3))

        def observe(self, observation):
            return {**observation, "mask": np.array([0, 1, self.time % 3 != 2], dtype=np.int8)}

        def reset(self, **kwargs):
            observation, info = super().reset(**kwargs)
            return self.observe(observation), info

        def step(self, action):
            assert action > 0 and (action != 2 or self.time % 3 != 2)
            observation, *rest = super().step(action)
            return self.observe(observation), *rest

    small = {**SMALL, "policy_kwargs": {"net_arch": [8], "action_mask_key": "mask"}, "learning_starts": 1000}
    model = DiscreteSAC("MultiInputPolicy", Masked(), **small).learn(200)
    for episode in model.replay_buffer.actions[:200, 0, 0].reshape(20, 10):
        assert episode[2] == episode[5] == episode[8] == 1
        ones = np.flatnonzero(episode == 1)
        assert set(episode[ones[0] :]) == {1}  # which is allowed in every step
        assert set(episode[: ones[0]]) <= {2} and ones[0] <= 2
