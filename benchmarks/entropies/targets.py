"""Densities whose entropies are known: Gaussians and mixtures of them, normalised."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch as th


def log_det_2pi(covariance: th.Tensor) -> float:
    """``log det(2 pi Sigma)``; the entropy of the Gaussian is half of it, and d/2."""
    return float(th.linalg.slogdet(2 * math.pi * covariance).logabsdet)


def gaussian_entropy(covariance: th.Tensor) -> float:
    """``H = 0.5 log det(2 pi e Sigma)``, in nats."""
    return 0.5 * (log_det_2pi(covariance) + len(covariance))


def isotropic_log_density(x: th.Tensor, mean: float = 0.0, variance: float = 1.0) -> th.Tensor:
    """Log-density of N(mean, variance I) at x (..., d)."""
    return -0.5 * ((x - mean).square().sum(dim=-1) / variance + x.shape[-1] * math.log(2 * math.pi * variance))


@dataclass(frozen=True)
class Mixture:
    """Gaussians of one covariance (d, d) at the means (K, d), with weights (K,)."""

    name: str
    weights: th.Tensor
    means: th.Tensor
    covariance: th.Tensor

    @cached_property
    def precision(self) -> th.Tensor:
        return th.linalg.inv(self.covariance)

    @cached_property
    def half_log_det(self) -> float:
        return 0.5 * log_det_2pi(self.covariance)

    def logits(self, x: th.Tensor) -> th.Tensor:
        """Logarithms of the components' densities (..., K), up to what they share."""
        scaled = self.means @ self.precision
        return self.weights.log() - 0.5 * (scaled * self.means).sum(dim=1) + x @ scaled.T

    def log_density(self, x: th.Tensor) -> th.Tensor:
        """Normalised, (..., d) to (...)."""
        shared = -0.5 * ((x @ self.precision) * x).sum(dim=-1) - self.half_log_det
        return self.logits(x).logsumexp(dim=-1) + shared

    def score(self, x: th.Tensor) -> th.Tensor:
        """``Sigma^-1 (sum_k r_k mu_k - x)`` with r the components' posterior, (..., d)."""
        return (self.logits(x).softmax(dim=-1) @ self.means - x) @ self.precision

    def hessian(self, x: th.Tensor) -> th.Tensor:
        """Of the log-density: ``Sigma^-1 Cov_r(mu) Sigma^-1 - Sigma^-1``, (..., d, d)."""
        posterior = self.logits(x).softmax(dim=-1)
        scaled = self.means @ self.precision
        mean = posterior @ scaled
        return (posterior.unsqueeze(-2) * scaled.T) @ scaled - mean.unsqueeze(-1) * mean.unsqueeze(-2) - self.precision

    def sample(self, n: int, generator: th.Generator) -> th.Tensor:
        """Exact samples (n, d)."""
        components = th.multinomial(self.weights, n, replacement=True, generator=generator)
        return self.means[components] + normal(n, self.means.shape[1], generator=generator) @ self.factor.T

    @cached_property
    def factor(self) -> th.Tensor:
        return th.linalg.cholesky(self.covariance)

    def entropy(self, n: int, generator: th.Generator) -> tuple[float, float]:
        """Exact for one component, else by n samples and their exact log-density; with its standard error."""
        if len(self.weights) == 1:
            return gaussian_entropy(self.covariance), 0.0
        values = -self.log_density(self.sample(n, generator))
        return float(values.mean()), float(values.std()) / math.sqrt(n)


def normal(*shape: int, generator: th.Generator) -> th.Tensor:
    """Standard normal numbers, in double precision."""
    return th.randn(*shape, generator=generator, dtype=th.float64)


def poster_gaussian() -> Mixture:
    """The Gaussian of the poster of 2405.00987, of entropy 3.4112."""
    mean = th.tensor([[-0.6871, 0.8010]], dtype=th.float64)
    covariance = 5 * th.tensor([[0.2260, 0.1652], [0.1652, 0.6779]], dtype=th.float64)
    return Mixture("Gaussian", th.ones(1, dtype=th.float64), mean, covariance)


def circle_mixture(dim: int, n_components: int = 4, seed: int = 0) -> Mixture:
    """
    Unit Gaussians with equal weights, as in the paper: on a circle of radius 4 in the first two dimensions, uniform in
    [-4, 4] in the others.
    """
    generator = th.Generator().manual_seed(seed)
    angles = 2 * math.pi * th.arange(n_components, dtype=th.float64) / n_components
    others = 8 * th.rand(n_components, dim - 2, generator=generator, dtype=th.float64) - 4
    means = th.cat([4 * angles.sin().unsqueeze(1), 4 * angles.cos().unsqueeze(1), others], dim=1)
    weights = th.full((n_components,), 1 / n_components, dtype=th.float64)
    return Mixture(f"mixture of {n_components}", weights, means, th.eye(dim, dtype=th.float64))
