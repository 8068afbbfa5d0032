"""MinAtar: the games' ids, and the features extractor for their images."""

import sys

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_maxent import DiscreteSAC, SoftQLearning
from sb3_maxent.minatar import MinAtarCNN

GAMES = {"Asterix": 5, "Breakout": 3, "Freeway": 3, "Seaquest": 6, "SpaceInvaders": 4}  # numbers of actions that do something


@pytest.mark.parametrize("game", GAMES)
def test_games(game):
    pytest.importorskip("minatar")
    env = gym.make(f"MinAtar/{game}-v1")
    assert env.action_space == spaces.Discrete(GAMES[game])
    observation, _ = env.reset(seed=0)
    assert observation.shape[:2] == (10, 10) and observation.dtype == bool and env.observation_space.contains(observation)
    assert env.step(0)[0].any() and env.spec is not None and env.spec.max_episode_steps == 10_000


def test_features_by_hand():
    """One filter sees the pixel in its middle, in channel 1, less 0.5; the linear layer adds all of them."""
    extractor = MinAtarCNN(spaces.Box(0, 1, (10, 10, 4), np.uint8), features_dim=1)
    convolution, linear = extractor.cnn[0], extractor.linear[0]
    assert isinstance(convolution, th.nn.Conv2d) and isinstance(linear, th.nn.Linear) and convolution.bias is not None
    assert convolution.weight.shape == (16, 4, 3, 3) and linear.weight.shape == (1, 16 * 8 * 8)
    with th.no_grad():
        convolution.weight.zero_()[0, 1, 1, 1] = 1
        convolution.bias.fill_(-0.5)
        linear.weight.fill_(1)
        linear.bias.fill_(0.25)
    images = th.zeros(3, 10, 10, 4)
    images[1, 1, 8, 1] = images[1, 4, 5, 1] = 1  # within
    images[2, 0, 3, 1] = images[2, 4, 4, 0] = 1  # on the border, and in another channel
    assert extractor(images).tolist() == [[0.25], [1.25], [0.25]]


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.Box(0, 1, (10, 10)),
        spaces.Box(0, 1, (2, 10, 4)),
        spaces.Box(0, 1, (3,)),
        spaces.Box(0, 255, (40, 40, 3), np.uint8),
    ],
    ids=str,
)
def test_other_observations(space):
    with pytest.raises(ValueError, match=r"`observation_space` must be a Box of shape \(height, width, channels\)"):
        MinAtarCNN(space)


@pytest.mark.parametrize("algorithm", [DiscreteSAC, SoftQLearning, DQN])
def test_learning(algorithm, tmp_path):
    pytest.importorskip("minatar")
    network = {"features_extractor_class": MinAtarCNN, "net_arch": []}
    model = algorithm(
        "MlpPolicy", gym.make("MinAtar/Breakout-v1"), learning_starts=50, buffer_size=500, policy_kwargs=network, seed=0
    )
    model.learn(120)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=gym.make("MinAtar/Breakout-v1"))
    images = np.random.default_rng(0).random((6, 10, 10, 4)) < 0.1
    np.testing.assert_array_equal(*(each.predict(images, deterministic=True)[0] for each in (model, loaded)))
    mean, _ = evaluate_policy(loaded, loaded.env, n_eval_episodes=3)
    assert 0 <= np.mean(mean) < 100


def test_where_minatar_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "minatar.gym", None)
    with pytest.raises(ImportError, match=r'MinAtar is missing: pip install "sb3_maxent\[minatar\]"'):
        gym.make("MinAtar/Breakout-v1")
