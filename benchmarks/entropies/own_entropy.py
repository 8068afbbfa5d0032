"""The entropy that particles really have, from those of all repetitions."""

import math

import torch as th

from entropies.targets import gaussian_entropy

# Nearest neighbours among 20000 exact samples are right to a few hundredths so far, and 1 too high in 20 (see "exact")
NEIGHBOUR_DIMENSIONS = 10
NEIGHBOURS = 3


def mean_and_error(values: th.Tensor) -> tuple[float, float]:
    """Mean over repetitions (R,), and its standard error."""
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def factor_within(points: th.Tensor, labels: th.Tensor) -> th.Tensor:
    """Cholesky factor (d, d) of the covariance of points (n, d) about the means of those with the same label (n,)."""
    groups = th.nn.functional.one_hot(labels).to(points.dtype)
    means = (groups.T @ points) / groups.sum(dim=0).clamp(min=1).unsqueeze(1)
    return th.linalg.cholesky((points - means[labels]).T.cov().view(points.shape[1], -1))


def nearest_neighbour_entropy(
    particles: th.Tensor, n_queries: int, labels: th.Tensor | None = None, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """
    Kozachenko and Leonenko's estimate of the entropy of one particle, from the distance r to its kth neighbour among the M
    particles of all *other* repetitions, which are independent of it:
    ``H = psi(M + 1) - psi(k) + log(volume of the unit ball) + d E[log r]``, after a linear map that gives the particles of
    one component the covariance I, whose log-determinant is added.

    Right to 0.01 in few dimensions; too high in many, where the density is not even within r (see "exact").

    :param particles: (R, N, d) from R independent repetitions
    :param n_queries: number of particles, about, whose neighbours are looked for
    :param labels: (R, N) their components, of which they all have one if ``None``
    :return: entropy of their marginal, and its standard error over the repetitions
    """
    repetitions, n, dim = particles.shape
    particles = particles - particles.mean(dim=(0, 1))
    labels = th.zeros(repetitions, n, dtype=th.long) if labels is None else labels
    factor = factor_within(particles.reshape(-1, dim), labels.flatten())
    particles = th.linalg.solve_triangular(factor, particles.transpose(1, 2), upper=False).transpose(1, 2)
    points = particles.reshape(-1, dim)
    n_references = (repetitions - 1) * n
    per_repetition = -(-n_queries // repetitions)
    mode = "donot_use_mm_for_euclid_dist" if dim <= NEIGHBOUR_DIMENSIONS else "use_mm_for_euclid_dist"
    logs = []
    for group in range(0, repetitions, 50):
        queries = particles[group : group + 50, :per_repetition]
        distances = th.cdist(queries.reshape(-1, dim), points, compute_mode=mode).view(*queries.shape[:2], repetitions, n)
        for i in range(len(queries)):
            distances[i, :, group + i] = math.inf
        logs.append(distances.flatten(2).topk(k, largest=False).values[..., -1].log().mean(dim=1))
    log_ball = 0.5 * dim * math.log(math.pi) - math.lgamma(dim / 2 + 1)
    counts = th.tensor([n_references + 1, k], dtype=th.float64)
    mean, error = mean_and_error(th.cat(logs))
    whitening = float(factor.diagonal().log().sum())
    return float(-th.digamma(counts).diff()) + log_ball + dim * mean + whitening, dim * error


def fitted_entropy(particles: th.Tensor) -> tuple[float, float]:
    """
    Entropy of a Gaussian with the covariance of all particles (R, N, d): no density with this covariance has more. Its
    standard error over the repetitions by the first-order change ``0.5 tr(Sigma^-1 dSigma)``.
    """
    points = particles.reshape(-1, particles.shape[2])
    covariance = points.T.cov()
    centered = particles - points.mean(dim=0)
    lengths = (th.linalg.solve(covariance, centered.transpose(1, 2)).transpose(1, 2) * centered).sum(dim=2)
    return gaussian_entropy(covariance), mean_and_error(0.5 * lengths.mean(dim=1))[1]


def fitted_entropies(particles: th.Tensor) -> tuple[float, float]:
    """Mean of the entropies of one Gaussian for each repetition (R, N, d), of few particles, hence too low."""
    centered = particles - particles.mean(dim=1, keepdim=True)
    covariances = centered.transpose(1, 2) @ centered / (particles.shape[1] - 1)
    return mean_and_error(0.5 * (th.linalg.slogdet(2 * math.pi * covariances).logabsdet + particles.shape[2]))
