"""How one SVGD step changes the density of its particles (https://arxiv.org/abs/2405.00987), in closed form and exactly."""

import torch as th

from sb3_maxent.functional.kernels import rbf_kernel, squared_distances


def stein_jacobian(particles: th.Tensor, scores: th.Tensor, h: th.Tensor, hessians: th.Tensor | None = None) -> th.Tensor:
    """
    Jacobian of each particle's own Stein direction, the others held fixed:
    ``d phi_i / d u_i = 1/N { sum_{j != i} k_ij/h [I - s_j (u_i - u_j)^T - (u_i - u_j)(u_i - u_j)^T / h] + Hessian_i }``.

    :param particles: (B, N, d)
    :param scores: (B, N, d)
    :param h: (B, 1, 1) squared bandwidth
    :param hessians: (B, N, d, d) of the log-density at the particles; zero if ``None`` (piecewise linear Q)
    :return: (B, N, d, d)
    """
    n_states, n_particles, dim = particles.shape
    assert scores.shape == particles.shape, (scores.shape, particles.shape)
    centered = particles - particles.mean(dim=1, keepdim=True)
    kernel = rbf_kernel(squared_distances(centered, centered), h)
    kernel = kernel - th.diag_embed(kernel.diagonal(dim1=1, dim2=2))  # j != i

    def outer(x: th.Tensor, y: th.Tensor) -> th.Tensor:
        return x.unsqueeze(3) * y.unsqueeze(2)  # (B, N, d, d)

    def sum_over_sources(x: th.Tensor) -> th.Tensor:
        return (kernel @ x.flatten(2)).view(n_states, n_particles, *x.shape[2:])

    weights = kernel.sum(dim=2)[..., None, None]
    mean = sum_over_sources(centered)
    attraction = outer(sum_over_sources(scores), centered) - sum_over_sources(outer(scores, centered))
    spread = weights * outer(centered, centered) - outer(centered, mean) - outer(mean, centered)
    spread = spread + sum_over_sources(outer(centered, centered))
    h = h.unsqueeze(3)
    identity = th.eye(dim, dtype=particles.dtype, device=particles.device)
    jacobian = (weights * identity - attraction - spread / h) / h
    return (jacobian if hessians is None else jacobian + hessians) / n_particles


def stein_trace(particles: th.Tensor, scores: th.Tensor, h: th.Tensor, hessian_trace: th.Tensor | None = None) -> th.Tensor:
    """
    Trace of :func:`stein_jacobian` from Gram matrices, without any Jacobian (Theorem 3.3 of 2405.00987):
    ``1/N' sum_{j != i} k_ij/h [d - (u_i - u_j) . s_j - |u_i - u_j|^2 / h]  (+ 1/N tr Hessian_i)``.

    Without the Hessian N' = N - 1, as in the authors' code, although the update itself divides by N.

    :param particles: (B, N, d)
    :param scores: (B, N, d)
    :param h: (B, 1, 1) squared bandwidth
    :param hessian_trace: (B, N) trace of the Hessian of the log-density at the particles; left out if ``None``
    :return: (B, N)
    """
    _, n_particles, dim = particles.shape
    assert scores.shape == particles.shape, (scores.shape, particles.shape)
    centered = particles - particles.mean(dim=1, keepdim=True)
    distances = squared_distances(centered, centered)
    # (u_i - u_j) . s_j, of which no (B, N, N, d) tensor is needed
    products = centered @ scores.transpose(1, 2) - (centered * scores).sum(dim=2).unsqueeze(1)
    terms = rbf_kernel(distances, h) / h * (dim - products - distances / h)
    total = terms.sum(dim=2) - terms.diagonal(dim1=1, dim2=2)
    if hessian_trace is None:
        return total / max(n_particles - 1, 1)
    return (total + hessian_trace) / n_particles


def log_density_change(trace: th.Tensor, step_size: float) -> th.Tensor:
    """
    First-order change of the log-density that a step brings, ``log q(u + eps phi) = log q(u) - eps tr(d phi / d u)``.

    :param trace: (B, N) see :func:`stein_trace`
    :param step_size: eps
    :return: (B, N)
    """
    return -step_size * trace


def exact_log_density_change(jacobian: th.Tensor, step_size: float) -> th.Tensor:
    """
    Change of the log-density by the change of variables, ``-log |det(I + eps d phi / d u)|``, of the map that moves one
    particle and holds the others.

    :param jacobian: (B, N, d, d) see :func:`stein_jacobian`
    :param step_size: eps
    :return: (B, N)
    """
    identity = th.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    return -th.linalg.slogdet(identity + step_size * jacobian).logabsdet


def step_ratio(jacobian: th.Tensor, step_size: float) -> th.Tensor:
    """
    ``eps |d phi / d u|`` in the spectral norm, at the particles. The step is one-to-one where it is below 1 everywhere
    (Proposition 3.2 of 2405.00987); where it reaches 1 at a particle, the map may fold there, and no estimate of the density
    can be trusted. (Below 1 at the particles is necessary, not sufficient: the map may fold between them.)

    :param jacobian: (B, N, d, d) see :func:`stein_jacobian`
    :param step_size: eps
    :return: (B, N), infinite for a Jacobian that is not finite
    """
    finite = jacobian.isfinite().all(dim=-1).all(dim=-1)
    norms = th.linalg.matrix_norm(jacobian.nan_to_num(0.0, 0.0, 0.0), ord=2)
    return step_size * norms.where(finite, th.inf)
