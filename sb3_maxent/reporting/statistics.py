"""What the scores of a few seeds say: estimates with intervals from rliable's stratified bootstrap."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from rliable.library import get_interval_estimates

REPETITIONS = 5000
# For each point of a profile: a band need not be as exact as a number in a table
PROFILE_REPETITIONS = 1000
# Resamples at once
BLOCK = 500


class Estimate(NamedTuple):
    """A statistic of some runs and its 95% interval, NaN where there are too few runs for one."""

    value: float
    low: float = math.nan
    high: float = math.nan


def interquartile_mean(scores: np.ndarray, axis: int = 0) -> np.ndarray:
    """
    Mean of the scores without the lowest and the highest quarter, each rounded down to whole runs: the IQM of rliable,
    which is scipy's trimmed mean (ten times slower: it matters in a bootstrap).

    :param scores: scores
    :param axis: that of the runs
    :return: IQM over that axis
    """
    cut = scores.shape[axis] // 4
    return np.sort(scores, axis).take(range(cut, scores.shape[axis] - cut), axis).mean(axis)


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


def bootstrap(func: Callable[..., np.ndarray], samples: Sequence[np.ndarray], repetitions: int) -> np.ndarray:
    """
    :param func: maps the samples, or as many resampled ones, to (M,) statistics
    :param samples: arrays (runs, columns), resampled independently of one another, and so is each column (stratum)
    :param repetitions: number of resamples
    :return: (3, M) the statistics, and the lower and the upper end of their 95% percentile intervals
    """
    with _same_numbers():
        values, intervals = get_interval_estimates({"": list(samples)}, func, reps=repetitions)
    return np.vstack([values[""], intervals[""]])


def vectorised_bootstrap(statistics: Callable[[np.ndarray], np.ndarray], scores: np.ndarray, repetitions: int) -> np.ndarray:
    """
    :func:`bootstrap` of one sample, with the same resamples, but many at once: it takes a hundredth of the time.

    :param statistics: maps (R, N, T) resamples to their (R, M) statistics
    :param scores: (N, T) scores of N runs
    :param repetitions: number of resamples
    :return: (3, M) the statistics, and the lower and the upper end of their 95% percentile intervals, NaN for N = 1
    """
    values = statistics(scores[None])
    if len(scores) == 1:
        return np.vstack([values, np.full((2, values.shape[1]), math.nan)])
    random = np.random.RandomState(0)
    blocks = []
    for done in range(0, repetitions, BLOCK):
        chosen = random.randint(len(scores), size=(min(BLOCK, repetitions - done), *scores.shape))
        blocks.append(statistics(np.take_along_axis(scores[None], chosen, axis=1)))
    return np.vstack([values, np.percentile(np.concatenate(blocks), (2.5, 97.5), axis=0)])


def _statistics(scores: np.ndarray) -> np.ndarray:
    n_samples, _, n_environments = scores.shape
    median = np.median(scores[..., 0] if n_environments == 1 else scores.mean(axis=1), axis=1)
    return np.stack([scores.mean(axis=(1, 2)), median, interquartile_mean(scores.reshape(n_samples, -1), axis=1)], axis=1)


def summarise(scores: np.ndarray) -> dict[str, Estimate]:
    """
    Mean, median and interquartile mean of an algorithm, as rliable defines them: over several environments the median
    is the one of the environments' means, and the IQM is over all runs. On one environment the median is over runs.

    :param scores: (N, T) final scores of N >= 1 runs on each of T environments
    :return: ``mean``, ``median``, ``IQM``; without intervals for N = 1
    """
    estimates = vectorised_bootstrap(_statistics, scores, REPETITIONS)
    return {
        name: Estimate(*map(float, estimate)) for name, estimate in zip(("mean", "median", "IQM"), estimates.T, strict=True)
    }


def mean_with_interval(scores: np.ndarray) -> Estimate:
    """
    The mean of :func:`summarise` on one environment.

    :param scores: (N,) scores of N >= 1 runs
    :return: mean; without an interval for N = 1
    """
    return summarise(scores[:, None])["mean"]


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

    estimates = bootstrap(probabilities, [scores[:, None] for pair in pairs for scores in pair], REPETITIONS)
    enough = [min(map(len, pair)) > 1 for pair in pairs]
    estimates[1:, [not each for each in (*enough, all(enough))]] = math.nan
    return [Estimate(*map(float, estimate)) for estimate in estimates.T]


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """
    Performance profile (score distribution) of an algorithm: "Deep Reinforcement Learning at the Edge of the Statistical
    Precipice" (Agarwal et al., 2021), section 4.2.

    :param scores: (N, T) normalised scores of N >= 1 runs on each of T environments
    :param thresholds: (M,) scores
    :return: (3, M) share of all runs with a score above each threshold, and the lower and the upper end of its pointwise 95%
        interval, NaN for N = 1
    """

    def shares(samples: np.ndarray) -> np.ndarray:
        return (samples[..., None] > thresholds).mean(axis=(1, 2))

    return vectorised_bootstrap(shares, scores, PROFILE_REPETITIONS)


def normalise(scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """
    :param scores: final scores of each algorithm on one environment, (n,) each
    :return: the same, with 0 for the lowest score of all and 1 for the highest (all 0.5 if these are equal)
    """
    low, high = (function(np.concatenate(list(scores.values()))) for function in (np.min, np.max))
    if low == high:
        return {algo: np.full(len(values), 0.5) for algo, values in scores.items()}
    return {algo: (values - low) / (high - low) for algo, values in scores.items()}
