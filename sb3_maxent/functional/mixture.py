"""Mixtures of Gaussians."""

import math

import torch as th


def gaussian_log_probs(points: th.Tensor, means: th.Tensor, log_stds: th.Tensor) -> th.Tensor:
    """
    Log-density of points under each of several Gaussians, ``sum_i log N(u_i; mean_i, std_i)``.

    :param points: (B, N, d)
    :param means: (B, K, d)
    :param log_stds: (B, K, d) logarithms of the standard deviations
    :return: (B, N, K) in nats
    """
    assert points.ndim == 3 and means.shape == log_stds.shape, (points.shape, means.shape, log_stds.shape)
    noise = (points.unsqueeze(2) - means.unsqueeze(1)) * (-log_stds).exp().unsqueeze(1)
    constants = log_stds.sum(dim=2) + 0.5 * math.log(2 * math.pi) * points.shape[2]
    return -0.5 * (noise**2).sum(dim=3) - constants.unsqueeze(1)
