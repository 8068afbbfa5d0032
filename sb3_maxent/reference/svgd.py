"""
Stein variational gradient descent (https://arxiv.org/abs/1608.04471) in explicit loops, one formula per line.

N particles u_i in R^d with scores ``s_i = grad log p(u_i)``; ``h`` is the squared bandwidth, always treated as a constant.
Bad arguments raise a ``ValueError`` that names the argument.
"""

from collections.abc import Callable

import numpy as np

from sb3_maxent.reference.checks import require, require_array


def _check(particles: np.ndarray, scores: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray]:
    particles = require_array("particles", particles, (None, None))
    require(0 < h < np.inf, "h", "be in (0, inf)", h)
    return particles, require_array("scores", scores, particles.shape)


def rbf_kernel(x: np.ndarray, y: np.ndarray, h: float) -> float:
    """
    ``k(x, y) = exp(-|x - y|^2 / (2 h))``

    :param x: (d,) a point
    :param y: (d,) a point
    :param h: the squared bandwidth
    :return: the kernel, in [0, 1]
    """
    return float(np.exp(-sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / (2 * h)))


def svgd_direction(particles: np.ndarray, scores: np.ndarray, h: float) -> np.ndarray:
    """
    The Stein direction, attraction plus repulsion::

        phi_i = 1/N sum_j [ k_ij s_j + k_ij (u_i - u_j) / h ]

    The second term is the kernel's gradient with respect to u_j (Equation 8 of https://arxiv.org/abs/1608.04471).

    :param particles: (N, d)
    :param scores: (N, d)
    :param h: the squared bandwidth
    :return: (N, d) the direction
    """
    particles, scores = _check(particles, scores, h)
    n = len(particles)
    phi = np.zeros_like(particles)
    for i in range(n):
        for j in range(n):
            k = rbf_kernel(particles[i], particles[j], h)
            phi[i] += (k * scores[j] + k * (particles[i] - particles[j]) / h) / n
    return phi


def svgd_step(particles: np.ndarray, scores: np.ndarray, h: float, step_size: float) -> np.ndarray:
    """
    One step, ``u_i <- u_i + eps phi_i``.

    :param particles: (N, d)
    :param scores: (N, d)
    :param h: the squared bandwidth
    :param step_size: eps
    :return: (N, d) the moved particles
    """
    return np.asarray(particles, dtype=np.float64) + step_size * svgd_direction(particles, scores, h)


def log_density_change(
    particles: np.ndarray,
    scores: np.ndarray,
    h: float,
    step_size: float,
    hessians: np.ndarray | None = None,
    normalizer: float | None = None,
) -> np.ndarray:
    """
    Change of the particles' log-density in one step, to first order in eps and in closed form::

        log q <- log q - eps tr_i
        tr_i = 1/N' sum_{j != i} k_ij / h [ -(u_i - u_j).s_j + d - |u_i - u_j|^2 / h ]  (+ 1/N tr Hess log p(u_i))

    With the Hessian term and N' = N, ``tr_i`` is the exact ``tr(d phi_i / d u_i)``. The closed form of
    https://arxiv.org/abs/2405.00987 has no Hessian term (which vanishes as N grows), and its published code uses N' = N - 1.

    :param particles: (N, d)
    :param scores: (N, d)
    :param h: the squared bandwidth
    :param step_size: eps
    :param hessians: (N, d, d) of log p at the particles; ``None`` leaves their term out
    :param normalizer: N', in (0, inf); ``None`` for N
    :return: (N,) the change ``-eps tr_i`` in nats
    """
    particles, scores = _check(particles, scores, h)
    n, d = particles.shape
    normalizer = n if normalizer is None else normalizer
    require(0 < normalizer < np.inf, "normalizer", "be in (0, inf)", normalizer)
    traces = np.zeros(n)
    for i in range(n):
        for j in range(n):
            if j != i:
                difference = particles[i] - particles[j]
                k = rbf_kernel(particles[i], particles[j], h)
                traces[i] += k / h * (-(difference @ scores[j]) + d - difference @ difference / h) / normalizer
    if hessians is not None:
        for i, hessian in enumerate(require_array("hessians", hessians, (n, d, d))):
            traces[i] += np.trace(hessian) / n
    return -step_size * traces


def direction_jacobians(
    particles: np.ndarray, score_function: Callable[[np.ndarray], np.ndarray], h: float, delta: float = 1e-5
) -> np.ndarray:
    """
    ``d phi_i / d u_i`` by central differences of :func:`svgd_direction`: particle i moves and the others stay.

    Particle i also counts in the sum (its kernel with itself stays 1), and its own score moves with it.
    The error is of the order ``delta^2`` plus ``1e-16 / delta``.

    :param particles: (N, d)
    :param score_function: points (M, d) to scores (M, d)
    :param h: the squared bandwidth
    :param delta: half the width of the differences
    :return: (N, d, d), the derivative of component k of phi_i with respect to component l of u_i at [i, k, l]
    """
    require(0 < delta < np.inf, "delta", "be in (0, inf)", delta)
    particles = require_array("particles", particles, (None, None))
    n, d = particles.shape
    jacobians = np.zeros((n, d, d))
    for i in range(n):
        for component in range(d):
            sides = []
            for sign in (1, -1):
                moved = particles.copy()
                moved[i, component] += sign * delta
                sides.append(svgd_direction(moved, score_function(moved), h)[i])
            jacobians[i, :, component] = (sides[0] - sides[1]) / (2 * delta)
    return jacobians


def single_particle_log_det(
    particles: np.ndarray,
    score_function: Callable[[np.ndarray], np.ndarray],
    h: float,
    step_size: float,
    delta: float = 1e-5,
) -> np.ndarray:
    """
    ``log |det(I + eps d phi_i / d u_i)|`` of the map that moves one particle while the others stay, see
    :func:`direction_jacobians`. The log-density changes by *minus* this. To first order in eps it is ``eps tr_i`` of
    :func:`log_density_change` with the Hessian term; where the map is invertible, which needs a small eps, it is exact.

    :param particles: (N, d)
    :param score_function: points (M, d) to scores (M, d)
    :param h: the squared bandwidth
    :param step_size: eps
    :param delta: half the width of the differences
    :return: (N,) the log-determinants, -inf where the map is singular
    """
    jacobians = direction_jacobians(particles, score_function, h, delta)
    return np.linalg.slogdet(np.eye(jacobians.shape[1]) + step_size * jacobians)[1]
