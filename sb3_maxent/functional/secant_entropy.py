"""
How one SVGD step changes the density of its particles, without second derivatives: secants of the scores between particles
in place of the Hessian, and what particles that repel each other know of each other. All from Gram matrices.
"""

from collections.abc import Sequence

import torch as th

from sb3_maxent.functional.kernels import MIN_BANDWIDTH, rbf_kernel

# The least that start and place may agree, as a cosine: below it particles have changed their order, and secants mean little
LEAST_AGREEMENT = 0.25


def pair_products(x: th.Tensor, y: th.Tensor) -> th.Tensor:
    """
    Products of differences, ``(x_i - x_j) . (y_i - y_j)``, from one Gram matrix.

    :param x: (B, N, d)
    :param y: (B, N, d)
    :return: (B, N, N), zeros on the diagonal up to rounding
    """
    x, y = x - x.detach().mean(dim=1, keepdim=True), y - y.detach().mean(dim=1, keepdim=True)
    products = x @ y.transpose(1, 2)
    own = products.diagonal(dim1=1, dim2=2)
    return own.unsqueeze(2) + own.unsqueeze(1) - products - products.transpose(1, 2)


def secant_trace(particles: th.Tensor, scores: th.Tensor, start: th.Tensor, kernel: th.Tensor) -> th.Tensor:
    """
    Trace of the scores' Jacobian (the Hessian of the log-density), from the differences between a particle and the others
    that the kernel sees:

    ``tr d s_i / d x_i  ~  d sum_j k_ij (s_i - s_j).(z_i - z_j) / sum_j k_ij (x_i - x_j).(z_i - z_j)``.

    With ``z = x`` that is the slope of the secants. But the particles have gathered most where the curvature is largest, so
    that it counts too little there. Where they started they were spread evenly: with z the start, in units of its own standard
    deviation, a direction counts by the first power of how far the particles have gathered in it, not by the second.

    :param particles: (B, N, d)
    :param scores: (B, N, d)
    :param start: (B, N, d) noise that the particles started from, divided by their scale per unit of noise
    :param kernel: (B, N, N)
    :return: (B, N); 0 where the kernel sees no other particle
    """
    slopes = (kernel * pair_products(scores, start)).sum(dim=2)
    distances = (kernel * pair_products(particles, start)).sum(dim=2)
    lengths = [(kernel * pair_products(points, points)).sum(dim=2).clamp(min=MIN_BANDWIDTH) for points in (particles, start)]
    least = LEAST_AGREEMENT * (lengths[0] * lengths[1]).detach().sqrt()
    return particles.shape[2] * slopes / th.maximum(distances, least)


def pair_correlation_trace(
    particles: th.Tensor,
    scores: th.Tensor,
    distances: th.Tensor,
    h: th.Tensor,
    steps: Sequence[tuple[th.Tensor, th.Tensor]],
) -> th.Tensor:
    """
    What the traces of single particles, the others held fixed, leave out of the divergence of the *mean* velocity, which is
    what changes the density of one particle: particles that have repelled each other in earlier steps are seldom close
    together, so that those around a particle depend on where it is.

    After steps of size ``eps_l`` and bandwidth ``h_l`` two particles at the squared distance D have the pair correlation
    ``log g = - sum_l 2 eps_l / (N h_l) k_l (d - D / h_l)``, to first order. With ``f_ij = k_ij (s_j + (x_i - x_j) / h) / N``,
    the part of the direction that j causes at i, what is missing is ``sum_j f_ij . d log g / d x_i`` (with ``s_j`` about the
    pair's mean).

    :param particles: (B, N, d)
    :param scores: (B, N, d)
    :param distances: (B, N, N) squared distances
    :param h: (B, 1, 1) squared bandwidth of this step
    :param steps: size (B, 1) and squared bandwidth (B, 1, 1) of each earlier step
    :return: (B, N)
    """
    _, n_particles, dim = particles.shape
    if not steps:  # particles are independent where they start
        return particles.new_zeros(particles.shape[:2])
    slope = th.zeros_like(distances)  # d log g / d D
    for size, earlier in steps:
        kernel = rbf_kernel(distances, earlier)
        slope = slope + size.unsqueeze(2) / (n_particles * earlier**2) * kernel * (dim + 2 - distances / earlier)
    # (x_i - x_j) . f_ij, in which the pair's mean score is left out
    pushes = rbf_kernel(distances, h) * (distances / h - 0.5 * pair_products(scores, particles)) / n_particles
    return (2 * slope * pushes).sum(dim=2)


def secant_log_density_change(trace: th.Tensor, correlation: th.Tensor, step_size: float | th.Tensor) -> th.Tensor:
    """
    Change of the log-density that a step brings. What particles know of each other makes up for their contraction; it does
    not spread them where they would otherwise gather: particles in order are at rest.

    :param trace: (B, N) of each particle's Jacobian, the others held fixed
    :param correlation: (B, N) of :func:`pair_correlation_trace`
    :param step_size: eps: a number, or (B, 1) for each state
    :return: (B, N)
    """
    change = -step_size * trace
    return th.maximum(change - step_size * correlation, change.clamp(max=0))
