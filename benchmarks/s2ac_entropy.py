"""
The entropy that S2AC estimates, with its defaults (10 particles, 3 steps from N(0, 0.5^2)), beside that which its particles
really have (nearest neighbours over many states), for known energies in 1 to 17 dimensions. All over unbounded actions u::

    python benchmarks/s2ac_entropy.py --csv benchmarks/data/s2ac_entropy.csv
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch as th
from entropies.own_entropy import nearest_neighbour_entropy
from tables import write

from sb3_maxent.functional import log_det_tanh
from sb3_maxent.s2ac import SteinSampler, Target
from sb3_maxent.s2ac.sampler import EntropyEstimator

ENTROPY_ESTIMATORS: tuple[EntropyEstimator, ...] = get_args(EntropyEstimator)
N_STATES, DIMENSIONS = 2000, (1, 2, 6, 17)
COLUMNS = ["energy", "dimensions", *ENTROPY_ESTIMATORS, "own", "optimum"]


def gaussian(width: float) -> Callable[[th.Tensor], th.Tensor]:
    """Q of one mode of this width in u, less the Jacobian of tanh, so that the target over u is a Gaussian."""

    def q_values(actions: th.Tensor) -> th.Tensor:
        u = th.atanh(actions.clamp(-1 + 1e-6, 1 - 1e-6))
        return -0.5 * ((u - 0.3) ** 2).sum(dim=2) / width**2 - log_det_tanh(u)

    return q_values


# Q and, over u, the optimum's entropy for each dimension
ENERGIES: dict[str, tuple[Callable[[th.Tensor], th.Tensor], float | None]] = {
    "Q = 0": (lambda actions: 0.0 * actions.sum(dim=2), None),
    "Q = 3 a_1 + ... + 3 a_d": (lambda actions: 3.0 * actions.sum(dim=2), None),
    "Gaussian over u, width 0.5": (gaussian(0.5), 0.5),
    "Gaussian over u, width 0.3": (gaussian(0.3), 0.3),
    "Gaussian over u, width 0.15": (gaussian(0.15), 0.15),
}


def measure(energy: str, dim: int) -> dict[str, Any]:
    """
    One line of the table.

    :return: a row of the CSV
    """
    q_values, width = ENERGIES[energy]

    def q_gradient(actions: th.Tensor) -> th.Tensor:
        with th.enable_grad():
            actions = actions.detach().requires_grad_()
            return th.autograd.grad(q_values(actions).sum(), actions)[0]

    target = Target(q_values, q_gradient, th.tensor(1.0))
    row: dict[str, str] = {}
    mean, log_std = th.zeros(1, dim), th.full((1, dim), math.log(0.5))
    for estimator in ENTROPY_ESTIMATORS:
        th.manual_seed(0)
        sampler = SteinSampler(entropy_estimator=estimator)
        noise = sampler.start_noise(th.rand(N_STATES, sampler.n_particles, dim))
        particles = sampler.sample(mean, log_std, noise, target, min_reach=3.0)
        log_prob_u = particles.log_prob + log_det_tanh(particles.u)
        row[estimator] = f"{-log_prob_u.mean().item():.2f}"
    own = nearest_neighbour_entropy(particles.u.double(), 2000)[0]
    optimum = "" if width is None else f"{dim * (0.5 * math.log(2 * math.pi * math.e) + math.log(width)):.2f}"
    return {"energy": energy, "dimensions": dim, **row, "own": f"{own:.2f}", "optimum": optimum}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    th.set_num_threads(1)
    rows = []
    print("| energy | d | closed form | Hutchinson | exact | the particles' own | optimum |\n|---|---|---|---|---|---|---|")
    for energy in ENERGIES:
        for dim in DIMENSIONS:
            rows.append(measure(energy, dim))
            print("| " + " | ".join(str(value) for value in rows[-1].values()) + " |", flush=True)
    if args.csv is not None:
        write(args.csv, COLUMNS, rows)


if __name__ == "__main__":
    main()
