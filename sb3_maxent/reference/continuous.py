"""
One-step problems with continuous actions a in [-1, 1]^d, by quadrature; Gaussian mixtures and their scores.

Densities are with respect to the Lebesgue measure on [-1, 1]^d, so the uniform one is 2^-d and its entropy d log 2.
``q_function`` and ``log_density`` take actions (M, d) and give (M,). Bad arguments raise a ``ValueError`` that names the
argument.
"""

from collections.abc import Callable

import numpy as np

from sb3_maxent.reference.checks import require, require_array

ActionFunction = Callable[[np.ndarray], np.ndarray]

# Refuse larger grids: their nodes alone would take more than a quarter of a GB in 3 dimensions
MAX_NODES = 10_000_000
# Largest deviation of the integral of a log_density from 1
MASS_TOLERANCE = 1e-3


def _tensor_grid(nodes: np.ndarray, weights: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """The d-fold product of a one-dimensional rule with n nodes: nodes (n^d, d), weights (n^d,), last dimension fastest."""
    require(d >= 1, "d", "be at least 1", d)
    require(len(nodes) ** d <= MAX_NODES, "d", f"give at most {MAX_NODES} nodes with {len(nodes)} per dimension", d)
    axes = np.meshgrid(*[nodes] * d, indexing="ij")
    product = np.meshgrid(*[weights] * d, indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=1), np.prod([axis.ravel() for axis in product], axis=0)


def _evaluate(name: str, function: ActionFunction, actions: np.ndarray) -> np.ndarray:
    values = np.asarray(function(actions), dtype=np.float64)
    require(values.shape == (len(actions),), name, f"give values of shape {(len(actions),)}", values.shape)
    require(not np.isnan(values).any() and values.max() < np.inf, name, "give finite values (or -inf)", values.max())
    return values


def grid(d: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Gauss-Legendre quadrature on [-1, 1]^d: ``integral f(a) da ~ sum_m weights_m f(nodes_m)``.

    Exact for polynomials of degree up to ``2 n - 1`` in each coordinate; for smooth functions the error falls faster than
    any power of n as soon as the nodes, which are about ``pi / n`` apart in the middle, resolve them. For functions with
    kinks (ReLU networks) the error falls as ``n^-2``.

    :param d: number of dimensions
    :param n: nodes per dimension
    :return: nodes (n^d, d), the last coordinate changes fastest; positive weights (n^d,), which sum to 2^d
    """
    require(n >= 1, "n", "be at least 1", n)
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return _tensor_grid(nodes, weights, d)


def _quadrature(q_function: ActionFunction, alpha: float, d: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Nodes (M, d), weights (M,), Q at the nodes (M,) and the soft value."""
    require(0 < alpha < np.inf, "alpha", "be in (0, inf)", alpha)
    nodes, weights = grid(d, n)
    q = _evaluate("q_function", q_function, nodes)
    highest = q.max()
    require(np.isfinite(highest), "q_function", "be finite somewhere", highest)
    return nodes, weights, q, float(highest + alpha * np.log(weights @ np.exp((q - highest) / alpha)))


def soft_value_by_quadrature(q_function: ActionFunction, alpha: float, d: int, n: int = 100) -> float:
    """
    Soft value ``V = alpha log integral exp(Q(a) / alpha) da`` over [-1, 1]^d (Theorem 1 of https://arxiv.org/abs/1702.08165).

    The largest Q is taken out of the exponential, so nothing overflows. See :func:`grid` for the error.

    :param q_function: actions (M, d) to values (M,), in units of return
    :param alpha: the temperature, in (0, inf)
    :param d: number of action dimensions
    :param n: nodes per dimension
    :return: the soft value
    """
    return _quadrature(q_function, alpha, d, n)[3]


def optimal_log_density(q_function: ActionFunction, alpha: float, d: int, n: int = 100) -> ActionFunction:
    """
    The optimal policy's log-density, ``log pi*(a) = (Q(a) - V) / alpha``, as a function.

    :param q_function: see :func:`soft_value_by_quadrature`, also for the other parameters
    :return: function from actions (M, d), which must lie in [-1, 1]^d, to log-densities (M,)
    """
    value = soft_value_by_quadrature(q_function, alpha, d, n)
    return lambda actions: (np.asarray(q_function(actions), dtype=np.float64) - value) / alpha


def optimal_density(q_function: ActionFunction, alpha: float, d: int, n: int = 100) -> np.ndarray:
    """
    The optimal policy's density ``pi*(a) = exp((Q(a) - V) / alpha)`` at the nodes of ``grid(d, n)``.

    :param q_function: see :func:`soft_value_by_quadrature`, also for the other parameters
    :return: (n^d,) densities, which the weights of the grid integrate to 1
    """
    _, _, q, value = _quadrature(q_function, alpha, d, n)
    return np.exp((q - value) / alpha)


def optimal_entropy(q_function: ActionFunction, alpha: float, d: int, n: int = 100) -> float:
    """
    Differential entropy of the optimal policy in nats, ``H = (V - E_pi*[Q]) / alpha``.

    :param q_function: see :func:`soft_value_by_quadrature`, also for the other parameters
    :return: the entropy, at most d log 2
    """
    _, weights, q, value = _quadrature(q_function, alpha, d, n)
    logs = (q - value) / alpha
    return float(-(weights * np.exp(logs)) @ np.where(logs > -np.inf, logs, 0.0))


def optimal_moments(q_function: ActionFunction, alpha: float, d: int, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """
    Mean and covariance of the optimal policy.

    :param q_function: see :func:`soft_value_by_quadrature`, also for the other parameters
    :return: mean (d,), covariance (d, d)
    """
    nodes, weights, q, value = _quadrature(q_function, alpha, d, n)
    masses = weights * np.exp((q - value) / alpha)
    mean = masses @ nodes
    return mean, (nodes - mean).T @ (masses[:, None] * (nodes - mean))


def histogram_kl(actions: np.ndarray, log_density: ActionFunction, bins: int = 20, nodes_per_bin: int = 8) -> float:
    """
    KL divergence of the histogram of some actions from the exact probabilities of its cells::

        KL = sum_c p_c log(p_c / P_c),   p_c = (actions in cell c) / n,   P_c = integral over cell c of exp(log_density)

    with ``bins^d`` equal cells of [-1, 1]^d and Gauss-Legendre quadrature inside each cell.

    What the number means. (1) Sampling bias: if the n actions do come from the density, the result is not 0 but on average
    about ``(K - 1) / (2 n)`` with K cells: ``2 n KL`` tends to a chi-squared variable with K - 1 degrees of freedom. Where
    most cells are empty, count the occupied ones instead of K, and take more actions or fewer bins: the expansion is poor
    there. The bias is *not* subtracted here; a caller that compares methods should use the same n and bins for all.
    (2) Discretization: cells can't resolve what happens inside them, so for n to infinity the result is at most the KL
    divergence between the densities (data-processing inequality). (3) It is infinite if an action lies in a cell whose exact
    probability is 0.

    :param actions: (n, d) in [-1, 1]^d
    :param log_density: actions (M, d) to log-densities (M,); must be normalized on [-1, 1]^d
    :param bins: cells per dimension
    :param nodes_per_bin: quadrature nodes per cell and dimension
    :return: the divergence in nats, in [0, inf]
    :raises ValueError: also if the quadrature's integral of the density differs from 1 by more than 0.001: the density is not
        normalized, leaves the box, or is too narrow for the nodes
    """
    actions = require_array("actions", actions, (None, None))
    require((np.abs(actions) <= 1).all(), "actions", "lie in [-1, 1]", actions.flat[np.abs(actions).argmax()])
    require(bins >= 1, "bins", "be at least 1", bins)
    require(nodes_per_bin >= 1, "nodes_per_bin", "be at least 1", nodes_per_bin)
    n, d = actions.shape
    local_nodes, local_weights = np.polynomial.legendre.leggauss(nodes_per_bin)
    centres = -1 + (2 * np.arange(bins) + 1) / bins
    nodes, weights = _tensor_grid((centres[:, None] + local_nodes / bins).ravel(), np.tile(local_weights / bins, bins), d)
    masses = weights * np.exp(_evaluate("log_density", log_density, nodes))
    exact = masses.reshape((bins, nodes_per_bin) * d).sum(axis=tuple(range(1, 2 * d, 2))).ravel()
    require(abs(exact.sum() - 1) <= MASS_TOLERANCE, "log_density", f"integrate to 1 +- {MASS_TOLERANCE:g}", exact.sum())
    empirical = np.histogramdd(actions, bins=bins, range=[(-1, 1)] * d)[0].ravel() / n
    occupied = empirical > 0
    with np.errstate(divide="ignore"):
        return float((empirical[occupied] * np.log(empirical[occupied] / exact[occupied])).sum())


def histogram_entropy(actions: np.ndarray, bins: int = 20) -> float:
    """
    Differential entropy of the histogram of some actions, ``d log 2 - KL(histogram || uniform)``. It is above that of
    the actions' density by what the cells can't resolve, and below it by the sampling bias of :func:`histogram_kl`.

    :param actions: (n, d) in [-1, 1]^d
    :param bins: cells per dimension
    :return: the entropy in nats, at most d log 2
    """
    uniform = np.shape(actions)[-1] * np.log(2)
    return uniform - histogram_kl(actions, lambda nodes: np.full(len(nodes), -uniform), bins)


def _mixture_terms(
    x: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``log(w_k N(x; mu_k, Sigma_k))`` (n, K) and the scores of the components ``-Sigma_k^-1 (x - mu_k)`` (n, K, d)."""
    x = require_array("x", x, (None, None))
    means = require_array("means", means, (None, x.shape[1]))
    n_components, d = means.shape
    weights = require_array("weights", weights, (n_components,))
    require((weights >= 0).all() and abs(weights.sum() - 1) <= 1e-8, "weights", "be non-negative and sum to 1", weights)
    covariances = require_array("covariances", covariances, (n_components, d, d))
    logs, scores = np.empty((len(x), n_components)), np.empty((len(x), n_components, d))
    for k in range(n_components):
        _check_covariance("covariances", covariances[k])
        differences = x - means[k]
        scores[:, k] = -np.linalg.solve(covariances[k], differences.T).T
        log_determinant = np.linalg.slogdet(2 * np.pi * covariances[k])[1]
        with np.errstate(divide="ignore"):
            logs[:, k] = np.log(weights[k]) + 0.5 * (differences * scores[:, k]).sum(axis=1) - 0.5 * log_determinant
    return logs, scores


def _check_covariance(name: str, covariance: np.ndarray) -> None:
    symmetric = np.allclose(covariance, covariance.T)
    require(symmetric and np.linalg.eigvalsh(covariance).min() > 0, name, "be symmetric and positive definite", covariance)


def gaussian_mixture_log_density(x: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """
    ``log p(x) = log sum_k w_k N(x; mu_k, Sigma_k)`` on R^d.

    :param x: (n, d) points
    :param weights: (K,) non-negative, sum to 1
    :param means: (K, d)
    :param covariances: (K, d, d) symmetric and positive definite
    :return: (n,) log-densities
    """
    logs, _ = _mixture_terms(x, weights, means, covariances)
    highest = logs.max(axis=1)
    return highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1))


def gaussian_mixture_score(x: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """
    Score of a Gaussian mixture::

        grad log p(x) = -sum_k r_k(x) Sigma_k^-1 (x - mu_k),   r_k(x) = w_k N(x; mu_k, Sigma_k) / p(x)

    :param x: (n, d) points
    :param weights: (K,) non-negative, sum to 1
    :param means: (K, d)
    :param covariances: (K, d, d) symmetric and positive definite
    :return: (n, d) the score
    """
    logs, scores = _mixture_terms(x, weights, means, covariances)
    responsibilities = np.exp(logs - logs.max(axis=1, keepdims=True))
    responsibilities /= responsibilities.sum(axis=1, keepdims=True)
    return np.einsum("nk,nkd->nd", responsibilities, scores)


def gaussian_entropy(covariance: np.ndarray) -> float:
    """
    Differential entropy of a Gaussian in nats, ``H = 0.5 log det(2 pi e Sigma)``.

    :param covariance: (d, d) symmetric and positive definite
    :return: the entropy
    """
    covariance = require_array("covariance", covariance, (None, len(np.atleast_1d(covariance))))
    _check_covariance("covariance", covariance)
    return float(0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1])
