"""The names that stood here before: now in ``reporting.statistics`` and, where they are of runs, in ``scores``."""

from sb3_maxent.compare.scores import Curve, counted, counts, evaluation_scores, final_score, learning_curve
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
