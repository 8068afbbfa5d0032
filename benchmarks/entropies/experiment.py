"""The rows of the CSV: samplers on targets, and what their estimates are worth."""

import math
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch as th

from entropies.own_entropy import (
    NEIGHBOUR_DIMENSIONS,
    fitted_entropies,
    fitted_entropy,
    mean_and_error,
    nearest_neighbour_entropy,
)
from entropies.samplers import SAMPLERS, Effort, Rule, Setting, State
from entropies.targets import Mixture, circle_mixture, poster_gaussian

DIMENSIONS = (2, 5, 10, 20, 50, 100)
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
    bandwidths: tuple[Rule | float, ...] = ("median", "mean", "authors", 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 100.0)
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
