"""The policy of S2AC: particles that Stein variational gradient descent moves, and the density that they have."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch as th

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.functional import (
    bandwidth,
    energy_gradient,
    exact_log_density_change,
    log_density_change,
    log_det_tanh,
    pair_correlation_trace,
    rbf_kernel,
    secant_log_density_change,
    secant_trace,
    squared_distances,
    squashed_gradient,
    stein_direction_and_jacobian,
    truncated_normal_icdf,
    truncated_normal_log_prob,
)
from sb3_maxent.functional.kernels import BandwidthRule

EntropyEstimator = Literal["secant", "closed_form", "hutchinson", "exact"]
OutOfBounds = Literal["hold", "clip", "free"]
# The scores are those of exp(Q / alpha): without a temperature they would be infinite
MIN_ENT_COEF = 1e-6
SMALLEST = float(th.finfo(th.float32).tiny)


class Target(NamedTuple):
    """
    The density exp(Q / alpha) that the particles shall follow, over unbounded actions u with a = tanh(u).

    :param q_values: takes actions (B, N, d) in [-1, 1] to Q-values (B, N), each from its own action
    :param q_gradient: takes actions to the gradients (B, N, d) of these Q-values, without a graph
    :param ent_coef: the temperature alpha
    """

    q_values: Callable[[th.Tensor], th.Tensor]
    q_gradient: Callable[[th.Tensor], th.Tensor]
    ent_coef: th.Tensor

    def scores(self, u: th.Tensor, create_graph: bool = False) -> th.Tensor:
        """
        Gradient of the log-density, with 1 / alpha, at the squashed action, and with the Jacobian of tanh.

        :param u: (B, N, d) unbounded actions
        :param create_graph: whether the result has a gradient, by autograd through the critics
        :return: (B, N, d)
        """
        ent_coef = self.ent_coef.clamp(min=MIN_ENT_COEF)
        if create_graph:
            return energy_gradient(self.q_values, u, ent_coef, create_graph=True) / ent_coef
        actions = th.tanh(u.detach())
        return squashed_gradient(self.q_gradient(actions), actions, ent_coef) / ent_coef


class Particles(NamedTuple):
    """
    What the sampler returns; B states, N particles, d action dimensions.

    :param u: (B, N, d) unbounded actions
    :param log_prob: (B, N) log-densities of the actions tanh(u); empty where they were not asked for
    :param start_log_prob: (B, N) log-densities of where the particles started, with a gradient only through the density
        (not the particles); empty where they were not asked for
    :param diagnostics: scalars without gradient, empty where densities were not asked for or there were no steps:
        ``step_ratio``, the largest ``eps |grad phi|`` (Frobenius norm, which is not below the spectral one; without the
        Hessian of Q); ``step_size`` and ``bandwidth`` (squared), means; ``neighbours``, sum of a particle's kernels with
        the others, mean; ``spread``, standard deviation of a state's particles in u, mean over states and dimensions;
        ``truncated``, share of the moves that led out of the bounds
    """

    u: th.Tensor
    log_prob: th.Tensor
    start_log_prob: th.Tensor
    diagnostics: dict[str, th.Tensor]


class Path(NamedTuple):
    """
    How particles have moved; B states, N particles, d action dimensions.

    :param noise: (B, N, d) that they started from
    :param x: (B, N, d) where they are, in the sampler's coordinates: those of the start with ``precondition``, else u
    :param log_density_change: (B, N) what the steps have added to the log-density; empty where densities were not asked for
    :param diagnostics: those of :class:`Particles` but ``spread``
    """

    noise: th.Tensor
    x: th.Tensor
    log_density_change: th.Tensor
    diagnostics: dict[str, th.Tensor]


class Before(NamedTuple):
    """What a step starts from; ``start`` is the noise divided by the scale that it was multiplied by."""

    x: th.Tensor  # (B, N, d)
    scores: th.Tensor  # (B, N, d)
    start: th.Tensor  # (B, N, d)
    distances: th.Tensor  # (B, N, N) squared
    kernel: th.Tensor  # (B, N, N)
    h: th.Tensor  # (B, 1, 1) squared bandwidth
    jacobian: th.Tensor  # (B, N, d, d) of each particle's direction, without the Hessian of the log-density


class Step(NamedTuple):
    """What is remembered of a step."""

    ratio: th.Tensor  # (B, N)
    size: th.Tensor  # (B, 1)
    h: th.Tensor  # (B, 1, 1) squared bandwidth
    neighbours: th.Tensor  # (B, N)
    inside: th.Tensor  # (B, N)


@dataclass(frozen=True)
class SteinSampler:
    """
    SVGD from a truncated Gaussian, ``n_svgd_steps`` times ``x <- x + eps phi(x)``, with the density by the change of
    variables (https://arxiv.org/abs/2405.00987, Section 3). All parameters are those of :class:`~sb3_maxent.S2AC`.

    With ``precondition`` the particles move in the units of their start, ``x = (u - mean) / std``, otherwise in u.

    :raises ValueError: for parameters out of their range
    """

    n_particles: int = 10
    n_svgd_steps: int = 3
    svgd_step_size: float = 0.5
    max_step_ratio: float | None = 0.5
    kernel_bandwidth: BandwidthRule | float = "median"
    precondition: bool = True
    truncation: float | None = 3.0
    out_of_bounds: OutOfBounds = "hold"
    entropy_estimator: EntropyEstimator = "secant"
    second_order: bool = False

    def __post_init__(self) -> None:
        # The density of a particle comes from its neighbours
        check_number("n_particles", self.n_particles, 2, integer=True)
        check_number("n_svgd_steps", self.n_svgd_steps, 0, integer=True)
        check_number("svgd_step_size", self.svgd_step_size, 1e-6, 1e3)
        if self.max_step_ratio is not None:
            # From 1 on a step may fold, and what folds has no density
            check_number("max_step_ratio", self.max_step_ratio, SMALLEST, 1 - 1e-6)
        if isinstance(self.kernel_bandwidth, str):
            check_choice("kernel_bandwidth", self.kernel_bandwidth, get_args(BandwidthRule))
        else:
            # A narrower kernel sees no neighbour, from which the density comes, and a wider one is constant
            check_number("kernel_bandwidth", self.kernel_bandwidth, 1e-4, 1e4)
        check_choice("precondition", self.precondition, (False, True))
        if self.truncation is not None:
            check_number("truncation", self.truncation, 0.1, 8)
        check_choice("out_of_bounds", self.out_of_bounds, get_args(OutOfBounds))
        if self.truncation is None and self.out_of_bounds == "clip":
            raise ValueError("`out_of_bounds` must be 'hold' or 'free', not 'clip', for `truncation=None`, without bounds")
        check_choice("entropy_estimator", self.entropy_estimator, get_args(EntropyEstimator))
        check_choice("second_order", self.second_order, (False, True))

    @property
    def bound(self) -> float:
        """Where the start is truncated, in standard deviations."""
        return math.inf if self.truncation is None else self.truncation

    def start_noise(self, uniforms: th.Tensor) -> th.Tensor:
        """
        :param uniforms: (B, N, d) in (0, 1)
        :return: (B, N, d) noise of the truncated standard normal distribution
        """
        return truncated_normal_icdf(uniforms, self.bound)

    @property
    def keeps_path(self) -> bool:
        """
        Whether the particles' path does not depend on what they started from, so that one path serves any number of
        gradients: in the units of the start, with scores that are constants.
        """
        return self.precondition and not self.second_order

    def sample(
        self,
        mean: th.Tensor,
        log_std: th.Tensor,
        noise: th.Tensor,
        target: Target,
        with_density: bool = True,
        min_reach: float = 0.0,
    ) -> Particles:
        """
        Draw actions. The result has a gradient with respect to mean and log_std if gradients are enabled: through the
        scores only with ``second_order``.

        :param mean: (B, d) of the start, or (1, d)
        :param log_std: the same shape, logarithm of its standard deviation
        :param noise: (B, N, d) of :meth:`start_noise`
        :param target: what the particles shall follow
        :param with_density: whether to compute log_prob
        :param min_reach: how far from the mean particles may move in any case, in u
        :return: the particles after all steps
        """
        return self.along(self.path(mean, log_std, noise, target, with_density, min_reach), mean, log_std)

    def path(
        self,
        mean: th.Tensor,
        log_std: th.Tensor,
        noise: th.Tensor,
        target: Target,
        with_density: bool = True,
        min_reach: float = 0.0,
    ) -> Path:
        """
        Move the particles; see :meth:`sample` for the parameters.

        :return: where they come to, to be given to :meth:`along`
        """
        mean, log_std = mean.unsqueeze(1), log_std.unsqueeze(1)
        std = log_std.exp()
        # Particles x stand for unbounded actions u = location + scale * x
        radius = (self.bound * std).clamp(min=min_reach).detach()
        if self.precondition:
            location, scale, x = mean, std, noise
            low, high = -radius / std.detach(), radius / std.detach()
        else:
            location, scale, x = th.zeros_like(mean), th.ones_like(mean), mean + std * noise
            low, high = mean.detach() - radius, mean.detach() + radius
        differentiate = self.second_order and th.is_grad_enabled()

        def scores_at(x: th.Tensor, create_graph: bool = differentiate) -> th.Tensor:
            """Scores with respect to x, constants unless ``create_graph``."""
            scores = scale * target.scores(location + scale * x, create_graph)
            return scores if create_graph else scores.detach()

        log_density_change = noise.new_zeros(noise.shape[:2])
        start = noise if self.precondition else noise / std
        steps: list[Step] = []
        for _ in range(self.n_svgd_steps):
            scores = scores_at(x)
            distances = squared_distances(x, x)
            h = bandwidth(distances, self.kernel_bandwidth, paired=True)
            direction, jacobian = stein_direction_and_jacobian(x, scores, h, distances)
            norms = jacobian.detach().flatten(2).norm(dim=2)  # (B, N)
            size = self._step_size(norms)  # (B, 1)
            moved = x + size.unsqueeze(2) * direction
            inside = ((moved >= low) & (moved <= high)).all(dim=2)
            if with_density:
                kernel = rbf_kernel(distances, h)
                state = Before(x, scores, start, distances, kernel, h, jacobian)
                change = self._log_density_change(state, scores_at, size, steps)
                log_density_change = log_density_change + (change * inside if self.out_of_bounds == "hold" else change)
                steps.append(Step(size * norms, size, h, kernel.sum(dim=2) - 1, inside))
            if self.out_of_bounds == "hold":
                x = th.where(inside.unsqueeze(2), moved, x)
            else:
                x = moved.clamp(low, high) if self.out_of_bounds == "clip" else moved
        return Path(noise, x, log_density_change if with_density else x.new_empty(0), self._diagnostics(steps))

    def along(self, path: Path, mean: th.Tensor, log_std: th.Tensor) -> Particles:
        """
        The particles that go along a path from a start. (With :attr:`keeps_path` the gradient is that of
        ``u = mean + std * path`` with a constant path, and may be taken from any start of the same value.)

        :param path: of :meth:`path`, from a start of the same value
        :param mean: (B, d) of the start, or (1, d)
        :param log_std: the same shape, logarithm of its standard deviation
        :return: the particles
        """
        mean, log_std = mean.unsqueeze(1), log_std.unsqueeze(1)
        std, noise, x = log_std.exp(), path.noise, path.x
        u = mean + std * x if self.precondition else x
        if self.precondition and not (self.second_order and th.is_grad_enabled()):
            # The same value. The scale's gradient is that about the center of the other particles: the path has a drift
            # towards higher Q, which is the mean's to learn, and would widen the start wherever Q has a slope
            others = (x.sum(dim=1, keepdim=True) - x) / (self.n_particles - 1)
            u = u - (std - std.detach()) * others
        if path.log_density_change.numel() == 0:
            return Particles(u, noise.new_empty(0), noise.new_empty(0), {})
        log_prob = (truncated_normal_log_prob(noise, self.bound) - log_std).sum(dim=2) + path.log_density_change
        # (mean + std noise - mean) / std with a fixed start, in a form that does not cancel for a tiny std
        fixed = noise - (mean - mean.detach()) / std.detach() - noise * (log_std - log_std.detach())
        start_log_prob = (truncated_normal_log_prob(fixed, self.bound) - log_std).sum(dim=2)
        diagnostics = path.diagnostics and {**path.diagnostics, "spread": u.detach().std(dim=1).mean()}
        return Particles(u, log_prob - log_det_tanh(u), start_log_prob, diagnostics)

    def _step_size(self, norms: th.Tensor) -> th.Tensor:
        """
        The step size, less where the step could fold, for each state.

        :param norms: (B, N) Frobenius norms of the particles' Jacobians
        :return: (B, 1)
        """
        full = norms.new_full((norms.shape[0], 1), self.svgd_step_size)
        if self.max_step_ratio is None:
            return full
        return th.minimum(full, self.max_step_ratio / norms.amax(dim=1, keepdim=True))

    def _log_density_change(
        self,
        before: Before,
        scores_at: Callable[[th.Tensor, bool], th.Tensor],
        size: th.Tensor,
        steps: list[Step],
    ) -> th.Tensor:
        """
        Change of the log-density that a step brings, by the chosen estimator.

        :param before: the particles before the step
        :param scores_at: takes particles to their scores, with a graph
        :param size: (B, 1) of the step
        :param steps: those before it
        :return: (B, N)
        """
        x, jacobian = before.x, before.jacobian
        n_particles, dim = x.shape[1:]
        trace = jacobian.diagonal(dim1=2, dim2=3).sum(dim=2)
        if self.entropy_estimator == "closed_form":
            # Divided by N - 1 as in stein_trace
            return log_density_change(trace * (n_particles / (n_particles - 1)), size)
        if self.entropy_estimator == "secant":
            hessian_trace = secant_trace(x, before.scores, before.start, before.kernel)
            earlier = [(step.size, step.h) for step in steps]
            correlation = pair_correlation_trace(x, before.scores, before.distances, before.h, earlier)
            return secant_log_density_change(trace + hessian_trace / n_particles, correlation, size)
        create_graph = self.second_order and th.is_grad_enabled()
        with th.enable_grad():
            x = x if create_graph and x.requires_grad else x.detach().requires_grad_()
            scores = scores_at(x, True)

            def hessian_times(vectors: th.Tensor) -> th.Tensor:
                """Hessian of the log-density times vectors, both (B, N, d)."""
                products = (scores * vectors).sum()
                (result,) = th.autograd.grad(products, x, retain_graph=True, create_graph=create_graph)
                return result if create_graph else result.detach()

            if self.entropy_estimator == "hutchinson":
                probes = 2.0 * th.randint_like(x.detach(), 2) - 1
                return log_density_change(trace + (probes * hessian_times(probes)).sum(dim=2) / n_particles, size)
            units = th.eye(dim, dtype=x.dtype, device=x.device)
            hessians = th.stack([hessian_times(unit.expand_as(x)) for unit in units], dim=2)
            return exact_log_density_change(jacobian + hessians / n_particles, size)

    @staticmethod
    def _diagnostics(steps: list[Step]) -> dict[str, th.Tensor]:
        if not steps:
            return {}
        ratios, sizes, bandwidths, neighbours, inside = (th.stack(column) for column in zip(*steps, strict=True))
        return {
            "step_ratio": ratios.max(),
            "step_size": sizes.mean(),
            "bandwidth": bandwidths.mean(),
            "neighbours": neighbours.mean(),
            "truncated": 1 - inside.float().mean(),
        }
