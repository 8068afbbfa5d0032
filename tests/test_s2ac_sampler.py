"""S2AC's particles and the density they report, against loops over particles, autograd's Jacobians and quadrature."""

import functools
import math
from typing import Any

import numpy as np
import pytest
import stein_loops
import torch as th
from gymnasium import spaces
from scipy import stats
from stable_baselines3.common.torch_layers import FlattenExtractor
from tensors import draw
from torch import nn
from torch.autograd.functional import jacobian

from sb3_maxent import reference
from sb3_maxent.common.particles import ParticleCritic
from sb3_maxent.functional import (
    bandwidth,
    squared_distances,
    stein_direction,
    stein_direction_and_jacobian,
    stein_trace,
    truncated_normal_icdf,
    truncated_normal_log_prob,
)
from sb3_maxent.s2ac import SteinSampler, Target

STATES, PARTICLES = 3, 5
activations = pytest.mark.parametrize("activation_fn", [nn.ReLU, nn.Tanh, nn.ELU], ids=lambda value: value.__name__)
preconditions = pytest.mark.parametrize("precondition", [True, False], ids=["precondition", "plain"])


def make_critic(dim, activation_fn=nn.Tanh, n_critics=2, seed=0, size=1.0):
    """Critics with random weights, in double precision, none of which is the smallest one everywhere."""
    observations, actions = spaces.Box(-1, 1, (4,)), spaces.Box(-1, 1, (dim,))
    extractor = FlattenExtractor(observations)
    critic = ParticleCritic(
        observations, actions, [16, 16], extractor, 4, activation_fn, n_critics=n_critics, share_features_extractor=False
    ).double()
    generator = th.Generator().manual_seed(seed)
    for parameter in critic.parameters():
        nn.init.normal_(parameter, std=0.5 * size if parameter.ndim == 2 else 0.1, generator=generator)
    return critic


class Problem:
    """Random critics, a start for each state, and noise; ``size`` multiplies the critics' weights."""

    def __init__(self, sampler, dim, activation_fn=nn.Tanh, seed=0, alpha=0.4, size=1.0, n_states=STATES):
        self.sampler, self.alpha = sampler, alpha
        self.critic = make_critic(dim, activation_fn, seed=seed, size=size)
        self.features = draw(n_states, 4, seed=seed)
        self.mean = 0.5 * draw(n_states, dim, seed=seed + 1)
        self.log_std = math.log(0.6) + 0.4 * draw(n_states, dim, seed=seed + 2)
        uniforms = th.rand(n_states, sampler.n_particles, dim, generator=th.Generator().manual_seed(seed), dtype=th.float64)
        self.noise = sampler.start_noise(uniforms)

    def target(self, features=None):
        features = self.features if features is None else features
        return Target(
            functools.partial(self.critic.q_particles, features),
            functools.partial(self.critic.q_gradient, features),
            th.tensor(self.alpha, dtype=th.float64),
        )

    def sample(self, mean=None, log_std=None, **kwargs):
        mean, log_std = self.mean if mean is None else mean, self.log_std if log_std is None else log_std
        return self.sampler.sample(mean, log_std, self.noise, self.target(), **kwargs)

    def log_p(self, state):
        """Through the critics' layers as they are, one action at a time."""

        def q_function(action):
            row = th.cat([self.features[state], action])
            return th.stack([q_net(row).squeeze() for q_net in self.critic.q_networks]).min()

        return stein_loops.log_density(q_function, self.alpha)

    def loops(self, state, mean=None, log_std=None, **kwargs):
        mean, log_std = self.mean if mean is None else mean, self.log_std if log_std is None else log_std
        return stein_loops.run(self.sampler, mean[state], log_std[state], self.noise[state], self.log_p(state), **kwargs)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"kernel_bandwidth": "mean", "out_of_bounds": "clip"},
    {"kernel_bandwidth": 0.7, "out_of_bounds": "free", "max_step_ratio": 0.9},
    {"truncation": None, "max_step_ratio": None, "svgd_step_size": 0.2},
    {"truncation": 1.0, "svgd_step_size": 2.0},
]
settings = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: "-".join(map(str, setting.values())) or "defaults")


# ---------------------------------------------------------------------- positions and densities


@settings
@preconditions
def test_positions_against_loops(precondition, setting):
    """
    Where the particles are after each number of steps, by the defaults' estimator; steps that are cut short and particles
    that are held are among them.
    """
    for n_svgd_steps in (1, 3):
        sampler = SteinSampler(PARTICLES, n_svgd_steps, precondition=precondition, **setting)
        problem = Problem(sampler, dim=2)
        particles = problem.sample()
        assert particles.u.shape == (STATES, PARTICLES, 2) and particles.log_prob.shape == (STATES, PARTICLES)
        for state in range(STATES):
            expected = problem.loops(state)
            th.testing.assert_close(particles.u[state], expected.u)
            th.testing.assert_close(particles.log_prob[state], expected.log_prob)
        without = problem.sample(with_density=False)
        assert th.equal(without.u, particles.u) and without.log_prob.numel() == 0 and not without.diagnostics


def test_the_settings_reach_every_branch():
    """What the comparison with the loops is worth."""
    held, cut, whole = 0, 0, 0
    for setting in SETTINGS:
        sampler = SteinSampler(PARTICLES, 3, **setting)
        for state in range(STATES):
            for step in Problem(sampler, dim=2).loops(state).steps:
                held += step.inside.count(False)
                cut, whole = cut + (step.eps < sampler.svgd_step_size), whole + (step.eps == sampler.svgd_step_size)
    assert min(held, cut, whole) >= 3


@activations
@pytest.mark.parametrize("dim", [pytest.param(1, marks=pytest.mark.slow), 3])
@preconditions
@pytest.mark.parametrize("setting", [SETTINGS[0], SETTINGS[3], SETTINGS[4]], ids=["defaults", "unbounded", "narrow"])
def test_exact_density_is_that_of_the_whole_map(setting, precondition, dim, activation_fn):
    """
    On random critics: autograd's Jacobian of the map from one particle's noise to its action, through all steps, the start
    and tanh, while the other particles, their scores, the bandwidth and the step's size are held.
    """
    sampler = SteinSampler(PARTICLES, 3, precondition=precondition, entropy_estimator="exact", **setting)
    problem = Problem(sampler, dim, activation_fn, seed=dim)
    particles = problem.sample()
    start = stats.truncnorm(-sampler.bound, sampler.bound) if sampler.truncation else stats.norm
    for state in range(STATES):
        expected = problem.loops(state)
        th.testing.assert_close(particles.u[state], expected.u)
        th.testing.assert_close(particles.log_prob[state], expected.log_prob)
        for i in range(PARTICLES):
            arguments = problem.mean[state], problem.log_std[state], problem.log_p(state), expected.steps, i
            final = stein_loops.whole_map(sampler, *arguments)
            noise = problem.noise[state, i]
            log_det = th.linalg.slogdet(jacobian(final, noise)).logabsdet
            log_prob = stats_log_prob(start, noise) - float(log_det)
            assert float(particles.log_prob[state, i]) == pytest.approx(log_prob, rel=1e-6, abs=1e-8)
            th.testing.assert_close(final(noise), th.tanh(particles.u[state, i]))


def stats_log_prob(distribution, noise):
    return float(distribution.logpdf(noise.numpy()).sum())


@pytest.mark.parametrize("entropy_estimator", ["secant", "closed_form", "hutchinson", "exact"])
@preconditions
def test_estimators_with_one_dimension(precondition, entropy_estimator):
    """Random signs square to 1: in one dimension Hutchinson's estimate is the trace itself."""
    sampler = SteinSampler(PARTICLES, 2, precondition=precondition, entropy_estimator=entropy_estimator)
    problem = Problem(sampler, dim=1)
    particles = problem.sample()
    for state in range(STATES):
        th.testing.assert_close(particles.log_prob[state], problem.loops(state).log_prob)
    with th.no_grad():
        th.manual_seed(0)
        th.testing.assert_close(problem.sample().log_prob, particles.log_prob.detach())


@activations
@preconditions
def test_hutchinson_is_unbiased(precondition, activation_fn):
    """
    The mean over 4000 draws of the random vectors is the trace with the Hessian, within 5 standard errors. With ReLUs the
    Hessian is that of tanh, diagonal, and each draw gives its trace.
    """
    sampler = SteinSampler(PARTICLES, 2, precondition=precondition, entropy_estimator="hutchinson")
    problem = Problem(sampler, dim=3, activation_fn=activation_fn)
    state, n = 1, 4000
    problem_noise = problem.noise[state].expand(n, -1, -1)
    th.manual_seed(0)
    start = problem.mean[state : state + 1], problem.log_std[state : state + 1]
    target = problem.target(problem.features[state].expand(n, -1))
    with th.no_grad():
        log_prob = sampler.sample(*start, problem_noise, target).log_prob
    expected = problem.loops(state).log_prob
    error = log_prob.std(dim=0) / n**0.5
    assert ((error > 1e-6) == (activation_fn is not nn.ReLU)).all()
    assert ((log_prob.mean(dim=0) - expected).abs() < 5 * error + 1e-9).all()


def linear_target(slopes, alpha=0.7):
    """Q whose density over u has the constant score ``slopes`` and so no Hessian."""
    slopes = th.as_tensor(slopes, dtype=th.float64)

    def q_values(actions):
        return alpha * (slopes * th.atanh(actions) - th.log(1 - actions**2)).sum(dim=2)

    def q_gradient(actions):
        return alpha * (slopes + 2 * actions) / (1 - actions**2)

    return Target(q_values, q_gradient, th.tensor(alpha, dtype=th.float64))


@preconditions
def test_small_steps_agree(precondition):
    """
    Without a Hessian the three estimates are the same to first order, but for the closed form's N - 1: halving the step
    quarters the difference. With one, the estimates that know of it are.
    """
    n, noise, mean, log_std = 6, draw(2, 6, 2), draw(2, 2, seed=1), 0.3 * draw(2, 2, seed=2)
    make = functools.partial(SteinSampler, n, 1, precondition=precondition, truncation=None, max_step_ratio=None)

    def changes(target, eps):
        kwargs = [{"entropy_estimator": name, "svgd_step_size": eps} for name in ("closed_form", "hutchinson", "exact")]
        particles = [make(**each).sample(mean, log_std, noise, target) for each in kwargs]
        # Without a Hessian's help: from the start's density, which has tanh at the same place
        start = stats.norm.logpdf(noise.numpy()).sum(axis=2) - log_std.sum(dim=1, keepdim=True).numpy()
        dets = [np.log1p(-np.tanh(each.u.numpy()) ** 2).sum(axis=2) for each in particles]
        return [each.log_prob.numpy() - start + det for each, det in zip(particles, dets, strict=True)]

    for target in (linear_target([0.5, -1.0]), Problem(make(), dim=2, n_states=2).target()):
        differences = []
        for eps in (2e-3, 1e-3):
            closed, hutchinson, exact = changes(target, eps)
            if target.ent_coef == 0.7:
                np.testing.assert_allclose(closed * (n - 1) / n, hutchinson, rtol=1e-6, atol=1e-9)
                differences.append(np.abs(hutchinson - exact).max())
            else:
                differences.append(np.abs(closed - exact).max())
        # First order in the step where the Hessian is left out, second order where nothing is
        assert differences[0] / differences[1] == pytest.approx(4 if target.ent_coef == 0.7 else 2, rel=0.05)


# ---------------------------------------------------------------------- scores


@activations
@pytest.mark.parametrize("alpha", [0.05, 0.4, 3.0])
def test_scores(alpha, activation_fn):
    """1 / alpha, at the squashed action, with the Jacobian of tanh; by hand and by autograd."""
    problem = Problem(SteinSampler(PARTICLES), dim=2, activation_fn=activation_fn, alpha=alpha)
    u = draw(STATES, PARTICLES, 2, seed=7)
    scores, with_graph = problem.target().scores(u), problem.target().scores(u.requires_grad_(), create_graph=True)
    assert not scores.requires_grad and with_graph.requires_grad
    th.testing.assert_close(with_graph.detach(), scores)
    for state in range(STATES):
        for i in range(PARTICLES):
            th.testing.assert_close(scores[state, i], jacobian(problem.log_p(state), u[state, i].detach()))
    # Where Q is flat the score is that of the uniform density on actions
    flat = Target(lambda actions: 0 * actions.sum(dim=2), th.zeros_like, th.tensor(alpha, dtype=th.float64))
    th.testing.assert_close(flat.scores(u.detach()), -2 * th.tanh(u.detach()))


def test_scores_without_a_temperature():
    """As with the smallest one."""
    u = draw(STATES, PARTICLES, 2)
    problem = Problem(SteinSampler(PARTICLES), dim=2, alpha=0.0)
    scores = problem.target().scores(u)
    problem.alpha = 1e-6
    th.testing.assert_close(scores, problem.target().scores(u))
    assert scores.isfinite().all() and scores.abs().max() > 1e4


# ---------------------------------------------------------------------- the truncated normal distribution


@pytest.mark.parametrize("bound", [0.1, 1.0, 3.0, 8.0, math.inf])
def test_truncated_normal_against_scipy(bound):
    expected = stats.truncnorm(-bound, bound)
    probabilities = th.linspace(0.001, 0.999, 501, dtype=th.float64)
    values = truncated_normal_icdf(probabilities, bound)
    np.testing.assert_allclose(values, expected.ppf(probabilities.numpy()), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(truncated_normal_log_prob(values, bound), expected.logpdf(values.numpy()), atol=1e-9)
    # Tails, as far as a float goes
    for dtype, tail in [(th.float32, 1e-6), (th.float64, 1e-14)]:
        tails = th.tensor([tail, 1 - tail], dtype=dtype)
        values = truncated_normal_icdf(tails, bound).double()
        np.testing.assert_allclose(values, expected.ppf([tail, 1 - tail]), rtol=0.03)
        ends = truncated_normal_icdf(th.tensor([0.0, 1.0], dtype=dtype), bound)
        assert ends.dtype == dtype and ends.isfinite().all() and (ends.abs() <= bound).all()
        assert ends[1] == -ends[0] and ends[1] >= values[1] - 1e-6
    single = truncated_normal_icdf(probabilities.float(), bound)
    np.testing.assert_allclose(single, expected.ppf(probabilities.float().numpy()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bound", [0.5, 3.0])
def test_truncated_normal_samples(bound):
    """A histogram of draws, by its chi-squared (49 degrees of freedom), and the integral of the density."""
    uniforms = th.rand(100_000, generator=th.Generator().manual_seed(0))
    counts, edges = np.histogram(truncated_normal_icdf(uniforms, bound).numpy(), bins=50, range=(-bound, bound))
    expected = len(uniforms) * np.diff([stats.truncnorm.cdf(edge, -bound, bound) for edge in edges])
    assert ((counts - expected) ** 2 / expected).sum() < 49 + 5 * 98**0.5
    places = th.linspace(-bound, bound, 2001, dtype=th.float64)
    mass = th.trapezoid(truncated_normal_log_prob(places, bound).exp(), places)
    assert float(mass) == pytest.approx(1, abs=1e-6)


def test_start_noise():
    uniforms = th.rand(3, 4, 2, generator=th.Generator().manual_seed(0))
    for truncation in (0.5, 3.0, None):
        noise = SteinSampler(truncation=truncation).start_noise(uniforms)
        th.testing.assert_close(noise, truncated_normal_icdf(uniforms, truncation or math.inf))


@pytest.mark.parametrize("truncation", [1.0, 3.0, None])
@preconditions
def test_without_steps_it_is_the_squashed_gaussian(precondition, truncation):
    """Its density over actions integrates to 1, in two dimensions with noise on a grid; and by scipy."""
    sampler = SteinSampler(401, 0, precondition=precondition, truncation=truncation)
    mean, log_std = th.tensor([[0.3]], dtype=th.float64), th.tensor([[-0.5]], dtype=th.float64)
    noise = th.linspace(-(truncation or 6), truncation or 6, 401, dtype=th.float64).view(1, -1, 1)
    particles = sampler.sample(mean, log_std, noise, linear_target([0.0]))
    assert particles.diagnostics == {}
    actions = th.tanh(particles.u).flatten()
    assert float(th.trapezoid(particles.log_prob.flatten().exp(), actions)) == pytest.approx(1, abs=1e-4)
    gaussian = stats.truncnorm(-sampler.bound, sampler.bound, loc=0.3, scale=math.exp(-0.5))
    expected = gaussian.logpdf(particles.u.flatten().numpy()) - np.log(1 - actions.numpy() ** 2)
    np.testing.assert_allclose(particles.log_prob.flatten(), expected, atol=1e-6)
    # Two dimensions: the sum of two
    both = sampler.sample(mean.expand(1, 2), log_std.expand(1, 2), noise.expand(1, -1, 2), linear_target([0.0, 0.0]))
    th.testing.assert_close(both.log_prob, 2 * particles.log_prob)


# ---------------------------------------------------------------------- bounds


@preconditions
def test_out_of_bounds(precondition):
    """One strong push to the right, out of the bounds for some: held, put on the border, or gone."""
    noise = th.tensor([-1.8, -0.4, 0.9, 1.9], dtype=th.float64).view(1, 4, 1)
    mean, log_std = th.tensor([[0.2]], dtype=th.float64), th.tensor([[-0.7]], dtype=th.float64)
    results = {}
    for name in ("hold", "clip", "free"):
        sampler = SteinSampler(4, 1, 0.7, None, 1.0, precondition, truncation=2.0, out_of_bounds=name)
        results[name] = sampler.sample(mean, log_std, noise, linear_target([5.0]))
    x = {name: ((result.u - mean) / log_std.exp()).flatten() for name, result in results.items()}
    start = SteinSampler(4, 0, precondition=precondition, truncation=2.0).sample(mean, log_std, noise, linear_target([5.0]))
    outside = x["free"].abs() > 2
    assert 0 < outside.sum() < 4 and (x["free"][outside] > 2.01).all()
    for name, result in results.items():
        th.testing.assert_close(x[name][~outside], x["free"][~outside])
        th.testing.assert_close(result.log_prob[0, ~outside], results["free"].log_prob[0, ~outside])
        assert float(result.diagnostics["truncated"]) == pytest.approx(float(outside.double().mean()))
    th.testing.assert_close(x["hold"][outside], noise.flatten()[outside])
    th.testing.assert_close(results["hold"].log_prob[0, outside], start.log_prob[0, outside])
    th.testing.assert_close(x["clip"][outside], th.full((int(outside.sum()),), 2.0, dtype=th.float64))
    # Clipping moves the particle, not what the step did to its density
    u, u_free = results["clip"].u[0, outside, 0], results["free"].u[0, outside, 0]
    shift = th.log(1 - th.tanh(u_free) ** 2) - th.log(1 - th.tanh(u) ** 2)
    th.testing.assert_close(results["clip"].log_prob[0, outside], results["free"].log_prob[0, outside] + shift)


@preconditions
@pytest.mark.parametrize("truncation", [0.1, 3.0])
def test_nothing_leaves_its_bounds(truncation, precondition):
    for out_of_bounds in ("hold", "clip"):
        sampler = SteinSampler(8, 5, 20.0, 0.9, precondition=precondition, truncation=truncation, out_of_bounds=out_of_bounds)
        problem = Problem(sampler, dim=2, alpha=0.01)
        particles = problem.sample()
        x = (particles.u - problem.mean.unsqueeze(1)) / problem.log_std.exp().unsqueeze(1)
        assert x.abs().max() <= truncation * (1 + 1e-9)
        assert particles.diagnostics["truncated"] > 0 and particles.log_prob.isfinite().all()


# ---------------------------------------------------------------------- the step's size


@pytest.mark.parametrize("max_step_ratio", [0.1, 0.5, 0.999, None])
@preconditions
def test_max_step_ratio(precondition, max_step_ratio):
    """No step is larger than its Jacobian allows, those that are small enough keep their size, state by state."""
    cut, whole = 0, 0
    for alpha in (0.02, 0.5, 100.0):
        sampler = SteinSampler(PARTICLES, 3, 0.5, max_step_ratio, precondition=precondition)
        problem = Problem(sampler, dim=2, alpha=alpha)
        diagnostics = problem.sample().diagnostics
        steps = [step for state in range(STATES) for step in problem.loops(state).steps]
        ratios = [step.eps * step.norm for step in steps]
        assert float(diagnostics["step_ratio"]) == pytest.approx(max(ratios), rel=1e-6)
        assert float(diagnostics["step_size"]) == pytest.approx(np.mean([step.eps for step in steps]), rel=1e-6)
        assert float(diagnostics["bandwidth"]) == pytest.approx(np.mean([step.h for step in steps]), rel=1e-6)
        if max_step_ratio is None:
            assert float(diagnostics["step_size"]) == pytest.approx(0.5)
            continue
        assert max(ratios) <= max_step_ratio * (1 + 1e-9)
        cut, whole = cut + sum(step.eps < 0.5 for step in steps), whole + sum(step.eps == 0.5 for step in steps)
    assert max_step_ratio is None or (cut > 0 and (whole > 0 or max_step_ratio == 0.1))
    tiny = SteinSampler(PARTICLES, 3, 1e-4, max_step_ratio, precondition=precondition)
    assert float(Problem(tiny, dim=2).sample().diagnostics["step_size"]) == pytest.approx(1e-4)


def test_diagnostics():
    problem = Problem(SteinSampler(PARTICLES), dim=2)
    mean = problem.mean.requires_grad_()
    particles = problem.sample(mean)
    assert set(particles.diagnostics) == {"step_ratio", "step_size", "spread", "bandwidth", "neighbours", "truncated"}
    assert not any(value.requires_grad or value.ndim for value in particles.diagnostics.values())
    spread = np.mean([np.std(each.numpy(), axis=0, ddof=1) for each in particles.u.detach()])
    assert float(particles.diagnostics["spread"]) == pytest.approx(spread)


# ---------------------------------------------------------------------- quadrature


def q_of_two_modes(actions):
    """Two modes of different height and width."""
    return np.log(np.exp(-((actions + 0.5) ** 2) / 0.05) + 0.6 * np.exp(-((actions - 0.4) ** 2) / 0.1) + 0.02)


def torch_target(alpha=1.0):
    def q_values(actions):
        x = actions.squeeze(2)
        return th.log(th.exp(-((x + 0.5) ** 2) / 0.05) + 0.6 * th.exp(-((x - 0.4) ** 2) / 0.1) + 0.02)

    def q_gradient(actions):
        with th.enable_grad():
            actions = actions.detach().requires_grad_()
            return th.autograd.grad(q_values(actions).sum(), actions)[0]

    return Target(q_values, q_gradient, th.tensor(alpha, dtype=th.float64))


def line_sample(sampler, n_states, alpha, std=0.7):
    """Particles in one dimension; the same actions (M, 1), and those of the start."""
    uniforms = th.rand(n_states, sampler.n_particles, 1, generator=th.Generator().manual_seed(0), dtype=th.float64)
    noise, zeros = sampler.start_noise(uniforms), th.zeros(1, 1, dtype=th.float64)
    with th.no_grad():
        particles = sampler.sample(zeros, zeros + math.log(std), noise, torch_target(alpha))
    return particles, th.tanh(particles.u).reshape(-1, 1).numpy(), np.tanh(std * noise.reshape(-1, 1).numpy())


def optimum(function, alpha):
    return function(lambda actions: q_of_two_modes(actions[:, 0]), alpha, 1, 200)


@pytest.mark.parametrize(
    ("alpha", "precondition"),
    [(0.5, False), (1.0, True), *(pytest.param(*both, marks=pytest.mark.slow) for both in ((0.5, True), (1.0, False)))],
)
def test_particles_follow_the_density(alpha, precondition):
    """Many particles and steps in one dimension: their histogram, pooled over 20 starts, against quadrature."""
    _, actions, start = line_sample(SteinSampler(100, 60, 0.8, precondition=precondition), 20, alpha)
    log_density = optimum(reference.optimal_log_density, alpha)
    before, after = (reference.histogram_kl(each, log_density, bins=20) for each in (start, actions))
    assert before > 0.2 and after < 0.15 * before and after < 0.12
    # Away from another temperature's density
    assert reference.histogram_kl(actions, optimum(reference.optimal_log_density, 1.5 - alpha), bins=20) > after


@pytest.mark.parametrize("entropy_estimator", ["secant", "closed_form", "hutchinson", "exact"])
@preconditions
def test_entropy_of_few_steps(precondition, entropy_estimator):
    """
    With many particles the mean of -log_prob is the entropy of their histogram, to 0.15: what one particle's map leaves out
    is small then. (With 10 particles, or with 20 steps, all the estimates are far too low.)
    """
    sampler = SteinSampler(300, 5, 0.3, precondition=precondition, entropy_estimator=entropy_estimator)
    particles, actions, start = line_sample(sampler, 40, 1.0)
    entropies = []
    for each in (actions, start):
        frequencies = np.histogram(each, bins=60, range=(-1, 1))[0] / len(each)
        frequencies = frequencies[frequencies > 0]
        entropies.append(-(frequencies * np.log(frequencies * 30)).sum())
    assert float(-particles.log_prob.mean()) == pytest.approx(entropies[0], abs=0.15)
    without = SteinSampler(300, 0, precondition=precondition)
    assert float(-line_sample(without, 40, 1.0)[0].log_prob.mean()) == pytest.approx(entropies[1], abs=0.02)


# ---------------------------------------------------------------------- gradients


def differences(function, inputs, delta=1e-5):
    """Central differences of a scalar function of several tensors."""
    gradients = []
    for number, tensor in enumerate(inputs):
        gradient = th.zeros_like(tensor)
        for index in np.ndindex(*tensor.shape):
            sides = []
            for sign in (1, -1):
                moved = [each.clone() for each in inputs]
                moved[number][index] += sign * delta
                sides.append(float(function(*moved)))
            gradient[index] = (sides[0] - sides[1]) / (2 * delta)
        gradients.append(gradient)
    return gradients


def gradient_of(problem, test_function):
    """Value, and the gradient with respect to mean and log_std."""
    inputs = [problem.mean.clone().requires_grad_(), problem.log_std.clone().requires_grad_()]
    particles = problem.sample(*inputs)
    return particles, th.autograd.grad(test_function(particles.u, particles.log_prob), inputs)


def make_test_function(u):
    """A smooth function of positions and densities with other weights for each."""
    weights = draw(*u.shape, seed=11), draw(*u.shape[:2], seed=12)
    return lambda u, log_prob: (weights[0] * th.sin(1.3 * u)).sum() + (weights[1] * (log_prob + 0.1 * log_prob**2)).sum()


@activations
@pytest.mark.parametrize("entropy_estimator", ["secant", "closed_form", "hutchinson", "exact"])
def test_first_order_gradient_in_the_units_of_the_start(entropy_estimator, activation_fn):
    """
    u = mean + std * path with a constant path, but for the std's share: it is about the center of the others, so that
    d u_i / d std = path_i - mean of the other paths. The density changes by that of u, and by -log std.
    """
    sampler = SteinSampler(PARTICLES, 3, entropy_estimator=entropy_estimator)
    problem = Problem(sampler, dim=2, activation_fn=activation_fn)
    test_function = make_test_function(problem.noise)
    th.manual_seed(0)
    particles, gradients = gradient_of(problem, test_function)

    std = problem.log_std.exp().unsqueeze(1)
    places = ((particles.u.detach() - problem.mean.unsqueeze(1)) / std).numpy()
    means = np.stack([np.delete(places, i, axis=1).mean(axis=1) for i in range(PARTICLES)], axis=1)
    path, centers = th.as_tensor(places), th.as_tensor(means)

    def log_det(u):
        return th.log(1 - th.tanh(u) ** 2).sum(dim=2)

    constant = particles.log_prob.detach() + log_det(particles.u.detach()) + problem.log_std.sum(dim=1, keepdim=True)

    def surrogate(mean, log_std):
        u = mean.unsqueeze(1) + std * path + (log_std.exp().unsqueeze(1) - std) * (path - centers)
        return test_function(u, constant - log_std.sum(dim=1, keepdim=True) - log_det(u))

    expected = differences(surrogate, [problem.mean, problem.log_std])
    for ours, theirs in zip(gradients, expected, strict=True):
        th.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    # The center matters: about 0 it would be another gradient
    assert centers.abs().max() > 0.1


@activations
@pytest.mark.parametrize("out_of_bounds", ["hold", "free"])
@pytest.mark.parametrize("second_order", [False, True])
def test_gradient_without_units(second_order, out_of_bounds, activation_fn):
    """Of the map with constant scores, by differences of the loops; of all of it, by differences of the sampler itself."""
    sampler = SteinSampler(PARTICLES, 2, 0.3, None, 0.6, False, 1.5, out_of_bounds, second_order=second_order)
    problem = Problem(sampler, dim=2, activation_fn=activation_fn, n_states=2)
    test_function = make_test_function(problem.noise)
    particles, gradients = gradient_of(problem, test_function)
    assert particles.diagnostics["truncated"] > 0

    def surrogate(mean, log_std):
        if second_order:
            with th.no_grad():
                moved = problem.sample(mean, log_std)
            return test_function(moved.u, moved.log_prob)
        results = [problem.loops(state, mean, log_std, scores=scores[state]) for state in range(2)]
        return test_function(*(th.stack([result[index] for result in results]) for index in (0, 1)))

    scores = [[step.scores for step in problem.loops(state).steps] for state in range(2)]
    expected = differences(surrogate, [problem.mean, problem.log_std], delta=1e-6)
    for ours, theirs in zip(gradients, expected, strict=True):
        th.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("entropy_estimator", ["secant", "closed_form", "hutchinson", "exact"])
@preconditions
def test_second_order_gradient(precondition, entropy_estimator):
    """Differences of the whole sampler, with the same random vectors; the value is that of first order."""
    kwargs = {"precondition": precondition, "entropy_estimator": entropy_estimator, "truncation": None}
    sampler = SteinSampler(PARTICLES, 2, 0.3, None, 0.6, second_order=True, **kwargs)
    problem = Problem(sampler, dim=2, n_states=2)
    test_function = make_test_function(problem.noise)

    def whole(mean, log_std):
        th.manual_seed(0)
        with th.no_grad():
            particles = problem.sample(mean, log_std)
        return test_function(particles.u, particles.log_prob)

    th.manual_seed(0)
    particles, gradients = gradient_of(problem, test_function)
    for ours, theirs in zip(gradients, differences(whole, [problem.mean, problem.log_std]), strict=True):
        th.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    problem.sampler = SteinSampler(PARTICLES, 2, 0.3, None, 0.6, **kwargs)
    th.manual_seed(0)
    first_order, others = gradient_of(problem, test_function)
    th.testing.assert_close(first_order.u, particles.u)
    th.testing.assert_close(first_order.log_prob, particles.log_prob)
    assert not th.allclose(gradients[0], others[0], rtol=1e-2), "the scores have a gradient"


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("entropy_estimator", ["secant", "closed_form", "hutchinson", "exact"])
@preconditions
def test_no_gradient_for_the_critics(precondition, entropy_estimator, second_order):
    """With constant scores nothing of the critics' graph is left in the result."""
    sampler = SteinSampler(
        PARTICLES, 2, precondition=precondition, entropy_estimator=entropy_estimator, second_order=second_order
    )
    problem = Problem(sampler, dim=2)
    problem.mean.requires_grad_()
    particles = problem.sample()
    weights = next(problem.critic.parameters())
    outputs = particles.u.sum() + particles.log_prob.sum()
    (gradient,) = th.autograd.grad(outputs, weights, allow_unused=True)
    assert (gradient is None) != second_order
    with th.no_grad():
        assert not problem.sample().u.requires_grad


@preconditions
@pytest.mark.parametrize("truncation", [1.5, None])
def test_density_of_the_start(precondition, truncation):
    """By scipy; its gradient is that of the density at a place, which the place's own gradient would cancel."""
    problem = Problem(SteinSampler(PARTICLES, precondition=precondition, truncation=truncation), dim=2)
    inputs = [problem.mean.clone().requires_grad_(), problem.log_std.clone().requires_grad_()]
    start_log_prob = problem.sample(*inputs).start_log_prob
    places = problem.mean.unsqueeze(1) + problem.log_std.exp().unsqueeze(1) * problem.noise
    weights = draw(STATES, PARTICLES, seed=5)

    def density(mean, log_std):
        start = stats.truncnorm(
            -problem.sampler.bound, problem.sampler.bound, mean[:, None].numpy(), log_std[:, None].exp().numpy()
        )
        return start.logpdf(places.numpy()).sum(axis=2)

    np.testing.assert_allclose(start_log_prob.detach(), density(problem.mean, problem.log_std))
    gradients = th.autograd.grad((weights * start_log_prob).sum(), inputs)
    expected = differences(lambda *start: (weights.numpy() * density(*start)).sum(), [problem.mean, problem.log_std])
    for ours, theirs in zip(gradients, expected, strict=True):
        th.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------- the direction and its Jacobian


@pytest.mark.parametrize(("n", "dim"), [(2, 1), (5, 3), (10, 2), (32, 17)])
@pytest.mark.parametrize("rule", ["median", "mean", 0.8])
def test_direction_and_jacobian(rule, n, dim):
    """In one pass what the others give in several, what autograd and the loops give; and in single precision."""
    particles, scores = draw(2, n, dim, seed=n) + 5, draw(2, n, dim, seed=dim)
    distances = squared_distances(particles, particles)
    h = bandwidth(distances, rule, paired=True)
    direction, matrices = stein_direction_and_jacobian(particles, scores, h)
    th.testing.assert_close(stein_direction(particles, particles, scores, kernel_bandwidth=rule), direction)
    for ours, theirs in zip((direction, matrices), stein_direction_and_jacobian(particles, scores, h, distances), strict=True):
        th.testing.assert_close(ours, theirs)
    traces = matrices.diagonal(dim1=2, dim2=3).sum(dim=2)
    th.testing.assert_close(stein_trace(particles, scores, h) * (n - 1) / n, traces)
    for state, i in [(0, 0), (1, n - 1)]:
        assert float(h[state]) == pytest.approx(stein_loops.squared_bandwidth(particles[state], rule), rel=1e-6)
        phi = stein_loops.direction(particles[state], scores[state], float(h[state]), i)
        own = particles[state, i], scores[state, i]
        th.testing.assert_close(direction[state, i], phi(*own))
        expected = jacobian(lambda point, phi=phi, score=own[1]: phi(point, score), own[0])
        th.testing.assert_close(matrices[state, i], expected)
    singles = stein_direction_and_jacobian(particles.float(), scores.float(), h.float())
    for single, double in zip(singles, (direction, matrices), strict=True):
        th.testing.assert_close(single.double(), double, rtol=1e-4, atol=2e-5)


def test_gradients_of_direction_and_jacobian():
    inputs = draw(1, 4, 2).requires_grad_(), draw(1, 4, 2, seed=1).requires_grad_()
    h = th.full((1, 1, 1), 0.9, dtype=th.float64)
    assert th.autograd.gradcheck(lambda x, s: stein_direction_and_jacobian(x, s, h), inputs)
