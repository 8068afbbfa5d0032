"""Changes of variables against autograd's Jacobian, and against an identity that needs no logarithm of a small number."""

import math

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import draw, smooth_map

from sb3_maxent.functional.squash import log_abs_det_jacobian, log_det_tanh, unsquash
from sb3_maxent.reference import grid

reproducible = settings(deadline=None, derandomize=True, max_examples=100)
dtypes = pytest.mark.parametrize("dtype", [th.float32, th.float64])


def minus_twice_log_cosh(u):
    """log(1 - tanh(u)^2) = -2 log cosh(u), in NumPy."""
    u = np.asarray(u, dtype=np.float64)
    return 2 * math.log(2) - 2 * np.logaddexp(u, -u)


@pytest.mark.parametrize("dim", range(1, 18))
def test_log_det_tanh_against_jacobian(dim):
    u = 2 * draw(dim, seed=dim)
    jacobian = th.autograd.functional.jacobian(th.tanh, u)
    th.testing.assert_close(log_det_tanh(u), th.linalg.slogdet(jacobian).logabsdet, rtol=1e-8, atol=1e-8)


# The tolerances: softplus is linear from 20 on, which leaves out 2 e^-20 = 4e-9 per component; and 6e-8 |u| in float32
@reproducible
@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=17))
def test_log_det_tanh_at_any_u(u):
    expected = minus_twice_log_cosh(u).sum()
    assert float(log_det_tanh(th.tensor(u, dtype=th.float64))) == pytest.approx(expected, abs=len(u) * 5e-9)
    assert float(log_det_tanh(th.tensor(u, dtype=th.float32))) == pytest.approx(expected, rel=1e-6, abs=len(u) * 1e-5)


@dtypes
def test_log_det_tanh_far_out(dtype):
    u = th.tensor([[0.0], [50.0], [-50.0], [1e4], [-1e4]], dtype=dtype, requires_grad=True)
    values = log_det_tanh(u)
    assert values.dtype == dtype and values.shape == (5,)
    # 4 exp(-2 |u|) and a slope of -2 from both sides
    expected = [0.0, 2 * math.log(2) - 100, 2 * math.log(2) - 100, 2 * math.log(2) - 2e4, 2 * math.log(2) - 2e4]
    np.testing.assert_allclose(values.tolist(), expected, rtol=1e-6)
    (gradient,) = th.autograd.grad(values.sum(), u)
    assert gradient.flatten().tolist() == [0.0, -2.0, 2.0, -2.0, 2.0]


def test_log_det_tanh_sums_over_the_last_dimension():
    u = draw(2, 3, 4)
    np.testing.assert_allclose(log_det_tanh(u), minus_twice_log_cosh(u).sum(axis=-1), rtol=1e-9)
    assert th.autograd.gradcheck(log_det_tanh, u.requires_grad_())


def test_squashed_density_integrates_to_one():
    """log p(a) = log p(u) - log_det_tanh(u), with u = unsquash(a) normal, in two dimensions."""
    actions, weights = grid(2, 200)
    u = unsquash(th.as_tensor(actions))
    scale = 0.7
    log_u = -0.5 * (u / scale).square().sum(dim=1) - 2 * math.log(scale) - math.log(2 * math.pi)
    assert weights @ (log_u - log_det_tanh(u)).exp().numpy() == pytest.approx(1.0, abs=1e-9)


@dtypes
def test_unsquash_at_the_bounds(dtype):
    eps = th.finfo(dtype).eps
    u = unsquash(th.tensor([1.0, -1.0, 0.0, 2.0], dtype=dtype))
    largest = 0.5 * math.log((2 - eps) / eps)
    assert u.dtype == dtype
    np.testing.assert_allclose(u.tolist(), [largest, -largest, 0.0, largest], rtol=1e-6)


@reproducible
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=17))
def test_unsquash_is_the_inverse(actions):
    for dtype in (th.float32, th.float64):
        a = th.tensor(actions, dtype=dtype)
        th.testing.assert_close(th.tanh(unsquash(a)), a, rtol=0, atol=4 * th.finfo(dtype).eps)
    u = 3 * th.tensor(actions, dtype=th.float64)
    th.testing.assert_close(unsquash(th.tanh(u)), u, rtol=1e-10, atol=1e-12)


def test_unsquash_has_a_gradient_inside():
    actions = th.tensor([-0.9, 0.0, 0.5], dtype=th.float64, requires_grad=True)
    (gradient,) = th.autograd.grad(unsquash(actions).sum(), actions)
    th.testing.assert_close(gradient, 1 / (1 - actions.detach() ** 2))


@pytest.mark.parametrize("dim", range(1, 18))
def test_log_abs_det_jacobian_of_a_network(dim):
    network, _ = smooth_map(dim, dim)
    inputs = draw(2, 3, dim, seed=dim).requires_grad_()
    values = log_abs_det_jacobian(network(inputs), inputs)
    jacobians = [th.autograd.functional.jacobian(network, row) for row in inputs.detach().reshape(-1, dim)]
    expected = th.stack([th.linalg.slogdet(jacobian).logabsdet for jacobian in jacobians]).reshape(2, 3)
    th.testing.assert_close(values, expected)


@dtypes
def test_log_abs_det_jacobian_by_hand(dtype):
    matrix = th.tensor([[2.0, 1.0], [0.0, -3.0]], dtype=dtype)  # determinant -6
    inputs = th.zeros(4, 2, dtype=dtype, requires_grad=True)
    values = log_abs_det_jacobian(inputs @ matrix.T, inputs)
    assert values.dtype == dtype
    np.testing.assert_allclose(values, [math.log(6)] * 4, rtol=1e-6)
    singular = th.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=dtype)
    assert log_abs_det_jacobian(inputs @ singular.T, inputs).tolist() == [-math.inf] * 4
    u = draw(4, 2, dtype=dtype).requires_grad_()
    th.testing.assert_close(log_abs_det_jacobian(th.tanh(u), u), log_det_tanh(u).detach(), rtol=1e-4, atol=1e-5)


def test_log_abs_det_jacobian_leaves_the_graph_and_no_gradient():
    inputs = draw(5, 3).requires_grad_()
    outputs = smooth_map(3, 3)[0](inputs)
    values = log_abs_det_jacobian(outputs, inputs)
    assert not values.requires_grad and inputs.grad is None
    th.testing.assert_close(log_abs_det_jacobian(outputs, inputs), values, rtol=0, atol=0)
    outputs.sum().backward()
    assert inputs.grad is not None


def test_shapes_are_checked():
    with pytest.raises(AssertionError):
        log_det_tanh(th.tensor(0.0))
    with pytest.raises(AssertionError):
        log_abs_det_jacobian(th.zeros(2, 3), th.zeros(2, 4))
