"""benchmarks/modes_used.py: the modes of known densities, from samples."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from modes_used import draw, shares_of_modes
from stable_baselines3.common.policies import BasePolicy


def gaussians(seed, n_dims, weights, centres, std=1.0):
    """1000 samples of a mixture; each centre has the first one or two entries, the others are 0."""
    rng = np.random.default_rng(seed)
    samples = []
    for weight, centre in zip(weights, centres, strict=True):
        samples.append(rng.normal(size=(round(1000 * weight), n_dims)) * std)
        samples[-1][:, : len(centre)] += centre
    return np.concatenate(samples)


@pytest.mark.parametrize("n_dims", [2, 3, 6, 8])
def test_modes_of_known_densities(n_dims):
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1000, n_dims)) @ rng.normal(size=(n_dims, n_dims))
    assert shares_of_modes(one) == [1.0]
    two = gaussians(1, n_dims, [0.7, 0.3], [[0.0], [5.0]])
    np.testing.assert_allclose(shares_of_modes(two), [0.7, 0.3], atol=0.03)
    four = gaussians(2, n_dims, [0.25] * 4, [[1.0, 1], [1, -1], [-1, 1], [-1, -1]], std=0.3)
    np.testing.assert_allclose(shares_of_modes(four), [0.25] * 4, atol=0.03)


def test_one_mode_need_not_be_a_gaussian():
    rng = np.random.default_rng(0)
    bent = rng.normal(size=(1000, 2))
    bent[:, 1] += bent[:, 0] ** 2
    heavy = rng.standard_t(3, size=(1000, 2))
    # Two Gaussians whose density has one maximum, since they are less than two deviations apart
    near = gaussians(0, 2, [0.5, 0.5], [[0.0], [1.5]])
    for samples in (bent, heavy, near):
        assert (shares_of_modes(samples) >= 0.05).sum() == 1


def test_actions_are_taken_back_to_before_tanh():
    space = spaces.Box(np.array([-2.0, 0.0], dtype=np.float32), np.array([2.0, 1.0], dtype=np.float32))
    before = np.array([[0.3, -0.7], [1.1, 0.2], [30.0, 0.0]])

    def predict(states):
        assert states.shape == (3, 5)
        return (np.tanh(before) + 1) / 2 * (space.high - space.low) + space.low, None

    policy: Any = SimpleNamespace(action_space=space)
    policy.scale_action = partial(BasePolicy.scale_action, policy)
    model: Any = SimpleNamespace(predict=predict, policy=policy)
    drawn = draw(model, np.zeros(5), 3)
    np.testing.assert_allclose(drawn[:2], before[:2], atol=1e-5)
    # An action at its bound has no place that is known
    assert 7 < drawn[2, 0] < 8
