"""The names that stood here before: now in ``reporting.statistics`` and, where they are of runs, in ``scores``."""

import numpy as np

from sb3_maxent.compare.results import Result
from sb3_maxent.compare.scores import Curve, counted, counts, final_score, learning_curve
from sb3_maxent.reporting.statistics import Estimate, interquartile_mean, normalise, probability_of_improvement, summarise

__all__ = [
    "Curve",
    "Estimate",
    "counted",
    "counts",
    "evaluation_scores",
    "final_score",
    "interquartile_mean",
    "learning_curve",
    "normalise",
    "probability_of_improvement",
    "summarise",
]


def evaluation_scores(result: Result) -> np.ndarray:
    """
    :param result: a run with E evaluations
    :return: its ``means``
    """
    return result.means
