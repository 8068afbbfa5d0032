"""Changes of variables: tanh, and any map whose Jacobian autograd can give."""

import math

import torch as th
from torch.nn import functional as F


def log_det_tanh(u: th.Tensor) -> th.Tensor:
    """
    Log-determinant of ``a = tanh(u)``, ``sum_i log(1 - tanh(u_i)^2) = sum_i 2 (log 2 - u_i - softplus(-2 u_i))``.
    The second form neither overflows nor rounds to log(0) (Appendix C of https://arxiv.org/abs/1812.05905).

    :param u: (..., d) unbounded actions
    :return: (...) the log-determinant; log p(a) = log p(u) - log_det_tanh(u)
    """
    assert u.ndim >= 1, u.shape
    return 2 * (math.log(2) - u - F.softplus(-2 * u)).sum(dim=-1)


def unsquash(actions: th.Tensor) -> th.Tensor:
    """
    Inverse of tanh, finite at the bounds: actions are moved inside by the precision of their type.

    :param actions: (..., d) actions in [-1, 1]
    :return: (..., d) unbounded actions
    """
    bound = 1 - th.finfo(actions.dtype).eps
    return th.atanh(actions.clamp(-bound, bound))


def log_abs_det_jacobian(outputs: th.Tensor, inputs: th.Tensor) -> th.Tensor:
    """
    Log-determinant of a map that takes each row of the inputs to the same row of the outputs, ``log |det d out / d in|``,
    by d backward passes. A map that is singular in a row gives -inf there.

    :param outputs: (..., d) computed from ``inputs`` with a graph, which is kept
    :param inputs: (..., d) with ``requires_grad``
    :return: (...) without gradient; for a one-to-one map, log p(out) = log p(in) - log_abs_det_jacobian
    """
    assert outputs.shape == inputs.shape, (outputs.shape, inputs.shape)
    rows = [
        th.autograd.grad(outputs[..., index].sum(), inputs, retain_graph=True)[0].detach()
        for index in range(outputs.shape[-1])
    ]
    return th.linalg.slogdet(th.stack(rows, dim=-2)).logabsdet
