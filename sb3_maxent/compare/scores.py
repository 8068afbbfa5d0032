"""What the runs of a comparison scored: final scores, and learning curves with intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from sb3_maxent.compare.results import Result
from sb3_maxent.reporting.statistics import interquartile_mean, vectorised_bootstrap

# For each step of a learning curve: a band need not be as exact as a number in a table
CURVE_REPETITIONS = 1000
CURVE_POINTS = 200


@dataclass(frozen=True)
class Curve:
    """
    The runs of one algorithm on one environment over training.

    :param algo: the algorithm
    :param steps: (L,) environment steps within the range of every run that counts; L may be 0
    :param iqm: (L,) interquartile mean over the runs that count, NaN where the score of one of them is not finite
    :param low: (L,) lower end of the 95% interval at each step, NaN with fewer than two runs
    :param high: (L,) upper end
    :param n_counted: number of runs in these statistics
    :param n_runs: number of runs that were asked for
    :param others: the runs that were evaluated but are not in these statistics
    """

    algo: str
    steps: np.ndarray
    iqm: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_counted: int
    n_runs: int
    others: tuple[Result, ...]


def evaluation_scores(result: Result) -> np.ndarray:
    """
    :param result: a run with E evaluations
    :return: (E,) mean return over the episodes of each evaluation
    """
    return result.summary[0]


def final_score(result: Result) -> float:
    """
    :param result: a run
    :return: mean return over the episodes of its last evaluation, NaN if it was never evaluated
    """
    return float(evaluation_scores(result)[-1]) if len(result.steps) else math.nan


def _common_steps(results: Sequence[Result]) -> np.ndarray:
    """(L,) steps at which one of the runs was evaluated, within the range of each of them; none without runs"""
    if not results:
        return np.empty(0)
    steps = np.unique(np.concatenate([run.steps for run in results]))
    return steps[(steps >= max(run.steps[0] for run in results)) & (steps <= min(run.steps[-1] for run in results))]


def scores_at(results: Sequence[Result], steps: ArrayLike) -> np.ndarray:
    """
    :param results: R runs that were evaluated at the first of these steps or before, and at the last or later
    :param steps: L environment steps, ascending
    :return: (R, L) mean return over the episodes at these steps, interpolated between a run's evaluations
    """
    steps = np.asarray(steps, dtype=float)
    return np.array([np.interp(steps, run.steps, evaluation_scores(run)) for run in results])


def milestones(results: Sequence[Result], shares: Sequence[float] = (0.25, 0.5, 1.0)) -> list[int]:
    """
    Steps to compare runs at: those at which one of them was evaluated, nearest to these shares of the steps that all reached.

    :param results: runs, each evaluated at least once
    :param shares: of the last step that all of them reached, ascending
    :return: steps within the range of every run, ascending and each once; none where the runs have no step in common
    """
    steps = _common_steps(results)
    nearest = (int(steps[np.abs(steps - share * steps[-1]).argmin()]) for share in shares if len(steps))
    return list(dict.fromkeys(nearest))


def counts(result: Result) -> bool:
    """
    :param result: a run
    :return: whether the statistics take it in: it is finished and its final score is a finite number
    """
    return result.status == "finished" and math.isfinite(final_score(result))


def counted(results: Sequence[Result]) -> list[Result]:
    """
    :param results: runs
    :return: those that count, by seed
    """
    return sorted(filter(counts, results), key=lambda result: result.seed)


def learning_curve(results: Sequence[Result]) -> Curve:
    """
    IQM over the runs of an algorithm at common steps, with a pointwise 95% interval: at all steps at which one of them
    was evaluated (200 of them at most) and that all of them reached. Between its evaluations a run's score is
    interpolated; it is never extrapolated.

    :param results: the runs of one algorithm on one environment, at least one
    :return: the curve
    """
    runs = counted(results)
    steps = _common_steps(runs)
    if len(steps) > CURVE_POINTS:
        steps = steps[np.linspace(0, len(steps) - 1, CURVE_POINTS).round().astype(int)]
    if len(steps) == 0:
        runs = []  # nothing in common: each run by itself
    curve = np.full((3, len(steps)), math.nan)
    if runs:
        scores = scores_at(runs, steps)
        finite = np.isfinite(scores).all(axis=0)
        curve[:, finite] = vectorised_bootstrap(partial(interquartile_mean, axis=1), scores[:, finite], CURVE_REPETITIONS)
    others = tuple(result for result in results if len(result.steps) and not (runs and counts(result)))
    iqm, low, high = curve
    return Curve(results[0].algo, steps, iqm, low, high, len(runs), len(results), others)
