"""Numbers worked out by hand, and gradients against autograd's numerical check."""

import numpy as np
import pytest
import torch as th

from sb3_maxent.functional import categorical_entropy, policy_soft_value, soft_td_target


def test_soft_td_target_by_hand():
    rewards, dones, values = th.tensor([[1.0], [1.0]]), th.tensor([[0.0], [1.0]]), th.tensor([[10.0], [10.0]])
    assert soft_td_target(rewards, dones, 0.9, values).tolist() == [[10.0], [1.0]]
    assert soft_td_target(rewards, dones, th.tensor([[0.5], [0.5]]), values).tolist() == [[6.0], [1.0]]


@pytest.mark.parametrize("dtype", [th.float32, th.float64])
def test_entropy_and_value_by_hand(dtype):
    probs = th.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], dtype=dtype)
    # log(0) would be -inf; the policies mask with a finite logit, whose log-probability is finite
    log_probs = probs.log().clamp(min=-1e8)
    entropy = categorical_entropy(log_probs)
    assert entropy.dtype == dtype
    np.testing.assert_allclose(entropy, [[1.5 * np.log(2)], [0.0]], rtol=1e-6)
    q_values = th.tensor([[1.0, 2.0, 4.0], [3.0, 100.0, 100.0]], dtype=dtype)
    # 0.5 + 0.5 + 1 = 2, and alpha times the entropy
    np.testing.assert_allclose(policy_soft_value(q_values, log_probs, 2.0), [[2 + 3 * np.log(2)], [3.0]], rtol=1e-6)
    np.testing.assert_allclose(policy_soft_value(q_values, log_probs, 0.0), [[2.0], [3.0]], rtol=1e-6)


def test_best_policy_is_the_softmax():
    """The maximum over policies is alpha log sum exp(Q / alpha), reached by softmax(Q / alpha)."""
    th.manual_seed(0)
    q_values, alpha = th.randn(7, 5, dtype=th.float64), 0.3
    optimum = alpha * th.logsumexp(q_values / alpha, dim=1, keepdim=True)
    best = th.log_softmax(q_values / alpha, dim=1)
    th.testing.assert_close(policy_soft_value(q_values, best, alpha), optimum)
    for _ in range(20):
        other = th.log_softmax(q_values / alpha + th.randn(7, 5, dtype=th.float64), dim=1)
        assert (policy_soft_value(q_values, other, alpha) < optimum).all()


def test_gradients():
    logits = th.randn(3, 4, dtype=th.float64, requires_grad=True)
    q_values = th.randn(3, 4, dtype=th.float64)
    assert th.autograd.gradcheck(lambda x: policy_soft_value(q_values, th.log_softmax(x, dim=1), 0.7), logits)
    assert th.autograd.gradcheck(lambda x: categorical_entropy(th.log_softmax(x, dim=1)), logits)


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (soft_td_target, [(3, 1), (3,), (), (3, 1)]),
        (soft_td_target, [(3, 1), (3, 1), (), (3, 2)]),
        (categorical_entropy, [(3,)]),
        (policy_soft_value, [(3, 2), (3, 1), ()]),
    ],
)
def test_shapes_are_checked(function, shapes):
    with pytest.raises(AssertionError):
        function(*(th.zeros(shape) for shape in shapes))
