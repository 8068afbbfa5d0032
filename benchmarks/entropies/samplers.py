"""Samplers with their estimates of the log-density. Each yields its state before the first step and after every step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch as th

from entropies.own_entropy import NEIGHBOUR_DIMENSIONS
from entropies.targets import Mixture, gaussian_entropy, isotropic_log_density, normal
from sb3_maxent.functional.kernels import BandwidthRule, bandwidth, rbf_kernel, rbf_repulsion, squared_distances
from sb3_maxent.functional.stein_entropy import (
    exact_log_density_change,
    log_density_change,
    stein_direction_and_jacobian,
    stein_trace,
    step_ratio,
)

Rule = Literal[BandwidthRule, "authors"]
# Leapfrog steps between two draws of the velocity, about a quarter of a period of the targets here
REFRESH_EVERY = 3


@dataclass(frozen=True)
class Setting:
    """What all samplers share; those of one particle ignore the bandwidth."""

    particles: int = 20
    steps: int = 30
    step_size: float = 0.5
    bandwidth: Rule | float = "median"
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


Sampler = Callable[[Mixture, Setting, Effort, th.Generator], Iterator[State]]


def start(target: Mixture, setting: Setting, repetitions: int, generator: th.Generator) -> tuple[th.Tensor, th.Tensor]:
    """Particles (R, N, d) from N(start_mean, start_variance I), and their log-density (R, N)."""
    noise = normal(repetitions, setting.particles, target.means.shape[1], generator=generator)
    u = setting.start_mean + setting.start_variance**0.5 * noise
    return u, isotropic_log_density(u, setting.start_mean, setting.start_variance)


def kernel_width(distances: th.Tensor, rule: Rule | float, moving: bool = False) -> th.Tensor:
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
    jacobian = stein_direction_and_jacobian(u, scores, h)[1] + target.hessian(u) / u.shape[1]
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
            n = effort.detailed
            own, ratio = stein_changes(target, u[:n], scores[:n], h[:n], setting.step_size, generator)
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


SAMPLERS: dict[str, Sampler] = {
    "SVGD": svgd,
    "SGLD": partial(langevin, noise=True),
    "gradient flow": partial(langevin, noise=False),
    "HMC, one trajectory": partial(hmc, refresh=False),
    "HMC, new velocities": partial(hmc, refresh=True),
    "exact": exact,
}
