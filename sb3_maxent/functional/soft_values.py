"""Soft state values and the temporal-difference target that is built on them."""

import math

import torch as th


def soft_td_target(rewards: th.Tensor, dones: th.Tensor, discounts: th.Tensor | float, next_values: th.Tensor) -> th.Tensor:
    """
    Soft temporal-difference target ``y = r + (1 - d) * gamma^n * V(s')``.

    The entropy of the first action is not part of Q (Equations 2 and 3 of https://arxiv.org/abs/1801.01290).

    :param rewards: (B, 1) rewards, already summed and discounted where n-step returns are used
    :param dones: (B, 1) 1 where s' is terminal (not where the episode was truncated)
    :param discounts: ``gamma``, or (B, 1) ``gamma^n`` for n-step returns
    :param next_values: (B, 1) soft values of s'
    :return: (B, 1) the target
    """
    assert rewards.shape == dones.shape == next_values.shape, (rewards.shape, dones.shape, next_values.shape)
    return rewards + (1 - dones) * discounts * next_values


def categorical_entropy(log_probs: th.Tensor) -> th.Tensor:
    """
    Entropy of categorical distributions in nats, ``H = -sum_a pi(a) log pi(a)``.

    :param log_probs: (B, A) log-probabilities; for a product of categorical distributions the concatenation
        of theirs along the last dimension (the entropy of a product is the sum of the entropies)
    :return: (B, 1) the entropy
    """
    assert log_probs.ndim == 2, log_probs.shape
    return -(log_probs.exp() * log_probs).sum(dim=1, keepdim=True)


def policy_soft_value(q_values: th.Tensor, log_probs: th.Tensor, ent_coef: th.Tensor | float) -> th.Tensor:
    """
    Soft value of a categorical policy as an exact expectation, ``V = sum_a pi(a) [Q(a) - alpha log pi(a)]``
    (Equation 10 of https://arxiv.org/abs/1910.07207).

    :param q_values: (B, A) action values
    :param log_probs: (B, A) log-probabilities of the policy, see :func:`categorical_entropy` for products
    :param ent_coef: the temperature alpha
    :return: (B, 1) the soft value
    """
    assert q_values.shape == log_probs.shape and q_values.ndim == 2, (q_values.shape, log_probs.shape)
    return (log_probs.exp() * (q_values - ent_coef * log_probs)).sum(dim=1, keepdim=True)


def soft_maximum(q_values: th.Tensor, ent_coef: th.Tensor | float, dim: int = -1) -> th.Tensor:
    """
    Soft maximum over actions, ``V = alpha log sum_a exp(Q(a) / alpha)``: the value of the policy softmax(Q / alpha).
    For alpha = 0 it is the maximum.

    :param q_values: (..., A) action values
    :param ent_coef: the temperature alpha >= 0
    :param dim: the dimension of the actions, which is kept
    :return: (..., 1) the soft value
    """
    highest = q_values.amax(dim=dim, keepdim=True)
    exponents = (q_values - highest) / _positive(ent_coef, q_values)
    return highest + ent_coef * exponents.exp().sum(dim=dim, keepdim=True).log()


def boltzmann_log_probs(q_values: th.Tensor, ent_coef: th.Tensor | float) -> th.Tensor:
    """
    Log-probabilities of the policy softmax(Q / alpha), ``log pi(a) = (Q(a) - V) / alpha``. For alpha = 0 it is uniform over
    the best actions, and the other log-probabilities are a large negative number, so that products with them stay finite.

    :param q_values: (..., A) action values
    :param ent_coef: the temperature alpha >= 0
    :return: (..., A)
    """
    advantages = q_values - q_values.amax(dim=-1, keepdim=True)
    return th.log_softmax((advantages / _positive(ent_coef, q_values)).clamp(min=-1e8), dim=-1)


def importance_soft_value(q_values: th.Tensor, log_proposal: th.Tensor | float, ent_coef: th.Tensor | float) -> th.Tensor:
    """
    Soft value of continuous actions by importance sampling, ``V = alpha log mean_i exp(Q(a_i) / alpha - log q(a_i))``
    with actions a_i from q (Equation 10 of https://arxiv.org/abs/1702.08165). The mean is unbiased for exp(V / alpha),
    V is biased downwards. For alpha = 0 it is the largest Q.

    :param q_values: (B, N) values of the actions
    :param log_proposal: (B, N) log-densities of the proposals, or one for all
    :param ent_coef: the temperature alpha >= 0
    :return: (B, 1) the soft value
    """
    assert q_values.ndim == 2, q_values.shape
    n_actions = q_values.shape[1]
    return soft_maximum(q_values - ent_coef * (log_proposal + math.log(n_actions)), ent_coef)


def _positive(ent_coef: th.Tensor | float, like: th.Tensor) -> th.Tensor | float:
    """A temperature to divide by: the smallest normal number for 0."""
    tiny = th.finfo(like.dtype).tiny
    return ent_coef.to(like.dtype).clamp(min=tiny) if isinstance(ent_coef, th.Tensor) else max(ent_coef, tiny)
