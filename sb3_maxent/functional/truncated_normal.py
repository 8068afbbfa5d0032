"""The standard normal distribution between -bound and +bound, in closed form."""

import math

import torch as th

from sb3_maxent.functional.tracing import is_exporting


@th.library.custom_op("sb3_maxent::erfinv", mutates_args=())
def _erfinv(values: th.Tensor) -> th.Tensor:
    """``erfinv`` that a compiled graph computes once: fused, it would be computed anew wherever the noise is read."""
    return th.erfinv(values)


@_erfinv.register_fake
def _(values: th.Tensor) -> th.Tensor:
    return th.empty_like(values)


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
    arguments = ((2 * probabilities - 1) * mass).clamp(-inside, inside)
    erfinv = _erfinv if th.compiler.is_compiling() and not is_exporting() else th.erfinv
    return (math.sqrt(2) * erfinv(arguments)).clamp(-bound, bound)


def truncated_normal_log_prob(values: th.Tensor, bound: float = math.inf) -> th.Tensor:
    """
    Log-density, ``-x^2 / 2 - log(2 pi) / 2 - log erf(bound / sqrt(2))``, of values within the bounds.

    :param values: any shape
    :param bound: > 0, in standard deviations
    :return: the same shape
    """
    return -0.5 * values**2 - 0.5 * math.log(2 * math.pi) - math.log(math.erf(bound / math.sqrt(2)))
