"""Stein variational gradient descent (https://arxiv.org/abs/1608.04471) on squashed actions."""

from collections.abc import Callable

import torch as th

from sb3_maxent.functional.kernels import (
    SteinBandwidthRule,
    bandwidth,
    rbf_kernel,
    rbf_repulsion,
    score_bandwidth,
    squared_distances,
)


def energy_gradient(
    q_function: Callable[[th.Tensor], th.Tensor],
    u: th.Tensor,
    ent_coef: th.Tensor | float,
    create_graph: bool = False,
) -> th.Tensor:
    """
    Gradient with respect to u of ``Q(s, tanh u) + alpha sum_i log(1 - tanh(u_i)^2)``, which is alpha times the score
    of the density over u whose actions tanh(u) follow exp(Q / alpha). Defined for alpha = 0, too.

    :param q_function: takes squashed actions (B, N, d) to Q-values (B, N), each from its own action
    :param u: (B, N, d) unbounded actions
    :param ent_coef: the temperature alpha
    :param create_graph: whether the result itself has a gradient (second order in Q)
    :return: (B, N, d); without gradient unless ``create_graph``
    """
    assert u.ndim == 3, u.shape
    with th.enable_grad():
        u = u if create_graph and u.requires_grad else u.detach().requires_grad_()
        actions = th.tanh(u)
        (gradient,) = th.autograd.grad(q_function(actions).sum(), u, create_graph=create_graph)
    # d/du log(1 - tanh(u)^2) = -2 tanh(u)
    gradient = gradient - 2 * ent_coef * actions
    return gradient if create_graph else gradient.detach()


def squashed_gradient(q_gradient: th.Tensor, actions: th.Tensor, ent_coef: th.Tensor | float) -> th.Tensor:
    """
    :func:`energy_gradient` where the gradient of Q is known: ``dQ/da (1 - a^2) - 2 alpha a`` with a = tanh u.

    :param q_gradient: (B, N, d) gradient of Q with respect to the squashed actions
    :param actions: (B, N, d) squashed actions
    :param ent_coef: the temperature alpha
    :return: (B, N, d)
    """
    assert q_gradient.shape == actions.shape, (q_gradient.shape, actions.shape)
    return q_gradient * (1 - actions**2) - 2 * ent_coef * actions


def stein_direction(
    particles: th.Tensor,
    sources: th.Tensor,
    gradients: th.Tensor,
    ent_coef: th.Tensor | float = 1.0,
    kernel_bandwidth: SteinBandwidthRule | float | th.Tensor = "median",
) -> th.Tensor:
    """
    Stein variational direction that the sources give the particles, times alpha:
    ``alpha phi(u_i) = 1/M sum_j [k_ij g_j + alpha k_ij (u_i - y_j) / h]`` with ``g = alpha * score``.
    With ``ent_coef=1`` and scores for gradients it is Equation 8 of 1608.04471; with alpha = 0 only the attraction is
    left, and the particles gather at maxima of Q.

    :param particles: (B, N, d) what is moved
    :param sources: (B, M, d) where the gradients were taken; may be the particles themselves
    :param gradients: (B, M, d) gradients at the sources, see :func:`energy_gradient`
    :param ent_coef: the temperature alpha
    :param kernel_bandwidth: see :func:`~sb3_maxent.functional.bandwidth`; ``"score"``:
        :func:`~sb3_maxent.functional.score_bandwidth`
    :return: (B, N, d)
    """
    assert sources.shape == gradients.shape, (sources.shape, gradients.shape)
    distances = squared_distances(particles, sources)
    paired = particles is sources
    if isinstance(kernel_bandwidth, str) and kernel_bandwidth == "score":
        h = score_bandwidth(distances, gradients, ent_coef, paired)
    else:
        h = bandwidth(distances, kernel_bandwidth, paired)
    kernel = rbf_kernel(distances, h)
    repulsion = rbf_repulsion(kernel, particles, sources, h)
    return (kernel @ gradients + ent_coef * repulsion) / sources.shape[1]


def svgd_step(
    particles: th.Tensor, scores: th.Tensor, step_size: float, kernel_bandwidth: SteinBandwidthRule | float = "median"
) -> th.Tensor:
    """
    One step, ``u_i <- u_i + eps phi(u_i)``.

    :param particles: (B, N, d)
    :param scores: (B, N, d) gradients of the log-density at the particles
    :param step_size: eps
    :param kernel_bandwidth: see :func:`stein_direction`
    :return: (B, N, d)
    """
    return particles + step_size * stein_direction(particles, particles, scores, kernel_bandwidth=kernel_bandwidth)
