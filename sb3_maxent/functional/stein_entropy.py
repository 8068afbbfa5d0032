"""How one SVGD step changes the density of its particles (https://arxiv.org/abs/2405.00987), in closed form and exactly."""

import torch as th

from sb3_maxent.functional.kernels import rbf_kernel, squared_distances


def stein_direction_and_jacobian(
    particles: th.Tensor, scores: th.Tensor, h: th.Tensor, distances: th.Tensor | None = None
) -> tuple[th.Tensor, th.Tensor]:
    """
    The Stein direction of particles that are their own sources, and each particle's Jacobian, the others held fixed and
    without the Hessian of the log-density, from one matrix product with the kernel.

    With x about their mean, ``w_i = sum_{j != i} k_ij`` and ``b_j = s_j - x_j / h``:
    ``N phi_i = s_i + sum_{j != i} k_ij b_j + w_i x_i / h`` and
    ``N d phi_i / d u_i = 1/h { w_i I - sum_{j != i} k_ij (b_j + x_i / h) (x_i - x_j)^T }``.

    :param particles: (B, N, d)
    :param scores: (B, N, d)
    :param h: (B, 1, 1) squared bandwidth
    :param distances: (B, N, N) squared distances, where they are known
    :return: (B, N, d) and (B, N, d, d)
    """
    _, n_particles, dim = particles.shape
    assert scores.shape == particles.shape, (scores.shape, particles.shape)
    x = particles - particles.detach().mean(dim=1, keepdim=True)
    kernel = rbf_kernel(squared_distances(x, x) if distances is None else distances, h)
    kernel = kernel * (1 - th.eye(n_particles, dtype=x.dtype, device=x.device))  # j != i
    b = scores - x / h
    outer = (b.unsqueeze(3) * x.unsqueeze(2)).flatten(2)  # (B, N, d * d)
    sum_b, sum_x, sum_outer = (kernel @ th.cat([b, x, outer], dim=2)).split([dim, dim, dim * dim], dim=2)
    scaled = x * kernel.sum(dim=2, keepdim=True)  # w_i x_i
    direction = (scores + sum_b + scaled / h) / n_particles
    minus = sum_b.unsqueeze(3) * x.unsqueeze(2) - sum_outer.unflatten(2, (dim, dim))
    minus = minus + (x / h).unsqueeze(3) * (scaled - sum_x).unsqueeze(2)
    identity = th.eye(dim, dtype=x.dtype, device=x.device)
    weights = kernel.sum(dim=2)[..., None, None]
    return direction, (weights * identity - minus) / (n_particles * h.unsqueeze(3))


def stein_trace(particles: th.Tensor, scores: th.Tensor, h: th.Tensor, hessian_trace: th.Tensor | None = None) -> th.Tensor:
    """
    Trace of each particle's Jacobian ``d phi_i / d u_i``, the others held fixed, from Gram matrices (Theorem 3.3 of
    2405.00987):
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


def log_density_change(trace: th.Tensor, step_size: float | th.Tensor) -> th.Tensor:
    """
    First-order change of the log-density that a step brings, ``log q(u + eps phi) = log q(u) - eps tr(d phi / d u)``.

    :param trace: (B, N) see :func:`stein_trace`
    :param step_size: eps: a number, or (B, 1) for each state
    :return: (B, N)
    """
    return -step_size * trace


def exact_log_density_change(jacobian: th.Tensor, step_size: float | th.Tensor) -> th.Tensor:
    """
    Change of the log-density by the change of variables, ``-log |det(I + eps d phi / d u)|``, of the map that moves one
    particle and holds the others.

    :param jacobian: (B, N, d, d) ``d phi_i / d u_i``, see :func:`stein_direction_and_jacobian`
    :param step_size: eps: a number, or (B, 1) for each state
    :return: (B, N)
    """
    identity = th.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    step_size = step_size[..., None, None] if isinstance(step_size, th.Tensor) else step_size
    return -th.linalg.slogdet(identity + step_size * jacobian).logabsdet


def step_ratio(jacobian: th.Tensor, step_size: float) -> th.Tensor:
    """
    ``eps |d phi / d u|`` in the spectral norm, at the particles. The step is one-to-one where it is below 1 everywhere
    (Proposition 3.2 of 2405.00987); where it reaches 1 at a particle, the map may fold there, and no estimate of the density
    can be trusted. (Below 1 at the particles is necessary, not sufficient: the map may fold between them.)

    :param jacobian: (B, N, d, d) ``d phi_i / d u_i``, see :func:`stein_direction_and_jacobian`
    :param step_size: eps
    :return: (B, N), infinite for a Jacobian that is not finite
    """
    finite = jacobian.isfinite().all(dim=-1).all(dim=-1)
    norms = th.linalg.matrix_norm(jacobian.nan_to_num(0.0, 0.0, 0.0), ord=2)
    return step_size * norms.where(finite, th.inf)
