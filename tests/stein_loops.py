"""S2AC's sampler for one state, particle by particle: the formulas of 2405.00987 in loops, derivatives by autograd."""

import math
from functools import partial
from typing import NamedTuple

import torch as th
from torch.autograd.functional import hessian, jacobian


def log_density(q_function, alpha):
    """log p(u), up to a constant, of u (d,) whose actions tanh(u) follow exp(Q / alpha); Q takes one action (d,)."""
    return lambda u: q_function(th.tanh(u)) / alpha + th.log(1 - th.tanh(u) ** 2).sum()


def squared_bandwidth(x, rule):
    """m / (2 log(N + 1)), m the lower median or the mean of the squared distances between different particles."""
    n = len(x)
    distances = sorted(float(((x[i] - x[j]) ** 2).sum()) for i in range(n) for j in range(n) if i != j)
    if rule == "median":
        return distances[(len(distances) - 1) // 2] / (2 * math.log(n + 1))
    if rule == "mean":
        return sum(distances) / len(distances) / (2 * math.log(n + 1))
    return rule


def direction(x, scores, h, i):
    """phi of particle i as a function of its place and of the score there; the others are held."""

    def phi(point, score):
        total = score
        for j in range(len(x)):
            if j != i:
                kernel = th.exp(-((point - x[j]) ** 2).sum() / (2 * h))
                total = total + kernel * (scores[j] + (point - x[j]) / h)
        return total / len(x)

    return phi


def closed_form_trace(x, scores, h, i):
    """Theorem 3.3 without the Hessian, divided by N - 1."""
    total = 0
    for j in range(len(x)):
        if j != i:
            vector = x[i] - x[j]
            kernel = th.exp(-(vector @ vector) / (2 * h))
            total = total + kernel / h * (len(vector) - vector @ scores[j] - vector @ vector / h)
    return total / (len(x) - 1)


def secant_change(x, scores, start, h, i, trace, earlier, eps):
    """
    Change of the log-density by the secants of the scores, and by what is left of earlier steps in the distances.

    :param start: (N, d) noise over its scale
    :param trace: of the particle's Jacobian, without the Hessian
    :param earlier: eps and h of each earlier step
    """
    n, dim = x.shape
    slopes = rises = lengths = starts = correlation = x.new_zeros(())
    for j in range(n):
        vector, along, difference = x[i] - x[j], start[i] - start[j], scores[i] - scores[j]
        distance = vector @ vector
        kernel = th.exp(-distance / (2 * h))
        slopes = slopes + kernel * (difference @ along)
        rises = rises + kernel * (vector @ along)
        lengths = lengths + kernel * distance
        starts = starts + kernel * (along @ along)

        if earlier and j != i:
            with th.enable_grad():
                point = x[i] if x[i].requires_grad else x[i].detach().requires_grad_()
                d = ((point - x[j].detach()) ** 2).sum()
                log_g = -sum(2 * e / (n * b) * th.exp(-d / (2 * b)) * (dim - d / b) for e, b in earlier)
                (gradient,) = th.autograd.grad(log_g, point, create_graph=x.requires_grad)
            push = kernel * ((scores[j] - scores[i]) / 2 + vector / h) / n
            correlation = correlation + push @ gradient
    least = 0.25 * th.sqrt(lengths * starts)
    hessian_trace = dim * slopes / th.maximum(rises, least)
    change = -eps * (trace + hessian_trace / n)
    return th.maximum(change - eps * correlation, change.clamp(max=0))


class Step(NamedTuple):
    x: th.Tensor  # (N, d) before the step
    scores: th.Tensor
    h: float
    eps: float
    norm: float  # the largest Frobenius norm of a particle's Jacobian, without the Hessian
    inside: list[bool]


class Result(NamedTuple):
    u: th.Tensor
    log_prob: th.Tensor
    steps: list[Step]


def run(sampler, mean, log_std, noise, log_p, scores=None):
    """
    ``sampler.sample`` for one state, with the trace of the Hessian itself in place of random vectors for "hutchinson".

    :param sampler: its parameters are read, nothing else
    :param mean: (d,)
    :param log_std: (d,)
    :param noise: (N, d)
    :param log_p: log-density of unbounded actions u (d,)
    :param scores: constants (N, d) for each step, in place of those of log_p
    """
    std, bound = log_std.exp(), sampler.bound
    if sampler.precondition:
        x, low, high = noise, -bound, bound
        log_p_of_x = lambda point: log_p(mean + std * point)  # noqa: E731
    else:
        x, low, high = mean + std * noise, (mean - bound * std).detach(), (mean + bound * std).detach()
        log_p_of_x = log_p
    n, dim = x.shape
    mass = math.erf(bound / math.sqrt(2))
    log_prob = [(-0.5 * z**2 - 0.5 * math.log(2 * math.pi) - math.log(mass) - log_std).sum() for z in noise]
    steps: list[Step] = []
    for number in range(sampler.n_svgd_steps):
        points = x.detach()
        s = th.stack([jacobian(log_p_of_x, point) for point in points]).detach() if scores is None else scores[number]
        h = squared_bandwidth(points, sampler.kernel_bandwidth)
        phis = [direction(x, s, h, i) for i in range(n)]
        fixed = [direction(points, s, h, i) for i in range(n)]
        matrices = [jacobian(partial(phi, score=s[i]), points[i]) for i, phi in enumerate(fixed)]
        norm = max(float((matrix**2).sum().sqrt()) for matrix in matrices)
        eps = sampler.svgd_step_size
        if sampler.max_step_ratio is not None and norm * eps > sampler.max_step_ratio:
            eps = sampler.max_step_ratio / norm
        moved = [x[i] + eps * phis[i](x[i], s[i]) for i in range(n)]
        inside = [bool(((point >= low) & (point <= high)).all()) for point in moved]
        held = [sampler.out_of_bounds == "hold" and not inside[i] for i in range(n)]
        for i in range(n):
            if held[i]:
                continue
            if sampler.entropy_estimator == "secant":
                # Divided by N, as the direction is
                trace = closed_form_trace(x, s, h, i) * (n - 1) / n
                start = noise if sampler.precondition else noise / std
                earlier = [(step.eps, step.h) for step in steps]
                log_prob[i] = log_prob[i] + secant_change(x, s, start, h, i, trace, earlier, eps)
                continue
            if sampler.entropy_estimator == "closed_form":
                log_prob[i] = log_prob[i] - eps * closed_form_trace(x, s, h, i)
                continue
            whole = matrices[i] + hessian(log_p_of_x, points[i]) / n
            if sampler.entropy_estimator == "exact":
                log_prob[i] = log_prob[i] - th.linalg.slogdet(th.eye(dim, dtype=x.dtype) + eps * whole).logabsdet
            else:
                log_prob[i] = log_prob[i] - eps * whole.trace()
        steps.append(Step(points, s, h, eps, norm, inside))
        if sampler.out_of_bounds == "clip":
            moved = [
                th.minimum(th.maximum(point, th.as_tensor(low, dtype=x.dtype)), th.as_tensor(high, dtype=x.dtype))
                for point in moved
            ]
        x = th.stack([x[i] if held[i] else moved[i] for i in range(n)])
    u = mean + std * x if sampler.precondition else x
    # The longer form of the log-determinant loses digits where tanh is close to 1
    log_det = (2 * (math.log(2) - u.abs() - th.log1p(th.exp(-2 * u.abs())))).sum(dim=1)
    return Result(u, th.stack(log_prob) - log_det, steps)


def whole_map(sampler, mean, log_std, log_p, steps, i):
    """From the noise of particle i to its action, with everything else held as it was in each step."""
    std = log_std.exp()

    def final(z):
        x = z if sampler.precondition else mean + std * z
        for step in steps:
            if step.inside[i] or sampler.out_of_bounds != "hold":
                u = mean + std * x if sampler.precondition else x
                score = jacobian(log_p, u, create_graph=True) * (std if sampler.precondition else 1)
                x = x + step.eps * direction(step.x, step.scores, step.h, i)(x, score)
        return th.tanh(mean + std * x if sampler.precondition else x)

    return final
