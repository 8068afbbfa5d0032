"""The RBF kernel between particles: distances, bandwidth, gradient. Nothing here needs more memory than (B, N, M)."""

import math
from typing import Literal, get_args

import torch as th

from sb3_maxent.functional.tracing import is_exporting

# Particles that coincide have no distance to take a bandwidth from
MIN_BANDWIDTH = 1e-8
# Gram matrices give distances up to rounding; a bandwidth this many times larger keeps it below 1 percent
MIN_ROUNDINGS = 100
BandwidthRule = Literal["median", "mean"]
SteinBandwidthRule = Literal[BandwidthRule, "score"]
# "score": at least this share of the squared distance to the nearest source, which so weighs e^-2
NEAREST_SHARE = 0.25


def squared_distances(x: th.Tensor, y: th.Tensor) -> th.Tensor:
    """
    Pairwise ``|x_i - y_j|^2`` by Gram matrices, about the mean of y, which keeps the rounding small.

    :param x: (B, N, d)
    :param y: (B, M, d)
    :return: (B, N, M), not negative
    """
    assert x.ndim == y.ndim == 3 and x.shape[::2] == y.shape[::2], (x.shape, y.shape)
    center = y.detach().mean(dim=1, keepdim=True)
    x, y = x - center, y - center
    norms = (x * x).sum(dim=2).unsqueeze(2) + (y * y).sum(dim=2).unsqueeze(1)
    return (norms - 2 * x @ y.transpose(1, 2)).clamp(min=0)


def bandwidth(distances: th.Tensor, rule: BandwidthRule | float | th.Tensor = "median", paired: bool = False) -> th.Tensor:
    """
    Squared bandwidth h of the kernel ``exp(-|x - y|^2 / (2 h))`` for each state.

    Both rules are ``h = m / (2 log(M + 1))`` with m the median or the mean of the squared distances, so that a
    particle weighs 1 / (M + 1) at the distance m: near ones count, and those far away share one vote (the heuristic of
    https://arxiv.org/abs/1608.04471, Section 5, with M + 1 so that one particle is no exception). Coinciding particles
    get a tiny h, with which the kernel is 1 between them. Where most coincide and some lie far away, h is as large as
    rounding demands.

    :param distances: (B, N, M) squared distances
    :param rule: ``"median"``, ``"mean"``, or h itself: a number, or (B, 1, 1) for each state
    :param paired: whether x is y, so that the zeros on the diagonal do not count
    :return: (B, 1, 1), a constant in gradients
    """
    assert distances.ndim == 3, distances.shape
    n_states, n, m = distances.shape
    if isinstance(rule, th.Tensor):
        assert rule.shape == (n_states, 1, 1), rule.shape
        return rule
    assert rule in get_args(BandwidthRule) or isinstance(rule, int | float), rule
    distances = distances.detach()
    if not isinstance(rule, str):
        return th.full((n_states, 1, 1), float(rule), dtype=distances.dtype, device=distances.device)
    flat = distances.reshape(n_states, -1)
    if paired and n > 1:
        # Without the diagonal: all but every (N + 1)th entry
        flat = flat[:, 1:].reshape(n_states, n - 1, n + 1)[:, :, :-1].reshape(n_states, -1)
    mean = flat.mean(dim=1)
    typical = _median(flat) if rule == "median" else mean
    return th.maximum(typical / (2 * math.log(m + 1)), _smallest(mean)).view(n_states, 1, 1)


def score_bandwidth(
    distances: th.Tensor, gradients: th.Tensor, ent_coef: th.Tensor | float = 1.0, paired: bool = False
) -> th.Tensor:
    """
    Squared bandwidth h for each state from the lengths of the scores, ``h = d v / log(M + 1)`` with ``v = d / mean(|s|)^2``.
    A Gaussian of variance v in d dimensions has scores of a mean length near sqrt(d / v) (in one dimension 0.80 of it, in two
    0.89), and squared distances near 2 d v. So h is what the rules of distances would give if one mode were all, however many
    there are and however far apart. (The rule is of this project; what it gives is in docs/results/soft_q_learning.md.)

    It is at most the ``"median"`` rule's, for scores near 0. It is at least 1/4 of the mean squared distance to the nearest
    source, which is then felt by e^-2: with modes that are much narrower than the samples are apart this is the rule.

    :param distances: (B, N, M) squared distances
    :param gradients: (B, M, d) alpha times the scores at the sources; alpha = 0 leaves the least bandwidth
    :param ent_coef: alpha
    :param paired: whether x is y, so that the zeros on the diagonal do not count
    :return: (B, 1, 1), a constant in gradients
    """
    distances, gradients, ent_coef = distances.detach(), gradients.detach(), th.as_tensor(ent_coef).detach()
    widest = bandwidth(distances, "median", paired)
    length = gradients.norm(dim=2).mean(dim=1).view(-1, 1, 1).clamp(min=th.finfo(gradients.dtype).tiny)
    if paired:
        diagonal = th.eye(distances.shape[1], dtype=th.bool, device=distances.device)
        nearest = distances.masked_fill(diagonal, math.inf).min(dim=2).values
    else:
        nearest = distances.min(dim=2).values
    n_dims, n_sources = gradients.shape[2], distances.shape[2]
    h = n_dims / math.log(n_sources + 1) * (n_dims * (ent_coef / length) ** 2)
    h = h.maximum(NEAREST_SHARE * nearest.mean(dim=1).view(-1, 1, 1))
    return th.minimum(h.maximum(_smallest(distances.mean(dim=(1, 2), keepdim=True))), widest)


def _smallest(mean: th.Tensor) -> th.Tensor:
    """
    :param mean: mean squared distances, of any shape
    :return: the least h that the rounding of distances allows
    """
    return (MIN_ROUNDINGS * th.finfo(mean.dtype).eps * mean).clamp(min=MIN_BANDWIDTH)


def _median(values: th.Tensor) -> th.Tensor:
    """Of each row (B, n), the lower one of an even number."""
    if is_exporting():  # ONNX has no median. Sorting gives the same number, and takes two to four times as long
        return values.sort(dim=1).values[:, (values.shape[1] - 1) // 2]
    return values.median(dim=1).values


def rbf_kernel(distances: th.Tensor, h: th.Tensor | float) -> th.Tensor:
    """
    ``k_ij = exp(-|x_i - y_j|^2 / (2 h))``.

    :param distances: (B, N, M) squared distances
    :param h: (B, 1, 1) squared bandwidth
    :return: (B, N, M)
    """
    return th.exp(-distances / (2 * h))


def rbf_repulsion(kernel: th.Tensor, x: th.Tensor, y: th.Tensor, h: th.Tensor | float) -> th.Tensor:
    """
    Sum of the kernel's gradients with respect to its second argument, ``sum_j d k(x_i, y_j) / d y_j =
    sum_j k_ij (x_i - y_j) / h``: it drives x away from y.

    :param kernel: (B, N, M)
    :param x: (B, N, d)
    :param y: (B, M, d)
    :param h: (B, 1, 1) squared bandwidth
    :return: (B, N, d)
    """
    # About the mean of y, too: h can be tiny, and what is left of the difference by rounding is divided by it
    center = y.detach().mean(dim=1, keepdim=True)
    return ((x - center) * kernel.sum(dim=2, keepdim=True) - kernel @ (y - center)) / h
