"""
The entropy that S2AC estimates, from N(0, 0.5^2), beside that which its particles really have (nearest neighbours over many
states), for known energies over unbounded actions u: with the defaults (10 particles, 3 steps) in 1 to 17 dimensions, and with
other numbers of particles and steps, without preconditioning::

    python benchmarks/s2ac_entropy.py --csv benchmarks/data/s2ac_entropy.csv
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import torch as th
from entropies.own_entropy import nearest_neighbour_entropy
from tables import write

from sb3_maxent.functional import log_det_tanh
from sb3_maxent.s2ac import SteinSampler, Target
from sb3_maxent.s2ac.sampler import EntropyEstimator

ENTROPY_ESTIMATORS: tuple[EntropyEstimator, ...] = get_args(EntropyEstimator)
START_STD, N_PARTICLES_IN_ALL, N_QUERIES = 0.5, 20_000, 2000
COLUMNS = ["energy", "dimensions", "particles", "steps", "precondition", *ENTROPY_ESTIMATORS, "own", "optimum"]
LogDensity = Callable[[th.Tensor], th.Tensor]


@dataclass(frozen=True)
class Energy:
    """
    A density over unbounded actions, for each number of dimensions.

    :param log_density: takes the number of dimensions to a function of u (..., d), up to a constant
    :param entropy: takes it to the density's entropy, where that is known
    """

    log_density: Callable[[int], LogDensity]
    entropy: Callable[[int], float] | None = None


def gaussian_entropy(widths: th.Tensor) -> float:
    """Of a Gaussian with these standard deviations."""
    return float((0.5 * math.log(2 * math.pi * math.e) + widths.log()).sum())


def gaussian(width: float) -> Energy:
    """One mode of this width, aside of the start."""

    def log_density(_: int) -> LogDensity:
        return lambda u: -0.5 * ((u - 0.3) ** 2).sum(dim=-1) / width**2

    return Energy(log_density, lambda dim: gaussian_entropy(th.full((dim,), width)))


def correlated(narrowest: float, widest: float) -> Energy:
    """A Gaussian whose axes, evenly spaced in their logarithm, are turned at random."""

    def widths(dim: int) -> th.Tensor:
        return th.logspace(math.log10(narrowest), math.log10(widest), dim)

    def log_density(dim: int) -> LogDensity:
        axes = th.linalg.qr(th.randn(dim, dim, generator=th.Generator().manual_seed(7)))[0]
        return lambda u: -0.5 * ((u @ axes / widths(dim)) ** 2).sum(dim=-1)

    return Energy(log_density, lambda dim: gaussian_entropy(widths(dim)))


def bimodal(width: float, distance: float) -> Energy:
    """Two modes, on the first axis."""

    def log_density(dim: int) -> LogDensity:
        center = distance * th.eye(dim)[0]
        return lambda u: th.logsumexp(
            th.stack([-0.5 * ((u - sign * center) ** 2).sum(dim=-1) / width**2 for sign in (-1, 1)]), dim=0
        )

    return Energy(log_density)


def relu_network(energy: Energy) -> Energy:
    """A ReLU network fitted to an energy where the start and the particles are: its Hessian is 0 almost everywhere."""

    @cache
    def log_density(dim: int) -> LogDensity:
        with th.random.fork_rng(devices=[]), th.enable_grad():
            th.manual_seed(1)
            layers = [th.nn.Linear(dim, 128), th.nn.ReLU(), th.nn.Linear(128, 128), th.nn.ReLU(), th.nn.Linear(128, 1)]
            net, wanted = th.nn.Sequential(*layers), energy.log_density(dim)
            optimizer = th.optim.Adam(net.parameters(), 1e-3)
            for step in range(3000):
                u = th.randn(256, dim) * (START_STD if step % 2 else 0.6 * START_STD)
                loss = (net(u).squeeze(1) - wanted(u)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        net.requires_grad_(False)
        return lambda u: net(u).squeeze(-1)

    return Energy(log_density)


def ring(radius: float, width: float) -> Energy:
    """A circle in the first two dimensions (two points in one), and a Gaussian in the others."""

    def log_density(dim: int) -> LogDensity:
        def of(u: th.Tensor) -> th.Tensor:
            distance = (u[..., :2].square().sum(dim=-1) + 1e-6).sqrt()
            return -0.5 * ((distance - radius) ** 2 + u[..., 2:].square().sum(dim=-1)) / width**2

        return of

    return Energy(log_density)


def heavy_tails(width: float) -> Energy:
    """Independent Student's t distributions with three degrees of freedom."""
    return Energy(lambda _: lambda u: -2 * th.log1p(u.square() / (3 * width**2)).sum(dim=-1))


def random_modes(n_modes: int) -> Energy:
    """Gaussians at random places, of random widths from 0.15 to 0.5."""

    def log_density(dim: int) -> LogDensity:
        generator = th.Generator().manual_seed(3)
        centers = 0.6 * th.randn(n_modes, dim, generator=generator)
        widths = 0.15 + 0.35 * th.rand(n_modes, generator=generator)

        def of(u: th.Tensor) -> th.Tensor:
            distances = (u.unsqueeze(-2) - centers).square().sum(dim=-1)
            return th.logsumexp(-0.5 * distances / widths**2 - dim * widths.log(), dim=-1)

        return of

    return Energy(log_density)


def of_actions(q_values: LogDensity) -> Energy:
    """exp(Q) of the squashed actions, over u."""
    return Energy(lambda _: lambda u: q_values(th.tanh(u)) + log_det_tanh(u))


ENERGIES: dict[str, Energy] = {
    "Q = 0": of_actions(lambda actions: 0.0 * actions.sum(dim=-1)),
    "Q = 3 a_1 + ... + 3 a_d": of_actions(lambda actions: 3.0 * actions.sum(dim=-1)),
    "Gaussian, width 0.5": gaussian(0.5),
    "Gaussian, width 0.3": gaussian(0.3),
    "Gaussian, width 0.15": gaussian(0.15),
    "correlated, widths 0.15 to 0.6": correlated(0.15, 0.6),
    "two modes at 0.6, width 0.3": bimodal(0.3, 0.6),
    "two modes at 0.6, width 0.2": bimodal(0.2, 0.6),
    # The estimate by secants was finished before these were tried
    "ring, radius 0.6, width 0.2": ring(0.6, 0.2),
    "Student's t, width 0.2": heavy_tails(0.2),
    "five modes, widths 0.15 to 0.5": random_modes(5),
    "ReLU network, width 0.3": relu_network(gaussian(0.3)),
    "ReLU network, two modes, width 0.2": relu_network(bimodal(0.2, 0.6)),
}
# Those on which other numbers of particles and steps are tried
VARIED = ["Gaussian, width 0.3", "correlated, widths 0.15 to 0.6", "two modes at 0.6, width 0.2"]


class UnboundedTarget(Target):
    """A density over u as a target of the sampler."""

    @classmethod
    def of(cls, log_density: LogDensity) -> "UnboundedTarget":
        """
        :param log_density: of u (..., d)
        :return: the target
        """
        return cls(log_density, log_density, th.tensor(1.0))

    def scores(self, u: th.Tensor, create_graph: bool = False) -> th.Tensor:
        """See :class:`~sb3_maxent.s2ac.sampler.Target`."""
        with th.enable_grad():
            u = u if create_graph and u.requires_grad else u.detach().requires_grad_()
            (scores,) = th.autograd.grad(self.q_values(u).sum(), u, create_graph=create_graph)
        return scores


def estimate(log_density: LogDensity, dim: int, sampler: SteinSampler, n_states: int) -> tuple[float, th.Tensor]:
    """
    Run the sampler.

    :param log_density: of u (..., d)
    :param dim: d
    :param sampler: the sampler
    :param n_states: B
    :return: the estimated entropy over u, and the particles (B, N, d)
    """
    th.manual_seed(0)
    mean, log_std = th.zeros(1, dim), th.full((1, dim), math.log(START_STD))
    noise = sampler.start_noise(th.rand(n_states, sampler.n_particles, dim))
    with th.no_grad():
        particles = sampler.sample(mean, log_std, noise, UnboundedTarget.of(log_density), min_reach=3.0)
        return -(particles.log_prob + log_det_tanh(particles.u)).mean().item(), particles.u


def measure(name: str, dim: int, n_particles: int = 10, n_svgd_steps: int = 3, precondition: bool = True) -> dict[str, Any]:
    """
    One row of the CSV. (Without preconditioning the largest step is 0.1, as in the authors' code.)

    :param name: of the energy
    :param dim: d
    :param n_particles: N
    :param n_svgd_steps: steps
    :param precondition: whether particles move in the units of their start
    :return: the row
    """
    energy = ENERGIES[name]
    log_density, n_states = energy.log_density(dim), N_PARTICLES_IN_ALL // n_particles
    row = {"energy": name, "dimensions": dim, "particles": n_particles, "steps": n_svgd_steps, "precondition": precondition}
    own = math.nan
    for estimator in ENTROPY_ESTIMATORS:
        step_size = 0.5 if precondition else 0.1
        sampler = SteinSampler(n_particles, n_svgd_steps, step_size, precondition=precondition, entropy_estimator=estimator)
        value, u = estimate(log_density, dim, sampler, n_states)
        row[estimator] = f"{value:.3f}"
        own = nearest_neighbour_entropy(u.double(), N_QUERIES)[0] if math.isnan(own) else own
    optimum = "" if energy.entropy is None else f"{energy.entropy(dim):.3f}"
    return {**row, "own": f"{own:.3f}", "optimum": optimum}


def cases() -> Iterator[tuple[Any, ...]]:
    """Arguments of :func:`measure`."""
    for name in ENERGIES:
        for dim in (1, 2, 4, 8, 12, 17):
            yield name, dim
    for name in VARIED:
        for dim in (1, 2, 4, 8):
            for n_particles in (4, 6, 20, 64):
                yield name, dim, n_particles
            for n_svgd_steps in (1, 2, 5, 10):
                yield name, dim, 10, n_svgd_steps
            yield name, dim, 10, 3, False


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    th.set_num_threads(1)
    rows = []
    for case in cases():
        rows.append(measure(*case))
        own = float(rows[-1]["own"])
        errors = ", ".join(f"{name} {float(rows[-1][name]) - own:+.2f}" for name in ENTROPY_ESTIMATORS)
        print(f"{case}: own {own:.2f}; {errors}", flush=True)
    if args.csv is not None:
        write(args.csv, COLUMNS, rows)


if __name__ == "__main__":
    main()
