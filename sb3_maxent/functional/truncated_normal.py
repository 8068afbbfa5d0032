"""The standard normal distribution between -bound and +bound, in closed form."""

import math

import torch as th


def truncated_normal_icdf(probabilities: th.Tensor, bound: float = math.inf) -> th.Tensor:
    """
    Inverse of the distribution function, ``sqrt(2) erfinv((2 p - 1) erf(bound / sqrt(2)))``: uniform p give one sample each,
    without rejection.

    :param probabilities: any shape, in (0, 1)
    :param bound: > 0, in standard deviations
    :return: the same shape, in [-bound, bound]
    """
    mass = math.erf(bound / math.sqrt(2))
    # Rounding must not lead to the ends, which are infinitely far without a bound
    inside = 1 - th.finfo(probabilities.dtype).eps
    values = math.sqrt(2) * th.erfinv(((2 * probabilities - 1) * mass).clamp(-inside, inside))
    return values.clamp(-bound, bound)


def truncated_normal_log_prob(values: th.Tensor, bound: float = math.inf) -> th.Tensor:
    """
    Log-density, ``-x^2 / 2 - log(2 pi) / 2 - log erf(bound / sqrt(2))``, of values within the bounds.

    :param values: any shape
    :param bound: > 0, in standard deviations
    :return: the same shape
    """
    return -0.5 * values**2 - 0.5 * math.log(2 * math.pi) - math.log(math.erf(bound / math.sqrt(2)))
