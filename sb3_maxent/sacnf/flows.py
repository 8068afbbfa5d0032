"""
The transforms of a flow policy: Zuko's neural spline flow, and the shallow flows that Zuko does not have.

Needs Zuko (extra ``flows``). Imported where a policy is made, so that the package can be imported without Zuko.
"""

import math

import torch as th
from torch import nn
from torch.distributions import Distribution, Transform, constraints
from torch.nn import functional as F

from sb3_maxent.sacnf.families import FlowFamily, ShallowFlowFamily

# Importing Zuko turns off the argument checks of torch.distributions everywhere, with which SB3's SAC stops at NaN
_validate_args = Distribution._validate_args  # type: ignore[attr-defined]
try:
    from zuko.flows import NSF
    from zuko.lazy import LazyTransform
    from zuko.utils import bisection, unpack
finally:
    Distribution.set_default_validate_args(_validate_args)

# What shallow flows exponentiate stays in [-5, 5], and no derivative below exp(-5): no logarithm is infinite
LOG_BOUND = 5.0
# Halvings of an interval of length 2 (|slope| + 1) until float64 has nothing left to halve
BISECTIONS = 60


def _norm(x: th.Tensor) -> th.Tensor:
    return th.linalg.vector_norm(x, dim=-1)


def _dot(x: th.Tensor, y: th.Tensor) -> th.Tensor:
    return (x * y).sum(dim=-1)


class RadialTransform(Transform):
    """
    Radial flow, ``f(z) = z + beta (z - c) / (alpha + r)`` with ``r = |z - c|`` (Equation 14 of
    https://arxiv.org/abs/1505.05770): it pushes density away from the point c, or draws it in. Far from c it is the
    identity, at c its derivative is ``(alpha + beta) / alpha``, which is > 0 where f is one-to-one (Appendix A.2).

    :param center: (..., d), c
    :param log_alpha: (...), logarithm of alpha, clamped to [-5, 5]
    :param log_stretch: (...), logarithm of the derivative at c, clamped to [-5, 5]; 0 makes f the identity
    """

    domain, codomain, bijective = constraints.real_vector, constraints.real_vector, True

    def __init__(self, center: th.Tensor, log_alpha: th.Tensor, log_stretch: th.Tensor):
        super().__init__()
        self.center, self.alpha = center, log_alpha.clamp(-LOG_BOUND, LOG_BOUND).exp()
        self.alpha_beta = self.alpha * log_stretch.clamp(-LOG_BOUND, LOG_BOUND).exp()  # alpha + beta

    def _call(self, x: th.Tensor) -> th.Tensor:
        offset = x - self.center
        r = _norm(offset)
        return self.center + ((r + self.alpha_beta) / (r + self.alpha)).unsqueeze(-1) * offset

    def _inverse(self, y: th.Tensor) -> th.Tensor:
        # |y - c| = r (r + alpha + beta) / (r + alpha) is quadratic in r; of its two forms the one that does not cancel
        offset = y - self.center
        length = _norm(offset)
        b = length - self.alpha_beta
        product = self.alpha * length
        root = (b**2 + 4 * product).sqrt() + b.abs()
        r = th.where(b > 0, root / 2, 2 * product / root)
        return self.center + ((r + self.alpha) / (r + self.alpha_beta)).unsqueeze(-1) * offset

    def log_abs_det_jacobian(self, x: th.Tensor, y: th.Tensor) -> th.Tensor:
        r = _norm(x - self.center)
        outer = r + self.alpha
        # d - 1 times across the radius, once along it; written so that nothing cancels
        across = (r + self.alpha_beta) / outer
        along = (r**2 + 2 * self.alpha * r + self.alpha * self.alpha_beta) / outer**2
        return (x.shape[-1] - 1) * across.log() + along.log()


class PlanarTransform(Transform):
    """
    Planar flow, ``f(z) = z + u tanh(w z + b)`` (Equation 10 of https://arxiv.org/abs/1505.05770): it moves density away
    from a plane, or towards it.

    :param weight: (..., d), w
    :param bias: (...), b
    :param scale: (..., d), what u is made of: its part along w is changed such that ``1 + w u`` is > 0, where f is
        one-to-one (Appendix A.1, shifted so that a scale of 0 makes f the identity), and at least exp(-5)
    """

    domain, codomain, bijective = constraints.real_vector, constraints.real_vector, True

    def __init__(self, weight: th.Tensor, bias: th.Tensor, scale: th.Tensor):
        super().__init__()
        self.weight, self.bias = weight, bias
        given = _dot(weight, scale)
        self.slope = F.softplus(given + math.log(math.e - 1)).clamp(min=math.exp(-LOG_BOUND))  # 1 + w u
        squared_length = _dot(weight, weight).clamp(min=th.finfo(weight.dtype).tiny)
        self.scale = scale + ((self.slope - 1 - given) / squared_length).unsqueeze(-1) * weight

    def _call(self, x: th.Tensor) -> th.Tensor:
        return x + self.scale * th.tanh(_dot(self.weight, x) + self.bias).unsqueeze(-1)

    def _inverse(self, y: th.Tensor) -> th.Tensor:
        # w y = s + w u tanh(s + b) for s = w z, which rises in s
        def along(s: th.Tensor) -> th.Tensor:
            return s + (self.slope - 1) * th.tanh(s + self.bias)

        image, reach = _dot(self.weight, y), self.slope + 1
        s = bisection(along, image, image - reach, image + reach, n=BISECTIONS, phi=(self.slope, self.bias))
        return y - self.scale * th.tanh(s + self.bias).unsqueeze(-1)

    def log_abs_det_jacobian(self, x: th.Tensor, y: th.Tensor) -> th.Tensor:
        # log |1 + w u (1 - tanh^2)|, written so that nothing cancels
        squared_tanh = th.tanh(_dot(self.weight, x) + self.bias) ** 2
        return (self.slope * (1 - squared_tanh) + squared_tanh).log()


class ShallowFlow(LazyTransform):
    """
    A radial or planar flow, whose parameters are learned: numbers, or numbers plus a linear function of a context.

    :param family: ``"radial"`` or ``"planar"``
    :param features: d, dimension of what is transformed
    :param context: C, dimension of the context, 0 for none
    """

    def __init__(self, family: ShallowFlowFamily, features: int, context: int = 0):
        super().__init__()
        place = th.randn(features)
        if family == "radial":
            self.transform: type[Transform] = RadialTransform
            self.shapes: list[tuple[int, ...]] = [(features,), (), ()]
            # Centres differ, so that the flows don't all learn the same
            start = [place, th.zeros(2)]
        else:
            self.transform = PlanarTransform
            self.shapes = [(features,), (), (features,)]
            start = [place / _norm(place), th.zeros(1 + features)]
        self.start = nn.Parameter(th.cat(start))
        self.hyper = nn.Linear(context, len(self.start), bias=False) if context else None
        if self.hyper is not None:
            nn.init.normal_(self.hyper.weight, std=0.01 / math.sqrt(context))

    def forward(self, c: th.Tensor | None = None) -> Transform:
        """
        :param c: (..., C) context
        :return: the transform, of vectors (..., d)
        """
        phi = self.start if self.hyper is None else self.start + self.hyper(c)
        return self.transform(*unpack(phi, self.shapes))


def make_flows(
    family: FlowFamily, n_flows: int, features: int, context: int, n_bins: int, activation: type[nn.Module]
) -> nn.ModuleList:
    """
    Make the transforms of a policy, to be applied in their order from noise to action.

    A step of the spline flow is autoregressive over the action's dimensions, in an order that alternates: noise becomes an
    action in one pass, and an action noise in d.

    :param family: ``"radial"``, ``"planar"`` or ``"spline"``
    :param n_flows: how many
    :param features: d, dimension of the actions
    :param context: dimension of the context, 0 for none
    :param n_bins: bins of each spline
    :param activation: of the spline flow's networks
    :return: lazy transforms: called with a context (B, C) they give a transform of (B, d) whose ``call_and_ladj``
        gives the log-determinant, too
    """
    if family == "spline":
        # Splines over [-5, 5], the identity outside, which tanh flattens anyway
        return nn.ModuleList(NSF(features, context, n_bins, transforms=n_flows, activation=activation).transform.transforms)
    return nn.ModuleList(ShallowFlow(family, features, context) for _ in range(n_flows))
