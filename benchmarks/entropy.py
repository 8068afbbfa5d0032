"""
The entropy evaluation of 2405.00987 (Section 5.1), with normalised densities: what do the estimates of a sampler's
entropy estimate, and what is the entropy that its particles really have?

SVGD with every estimate of ``sb3_maxent.functional.stein_entropy``, and beside it Langevin dynamics with and without
noise and Hamiltonian Monte Carlo, all from the same start: on the poster's Gaussian (entropy 3.4112), on mixtures of
four Gaussians in 2 to 100 dimensions, and with other bandwidths, step sizes, particles, steps and starts::

    python benchmarks/entropy.py --csv benchmarks/data/entropy.csv --figure docs/figures/entropy.svg
    python benchmarks/entropy.py --csv benchmarks/data/entropy.csv --report
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import torch as th
from drawing import STYLE, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tables import DATA, read, write

from sb3_maxent.functional.kernels import bandwidth, rbf_kernel, rbf_repulsion, squared_distances
from sb3_maxent.functional.stein_entropy import (
    exact_log_density_change,
    log_density_change,
    stein_jacobian,
    stein_trace,
    step_ratio,
)
from sb3_maxent.reporting.looks import BLUE, GREEN, INK, ORANGE, PINK, PURPLE, SKY

DIMENSIONS = (2, 5, 10, 20, 50, 100)
# Nearest neighbours among 20000 exact samples are right to a few hundredths so far, and 1 too high in 20 (see "exact")
NEIGHBOUR_DIMENSIONS = 10
NEIGHBOURS = 3
# Leapfrog steps between two draws of the velocity, about a quarter of a period of the targets here
REFRESH_EVERY = 3
COLUMNS = [
    "part",
    "target",
    "dim",
    "sampler",
    "estimator",
    "particles",
    "steps",
    "step_size",
    "bandwidth",
    "start_mean",
    "start_variance",
    "repetitions",
    "entropy",
    "standard_error",
    "truth",
    "truth_error",
    "error",
    "own",
    "error_to_own",
    "share_not_invertible",
    "largest_step_ratio",
]


# ---- targets


def log_det_2pi(covariance: th.Tensor) -> float:
    """``log det(2 pi Sigma)``; the entropy of the Gaussian is half of it, and d/2."""
    return float(th.linalg.slogdet(2 * math.pi * covariance).logabsdet)


def gaussian_entropy(covariance: th.Tensor) -> float:
    """``H = 0.5 log det(2 pi e Sigma)``, in nats."""
    return 0.5 * (log_det_2pi(covariance) + len(covariance))


def isotropic_log_density(x: th.Tensor, mean: float = 0.0, variance: float = 1.0) -> th.Tensor:
    """Log-density of N(mean, variance I) at x (..., d)."""
    return -0.5 * ((x - mean).square().sum(dim=-1) / variance + x.shape[-1] * math.log(2 * math.pi * variance))


@dataclass(frozen=True)
class Mixture:
    """Gaussians of one covariance (d, d) at the means (K, d), with weights (K,)."""

    name: str
    weights: th.Tensor
    means: th.Tensor
    covariance: th.Tensor

    @cached_property
    def precision(self) -> th.Tensor:
        return th.linalg.inv(self.covariance)

    @cached_property
    def half_log_det(self) -> float:
        return 0.5 * log_det_2pi(self.covariance)

    def logits(self, x: th.Tensor) -> th.Tensor:
        """Logarithms of the components' densities (..., K), up to what they share."""
        scaled = self.means @ self.precision
        return self.weights.log() - 0.5 * (scaled * self.means).sum(dim=1) + x @ scaled.T

    def log_density(self, x: th.Tensor) -> th.Tensor:
        """Normalised, (..., d) to (...)."""
        shared = -0.5 * ((x @ self.precision) * x).sum(dim=-1) - self.half_log_det
        return self.logits(x).logsumexp(dim=-1) + shared

    def score(self, x: th.Tensor) -> th.Tensor:
        """``Sigma^-1 (sum_k r_k mu_k - x)`` with r the components' posterior, (..., d)."""
        return (self.logits(x).softmax(dim=-1) @ self.means - x) @ self.precision

    def hessian(self, x: th.Tensor) -> th.Tensor:
        """Of the log-density: ``Sigma^-1 Cov_r(mu) Sigma^-1 - Sigma^-1``, (..., d, d)."""
        posterior = self.logits(x).softmax(dim=-1)
        scaled = self.means @ self.precision
        mean = posterior @ scaled
        return (posterior.unsqueeze(-2) * scaled.T) @ scaled - mean.unsqueeze(-1) * mean.unsqueeze(-2) - self.precision

    def sample(self, n: int, generator: th.Generator) -> th.Tensor:
        """Exact samples (n, d)."""
        components = th.multinomial(self.weights, n, replacement=True, generator=generator)
        return self.means[components] + normal(n, self.means.shape[1], generator=generator) @ self.factor.T

    @cached_property
    def factor(self) -> th.Tensor:
        return th.linalg.cholesky(self.covariance)

    def entropy(self, n: int, generator: th.Generator) -> tuple[float, float]:
        """Exact for one component, else by n samples and their exact log-density; with its standard error."""
        if len(self.weights) == 1:
            return gaussian_entropy(self.covariance), 0.0
        values = -self.log_density(self.sample(n, generator))
        return float(values.mean()), float(values.std()) / math.sqrt(n)


def normal(*shape: int, generator: th.Generator) -> th.Tensor:
    """Standard normal numbers, in double precision."""
    return th.randn(*shape, generator=generator, dtype=th.float64)


def poster_gaussian() -> Mixture:
    """The Gaussian of the poster of 2405.00987, of entropy 3.4112."""
    mean = th.tensor([[-0.6871, 0.8010]], dtype=th.float64)
    covariance = 5 * th.tensor([[0.2260, 0.1652], [0.1652, 0.6779]], dtype=th.float64)
    return Mixture("Gaussian", th.ones(1, dtype=th.float64), mean, covariance)


def circle_mixture(dim: int, n_components: int = 4, seed: int = 0) -> Mixture:
    """
    Unit Gaussians with equal weights, as in the paper: on a circle of radius 4 in the first two dimensions, uniform in
    [-4, 4] in the others.
    """
    generator = th.Generator().manual_seed(seed)
    angles = 2 * math.pi * th.arange(n_components, dtype=th.float64) / n_components
    others = 8 * th.rand(n_components, dim - 2, generator=generator, dtype=th.float64) - 4
    means = th.cat([4 * angles.sin().unsqueeze(1), 4 * angles.cos().unsqueeze(1), others], dim=1)
    weights = th.full((n_components,), 1 / n_components, dtype=th.float64)
    return Mixture(f"mixture of {n_components}", weights, means, th.eye(dim, dtype=th.float64))


# ---- samplers: each yields its state before the first step and after every step


@dataclass(frozen=True)
class Setting:
    """What all samplers share; those of one particle ignore the bandwidth."""

    particles: int = 20
    steps: int = 30
    step_size: float = 0.5
    bandwidth: str | float = "median"
    start_mean: float = 0.0
    start_variance: float = 6.0


@dataclass(frozen=True)
class Effort:
    """Repetitions: all, those with Jacobians of single particles, those with the joint one; queries for neighbours."""

    repetitions: int = 1000
    detailed: int = 100
    joint: int = 20
    queries: int = 2000


@dataclass
class State:
    """Particles (R, N, d), estimates of their log-densities (R' <= R, N or 1), largest step ratios so far (R', M <= N)."""

    step: int
    particles: th.Tensor
    log_q: dict[str, th.Tensor]
    ratios: th.Tensor | None = None
    velocities: th.Tensor | None = None


def start(target: Mixture, setting: Setting, repetitions: int, generator: th.Generator) -> tuple[th.Tensor, th.Tensor]:
    """Particles (R, N, d) from N(start_mean, start_variance I), and their log-density (R, N)."""
    noise = normal(repetitions, setting.particles, target.means.shape[1], generator=generator)
    u = setting.start_mean + setting.start_variance**0.5 * noise
    return u, isotropic_log_density(u, setting.start_mean, setting.start_variance)


def kernel_width(distances: th.Tensor, rule: str | float, moving: bool = False) -> th.Tensor:
    """
    The library's rules and that of the authors' code ("authors": half of the mean over all pairs, zeros included).

    :param moving: whether the bandwidth has a gradient, as the map that really moves the particles has
    :return: (B, 1, 1)
    """
    n = distances.shape[1]
    if rule == "authors":
        return 0.5 * (n - 1) / n * kernel_width(distances, "mean", moving)
    h = bandwidth(distances, rule, paired=True)
    if not moving or not isinstance(rule, str):
        return h
    rows, columns = th.triu_indices(n, n, 1)
    pairs = distances[:, rows, columns]
    typical = (pairs.median(dim=1).values if rule == "median" else pairs.mean(dim=1)).view(-1, 1, 1)
    return h * typical / typical.detach()


def stein_step(u: th.Tensor, scores: th.Tensor, h: th.Tensor, step_size: float) -> th.Tensor:
    """``svgd_step`` for a given bandwidth (B, 1, 1), which can have a gradient."""
    kernel = rbf_kernel(squared_distances(u, u), h)
    return u + step_size * (kernel @ scores + rbf_repulsion(kernel, u, u, h)) / u.shape[1]


def joint_change(target: Mixture, u: th.Tensor, setting: Setting, moving: bool) -> th.Tensor:
    """
    Change of the joint log-density of all N particles, ``-log |det(d u'/d u)|`` of the (N d, N d) Jacobian by autograd,
    for each particle.

    :param moving: whether the bandwidth moves with the particles or is a constant
    :return: (B, 1)
    """

    def step(particles: th.Tensor) -> th.Tensor:
        u = particles.unsqueeze(0)
        h = kernel_width(squared_distances(u, u), setting.bandwidth, moving)
        return stein_step(u, target.score(u), h, setting.step_size).squeeze(0)

    n_states, n, dim = u.shape
    jacobian = th.func.vmap(th.func.jacfwd(step))(u).reshape(n_states, n * dim, n * dim)
    return -th.linalg.slogdet(jacobian).logabsdet.unsqueeze(1) / n


def stein_changes(
    target: Mixture, u: th.Tensor, scores: th.Tensor, h: th.Tensor, step_size: float, generator: th.Generator
) -> tuple[dict[str, th.Tensor], th.Tensor]:
    """Changes of the log-density (B, N) by the Jacobian of each particle's own map, and step ratios (B, M)."""
    jacobian = stein_jacobian(u, scores, h, target.hessian(u))
    probes = normal(*u.shape, generator=generator).sign()
    traces = {
        "with Hessian": jacobian.diagonal(dim1=2, dim2=3).sum(dim=2),
        "Hutchinson": th.einsum("bni,bnij,bnj->bn", probes, jacobian, probes),
    }
    changes = {name: log_density_change(trace, step_size) for name, trace in traces.items()}
    changes["own determinant"] = exact_log_density_change(jacobian, step_size)
    # Singular values are dear: particles are exchangeable, so two will do for a share
    return changes, step_ratio(jacobian[:, :2] if u.shape[2] > NEIGHBOUR_DIMENSIONS else jacobian, step_size)


def svgd(target: Mixture, setting: Setting, effort: Effort, generator: th.Generator) -> Iterator[State]:
    """Stein variational gradient descent, with every estimate of its density."""
    u, log_q0 = start(target, setting, effort.repetitions, generator)
    log_q = {"closed form": log_q0}
    if effort.detailed:
        log_q |= {name: log_q0[: effort.detailed] for name in ("with Hessian", "Hutchinson", "own determinant")}
    joint = {"joint determinant": False}
    if isinstance(setting.bandwidth, str):
        joint["joint, moving bandwidth"] = True
    if effort.joint:
        log_q |= {name: log_q0[: effort.joint].mean(dim=1, keepdim=True) for name in joint}
    ratios = None
    yield State(0, u, dict(log_q))
    for step in range(1, setting.steps + 1):
        scores = target.score(u)
        h = kernel_width(squared_distances(u, u), setting.bandwidth)
        changes = {"closed form": log_density_change(stein_trace(u, scores, h), setting.step_size)}
        if effort.detailed:
            arguments = (x[: effort.detailed] for x in (u, scores, h))
            own, ratio = stein_changes(target, *arguments, setting.step_size, generator)
            changes |= own
            ratios = ratio if ratios is None else th.maximum(ratios, ratio)
        if effort.joint:
            changes |= {name: joint_change(target, u[: effort.joint], setting, moving) for name, moving in joint.items()}
        log_q = {name: values + changes[name] for name, values in log_q.items()}
        u = stein_step(u, scores, h, setting.step_size)
        yield State(step, u, dict(log_q), ratios)


def langevin(target: Mixture, setting: Setting, effort: Effort, generator: th.Generator, noise: bool) -> Iterator[State]:
    """
    ``x + eps/2 s(x) + sqrt(eps) xi``. Given xi, a step is deterministic with Jacobian ``I + eps/2 Hessian``; its trace
    instead of the determinant is what the authors' code adds up.
    """
    x, log_q0 = start(target, setting, effort.repetitions, generator)
    half, detailed = setting.step_size / 2, effort.detailed
    log_q = {"change of variables": log_q0[:detailed], "first order": log_q0[:detailed]}
    yield State(0, x, dict(log_q))
    for step in range(1, setting.steps + 1):
        hessian = target.hessian(x[:detailed])
        trace = hessian.diagonal(dim1=2, dim2=3).sum(dim=2)
        log_q["change of variables"] = log_q["change of variables"] + exact_log_density_change(hessian, half)
        log_q["first order"] = log_q["first order"] + log_density_change(trace, half)
        x = x + half * target.score(x)
        if noise:
            x = x + setting.step_size**0.5 * normal(*x.shape, generator=generator)
        yield State(step, x, dict(log_q))


def leapfrog(target: Mixture, x: th.Tensor, v: th.Tensor, step_size: float) -> tuple[th.Tensor, th.Tensor]:
    """One step of ``x' = v, v' = score(x)``, which preserves volume."""
    v = v + 0.5 * step_size * target.score(x)
    x = x + step_size * v
    return x, v + 0.5 * step_size * target.score(x)


def hmc(target: Mixture, setting: Setting, effort: Effort, generator: th.Generator, refresh: bool) -> Iterator[State]:
    """
    Hamiltonian Monte Carlo without rejections: one trajectory as in the paper, or new velocities every few steps.

    The density of (x, v) is carried along unchanged. Two ways to one of x alone: take the entropy of N(0, I) from that of
    both ("unchanged joint", which leaves that of the start), or divide by N(v; 0, I) at the velocity reached ("divided by
    N(v)"); both would be right if v were standard normal and independent of x at the end.
    """
    x, log_q = start(target, setting, effort.repetitions, generator)
    v = normal(*x.shape, generator=generator)
    log_joint = log_q + isotropic_log_density(v)
    unchanged = log_joint + gaussian_entropy(th.eye(x.shape[2], dtype=x.dtype))

    def state(step: int) -> State:
        return State(
            step, x, {"unchanged joint": unchanged, "divided by N(v)": log_joint - isotropic_log_density(v)}, velocities=v
        )

    yield state(0)
    for step in range(1, setting.steps + 1):
        if refresh and step > 1 and (step - 1) % REFRESH_EVERY == 0:
            log_joint = log_joint - isotropic_log_density(v)
            v = normal(*x.shape, generator=generator)
            log_joint = log_joint + isotropic_log_density(v)
        x, v = leapfrog(target, x, v, setting.step_size)
        yield state(step)


def exact(target: Mixture, setting: Setting, effort: Effort, generator: th.Generator) -> Iterator[State]:
    """Samples of the target itself: they show what the pooled estimates are worth."""
    n = effort.repetitions * setting.particles
    x = target.sample(n, generator).view(effort.repetitions, setting.particles, -1)
    yield State(setting.steps, x, {"log-density": target.log_density(x)})


SAMPLERS = {
    "SVGD": svgd,
    "SGLD": lambda *arguments: langevin(*arguments, noise=True),
    "gradient flow": lambda *arguments: langevin(*arguments, noise=False),
    "HMC, one trajectory": lambda *arguments: hmc(*arguments, refresh=False),
    "HMC, new velocities": lambda *arguments: hmc(*arguments, refresh=True),
    "exact": exact,
}


# ---- the entropy that particles really have


def mean_and_error(values: th.Tensor) -> tuple[float, float]:
    """Mean over repetitions (R,), and its standard error."""
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def factor_within(points: th.Tensor, labels: th.Tensor) -> th.Tensor:
    """Cholesky factor (d, d) of the covariance of points (n, d) about the means of those with the same label (n,)."""
    groups = th.nn.functional.one_hot(labels).to(points.dtype)
    means = (groups.T @ points) / groups.sum(dim=0).clamp(min=1).unsqueeze(1)
    return th.linalg.cholesky((points - means[labels]).T.cov().view(points.shape[1], -1))


def nearest_neighbour_entropy(
    particles: th.Tensor, n_queries: int, labels: th.Tensor | None = None, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """
    Kozachenko and Leonenko's estimate of the entropy of one particle, from the distance r to its kth neighbour among the M
    particles of all *other* repetitions, which are independent of it:
    ``H = psi(M + 1) - psi(k) + log(volume of the unit ball) + d E[log r]``, after a linear map that gives the particles of
    one component the covariance I, whose log-determinant is added.

    Right to 0.01 in few dimensions; too high in many, where the density is not even within r (see "exact").

    :param particles: (R, N, d) from R independent repetitions
    :param n_queries: number of particles, about, whose neighbours are looked for
    :param labels: (R, N) their components, of which they all have one if ``None``
    :return: entropy of their marginal, and its standard error over the repetitions
    """
    repetitions, n, dim = particles.shape
    particles = particles - particles.mean(dim=(0, 1))
    labels = th.zeros(repetitions, n, dtype=th.long) if labels is None else labels
    factor = factor_within(particles.reshape(-1, dim), labels.flatten())
    particles = th.linalg.solve_triangular(factor, particles.transpose(1, 2), upper=False).transpose(1, 2)
    points = particles.reshape(-1, dim)
    n_references = (repetitions - 1) * n
    per_repetition = -(-n_queries // repetitions)
    mode = "donot_use_mm_for_euclid_dist" if dim <= NEIGHBOUR_DIMENSIONS else "use_mm_for_euclid_dist"
    logs = []
    for group in range(0, repetitions, 50):
        queries = particles[group : group + 50, :per_repetition]
        distances = th.cdist(queries.reshape(-1, dim), points, compute_mode=mode).view(*queries.shape[:2], repetitions, n)
        for i in range(len(queries)):
            distances[i, :, group + i] = math.inf
        logs.append(distances.flatten(2).topk(k, largest=False).values[..., -1].log().mean(dim=1))
    log_ball = 0.5 * dim * math.log(math.pi) - math.lgamma(dim / 2 + 1)
    counts = th.tensor([n_references + 1, k], dtype=th.float64)
    mean, error = mean_and_error(th.cat(logs))
    whitening = float(factor.diagonal().log().sum())
    return float(-th.digamma(counts).diff()) + log_ball + dim * mean + whitening, dim * error


def fitted_entropy(particles: th.Tensor) -> tuple[float, float]:
    """
    Entropy of a Gaussian with the covariance of all particles (R, N, d): no density with this covariance has more. Its
    standard error over the repetitions by the first-order change ``0.5 tr(Sigma^-1 dSigma)``.
    """
    points = particles.reshape(-1, particles.shape[2])
    covariance = points.T.cov()
    centered = particles - points.mean(dim=0)
    lengths = (th.linalg.solve(covariance, centered.transpose(1, 2)).transpose(1, 2) * centered).sum(dim=2)
    return gaussian_entropy(covariance), mean_and_error(0.5 * lengths.mean(dim=1))[1]


def fitted_entropies(particles: th.Tensor) -> tuple[float, float]:
    """Mean of the entropies of one Gaussian for each repetition (R, N, d), of few particles, hence too low."""
    centered = particles - particles.mean(dim=1, keepdim=True)
    covariances = centered.transpose(1, 2) @ centered / (particles.shape[1] - 1)
    return mean_and_error(0.5 * (th.linalg.slogdet(2 * math.pi * covariances).logabsdet + particles.shape[2]))


# ---- rows of the CSV


@dataclass
class Experiment:
    """Collects rows; what belongs to one target."""

    part: str
    target: Mixture
    truth: float
    truth_error: float
    rows: list[dict[str, Any]] = field(default_factory=list)

    def run(
        self, sampler: str, setting: Setting, effort: Effort, checkpoints: tuple[int, ...] = (), seed: int = 0
    ) -> list[dict[str, Any]]:
        """
        Run a sampler, and summarise it at some steps (default: the last one).

        :return: the rows, which it keeps, too
        """
        begin, rows = time.time(), []
        for state in SAMPLERS[sampler](self.target, setting, effort, th.Generator().manual_seed(seed)):
            if state.step in (checkpoints or (setting.steps,)):
                rows += self.summary(sampler, replace(setting, steps=state.step), effort, state)
        self.rows += rows
        seconds = time.time() - begin
        print(f"{self.part} d={self.target.means.shape[1]} {sampler} {setting}: {seconds:.1f} s", flush=True)
        return rows

    def summary(self, sampler: str, setting: Setting, effort: Effort, state: State) -> list[dict[str, Any]]:
        """One row for each estimate of one state."""
        dim = self.target.means.shape[1]
        estimates = {name: (*mean_and_error(-values.mean(dim=1)), len(values)) for name, values in state.log_q.items()}
        pooled = {"fitted Gaussian": fitted_entropy(state.particles)}
        if setting.particles > dim:
            pooled["fitted per repetition"] = fitted_entropies(state.particles)
        pooled["nearest neighbours"] = nearest_neighbour_entropy(
            state.particles, effort.queries, self.target.logits(state.particles).argmax(dim=2)
        )
        estimates |= {name: (*values, len(state.particles)) for name, values in pooled.items()}
        own = pooled["nearest neighbours"][0] if dim <= NEIGHBOUR_DIMENSIONS else math.nan
        common = {"part": self.part, "target": self.target.name, "dim": dim, "sampler": sampler, **asdict(setting)}
        common |= {"truth": f"{self.truth:.4f}", "truth_error": f"{self.truth_error:.4f}"}
        common["own"] = number(own)
        if state.ratios is not None:
            common["share_not_invertible"] = number(float((state.ratios >= 1).double().mean()))
            common["largest_step_ratio"] = number(float(state.ratios.max()))
        return [
            {
                **common,
                "estimator": name,
                "repetitions": repetitions,
                "entropy": number(entropy),
                "standard_error": number(error),
                "error": number(entropy - self.truth),
                "error_to_own": number(entropy - own),
            }
            for name, (entropy, error, repetitions) in estimates.items()
        ]


def number(value: float) -> str:
    """Four digits after the point; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.4f}"


def gaussian_part(effort: Effort, longest: int = 300) -> list[dict[str, Any]]:
    """All samplers on the poster's Gaussian, and the estimates step by step, of SVGD up to the longest."""
    target = poster_gaussian()
    experiment = Experiment("gaussian", target, *target.entropy(0, th.Generator()))
    for sampler in SAMPLERS:
        experiment.run(sampler, Setting(), effort)
    experiment.part = "by step"
    checkpoints = (0, 1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300)
    less = replace(effort, joint=min(effort.joint, 20), queries=effort.queries // 2)
    # After more steps the gradient flow's particles coincide up to rounding
    lengths = {"SVGD": longest, "gradient flow": 50}
    for sampler in list(SAMPLERS)[:-1]:
        experiment.run(sampler, Setting(steps=min(longest, lengths.get(sampler, 100))), less, checkpoints)
    return experiment.rows


def mixture_part(effort: Effort, dimensions: tuple[int, ...] = DIMENSIONS, steps: int = 300) -> list[dict[str, Any]]:
    """All samplers on mixtures in many dimensions; SVGD also after ten times as many steps."""
    rows = []
    for dim in dimensions:
        target = circle_mixture(dim)
        experiment = Experiment("mixture", target, *target.entropy(200_000, th.Generator().manual_seed(1)))
        # What is too dear in many dimensions is done less often, or not at all
        detailed = min(effort.detailed, max(5, 1000 // dim))
        less = replace(effort, detailed=detailed, joint=0 if dim > 20 else min(effort.joint, max(2, 40 // dim)))
        for sampler in SAMPLERS:
            long = sampler == "SVGD"
            experiment.run(sampler, Setting(steps=steps if long else 30), less, (30, steps) if long else ())
        rows += experiment.rows
    return rows


def variations() -> list[Setting]:
    """One thing at a time, about the poster's setting."""
    bandwidths = ("median", "mean", "authors", 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 100.0)
    settings = [Setting(bandwidth=rule) for rule in bandwidths]
    settings += [Setting(step_size=step_size) for step_size in (0.05, 0.1, 0.25, 1.0, 2.0, 5.0)]
    # The same time eps * steps in smaller steps
    settings += [Setting(step_size=0.05, steps=300)]
    settings += [Setting(particles=n) for n in (2, 5, 10, 50, 100, 200)]
    settings += [Setting(particles=n, steps=300) for n in (20, 100)]
    settings += [Setting(steps=steps) for steps in (3, 10, 100)]
    settings += [Setting(start_variance=variance) for variance in (0.2, 1.0, 3.0, 12.0, 24.0)]
    settings += [Setting(start_mean=4.0, start_variance=0.2, steps=steps) for steps in (10, 30, 100)]
    # In so small steps that the maps stay invertible; with more particles
    settings += [Setting(start_mean=4.0, start_variance=0.2, steps=1000, step_size=0.05)]
    settings += [Setting(start_mean=4.0, start_variance=0.2, steps=steps, particles=100) for steps in (30, 100)]
    settings += [Setting(start_variance=0.2, particles=100)]
    return settings


def sensitivity_part(effort: Effort) -> list[dict[str, Any]]:
    """SVGD alone on the poster's Gaussian, with other settings."""
    target = poster_gaussian()
    experiment = Experiment("sensitivity", target, *target.entropy(0, th.Generator()))
    for setting in variations():
        repetitions = min(effort.repetitions, max(100, 20 * effort.repetitions // setting.particles))
        joint = min(effort.joint, 200 // setting.particles) if setting.particles <= 50 and setting.steps <= 300 else 0
        experiment.run("SVGD", setting, replace(effort, repetitions=repetitions, joint=joint))
    return experiment.rows


def measure(quick: bool) -> list[dict[str, Any]]:
    """
    All rows of the CSV.

    :param quick: a few repetitions and only the first two parts, for a test
    """
    if quick:
        effort = Effort(repetitions=100, detailed=20, joint=2, queries=200)
        return gaussian_part(effort, longest=50) + mixture_part(effort, dimensions=(2, 20), steps=40)
    gaussian = gaussian_part(Effort(detailed=200, joint=100, queries=4000))
    return gaussian + mixture_part(Effort()) + sensitivity_part(Effort(joint=100))


# ---- reports


def cell(row: dict[str, str] | None, column: str = "entropy") -> str:
    """A number with two digits, with its standard error where it is an entropy; empty if there is none."""
    if row is None or not row[column]:
        return ""
    value = f"{float(row[column]):.2f}"
    return f"{value} ± {float(row['standard_error']):.2f}" if column == "entropy" else value


def names(rows: list[dict[str, str]], *columns: str) -> list[tuple[str, ...]]:
    """Different values of these columns, in order of appearance."""
    return list(dict.fromkeys(tuple(row[column] for column in columns) for row in rows))


def print_table(header: list[str], lines: list[list[str]]) -> None:
    """Print Markdown."""
    for line in [header, ["---"] * len(header), *lines]:
        print(f"| {' | '.join(line)} |")
    print()


def report_gaussian(rows: list[dict[str, str]]) -> None:
    """Every estimate, its error to the target's entropy and to that of the sampler's own particles."""
    print(f"Gaussian, entropy {rows[0]['truth']}\n")
    columns = ("sampler", "estimator")
    lines = [
        [*(row[name] for name in columns), *(cell(row, name) for name in ("entropy", "error", "error_to_own"))] for row in rows
    ]
    print_table([*columns, "entropy", "error to the target's", "error to its own particles'"], lines)


def report_mixtures(rows: list[dict[str, str]]) -> None:
    """Errors of every estimate for all dimensions."""
    print("Mixtures: errors to the target's entropy, and in the last lines what SVGD's maps do\n")
    dimensions = [dim for (dim,) in names(rows, "dim")]
    by_key = {(row["dim"], row["sampler"], row["steps"], row["estimator"]): row for row in rows}
    truths = {row["dim"]: f"{float(row['truth']):.3f} ± {float(row['truth_error']):.3f}" for row in rows}
    lines = [["target", "", "entropy", *(truths[dim] for dim in dimensions)]]
    for sampler, steps, estimator in names(rows, "sampler", "steps", "estimator"):
        cells = [cell(by_key.get((dim, sampler, steps, estimator)), "error") for dim in dimensions]
        lines.append([sampler, steps, estimator, *cells])
    for column in ("share_not_invertible", "largest_step_ratio"):
        for (steps,) in names([row for row in rows if row["sampler"] == "SVGD"], "steps"):
            cells = [cell(by_key[dim, "SVGD", steps, "closed form"], column) for dim in dimensions]
            lines.append(["SVGD", steps, column.replace("_", " "), *cells])
    print_table(["sampler", "steps", "estimate", *(f"d = {dim}" for dim in dimensions)], lines)


def report_settings(rows: list[dict[str, str]], columns: tuple[str, ...], samplers: tuple[str, ...]) -> None:
    """One line for each setting, one column for each estimate."""
    for sampler in samplers:
        chosen = [row for row in rows if row["sampler"] == sampler]
        estimators = [name for (name,) in names(chosen, "estimator")]
        by_key = {(*(row[column] for column in columns), row["estimator"]): row for row in chosen}
        lines = []
        for setting in names(chosen, *columns):
            first = by_key[(*setting, estimators[0])]
            extras = [cell(first, column) for column in ("share_not_invertible", "largest_step_ratio")]
            lines.append([*setting, *(cell(by_key.get((*setting, name))) for name in estimators), *extras])
        print(f"{rows[0]['part']}: {sampler}\n")
        print_table([*columns, *estimators, "share not invertible", "largest step ratio"], lines)


def parts_of(rows: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Rows by the first column."""
    return {part: [row for row in rows if row["part"] == part] for (part,) in names(rows, "part")}


def report(path: Path) -> None:
    """Print Markdown tables of what is in the CSV."""
    parts = parts_of(read(path))
    report_gaussian(parts["gaussian"])
    report_settings(parts["by step"], ("steps",), tuple(list(SAMPLERS)[:-1]))
    report_mixtures(parts["mixture"])
    if "sensitivity" in parts:
        columns = ("bandwidth", "step_size", "particles", "steps", "start_mean", "start_variance")
        report_settings(parts["sensitivity"], columns, ("SVGD",))


CURVES = {
    ("SVGD", "closed form"): (BLUE, "o-"),
    ("SVGD", "with Hessian"): (ORANGE, "s-"),
    ("SVGD", "own determinant"): (PURPLE, "^-"),
    ("SVGD", "joint determinant"): (PINK, "v--"),
    ("SVGD", "nearest neighbours"): (INK, "x:"),
    ("SVGD", "fitted Gaussian"): (INK, "+--"),
    ("SGLD", "change of variables"): (GREEN, "d-"),
    ("gradient flow", "change of variables"): (GREEN, "*--"),
    ("HMC, one trajectory", "divided by N(v)"): (SKY, "<-"),
    ("HMC, new velocities", "divided by N(v)"): (SKY, ">--"),
}


def draw_curves(axis: Axes, rows: list[dict[str, str]], column: str, per_dimension: bool) -> None:
    """Estimates (divided by d, if so) over a column."""
    for (sampler, estimator), (color, style) in CURVES.items():
        chosen = [row for row in rows if (row["sampler"], row["estimator"]) == (sampler, estimator)]
        if estimator == "nearest neighbours":
            chosen = [row for row in chosen if int(row["dim"]) <= NEIGHBOUR_DIMENSIONS]
        values = [float(row["entropy"]) / (int(row["dim"]) if per_dimension else 1) for row in chosen]
        steps = [int(row[column]) for row in chosen]
        axis.plot(steps, values, style, color=color, label=f"{sampler}: {estimator}", markersize=4)
    truths = {int(row[column]): float(row["truth"]) / (int(row["dim"]) if per_dimension else 1) for row in rows}
    axis.plot(list(truths), list(truths.values()), "0.5", linewidth=5, alpha=0.6, zorder=0, label="target")


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Estimates by step on the Gaussian, and by dimension on the mixtures."""
    parts = parts_of(rows)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 5), layout="constrained")
        steps, dimensions = figure.subplots(1, 2)
        draw_curves(steps, parts["by step"], "steps", per_dimension=False)
        steps.set_xscale("symlog", linthresh=3)
        steps.set_xticks([0, 1, 3, 10, 30, 100, 300], ["0", "1", "3", "10", "30", "100", "300"])
        steps.set(xlabel="steps", ylabel="entropy, nats", ylim=(-4, 6), title="Gaussian, 20 particles, from N(0, 6 I)")
        short = [row for row in parts["mixture"] if row["steps"] == "30"]
        draw_curves(dimensions, short, "dim", per_dimension=True)
        dimensions.set_xscale("log")
        dimensions.set_xticks(DIMENSIONS, list(map(str, DIMENSIONS)))
        dimensions.set(xlabel="dimensions", ylabel="entropy / d, nats", ylim=(-7, 3))
        dimensions.set_title("mixtures of four Gaussians, 30 steps")
        for axes in (steps, dimensions):
            axes.minorticks_off()
            axes.title.set_fontsize(11)
        figure.legend(*steps.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
        words = (
            "Estimates of the entropy: by steps they cross the target's and go on falling, by dimensions the closed form stays"
        )
        save(figure, path, f"{words} at the start's")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few repetitions of the first parts, for a test")
    parser.add_argument("--csv", type=Path, default=DATA / "entropy.csv")
    parser.add_argument("--figure", type=Path, help="draw what is in the CSV")
    parser.add_argument("--report", action="store_true", help="print tables of what is in the CSV, measure nothing")
    args = parser.parse_args()
    th.set_num_threads(1)
    if args.report:
        report(args.csv)
    else:
        write(args.csv, COLUMNS, measure(args.quick))
    if args.figure is not None:
        draw(read(args.csv), args.figure)


if __name__ == "__main__":
    main()
