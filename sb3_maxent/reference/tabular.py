"""
Exact solutions of finite soft MDPs.

Everywhere: S states, A actions, ``transitions`` (S, A, S) with ``P(s'|s,a)``, ``rewards`` (S, A) with ``R(s,a)``, ``gamma``
the discount in [0, 1), ``alpha`` the temperature (``ent_coef``) in [0, inf), where 0 gives the ordinary MDP; Q and V in units
of return, entropies in nats. ``terminal`` (S,) marks states in which an episode ends: V is 0 there whatever ``transitions``
and ``rewards`` say, their row of Q is 0 and of a policy uniform.

The entropy of the first action is no part of Q (Equations 2 and 3 of https://arxiv.org/abs/1801.01290). Bad arguments raise a
``ValueError`` that names the argument.
"""

import numpy as np

from sb3_maxent.reference.checks import require, require_array

# Largest deviation of a sum of probabilities from 1: a policy may come from 32-bit floats
SUM_TOLERANCE = 1e-5


def _distribution(name: str, probabilities: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """``probabilities`` as an array, checked to be non-negative and to sum to 1 along the last axis."""
    probabilities = require_array(name, probabilities, shape)
    require((probabilities >= 0).all(), name, "be non-negative", probabilities.min())
    sums = probabilities.sum(axis=-1)
    worst = sums.flat[np.abs(sums - 1).argmax()]
    require(abs(worst - 1) <= SUM_TOLERANCE, name, f"sum to 1 +- {SUM_TOLERANCE:g} along its last axis", worst)
    return probabilities


def _temperature(alpha: float) -> None:
    require(0 <= alpha < np.inf, "alpha", "be in [0, inf)", alpha)


def _mdp(
    transitions: np.ndarray, rewards: np.ndarray, gamma: float, alpha: float, terminal: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Check an MDP and work its terminal states in.

    :return: transitions (S, A, S) without those from and to terminal states, rewards (S, A) that are 0 in terminal states,
        the mask (S,); with them ``R + gamma P V`` is right whatever V is in terminal states
    """
    rewards = require_array("rewards", rewards, (None, None))
    n_states, n_actions = rewards.shape
    transitions = _distribution("transitions", transitions, (n_states, n_actions, n_states))
    require(0 <= gamma < 1, "gamma", "be in [0, 1)", gamma)
    _temperature(alpha)
    mask = np.zeros(n_states, dtype=bool) if terminal is None else np.asarray(terminal)
    require(mask.shape == (n_states,) and mask.dtype == bool, "terminal", f"be {n_states} booleans", terminal)
    alive = ~mask
    return transitions * alive[:, None, None] * alive, rewards * alive[:, None], mask


def _limits(tolerance: float, max_iterations: int) -> None:
    require(0 <= tolerance < np.inf, "tolerance", "be in [0, inf)", tolerance)
    require(max_iterations >= 1, "max_iterations", "be at least 1", max_iterations)


def _not_converged(what: str, change: float, bound: float, max_iterations: int) -> RuntimeError:
    return RuntimeError(
        f"{what} has not converged in {max_iterations} iterations: Q still changes by {change:g}, more than {bound:g}; "
        "raise `max_iterations` or `tolerance`"
    )


def entropy(policy: np.ndarray) -> np.ndarray:
    """
    Entropy ``H = -sum_a pi(a) log pi(a)`` in nats, with ``0 log 0 = 0``.

    :param policy: (..., A) probabilities
    :return: (...) the entropy
    """
    policy = np.asarray(policy, dtype=np.float64)
    _distribution("policy", policy, (None,) * policy.ndim)
    return -(policy * np.log(np.where(policy > 0, policy, 1.0))).sum(axis=-1)


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """
    Total variation distance ``0.5 sum_a |p(a) - q(a)|``, in [0, 1]: the largest difference of any event's probability.

    :param p: (..., A) probabilities
    :param q: (..., A) probabilities
    :return: (...) one distance per state
    """
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    _distribution("p", p, (None,) * p.ndim)
    _distribution("q", q, p.shape)
    return 0.5 * np.abs(p - q).sum(axis=-1)


def soft_value(q: np.ndarray, alpha: float) -> np.ndarray:
    """
    Soft maximum over the actions, ``V(s) = alpha log sum_a exp(Q(s,a) / alpha)``; ``max_a Q(s,a)`` for ``alpha = 0``.

    :param q: (..., A) action values
    :param alpha: the temperature
    :return: (...) the soft value
    """
    _temperature(alpha)
    q = np.asarray(q, dtype=np.float64)
    highest = q.max(axis=-1)
    if alpha == 0:
        return highest
    return highest + alpha * np.log(np.exp((q - highest[..., None]) / alpha).sum(axis=-1))


def soft_policy(q: np.ndarray, alpha: float) -> np.ndarray:
    """
    The greedy policy of the soft MDP, ``pi(a|s) = exp((Q(s,a) - V(s)) / alpha)``, a softmax.

    For ``alpha = 0`` it is uniform among the actions whose Q equals the largest one exactly: the limit of the softmax,
    for numbers that carry no rounding errors. Where they do, ties may be broken by the last bit.

    :param q: (..., A) action values
    :param alpha: the temperature
    :return: (..., A) the policy
    """
    _temperature(alpha)
    q = np.asarray(q, dtype=np.float64)
    gaps = q - q.max(axis=-1, keepdims=True)
    weights = (gaps == 0).astype(np.float64) if alpha == 0 else np.exp(gaps / alpha)
    return weights / weights.sum(axis=-1, keepdims=True)


def soft_bellman_backup(
    q: np.ndarray,
    transitions: np.ndarray,
    rewards: np.ndarray,
    gamma: float,
    alpha: float,
    terminal: np.ndarray | None = None,
) -> np.ndarray:
    """
    One sweep of soft value iteration, ``(T Q)(s,a) = R(s,a) + gamma sum_s' P(s'|s,a) alpha log sum_a' exp(Q(s',a') / alpha)``.

    T is a contraction of the sup-norm with factor ``gamma``, and Q* its fixed point (the soft Bellman equation).

    :param q: (S, A) action values
    :return: (S, A) the backed-up values
    """
    p, r, _ = _mdp(transitions, rewards, gamma, alpha, terminal)
    return r + gamma * p @ soft_value(require_array("q", q, r.shape), alpha)


def soft_value_iteration(
    transitions: np.ndarray,
    rewards: np.ndarray,
    gamma: float,
    alpha: float,
    terminal: np.ndarray | None = None,
    initial_q: np.ndarray | None = None,
    tolerance: float = 1e-9,
    max_iterations: int = 100_000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Soft value iteration: repeat ``Q <- R + gamma P V``, ``V = alpha log sum_a exp(Q / alpha)`` (:func:`soft_bellman_backup`).

    It stops when ``gamma / (1 - gamma) max |Q_{i+1} - Q_i| <= tolerance``. As the backup is a contraction, every entry of
    the returned Q is then within ``tolerance`` of Q*, up to the rounding of 64-bit floats.
    Source: Theorem 3 of https://arxiv.org/abs/1702.08165

    :param initial_q: (S, A) where to start from, default zeros
    :param tolerance: largest error of Q and V, in units of return
    :param max_iterations: largest number of backups
    :return: Q* (S, A), V* (S,), pi* (S, A)
    :raises RuntimeError: if ``max_iterations`` do not reach the tolerance
    """
    p, r, mask = _mdp(transitions, rewards, gamma, alpha, terminal)
    _limits(tolerance, max_iterations)
    q = np.zeros_like(r) if initial_q is None else require_array("initial_q", initial_q, r.shape)
    bound = tolerance * (1 - gamma) / gamma if gamma > 0 else np.inf
    for _ in range(max_iterations):
        previous, q = q, r + gamma * p @ soft_value(q, alpha)
        change = float(np.abs(q - previous).max())
        if change <= bound:
            return q, np.where(mask, 0.0, soft_value(q, alpha)), soft_policy(q, alpha)
    raise _not_converged("Soft value iteration", change, bound, max_iterations)


def soft_policy_evaluation(
    policy: np.ndarray,
    transitions: np.ndarray,
    rewards: np.ndarray,
    gamma: float,
    alpha: float,
    terminal: np.ndarray | None = None,
) -> np.ndarray:
    """
    Q of a policy, exactly: one linear solve, no iteration::

        V = sum_a pi(a|.) R(.,a) + alpha H(pi) + gamma P_pi V        solved for V, with P_pi = sum_a pi(a|s) P(s'|s,a)
        Q(s,a) = R(s,a) + gamma sum_s' P(s'|s,a) V(s')

    So Q counts the entropy in the successor states, and not that of the first action, which pi has not chosen.

    :param policy: (S, A) probabilities; zeros are allowed
    :return: (S, A) action values
    """
    p, r, _ = _mdp(transitions, rewards, gamma, alpha, terminal)
    policy = _distribution("policy", policy, r.shape)
    p_policy = np.einsum("sa,sat->st", policy, p)
    v = np.linalg.solve(np.eye(len(r)) - gamma * p_policy, (policy * r).sum(axis=1) + alpha * entropy(policy))
    return r + gamma * p @ v


def soft_policy_improvement(q: np.ndarray, alpha: float) -> np.ndarray:
    """
    The policy that maximises ``sum_a pi(a|s) Q(s,a) + alpha H(pi(.|s))`` in each state: :func:`soft_policy`.

    Policy improvement theorem: if q is the Q of some policy, that of the returned one is nowhere smaller
    (Theorem 4 of https://arxiv.org/abs/1702.08165, Lemma 2 of https://arxiv.org/abs/1801.01290).

    :param q: (S, A) action values
    :param alpha: the temperature
    :return: (S, A) the policy
    """
    return soft_policy(q, alpha)


def soft_policy_iteration(
    transitions: np.ndarray,
    rewards: np.ndarray,
    gamma: float,
    alpha: float,
    terminal: np.ndarray | None = None,
    initial_policy: np.ndarray | None = None,
    tolerance: float = 1e-9,
    max_iterations: int = 1000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Soft policy iteration: exact evaluation and improvement in turns.

    It stops when ``gamma / (1 - gamma) max |Q_{i+1} - Q_i| <= tolerance``. As ``Q_i <= T Q_i <= Q_{i+1} <= Q*``,
    every entry of the returned Q is then within ``tolerance`` of Q*, up to the rounding of 64-bit floats.
    Source: Theorem 1 of https://arxiv.org/abs/1801.01290

    :param initial_policy: (S, A) where to start from, default uniform
    :param tolerance: largest error of Q, in units of return
    :param max_iterations: largest number of evaluations
    :return: Q* (S, A); pi* (S, A), the improvement of that Q; the Q of every policy on the way (I, S, A), the last one Q*
    :raises RuntimeError: if ``max_iterations`` do not reach the tolerance
    """
    _, r, _ = _mdp(transitions, rewards, gamma, alpha, terminal)
    _limits(tolerance, max_iterations)
    policy = np.full(r.shape, 1 / r.shape[1]) if initial_policy is None else initial_policy
    bound = tolerance * (1 - gamma) / gamma if gamma > 0 else np.inf
    history: list[np.ndarray] = []
    change = np.inf
    for _ in range(max_iterations):
        q = soft_policy_evaluation(policy, transitions, rewards, gamma, alpha, terminal)
        change = float(np.abs(q - history[-1]).max()) if history else np.inf
        history.append(q)
        policy = soft_policy_improvement(q, alpha)
        if change <= bound:
            return q, policy, np.stack(history)
    raise _not_converged("Soft policy iteration", change, bound, max_iterations)


def munchausen_value_iteration(
    transitions: np.ndarray,
    rewards: np.ndarray,
    gamma: float,
    alpha: float,
    coefficient: float = 0.9,
    lower_bound: float = -1.0,
    terminal: np.ndarray | None = None,
    tolerance: float = 1e-9,
    max_iterations: int = 100_000,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Munchausen value iteration: with ``pi = softmax(Q / alpha)`` and ``V = alpha log sum_a exp(Q / alpha)`` repeat::

        Q(s,a) <- R(s,a) + c clip(alpha log pi(a|s), l0, 0) + gamma sum_s' P(s'|s,a) V(s')

    Where the clip is inactive, the fixed point is known: V and pi are those of the soft MDP with the temperature
    ``(1 - c) alpha``, and its Q is ``(1 - c) Q + c V`` here. (Insert ``alpha log pi = Q - V``.) So for c near 1 the policy is
    nearly the greedy one, although alpha is not small.
    Source: https://arxiv.org/abs/2007.14430, the target of M-DQN with exact expectations

    This is no contraction of the sup-norm: ``tolerance`` bounds the last change of Q, and thus how well Q satisfies the
    equation above, not its distance to the fixed point.

    :param alpha: the temperature, in (0, inf)
    :param coefficient: c, in [0, 1]; 0 gives :func:`soft_value_iteration`. For c = 1 without clipping there is no fixed point.
    :param lower_bound: l0 in [-inf, 0], in units of reward
    :param tolerance: largest change of Q in the last iteration, in units of return
    :param max_iterations: largest number of backups
    :return: Q (S, A), V (S,), the policy (S, A)
    :raises RuntimeError: if ``max_iterations`` do not reach the tolerance
    """
    p, r, mask = _mdp(transitions, rewards, gamma, alpha, terminal)
    require(alpha > 0, "alpha", "be in (0, inf)", alpha)
    require(0 <= coefficient <= 1, "coefficient", "be in [0, 1]", coefficient)
    require(lower_bound <= 0, "lower_bound", "be in [-inf, 0]", lower_bound)
    _limits(tolerance, max_iterations)
    q = np.zeros_like(r)
    for _ in range(max_iterations):
        v = soft_value(q, alpha)
        bonus = coefficient * np.clip(q - v[:, None], lower_bound, 0)  # alpha log pi = Q - V
        previous, q = q, np.where(mask[:, None], 0.0, r + bonus + gamma * p @ v)
        change = float(np.abs(q - previous).max())
        if change <= tolerance:
            return q, np.where(mask, 0.0, soft_value(q, alpha)), soft_policy(q, alpha)
    raise _not_converged("Munchausen value iteration", change, tolerance, max_iterations)
