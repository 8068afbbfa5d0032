"""The density change by secants: by hand, for linear scores, beside smoothed Hessians, and the particles' own entropy."""

import math

import numpy as np
import pytest
import s2ac_entropy
import torch as th
from entropies.own_entropy import nearest_neighbour_entropy
from tensors import draw

from sb3_maxent.functional import (
    bandwidth,
    pair_correlation_trace,
    pair_products,
    rbf_kernel,
    secant_log_density_change,
    secant_trace,
    squared_distances,
)
from sb3_maxent.s2ac import SteinSampler


def kernel_of(x, h=None):
    distances = squared_distances(x, x)
    return rbf_kernel(distances, bandwidth(distances, "median", paired=True) if h is None else h)


def test_pair_products():
    x, y = draw(3, 5, 4), draw(3, 5, 4, seed=1)
    naive = ((x[:, :, None] - x[:, None]) * (y[:, :, None] - y[:, None])).sum(dim=3)
    th.testing.assert_close(pair_products(x, y), naive)


def test_secant_trace_by_hand():
    """
    Three particles in one dimension at 0, 1, 3 from 0, 2, 4, scores 0, -2, -9, and a kernel of 0.5 between the first two, 0.25
    between the last two. For the middle one: (0.5 * -2 * 2 + 0.25 * -7 * 2) / (0.5 * 1 * 2 + 0.25 * 2 * 2) = -5.5 / 2.
    """
    x, start, scores = (th.tensor(values).view(1, 3, 1) for values in ([0.0, 1.0, 3.0], [0.0, 2.0, 4.0], [0.0, -2.0, -9.0]))
    kernel = th.tensor([[[1.0, 0.5, 0.0], [0.5, 1.0, 0.25], [0.0, 0.25, 1.0]]])
    np.testing.assert_allclose(secant_trace(x, scores, start, kernel)[0], [-2.0, -2.75, -3.5], rtol=1e-6)


@pytest.mark.parametrize("dim", [1, 3, 12])
def test_secant_trace_of_linear_scores(dim):
    """With one curvature in all directions it is right whatever the kernel, the places and the start are."""
    x = draw(4, 10, dim)
    start = 2 * x + 0.05 * draw(4, 10, dim, seed=1)
    trace = secant_trace(x, 1.7 - 2.5 * x, start, kernel_of(x))
    th.testing.assert_close(trace, th.full((4, 10), -2.5 * dim, dtype=th.float64))


def test_secant_trace_weighs_directions_by_what_is_left_of_them():
    """
    Particles that have gathered to widths m_a from an even start, with curvatures h_a: from the start the trace is
    d sum h_a m_a / sum m_a; from the places alone it would be d sum h_a m_a^2 / sum m_a^2.
    """
    widths, curvatures = th.tensor([1.0, 0.5, 0.25], dtype=th.float64), th.tensor([-1.0, -4.0, -16.0], dtype=th.float64)
    start = draw(1, 1000, 3)
    x = start * widths
    kernel = th.ones(1, 1000, 1000, dtype=th.float64)
    for z, power in ((start, 1), (x, 2)):
        expected = 3 * (curvatures * widths**power).sum() / (widths**power).sum()
        mean_of_ratios = float(secant_trace(x, x * curvatures, z, kernel).mean())
        assert mean_of_ratios == pytest.approx(float(expected), rel=0.1)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e6])
def test_secant_trace_where_there_is_nothing_to_see(scale):
    """Without neighbours it is 0; where all particles coincide, or are far apart, it is a number."""
    x, scores = scale * draw(2, 6, 3, dtype=th.float32), draw(2, 6, 3, seed=1, dtype=th.float32)
    assert (secant_trace(x, scores, draw(2, 6, 3, dtype=th.float32), th.eye(6).expand(2, 6, 6)) == 0).all()
    assert secant_trace(x, scores, draw(2, 6, 3, dtype=th.float32), kernel_of(x)).isfinite().all()


def test_particles_that_changed_their_order():
    """Then the start says nothing of their neighbours: the secant's denominator is at least a quarter of its largest value."""
    x = th.tensor([0.0, 1.0]).view(1, 2, 1)
    trace = secant_trace(x, -x, -x, th.ones(1, 2, 2))
    np.testing.assert_allclose(trace[0], [1 / 0.25, 1 / 0.25])


def test_pair_correlation_by_hand():
    """
    Two particles in one dimension at 0 and 1, h = 1, scores 0 and -1, after one step of size 0.4 with h = 2.
    d log g / dD = 0.4 / (2 * 4) exp(-1/4) (3 - 1/2); the push along the distance is exp(-1/2) (1 - 0.5 * -1 * 1) / 2.
    """
    x, scores = th.tensor([0.0, 1.0]).view(1, 2, 1), th.tensor([0.0, -1.0]).view(1, 2, 1)
    step = th.full((1, 1), 0.4), th.full((1, 1, 1), 2.0)
    slope = 0.05 * math.exp(-0.25) * 2.5
    push = math.exp(-0.5) * 1.5 / 2
    trace = pair_correlation_trace(x, scores, squared_distances(x, x), th.ones(1, 1, 1), [step])
    np.testing.assert_allclose(trace[0], [2 * slope * push] * 2, rtol=1e-6)
    twice = pair_correlation_trace(x, scores, squared_distances(x, x), th.ones(1, 1, 1), [step, step])
    np.testing.assert_allclose(twice, 2 * trace)
    assert (pair_correlation_trace(x, scores, squared_distances(x, x), th.ones(1, 1, 1), []) == 0).all()


def test_order_makes_up_for_contraction_and_for_no_more():
    trace, correlation = th.tensor([[-2.0, -2.0, 1.0, 1.0]]), th.tensor([[0.5, 3.0, 0.5, -0.5]])
    change = secant_log_density_change(trace, correlation, 0.1)
    np.testing.assert_allclose(change[0], [0.15, 0.0, -0.1, -0.05], rtol=1e-6)


# ---------------------------------------------------------------------- against other estimates, and the particles


def smoothed_trace(scores_at, x, width):
    """Hutchinson's trace of the Hessian, smoothed over a width, from two more scores."""
    signs = (2.0 * th.randint(2, x.shape, generator=th.Generator().manual_seed(0)) - 1) * width
    return ((scores_at(x + signs) - scores_at(x - signs)) * signs).sum(dim=2) / (2 * width**2)


SMOOTHED = ["Gaussian, width 0.3", "correlated, widths 0.15 to 0.6", "two modes at 0.6, width 0.3", "ReLU network, width 0.3"]


@pytest.mark.parametrize("dim", [6, pytest.param(17, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [*SMOOTHED[:-1], pytest.param(SMOOTHED[-1], marks=pytest.mark.slow)])
def test_secants_are_smoothed_hessians(name, dim):
    """Where the particles start: mean over particles, within 10 percent."""
    target = s2ac_entropy.UnboundedTarget.of(s2ac_entropy.ENERGIES[name].log_density(dim))
    x = 0.5 * draw(500, 10, dim, dtype=th.float32)
    ours, smoothed = secant_trace(x, target.scores(x), x, kernel_of(x)).mean(), smoothed_trace(target.scores, x, 0.1).mean()
    assert float(ours) == pytest.approx(float(smoothed), rel=0.1)


# Nats; what the closed form misses by is in docs/results/s2ac.md
BARS = {1: 0.35, 2: 0.35, 4: 0.35, 8: 0.5, 12: 0.7}
FITTED = [name for name in s2ac_entropy.ENERGIES if "ReLU" in name]


def error(name, dim, n_states=1500, **kwargs):
    sampler = SteinSampler(entropy_estimator="secant", **kwargs)
    value, u = s2ac_entropy.estimate(s2ac_entropy.ENERGIES[name].log_density(dim), dim, sampler, n_states)
    return value - nearest_neighbour_entropy(u.double(), 1500)[0]


MISSED = ("correlated, widths 0.15 to 0.6", 12)


def energy_case(name, dim):
    marks = [pytest.mark.slow] if dim == 12 or name in FITTED else []
    if (name, dim) == MISSED:
        marks.append(pytest.mark.xfail(strict=True, reason="misses the bar, see docs/results/s2ac.md"))
    return pytest.param(name, dim, marks=marks)


@pytest.mark.parametrize(("name", "dim"), [energy_case(name, dim) for name in s2ac_entropy.ENERGIES for dim in BARS])
def test_entropy_is_that_of_the_particles(name, dim):
    """With the defaults."""
    assert abs(error(name, dim)) < BARS[dim]


@pytest.mark.parametrize("dim", [2, 6])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"n_particles": 4},
        {"n_particles": 6},
        {"n_particles": 64},
        {"n_svgd_steps": 1},
        {"n_svgd_steps": 5},
        {"precondition": False, "svgd_step_size": 0.1},
    ],
    ids=lambda kwargs: "-".join(f"{name}={value}" for name, value in kwargs.items()),
)
def test_entropy_with_other_settings(kwargs, dim):
    n_states = 15_000 // kwargs.get("n_particles", 10)
    assert abs(error("Gaussian, width 0.3", dim, n_states, **kwargs)) < 0.5
