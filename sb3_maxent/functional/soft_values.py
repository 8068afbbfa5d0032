"""Soft state values and the temporal-difference target that is built on them."""

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
