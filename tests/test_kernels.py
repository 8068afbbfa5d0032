"""Distances, bandwidth and the kernel's gradient against loops, numbers by hand and autograd."""

import math

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from tensors import draw, largest_tensor

from sb3_maxent.functional.kernels import (
    MIN_BANDWIDTH,
    bandwidth,
    rbf_kernel,
    rbf_repulsion,
    score_bandwidth,
    squared_distances,
)

reproducible = settings(deadline=None, derandomize=True, max_examples=100)
dtypes = pytest.mark.parametrize("dtype", [th.float32, th.float64])
rules = pytest.mark.parametrize("rule", ["median", "mean"])
# States, particles, sources, dimensions, seed
shapes = given(st.integers(1, 3), st.integers(1, 64), st.integers(1, 64), st.integers(1, 17), st.integers(0, 2**31))


def differences(x, y):
    """(B, N, M, d), which the functions themselves avoid."""
    return x.unsqueeze(2) - y.unsqueeze(1)


def line(*points, dtype=th.float64):
    """One state with particles in one dimension."""
    return th.tensor(points, dtype=dtype).reshape(1, -1, 1)


# ---- distances


@reproducible
@shapes
def test_distances_and_repulsion(b, n, m, d, seed):
    x, y = 3 * draw(b, n, d, seed=seed), draw(b, m, d, seed=seed + 1) + 1
    exact = differences(x, y).square().sum(dim=3)
    for dtype, tolerance in [(th.float32, 2e-5), (th.float64, 1e-13)]:
        x_, y_ = x.to(dtype), y.to(dtype)
        distances = squared_distances(x_, y_)
        assert distances.dtype == dtype and (distances >= 0).all()
        scale = float(exact.max())
        th.testing.assert_close(distances.double(), exact, rtol=0, atol=tolerance * scale)
        h = bandwidth(distances, "mean")
        kernel = rbf_kernel(distances, h)
        repulsion = rbf_repulsion(kernel, x_, y_, h)
        expected = (kernel.double().unsqueeze(3) * differences(x, y)).sum(dim=2) / h.double()
        assert kernel.dtype == repulsion.dtype == dtype
        th.testing.assert_close(repulsion.double(), expected, rtol=tolerance, atol=tolerance * m * scale / float(h.min()))
        # State by state
        for state in range(b):
            one = slice(state, state + 1)
            th.testing.assert_close(distances[one], squared_distances(x_[one], y_[one]), rtol=0, atol=tolerance * scale)
            th.testing.assert_close(h[one], bandwidth(distances[one], "mean"))


def test_distances_have_exact_gradients():
    x, y = draw(2, 5, 3, seed=1).requires_grad_(), draw(2, 4, 3, seed=2).requires_grad_()
    assert th.autograd.gradcheck(squared_distances, (x, y))
    weights = draw(2, 5, 5)
    (ours,) = th.autograd.grad((weights * squared_distances(x, x)).sum(), x)
    (naive,) = th.autograd.grad((weights * differences(x, x).square().sum(dim=3)).sum(), x)
    th.testing.assert_close(ours, naive)


@dtypes
def test_distances_far_from_the_origin(dtype):
    """Without centering, float32 loses |x|^2 eps = 3e6 * 6e-8 = 0.2 of each distance at an offset of 1000."""
    x = (draw(2, 20, 3) + 1e3).to(dtype)
    exact = differences(x.double(), x.double()).square().sum(dim=3)
    th.testing.assert_close(squared_distances(x, x).double(), exact, rtol=1e-5, atol=1e-5)
    assert squared_distances(x, x).diagonal(dim1=1, dim2=2).abs().max() < 1e-5


@dtypes
def test_distances_are_never_negative(dtype):
    """Rounding gives either sign where y is almost x."""
    x = draw(4, 64, 17, dtype=dtype)
    y = x * (1 + th.finfo(dtype).eps)
    distances = squared_distances(x, y)
    assert (distances >= 0).all() and (distances.diagonal(dim1=1, dim2=2) == 0).any()


def test_repulsion_far_from_the_origin():
    near = draw(1, 20, 3, dtype=th.float32) + 1e3
    repulsions = []
    for x in (near, near.double()):
        distances = squared_distances(x, x)
        h = bandwidth(distances, paired=True)
        repulsions.append(rbf_repulsion(rbf_kernel(distances, h), x, x, h).double())
    th.testing.assert_close(*repulsions, rtol=1e-4, atol=1e-5)


# ---- bandwidth


def test_bandwidth_by_hand():
    distances = squared_distances(line(0.0, 1.0, 3.0), line(0.0, 1.0, 3.0))  # 1, 9, 4 and zeros
    denominator = 2 * math.log(4)
    assert bandwidth(distances, "median", paired=True).item() == pytest.approx(4 / denominator)
    assert bandwidth(distances, "mean", paired=True).item() == pytest.approx(14 / 3 / denominator)
    # With the diagonal: 0 0 0 1 1 4 4 9 9
    assert bandwidth(distances, "median").item() == pytest.approx(1 / denominator)
    assert bandwidth(distances, "mean").item() == pytest.approx(28 / 9 / denominator)
    assert bandwidth(distances, 0.25).tolist() == [[[0.25]]] and bandwidth(distances, 3, paired=True).tolist() == [[[3.0]]]
    # Of an even number the lower median; M counts the second argument
    assert bandwidth(th.tensor([[[1.0], [2.0], [5.0], [6.0]]])).item() == pytest.approx(2 / (2 * math.log(2)))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 17])
def test_bandwidth_of_exported_graphs(n, monkeypatch):
    """ONNX has no median: the same number by sorting."""
    distances = draw(5, n, n, dtype=th.float32).abs().round(decimals=1)  # with ties
    expected = [bandwidth(distances, paired=paired) for paired in (False, True)]
    monkeypatch.setattr(th.compiler, "is_exporting", lambda: True)
    monkeypatch.setattr(th.Tensor, "median", None)
    assert all(th.equal(bandwidth(distances, paired=paired), expected[paired]) for paired in (False, True))


@pytest.mark.parametrize("n", [2, 3, 4, 17, 64])
def test_bandwidth_leaves_out_the_diagonal_only(n):
    distances = draw(3, n, n).abs()
    rest = distances[:, ~th.eye(n, dtype=th.bool)].numpy()
    mean = bandwidth(distances, "mean", paired=True)
    median = bandwidth(distances, "median", paired=True)
    assert mean.shape == median.shape == (3, 1, 1)
    np.testing.assert_allclose(mean.flatten(), rest.mean(axis=1) / (2 * math.log(n + 1)))
    np.testing.assert_allclose(median.flatten(), np.sort(rest)[:, (n * n - n - 1) // 2] / (2 * math.log(n + 1)))


def test_score_bandwidth_by_hand():
    distances = squared_distances(line(0.0, 1.0, 3.0), line(0.0, 1.0, 3.0))  # 1, 9, 4 and zeros
    gradients = line(2.0, -4.0, 3.0)  # mean length 3: v = 1 / 9
    nearest = 0.25 * (1 + 1 + 4) / 3  # of each, without itself
    assert score_bandwidth(distances, gradients).item() == pytest.approx(1 / 9 / math.log(4))
    assert score_bandwidth(distances, gradients, 2.0).item() == pytest.approx(4 / 9 / math.log(4))  # scores half as long
    assert score_bandwidth(distances, gradients, paired=True).item() == pytest.approx(nearest)
    assert score_bandwidth(distances, 0.1 * gradients, paired=True).item() == pytest.approx(4 / (2 * math.log(4)))  # median
    plane = th.tensor([[[3.0, 4.0], [0.0, 1.0]]])  # lengths 5 and 1: v = 2 / 9
    assert score_bandwidth(th.full((1, 1, 2), 1.0), plane).item() == pytest.approx(2 * 2 / 9 / math.log(3))


@pytest.mark.parametrize("dim", [1, 2, 6])
@pytest.mark.parametrize("width", [0.05, 1.0])
@pytest.mark.parametrize("n_modes", [2, 4])
def test_score_bandwidth_sees_one_mode(n_modes, width, dim):
    """d v / log(M + 1) of one mode, to what the mean length of a Gaussian vector differs from sqrt(d)."""
    centers = 20 * th.arange(n_modes, dtype=th.float64).view(-1, 1, 1).expand(-1, 1, dim)
    x = (centers + width * draw(n_modes, 400, dim)).reshape(1, -1, dim)
    scores = (centers - x.reshape(n_modes, 400, dim)).reshape(1, -1, dim) / width**2
    h = score_bandwidth(squared_distances(x, x), scores, paired=True).item()
    assert 1 <= h * math.log(400 * n_modes + 1) / (dim * width**2) < 1.75  # 1.57 in one dimension
    assert bandwidth(squared_distances(x, x), "mean", paired=True).item() > 10 * h


@dtypes
@pytest.mark.parametrize("ent_coef", [0.0, 1.0])
@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e12])
def test_score_bandwidth_of_degenerate_input(scale, paired, n, ent_coef, dtype):
    """From MIN_BANDWIDTH on and at most as wide as the median's, whatever the gradients and the temperature are."""
    for x in (draw(3, n, 2, dtype=dtype), th.zeros(3, n, 2, dtype=dtype)):
        distances, gradients = squared_distances(x, x), scale * draw(3, n, 2, seed=1, dtype=dtype)
        h = score_bandwidth(distances.requires_grad_(), gradients, th.as_tensor(ent_coef).requires_grad_(), paired)
        assert h.shape == (3, 1, 1) and h.dtype == dtype and not h.requires_grad
        assert (h >= MIN_BANDWIDTH).all() and (h <= bandwidth(distances, "median", paired)).all()


@rules
@dtypes
def test_bandwidth_is_a_constant_in_gradients(rule, dtype):
    x = draw(2, 6, 3, dtype=dtype).requires_grad_()
    for chosen in (rule, 0.5):
        h = bandwidth(squared_distances(x, x), chosen, paired=True)
        assert not h.requires_grad and h.dtype == dtype


def test_bandwidth_takes_known_rules_only():
    for rule in ("Median", "max", None):
        with pytest.raises(AssertionError):
            bandwidth(th.zeros(1, 2, 2), rule)  # type: ignore[arg-type]


@rules
@pytest.mark.parametrize("n", [1, 2, 64])
def test_particle_at_the_typical_distance_weighs_one_share(rule, n):
    distances = th.full((1, n, n), 7.0, dtype=th.float64)
    kernel = rbf_kernel(distances, bandwidth(distances, rule))
    th.testing.assert_close(kernel, th.full_like(kernel, 1 / (n + 1)))


# ---- kernel


@reproducible
@shapes
def test_kernel_matrix(b, n, m, d, seed):
    x, y = draw(b, n, d, seed=seed), draw(b, m, d, seed=seed + 1)
    h = 0.1 + draw(b, 1, 1, seed=seed + 2).abs()
    kernel = rbf_kernel(squared_distances(x, y), h)
    for i, j in [(0, 0), (n - 1, m - 1), (n // 2, m // 3)]:
        expected = math.exp(-sum(float(a - c) ** 2 for a, c in zip(x[0, i], y[0, j], strict=True)) / (2 * float(h[0])))
        assert kernel[0, i, j].item() == pytest.approx(expected, rel=1e-9, abs=1e-300)
    own = rbf_kernel(squared_distances(x, x), h)
    th.testing.assert_close(own, own.transpose(1, 2))
    assert own.diagonal(dim1=1, dim2=2).min() == pytest.approx(1.0)
    assert th.linalg.eigvalsh(own).min() > -1e-10


@pytest.mark.parametrize("dim", [1, 2, 17])
@pytest.mark.parametrize("n", [1, 7, 64])
def test_repulsion_is_the_gradient_of_the_kernel(dim, n):
    """Sum over j of the derivative of k(x_i, y_j) with respect to y_j."""
    x, y, h = draw(2, 5, dim, seed=1), draw(2, n, dim, seed=2), th.tensor([0.5, 3.0], dtype=th.float64).view(2, 1, 1)
    columns = []
    for i in range(5):
        sources = y.clone().requires_grad_()
        values = th.exp(-(x[:, i : i + 1] - sources).square().sum(dim=2) / (2 * h[:, 0]))
        columns.append(th.autograd.grad(values.sum(), sources)[0].sum(dim=1))
    repulsion = rbf_repulsion(rbf_kernel(squared_distances(x, y), h), x, y, h)
    th.testing.assert_close(repulsion, th.stack(columns, dim=1))


def test_repulsion_by_hand():
    x = line(0.0, 1.0)
    # h = 1/2: k = exp(-1), and 1/h = 2
    repulsion = rbf_repulsion(rbf_kernel(squared_distances(x, x), 0.5), x, x, 0.5)
    np.testing.assert_allclose(repulsion.flatten(), [-2 / math.e, 2 / math.e])


def test_repulsion_has_exact_gradients():
    x, y, h = draw(2, 3, 2, seed=1).requires_grad_(), draw(2, 4, 2, seed=2).requires_grad_(), 0.7

    def through_kernel(x, y):
        return rbf_repulsion(rbf_kernel(squared_distances(x, y), h), x, y, h)

    def naive(x, y):
        vectors = differences(x, y)
        return (th.exp(-vectors.square().sum(dim=3, keepdim=True) / (2 * h)) * vectors / h).sum(dim=2)

    assert th.autograd.gradcheck(through_kernel, (x, y))
    weights = draw(2, 3, 2)
    for ours, theirs in zip(
        th.autograd.grad((weights * through_kernel(x, y)).sum(), (x, y)),
        th.autograd.grad((weights * naive(x, y)).sum(), (x, y)),
        strict=True,
    ):
        th.testing.assert_close(ours, theirs)


# ---- degenerate input


@rules
@dtypes
@pytest.mark.parametrize("n", [1, 2, 7, 64])
@pytest.mark.parametrize("offset", [0.0, 0.3, 8.1, 1e3])
def test_equal_particles(rule, dtype, n, offset):
    """The tiny bandwidth must not turn rounding into repulsion."""
    x = th.full((1, n, 3), offset, dtype=dtype)
    distances = squared_distances(x, x)
    h = bandwidth(distances, rule, paired=True)
    assert h.item() == pytest.approx(MIN_BANDWIDTH)
    kernel = rbf_kernel(distances, h)
    assert kernel.min() == kernel.max() == 1
    assert rbf_repulsion(kernel, x, x, h).abs().max() / n < 1e-3


@dtypes
def test_most_particles_coincide(dtype):
    """The median is 0, and the few others lie far away: rounding of their distances must not be taken for distances."""
    x = draw(1, 12, 3, dtype=dtype)
    x[:, :9] = x[:, :1]
    distances = squared_distances(x, x)
    h = bandwidth(distances, "median", paired=True)
    kernel = rbf_kernel(distances, h)
    assert 0 < h < 1e-3
    th.testing.assert_close(kernel[:, :9, :9], th.ones_like(kernel[:, :9, :9]), rtol=0, atol=0.01)
    assert rbf_repulsion(kernel, x, x, h).abs().max() / 12 < 0.05


@rules
@dtypes
@pytest.mark.parametrize("scale", [1e4, 1e15])
def test_huge_distances(rule, dtype, scale):
    x = scale * draw(1, 10, 3, dtype=dtype)
    distances = squared_distances(x, x)
    h = bandwidth(distances, rule, paired=True)
    repulsion = rbf_repulsion(rbf_kernel(distances, h), x, x, h)
    # The rule follows the scale
    small = squared_distances(x / scale, x / scale)
    th.testing.assert_close(h / scale**2, bandwidth(small, rule, paired=True), rtol=1e-3, atol=0)
    th.testing.assert_close(
        repulsion * scale,
        rbf_repulsion(rbf_kernel(small, h / scale**2), x / scale, x / scale, h / scale**2),
        rtol=1e-3,
        atol=1e-4,
    )
    # With a bandwidth that does not, everyone is alone
    kernel = rbf_kernel(distances, bandwidth(distances, 1.0))
    assert (kernel - th.diag_embed(kernel.diagonal(dim1=1, dim2=2))).abs().max() == 0


def test_one_particle_far_from_the_others():
    """Finite, and no rounding of its distance is mistaken for repulsion among the others."""
    x = draw(1, 20, 3, dtype=th.float32)
    x[0, 0] = 1e6
    distances = squared_distances(x, x)
    h = bandwidth(distances, "median", paired=True)
    assert (rbf_repulsion(rbf_kernel(distances, h), x, x, h).norm(dim=2) / 20 < 1).all()


def test_no_tensor_with_four_dimensions():
    b, n, d = 8, 64, 17
    x = draw(b, n, d).requires_grad_()

    def everything():
        distances = squared_distances(x, x)
        h = bandwidth(distances, paired=True)
        rbf_repulsion(rbf_kernel(distances, h), x, x, h).sum().backward()

    assert largest_tensor(everything) <= b * n * n


def test_shapes_are_checked():
    for shape_x, shape_y in [((2, 3), (2, 3)), ((1, 3, 2), (2, 3, 2)), ((1, 3, 2), (1, 3, 1))]:
        with pytest.raises(AssertionError):
            squared_distances(th.zeros(shape_x), th.zeros(shape_y))
    with pytest.raises(AssertionError):
        bandwidth(th.zeros(3, 3))
