"""What the scores of a few seeds say about an algorithm: estimates with intervals from rliable's stratified bootstrap."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rliable.library import get_interval_estimates

from sb3_maxent.compare.results import Result

REPETITIONS = 5000
# For each step of a learning curve: a band need not be as exact as a number in a table
CURVE_REPETITIONS = 1000
CURVE_POINTS = 200


class Estimate(NamedTuple):
    """A statistic of some runs and its 95% interval, NaN where there are too few runs for one."""

    value: float
    low: float = math.nan
    high: float = math.nan


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
    :param result: a run with E evaluations of K episodes
    :return: (E,) mean return over the episodes of each evaluation
    """
    return np.asarray(result.returns, dtype=float).mean(axis=1) if len(result.steps) else np.empty(0)


def final_score(result: Result) -> float:
    """
    :param result: a run
    :return: mean return over the episodes of its last evaluation, NaN if it was never evaluated
    """
    return float(evaluation_scores(result)[-1]) if len(result.steps) else math.nan


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


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """
    Mean of the scores without the lowest and the highest quarter, each rounded down to whole runs: the IQM of rliable,
    which is scipy's trimmed mean (ten times slower: it matters in a bootstrap).

    :param scores: (N, ...) scores
    :return: (...) IQM over the first axis
    """
    cut = len(scores) // 4
    return np.sort(scores, axis=0)[cut : len(scores) - cut].mean(axis=0)


@contextmanager
def _same_numbers() -> Iterator[None]:
    """
    The same resamples each time. rliable 1.2 draws them from NumPy's global generator, whatever ``random_state`` it is
    given; the generator is left as it was found.
    """
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def _bootstrap(func: Callable[..., np.ndarray], samples: Sequence[np.ndarray], repetitions: int) -> np.ndarray:
    """
    :param func: maps the samples, or as many resampled ones, to (M,) statistics
    :param samples: arrays (runs, columns), resampled independently of one another, and so is each column (stratum)
    :param repetitions: number of resamples
    :return: (3, M) the statistics, and the lower and the upper end of their 95% percentile intervals
    """
    with _same_numbers():
        values, intervals = get_interval_estimates({"": list(samples)}, func, reps=repetitions)
    return np.vstack([values[""], intervals[""]])


def _statistics(scores: np.ndarray) -> np.ndarray:
    n_environments = scores.shape[1]
    median = np.median(scores if n_environments == 1 else scores.mean(axis=0))
    return np.array([scores.mean(), median, interquartile_mean(scores.ravel())])


def summarise(scores: np.ndarray) -> dict[str, Estimate]:
    """
    Mean, median and interquartile mean of an algorithm, as rliable defines them: over several environments the median
    is the one of the environments' means, and the IQM is over all runs. On one environment the median is over runs.

    :param scores: (N, T) final scores of N >= 1 runs on each of T environments
    :return: ``mean``, ``median``, ``IQM``; without intervals for N = 1
    """
    if len(scores) > 1:
        estimates = _bootstrap(_statistics, [scores], REPETITIONS)
    else:
        estimates = np.vstack([_statistics(scores), np.full((2, 3), math.nan)])
    return {
        name: Estimate(*map(float, estimate)) for name, estimate in zip(("mean", "median", "IQM"), estimates.T, strict=True)
    }


def probability_of_improvement(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Estimate]:
    """
    Probability that a run of X has a higher score than a run of Y, a tie counting half (Mann and Whitney's U / (n m)).

    :param pairs: for each of T environments the final scores of X, (n,), and of Y, (m,); none of them empty
    :return: T + 1 estimates: on each environment, and their mean over the environments; without an interval where X or
        Y has one run only
    """

    def probabilities(*columns: np.ndarray) -> np.ndarray:
        each = [np.mean((x > y.T) + 0.5 * (x == y.T)) for x, y in zip(columns[::2], columns[1::2], strict=True)]
        return np.array([*each, np.mean(each)])

    estimates = _bootstrap(probabilities, [scores[:, None] for pair in pairs for scores in pair], REPETITIONS)
    enough = [min(map(len, pair)) > 1 for pair in pairs]
    estimates[1:, [not each for each in (*enough, all(enough))]] = math.nan
    return [Estimate(*map(float, estimate)) for estimate in estimates.T]


def learning_curve(results: Sequence[Result]) -> Curve:
    """
    IQM over the runs of an algorithm at common steps, with a pointwise 95% interval: at all steps at which one of them
    was evaluated (200 of them at most) and that all of them reached. Between its evaluations a run's score is
    interpolated; it is never extrapolated.

    :param results: the runs of one algorithm on one environment, at least one
    :return: the curve
    """
    runs = counted(results)
    steps = np.unique(np.concatenate([run.steps for run in runs])) if runs else np.empty(0)
    if runs:
        steps = steps[(steps >= max(run.steps[0] for run in runs)) & (steps <= min(run.steps[-1] for run in runs))]
        if len(steps) > CURVE_POINTS:
            steps = steps[np.linspace(0, len(steps) - 1, CURVE_POINTS).round().astype(int)]
    if len(steps) == 0:
        runs = []  # nothing in common: each run by itself
    curve = np.full((3, len(steps)), math.nan)
    if runs:
        scores = np.stack([np.interp(steps, run.steps, evaluation_scores(run)) for run in runs])  # (runs, L)
        finite = np.isfinite(scores).all(axis=0)
        if len(runs) > 1 and finite.any():
            curve[:, finite] = _bootstrap(interquartile_mean, [scores[:, finite]], CURVE_REPETITIONS)
        else:
            curve[0, finite] = interquartile_mean(scores[:, finite])
    others = tuple(result for result in results if len(result.steps) and not (runs and counts(result)))
    iqm, low, high = curve
    return Curve(results[0].algo, steps, iqm, low, high, len(runs), len(results), others)


def normalise(scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """
    :param scores: final scores of each algorithm on one environment, (n,) each
    :return: the same, with 0 for the lowest score of all and 1 for the highest (all 0.5 if these are equal)
    """
    low, high = (function(np.concatenate(list(scores.values()))) for function in (np.min, np.max))
    if low == high:
        return {algo: np.full(len(values), 0.5) for algo, values in scores.items()}
    return {algo: (values - low) / (high - low) for algo, values in scores.items()}
