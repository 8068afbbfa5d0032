"""Numbers worked out by hand, quadrature, and gradients against autograd's numerical check."""

import math

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import draw, smooth_map

from sb3_maxent import reference
from sb3_maxent.functional import categorical_entropy, policy_soft_value, soft_td_target
from sb3_maxent.functional.soft_values import boltzmann_log_probs, importance_soft_value, soft_maximum
from sb3_maxent.functional.squash import log_det_tanh

dtypes = pytest.mark.parametrize("dtype", [th.float32, th.float64])
zeros = pytest.mark.parametrize("zero", [0, 0.0, th.tensor(0.0), th.tensor([[0.0]])])


def test_soft_td_target_by_hand():
    rewards, dones, values = th.tensor([[1.0], [1.0]]), th.tensor([[0.0], [1.0]]), th.tensor([[10.0], [10.0]])
    assert soft_td_target(rewards, dones, 0.9, values).tolist() == [[10.0], [1.0]]
    assert soft_td_target(rewards, dones, th.tensor([[0.5], [0.5]]), values).tolist() == [[6.0], [1.0]]


@dtypes
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


# ---- soft maximum


@dtypes
def test_soft_maximum_by_hand(dtype):
    q_values = th.tensor([[math.log(3), math.log(5), 0.0], [2.0, 2.0, 2.0]], dtype=dtype)
    values = soft_maximum(q_values, 1.0)
    assert values.dtype == dtype and values.shape == (2, 1)
    np.testing.assert_allclose(values, [[math.log(9)], [2 + math.log(3)]], rtol=1e-6)
    np.testing.assert_allclose(soft_maximum(2 * q_values, 2.0), 2 * values, rtol=1e-6)
    # Along another dimension, and for more than two
    np.testing.assert_allclose(soft_maximum(q_values.T, 1.0, dim=0), values.T, rtol=1e-6)
    assert soft_maximum(q_values.expand(4, 2, 3), 0.5).shape == (4, 2, 1)
    # One temperature for each state
    alphas = th.tensor([[1.0], [0.0]], dtype=dtype)
    np.testing.assert_allclose(soft_maximum(q_values, alphas), [[math.log(9)], [2.0]], rtol=1e-6)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=17), st.floats(1e-6, 1e3))
def test_soft_maximum_of_anything(q_values, alpha):
    q = np.array(q_values)
    expected = alpha * np.logaddexp.reduce(q / alpha)
    value = soft_maximum(th.tensor([q_values], dtype=th.float64), alpha).item()
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert q.max() - 1e-9 <= value <= q.max() + alpha * math.log(len(q)) + 1e-9
    single = soft_maximum(th.tensor([q_values], dtype=th.float32), alpha).item()
    assert single == pytest.approx(expected, rel=1e-5, abs=1e-4 * (1 + alpha))


def test_gradient_of_the_soft_maximum_is_the_policy():
    q_values, alpha = draw(3, 5).requires_grad_(), th.tensor(0.3, dtype=th.float64, requires_grad=True)
    assert th.autograd.gradcheck(soft_maximum, (q_values, alpha))
    policy = th.softmax(q_values / alpha, dim=1)
    by_q, by_alpha = th.autograd.grad(soft_maximum(q_values, alpha).sum(), (q_values, alpha))
    th.testing.assert_close(by_q, policy)
    # and with respect to the temperature the entropy
    th.testing.assert_close(by_alpha, categorical_entropy(policy.log()).sum())


@zeros
@dtypes
def test_soft_maximum_without_temperature(zero, dtype):
    """The maximum, and the gradients of the maximum, with -inf for an action that is not there."""
    q_values = th.tensor([[1.0, 3.0, -2.0], [4.0, 4.0, -math.inf]], dtype=dtype, requires_grad=True)
    zero = zero.to(dtype, copy=True).requires_grad_() if isinstance(zero, th.Tensor) else zero
    values = soft_maximum(q_values, zero)
    assert values.dtype == dtype and values.tolist() == [[3.0], [4.0]]
    (gradient,) = th.autograd.grad(values.sum(), q_values, retain_graph=True)
    assert gradient.tolist() == [[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    if isinstance(zero, th.Tensor):
        (gradient,) = th.autograd.grad(values.sum(), zero)
        np.testing.assert_allclose(gradient.sum().item(), math.log(2), rtol=1e-6)


@dtypes
def test_boltzmann_policy(dtype):
    q_values = draw(7, 5, dtype=dtype)
    for alpha in (0.3, th.tensor(0.3, dtype=dtype), th.full((7, 1), 0.3, dtype=dtype)):
        log_probs = boltzmann_log_probs(q_values, alpha)
        assert log_probs.dtype == dtype
        th.testing.assert_close(log_probs, (q_values - soft_maximum(q_values, alpha)) / alpha, rtol=1e-4, atol=1e-5)
        th.testing.assert_close(policy_soft_value(q_values, log_probs, alpha), soft_maximum(q_values, alpha))
    q_values, alpha = draw(3, 5).requires_grad_(), th.tensor(0.3, dtype=th.float64, requires_grad=True)
    assert th.autograd.gradcheck(boltzmann_log_probs, (q_values, alpha))


@zeros
@dtypes
def test_boltzmann_policy_without_temperature(zero, dtype):
    q_values = th.tensor([[1.0, 3.0, -2.0], [4.0, 4.0, -math.inf]], dtype=dtype)
    log_probs = boltzmann_log_probs(q_values, zero)
    assert log_probs.isfinite().all() and log_probs.exp().tolist() == [[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    np.testing.assert_allclose(categorical_entropy(log_probs), [[0.0], [math.log(2)]], rtol=1e-6)


# ---- importance sampling


def random_q(dim):
    """Smooth, not symmetric, with several extrema."""
    network, _ = smooth_map(dim, 1, seed=dim)
    return lambda actions: network(2 * th.as_tensor(actions)).squeeze(-1)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_importance_sampling_from_quadrature_nodes(dim, alpha):
    """Nodes of weight w are proposals of density 1 / (n w): the mean over them *is* the quadrature."""
    q_function, nodes_per_dim = random_q(dim), 40
    nodes, weights = reference.grid(dim, nodes_per_dim)
    log_proposal = -th.as_tensor(np.log(len(weights) * weights))
    value = importance_soft_value(q_function(nodes)[None], log_proposal[None], alpha)
    expected = reference.soft_value_by_quadrature(lambda a: q_function(a).numpy(), alpha, dim, nodes_per_dim)
    assert value.shape == (1, 1) and value.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("proposal", ["uniform", "squashed normal"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_importance_sampling_converges_to_quadrature(dim, proposal):
    q_function, alpha, n_actions = random_q(dim), 0.7, 50_000
    if proposal == "uniform":
        actions = 2 * th.rand(1, n_actions, dim, generator=th.Generator().manual_seed(0), dtype=th.float64) - 1
        log_proposal = -dim * math.log(2)
    else:
        u = draw(1, n_actions, dim)
        actions = th.tanh(u)
        log_proposal = -0.5 * (u.square() + math.log(2 * math.pi)).sum(dim=2) - log_det_tanh(u)
    expected = reference.soft_value_by_quadrature(lambda a: q_function(a).numpy(), alpha, dim, 60)
    ratios = ((q_function(actions) - expected) / alpha - log_proposal).exp()
    standard_error = alpha * float(ratios.std()) / n_actions**0.5
    assert standard_error < 0.02
    value = importance_soft_value(q_function(actions), log_proposal, alpha).item()
    assert value == pytest.approx(expected, abs=4 * standard_error)


@pytest.mark.parametrize("dim", range(1, 18))
@pytest.mark.parametrize("n_actions", [1, 2, 64])
def test_importance_sampling_is_exact_for_the_optimal_proposal(dim, n_actions):
    """Q = c . a, whose soft value is sum_i alpha log(2 alpha / c_i sinh(c_i / alpha)), and any actions."""
    alpha, slopes = 0.4, th.linspace(0.2, 1.5, dim, dtype=th.float64)
    value = float((alpha * (2 * alpha / slopes * (slopes / alpha).sinh()).log()).sum())
    if dim <= 2:
        assert value == pytest.approx(reference.soft_value_by_quadrature(lambda a: a @ slopes.numpy(), alpha, dim))
    q_values = th.tanh(draw(5, n_actions, dim)) @ slopes
    values = importance_soft_value(q_values, (q_values - value) / alpha, alpha)
    th.testing.assert_close(values, th.full((5, 1), value, dtype=th.float64))
    # In as many dimensions uniform proposals, of a Q that varies little
    uniform = 2 * th.rand(1, 20_000, dim, generator=th.Generator().manual_seed(0), dtype=th.float64) - 1
    value = float((2 / slopes * slopes.sinh()).log().sum())
    estimate = importance_soft_value(0.1 * uniform @ slopes, -dim * math.log(2), 0.1)
    assert estimate.item() == pytest.approx(0.1 * value, abs=0.1 * 0.15)


@dtypes
@pytest.mark.parametrize("dim", [1, 6, 17])
@pytest.mark.parametrize("n_actions", [1, 64])
def test_uniform_proposals_add_their_volume(dtype, dim, n_actions):
    q_values, alpha = th.tensor([[3.0], [-2.0]], dtype=dtype).expand(2, n_actions), 0.3
    for log_proposal in (-dim * math.log(2), th.full((2, n_actions), -dim * math.log(2), dtype=dtype)):
        values = importance_soft_value(q_values, log_proposal, alpha)
        assert values.dtype == dtype
        np.testing.assert_allclose(values, [[3 + alpha * dim * math.log(2)], [-2 + alpha * dim * math.log(2)]], rtol=1e-5)


def test_importance_sampling_is_biased_downwards():
    """exp(V / alpha) is without bias, so V falls short; both up to four standard errors."""
    q_function, alpha = random_q(1), 0.7
    actions = 2 * th.rand(20_000, 4, 1, generator=th.Generator().manual_seed(0), dtype=th.float64) - 1
    expected = reference.soft_value_by_quadrature(lambda a: q_function(a).numpy(), alpha, 1)
    values = importance_soft_value(q_function(actions), -math.log(2), alpha)
    ratios = ((values - expected) / alpha).exp()
    assert float(ratios.mean()) == pytest.approx(1, abs=4 * float(ratios.std()) / 20_000**0.5)
    assert float(values.mean()) < expected - 4 * float(values.std()) / 20_000**0.5


@zeros
def test_importance_sampling_without_temperature(zero):
    for alpha in (zero, zero.double()) if isinstance(zero, th.Tensor) else (zero,):
        for dtype in (th.float32, th.float64):
            q_values, log_proposal = draw(4, 6, dtype=dtype), draw(4, 6, seed=1, dtype=dtype)
            for proposal in (log_proposal, -1.0):
                values = importance_soft_value(q_values, proposal, alpha)
                th.testing.assert_close(values, q_values.amax(dim=1, keepdim=True), check_dtype=False)


def test_importance_sampling_has_exact_gradients():
    q_values, log_proposal = draw(3, 5).requires_grad_(), draw(3, 5, seed=1).requires_grad_()
    alpha = th.tensor(0.3, dtype=th.float64, requires_grad=True)
    assert th.autograd.gradcheck(importance_soft_value, (q_values, log_proposal, alpha))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (soft_td_target, [(3, 1), (3,), (), (3, 1)]),
        (soft_td_target, [(3, 1), (3, 1), (), (3, 2)]),
        (categorical_entropy, [(3,)]),
        (policy_soft_value, [(3, 2), (3, 1), ()]),
        (importance_soft_value, [(3,), (), ()]),
    ],
)
def test_shapes_are_checked(function, shapes):
    with pytest.raises(AssertionError):
        function(*(th.zeros(shape) for shape in shapes))
