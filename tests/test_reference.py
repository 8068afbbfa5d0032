"""The oracles themselves: the theorems on soft MDPs, numbers worked out by hand, closed forms and finite differences."""

from functools import partial

import numpy as np
import pytest

from sb3_maxent import reference as ref

RNG_SEEDS = range(8)
LOG2, LOG3 = np.log(2), np.log(3)
# State 0: stay for 0, or go to state 1 for log 3; state 1 stays for 0 with both actions
TWO_STATES = (np.array([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]]), np.array([[0, LOG3], [0, 0]]))
MIXTURE = (
    np.array([0.2, 0.5, 0.3]),
    np.array([[-0.4, 0.2], [0.3, 0.3], [0.0, -0.4]]),
    np.array([[[0.010, 0.004], [0.004, 0.008]], [[0.006, -0.002], [-0.002, 0.012]], [[0.008, 0], [0, 0.008]]]),
)


def random_mdp(seed) -> tuple[np.ndarray, np.ndarray, float, float]:
    """A sparse MDP of random size with rewards of both signs; gamma and alpha of many magnitudes."""
    rng = np.random.default_rng(seed)
    n_states, n_actions = rng.integers(1, 7), rng.integers(1, 5)
    transitions = rng.dirichlet(np.full(n_states, 0.3), size=(n_states, n_actions))
    rewards = rng.normal(scale=3, size=(n_states, n_actions))
    return transitions, rewards, rng.uniform(0.1, 0.97), 10 ** rng.uniform(-2, 1)


def random_policy(rng, shape, concentration=0.5):
    return rng.dirichlet(np.full(shape[1], concentration), size=shape[0])


def random_terminal(seed, n_states):
    return np.random.default_rng(seed).uniform(size=n_states) < 0.3


# -- soft MDPs


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_policy_improvement(seed, masked):
    """Theorem 1: Q of softmax(Q_pi / alpha) is nowhere smaller than Q_pi, along the whole of soft policy iteration."""
    mdp = random_mdp(seed)
    shape, alpha = mdp[1].shape, mdp[3]
    terminal = random_terminal(seed, shape[0]) if masked else None
    for policy in (random_policy(np.random.default_rng(seed), shape), np.eye(shape[1])[np.zeros(shape[0], dtype=int)]):
        history = ref.soft_policy_iteration(*mdp, terminal, initial_policy=policy)[2]
        rounding = 1e-12 * (1 + np.abs(history).max())
        np.testing.assert_array_equal(history[0], ref.soft_policy_evaluation(policy, *mdp, terminal))
        assert (np.diff(history, axis=0) >= -rounding).all()
        # The step of its proof: J(pi, Q) = J(improved pi, Q) - alpha KL(pi || improved pi), and the latter J is V
        q, improved = history[0], ref.soft_policy_improvement(history[0], alpha)
        logs = np.log(np.where(policy > 0, policy, 1)) - (q - ref.soft_value(q, alpha)[:, None]) / alpha
        objectives = [(pi * q).sum(axis=1) + alpha * ref.entropy(pi) for pi in (policy, improved)]
        np.testing.assert_allclose(objectives[0], objectives[1] - alpha * (policy * logs).sum(axis=1), atol=rounding)
        np.testing.assert_allclose(objectives[1], ref.soft_value(q, alpha), atol=rounding)
        assert (objectives[0] <= objectives[1] + rounding).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_both_iterations_reach_the_same_fixed_point(seed, masked):
    """Theorem 2, from any start; Q*, V* and pi* satisfy the soft Bellman equation and belong to each other."""
    mdp = random_mdp(seed)
    (n_states, n_actions), gamma, alpha = mdp[1].shape, *mdp[2:]
    terminal = random_terminal(seed, n_states) if masked else None
    rng = np.random.default_rng(seed)
    q, v, policy = ref.soft_value_iteration(*mdp, terminal)
    for _ in range(3):
        start = rng.normal(scale=100, size=q.shape)
        np.testing.assert_allclose(ref.soft_value_iteration(*mdp, terminal, initial_q=start)[0], q, atol=3e-9)
        start = random_policy(rng, q.shape)
        q_policy_iteration, improved, _ = ref.soft_policy_iteration(*mdp, terminal, initial_policy=start)
        np.testing.assert_allclose(q_policy_iteration, q, atol=3e-9)
        np.testing.assert_allclose(improved, policy, atol=3e-9 / alpha)
    np.testing.assert_allclose(ref.soft_bellman_backup(q, *mdp, terminal), q, atol=3e-9)
    np.testing.assert_allclose(ref.soft_policy_evaluation(policy, *mdp, terminal), q, atol=3e-9)
    alive = np.ones(n_states, dtype=bool) if terminal is None else ~terminal
    np.testing.assert_allclose(policy[alive], np.exp((q - v[:, None]) / alpha)[alive], rtol=1e-9)
    assert not v[~alive].any() and not q[~alive].any() and (policy[~alive] == 1 / n_actions).all()
    if not masked:
        assert q.max() <= (mdp[1].max() + alpha * np.log(n_actions)) / (1 - gamma) + 1e-9


@pytest.mark.parametrize("alpha", [0.0, 0.05, 3.0])
@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_contraction(seed, alpha):
    transitions, rewards, gamma, _ = random_mdp(seed)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        q, other = rng.normal(scale=5, size=(2, *rewards.shape))
        after = [ref.soft_bellman_backup(x, transitions, rewards, gamma, alpha) for x in (q, other)]
        assert np.abs(after[0] - after[1]).max() <= gamma * np.abs(q - other).max() + 1e-12


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_without_entropy_it_is_value_iteration(seed):
    transitions, rewards, gamma, _ = random_mdp(seed)
    q = np.zeros_like(rewards)
    for _ in range(2000):
        q = rewards + gamma * np.einsum("sat,t->sa", transitions, np.max(q, axis=1))
    for result in (ref.soft_value_iteration, ref.soft_policy_iteration):
        np.testing.assert_allclose(result(transitions, rewards, gamma, 0.0)[0], q, atol=3e-9)
    np.testing.assert_array_equal(ref.soft_value_iteration(transitions, rewards, gamma, 0.0)[2].argmax(1), q.argmax(1))
    # 0 <= V_alpha - V_0 <= alpha log A / (1 - gamma)
    for alpha in (1e-1, 1e-3, 1e-5):
        gap = ref.soft_value_iteration(transitions, rewards, gamma, alpha)[1] - q.max(axis=1)
        assert gap.min() >= -1e-9 and gap.max() <= alpha * np.log(rewards.shape[1]) / (1 - gamma) + 1e-9


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_no_policy_is_better(seed):
    """In every state and for every action, against random policies of many kinds."""
    mdp = random_mdp(seed)
    q = ref.soft_value_iteration(*mdp)[0]
    rng = np.random.default_rng(seed)
    for concentration in (0.05, 0.5, 5.0, 50.0) * 5:
        assert (ref.soft_policy_evaluation(random_policy(rng, q.shape, concentration), *mdp) <= q + 1e-9).all()


def rollout_returns(rng, policy, transitions, rewards, gamma, alpha, n_rollouts, n_steps):
    """Soft returns ``sum_t gamma^t [r_t - alpha log pi(a_t|s_t)]`` from state 0, by simulation."""
    states, returns = np.zeros(n_rollouts, dtype=int), np.zeros(n_rollouts)
    for time in range(n_steps):
        actions = (rng.uniform(size=(n_rollouts, 1)) > policy[states].cumsum(axis=1)).sum(axis=1)
        returns += gamma**time * (rewards[states, actions] - alpha * np.log(policy[states, actions]))
        states = (rng.uniform(size=(n_rollouts, 1)) > transitions[states, actions].cumsum(axis=1)).sum(axis=1)
    return returns


def test_monte_carlo():
    """Simulated soft returns equal V within 5 standard errors, and the optimal policy's are the largest."""
    rng = np.random.default_rng(0)
    transitions = rng.dirichlet(np.ones(3), size=(3, 2))
    mdp = (transitions, rng.uniform(size=(3, 2)), 0.8, 0.5)
    _, v, optimal = ref.soft_value_iteration(*mdp)
    means = []
    for policy in (optimal, np.full((3, 2), 0.5), np.array([[0.9, 0.1]] * 3), np.array([[0.1, 0.9]] * 3)):
        q = ref.soft_policy_evaluation(policy, *mdp)
        exact = policy[0] @ q[0] + 0.5 * ref.entropy(policy)[0]
        returns = rollout_returns(rng, policy, *mdp, n_rollouts=20_000, n_steps=80)  # 0.8^80 < 2e-8
        assert abs(returns.mean() - exact) <= 5 * returns.std() / np.sqrt(len(returns))
        means.append(returns.mean())
    assert abs(means[0] - v[0]) < 0.02 and means[0] > max(means[1:])


def test_two_states_by_hand():
    """V(1) = log 2 + V(1) / 2 gives 2 log 2; exp Q(0, .) = (3, 6) adds up to 9, whose log V(0) is twice Q(0, 0)."""
    for solve in (ref.soft_value_iteration, ref.soft_policy_iteration):
        np.testing.assert_allclose(np.exp(solve(*TWO_STATES, 0.5, 1.0)[0]), [[3, 6], [2, 2]])
    _, v, policy = ref.soft_value_iteration(*TWO_STATES, 0.5, 1.0)
    np.testing.assert_allclose(np.exp(v), [9, 4])
    np.testing.assert_allclose(policy, [[1 / 3, 2 / 3], [1 / 2, 1 / 2]])
    # Where state 1 ends the episode: with x = exp(V(0) / 2), x^2 = x + 3
    x = (1 + np.sqrt(13)) / 2
    q, v, policy = ref.soft_value_iteration(*TWO_STATES, 0.5, 1.0, np.array([False, True]))
    np.testing.assert_allclose(np.exp(q), [[x, 3], [1, 1]])
    np.testing.assert_allclose(v, [2 * np.log(x), 0], atol=1e-9)
    np.testing.assert_allclose(policy, [[x / x**2, 3 / x**2], [0.5, 0.5]])


def test_evaluation_by_hand():
    """Leave state 0 at once: V(0) = log 3 + V(1) / 2 = log 6 without entropy, V(1) as above; Q(0, 0) = V(0) / 2."""
    q = ref.soft_policy_evaluation(np.array([[0, 1], [0.5, 0.5]]), *TWO_STATES, 0.5, 1.0)
    np.testing.assert_allclose(np.exp(q), [[np.sqrt(6), 6], [2, 2]])


def test_small_formulas():
    q = np.array([[1.0, 1.0, 0.0], [-2000.0, 0.0, 2000.0]])
    np.testing.assert_allclose(ref.soft_value(q, 2.0)[0], 2 * np.log(2 * np.exp(0.5) + 1))
    np.testing.assert_array_equal(ref.soft_value(q, 0.5)[1], 2000)
    np.testing.assert_array_equal(ref.soft_value(q, 0.0), [1, 2000])
    np.testing.assert_array_equal(ref.soft_policy(q, 0.0), [[0.5, 0.5, 0], [0, 0, 1]])
    np.testing.assert_array_equal(ref.soft_policy(q, 0.5)[1], [0, 0, 1])
    np.testing.assert_allclose(ref.entropy(np.array([[0.5, 0.25, 0.25], [1, 0, 0]])), [1.5 * LOG2, 0])
    np.testing.assert_allclose(ref.total_variation(np.array([[0.5, 0.5], [1, 0]]), np.array([[0.2, 0.8], [0, 1]])), [0.3, 1])


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_munchausen(seed):
    """Without clipping it is the soft MDP with temperature (1 - c) alpha; for c = 0 that with alpha."""
    transitions, rewards, gamma, alpha = random_mdp(seed)
    mdp = (transitions, rewards, gamma)
    for c in (0.0, 0.5, 0.9):
        q, v, policy = ref.soft_value_iteration(*mdp, (1 - c) * alpha)
        munchausen = ref.munchausen_value_iteration(*mdp, alpha, c, -np.inf, tolerance=1e-10)
        np.testing.assert_allclose((1 - c) * munchausen[0] + c * munchausen[1][:, None], q, atol=1e-7)
        np.testing.assert_allclose(munchausen[1], v, atol=1e-7)
        np.testing.assert_allclose(munchausen[2], policy, atol=1e-6 / ((1 - c) * alpha))


def test_munchausen_clip_by_hand():
    """One state, gamma = 0: Q = r + c max(Q - V, l0). The worse action's bonus is clipped to c l0 = -0.9."""
    q, v, policy = ref.munchausen_value_iteration(np.ones((1, 2, 1)), np.array([[1.0, 0.0]]), 0.0, 0.03)
    np.testing.assert_allclose(q, [[1, -0.9]], atol=1e-9)
    np.testing.assert_allclose(v, [1])
    np.testing.assert_allclose(policy, [[1, 0]], atol=1e-20)
    q, *_ = ref.munchausen_value_iteration(*TWO_STATES, 0.5, 1.0, terminal=np.array([False, True]))
    assert not q[1].any()


# -- continuous actions


@pytest.mark.parametrize("d", [1, 2, 3])
def test_grid_is_exact_for_polynomials(d):
    nodes, weights = ref.grid(d, 4)
    assert nodes.shape == (4**d, d) and (np.abs(nodes) < 1).all()
    np.testing.assert_allclose(weights.sum(), 2**d)
    np.testing.assert_allclose(weights @ (nodes**6).prod(axis=1), (2 / 7) ** d)  # degree 6 <= 2 n - 1
    np.testing.assert_allclose(weights @ nodes[:, -1] ** 7, 0, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.02, 0.5, 10.0])
def test_linear_q(alpha):
    """Q = a in one dimension: the integral of exp(a / alpha) is 2 alpha sinh(1 / alpha)."""
    value = ref.soft_value_by_quadrature(lambda a: a[:, 0], alpha, 1)
    log_sinh = 1 / alpha + np.log1p(-np.exp(-2 / alpha)) - LOG2
    np.testing.assert_allclose(value, alpha * (np.log(2 * alpha) + log_sinh), rtol=1e-10)
    # The mean is the Langevin function
    mean, _ = ref.optimal_moments(lambda a: a[:, 0], alpha, 1)
    np.testing.assert_allclose(mean, [1 / np.tanh(1 / alpha) - alpha], rtol=1e-10)
    np.testing.assert_allclose(ref.optimal_entropy(lambda a: a[:, 0], alpha, 1), (value - mean[0]) / alpha, rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_gaussian_well_inside_the_box(d):
    alpha, mean, covariance = 0.7, np.linspace(-0.2, 0.1, d), 0.01 * (np.eye(d) + 0.3)

    def q_function(actions):
        differences = actions - mean
        return 5 - 0.5 * alpha * (differences * np.linalg.solve(covariance, differences.T).T).sum(axis=1)

    log_norm = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    np.testing.assert_allclose(ref.soft_value_by_quadrature(q_function, alpha, d, 60), 5 + alpha * log_norm, rtol=1e-8)
    np.testing.assert_allclose(ref.optimal_entropy(q_function, alpha, d, 60), ref.gaussian_entropy(covariance), rtol=1e-8)
    for got, expected in zip(ref.optimal_moments(q_function, alpha, d, 60), (mean, covariance), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-8)
    nodes, weights = ref.grid(d, 60)
    density = ref.optimal_density(q_function, alpha, d, 60)
    np.testing.assert_allclose(weights @ density, 1)
    np.testing.assert_allclose(np.log(density), ref.optimal_log_density(q_function, alpha, d, 60)(nodes))
    single = (np.ones(1), mean[None], covariance[None])
    np.testing.assert_allclose(np.log(density), ref.gaussian_mixture_log_density(nodes, *single), atol=1e-7)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_uniform_optimum(d):
    """A constant Q = 3: V = 3 + alpha d log 2, pi* is uniform with entropy d log 2; huge values do not overflow."""
    for constant in (3.0, 1e6):
        value = ref.soft_value_by_quadrature(partial(lambda c, a: np.full(len(a), c), constant), 0.1, d, 5)
        np.testing.assert_allclose(value, constant + 0.1 * d * LOG2, rtol=1e-14)
    np.testing.assert_allclose(ref.optimal_entropy(lambda a: np.full(len(a), 3.0), 0.1, d, 5), d * LOG2)


def test_gaussian_entropy():
    """The number of the S2AC poster, 3.41."""
    np.testing.assert_allclose(ref.gaussian_entropy(5 * np.array([[0.2260, 0.1652], [0.1652, 0.6779]])), 3.4112, atol=5e-5)
    np.testing.assert_allclose(ref.gaussian_entropy(np.eye(3)), 1.5 * (np.log(2 * np.pi) + 1))


def test_mixture_score():
    x = np.random.default_rng(0).uniform(-1, 1, size=(30, 2))
    for i, unit in enumerate(np.eye(2)):
        sides = [ref.gaussian_mixture_log_density(x + sign * 1e-6 * unit, *MIXTURE) for sign in (1, -1)]
        np.testing.assert_allclose(ref.gaussian_mixture_score(x, *MIXTURE)[:, i], (sides[0] - sides[1]) / 2e-6, rtol=1e-5)
    # Far out, where every density underflows: the score of the component that decays most slowly
    far = ref.gaussian_mixture_score(np.array([[1e4, 0.0]]), *MIXTURE)
    assert np.isfinite(far).all() and far[0, 0] < -1e5
    nodes, weights = ref.grid(2, 100)
    np.testing.assert_allclose(weights @ np.exp(ref.gaussian_mixture_log_density(nodes, *MIXTURE)), 1, atol=1e-5)


def test_histogram_kl_of_the_right_distribution():
    """2 n KL is about chi-squared with K - 1 = 19 degrees of freedom; the mean of 200 repetitions within 5 errors."""
    alpha, n = 0.5, 4000
    log_density = ref.optimal_log_density(lambda a: a[:, 0], alpha, 1)
    uniform = np.random.default_rng(0).uniform(size=(200, n, 1))
    actions = alpha * np.log(np.exp(-1 / alpha) + uniform * 2 * np.sinh(1 / alpha))  # inverse of the distribution function
    scaled = 2 * n * np.array([ref.histogram_kl(x, log_density) for x in actions])
    assert abs(scaled.mean() - 19) <= 5 * np.sqrt(2 * 19 / 200)
    assert scaled.max() / (2 * n) < 0.01


def test_histogram_kl_of_a_wrong_distribution():
    """Uniform actions: KL(uniform || pi*) = V / alpha - log 2, less the 0.0017 that 20 cells can't see."""
    alpha = 0.5
    log_density = ref.optimal_log_density(lambda a: a[:, 0], alpha, 1)
    actions = np.random.default_rng(0).uniform(-1, 1, size=(100_000, 1))
    kl = ref.histogram_kl(actions, log_density)
    assert abs(kl - (np.log(2 * alpha * np.sinh(1 / alpha)) - LOG2)) < 0.015
    # Two cells, by hand: the halves have probability 1 : e^2 under pi*, and hold 1 and 3 of the actions
    p = 1 / (1 + np.exp(2))
    expected = 0.25 * np.log(0.25 / p) + 0.75 * np.log(0.75 / (1 - p))
    np.testing.assert_allclose(ref.histogram_kl(np.array([[-1.0], [0.0], [0.5], [1.0]]), log_density, bins=2), expected)


def test_histogram_entropy():
    """Two of four cells with 1/4 and 3/4, each half as wide as [-1, 1]; and samples of the triangular density (1 + a) / 2."""
    actions = np.array([[-0.9], [-0.1], [-0.2], [-0.3]])
    expected = -(0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5))
    np.testing.assert_allclose(ref.histogram_entropy(actions, bins=4), expected)
    samples = 2 * np.sqrt(np.random.default_rng(0).random((50_000, 1))) - 1
    np.testing.assert_allclose(ref.histogram_entropy(samples), 0.5, atol=0.01)  # 1/2 - integral of p log(1 + a) + log 2


def test_histogram_kl_in_two_dimensions():
    rng = np.random.default_rng(0)
    samples = [rng.multivariate_normal(m, c, size=int(w * 50_000)) for w, m, c in zip(*MIXTURE, strict=True)]

    def log_density(x):
        return ref.gaussian_mixture_log_density(x, *MIXTURE)

    assert ref.histogram_kl(np.concatenate(samples), log_density) < 0.005
    # One mode alone: the modes hardly overlap, so KL = -log w
    np.testing.assert_allclose(ref.histogram_kl(samples[2], log_density), -np.log(0.3), atol=0.02)
    # A cell that the density can't reach (a half of the box)
    assert ref.histogram_kl(np.array([[-0.5]]), lambda a: np.where(a[:, 0] > 0, 0.0, -np.inf)) == np.inf


# -- SVGD


def mixture_score(x):
    return ref.gaussian_mixture_score(x, *MIXTURE)


def test_two_particles_by_hand():
    """u = 0 and 2, h = 2: k = exp(-1), and the repulsion is -+ k 2 / 2."""
    k = np.exp(-1)
    assert ref.rbf_kernel(np.array([0.0]), np.array([2.0]), 2.0) == pytest.approx(k)
    expected = np.array([[(3 - k - k) / 2], [(-1 + 3 * k + k) / 2]])
    particles, scores = np.array([[0.0], [2.0]]), np.array([[3.0], [-1.0]])
    np.testing.assert_allclose(ref.svgd_direction(particles, scores, 2.0), expected)
    np.testing.assert_allclose(ref.svgd_step(particles, scores, 2.0, 0.1), particles + 0.1 * expected)
    # -(u_0 - u_1) s_1 + 1 - 4 / 2 = -2 + 1 - 2, and -(u_1 - u_0) s_0 + 1 - 4 / 2 = -6 + 1 - 2; times k / h / N'
    traces = np.array([-3, -7]) * k / 2
    np.testing.assert_allclose(ref.log_density_change(particles, scores, 2.0, 0.1, normalizer=1), -0.1 * traces)
    np.testing.assert_allclose(ref.log_density_change(particles, scores, 2.0, 0.1), -0.1 * traces / 2)
    hessians = np.array([[[5.0]], [[7.0]]])
    for normalizer in (1, 2):  # the Hessian term is divided by N in both cases
        change = ref.log_density_change(particles, scores, 2.0, 0.1, hessians, normalizer)
        np.testing.assert_allclose(change, -0.1 * (traces / normalizer + [2.5, 3.5]))


def test_one_particle_climbs_the_score():
    particles, scores = np.array([[0.3, -0.2]]), np.array([[1.0, 2.0]])
    np.testing.assert_allclose(ref.svgd_direction(particles, scores, 0.7), scores)
    np.testing.assert_array_equal(ref.log_density_change(particles, scores, 0.7, 0.1), [0])


@pytest.mark.parametrize("d", [1, 2, 3])
def test_closed_form_against_finite_differences(d):
    """With the Hessians the closed form is the trace of d phi_i / d u_i; without, that for scores that do not move."""
    rng, h, eps = np.random.default_rng(d), 0.8, 1e-4
    particles, factor = rng.normal(size=(5, d)), rng.normal(size=(d, d))
    precision = factor @ factor.T + np.eye(d)
    scores = -particles @ precision
    jacobians = ref.direction_jacobians(particles, lambda x: -x @ precision, h)
    change = ref.log_density_change(particles, scores, h, eps, np.tile(-precision, (5, 1, 1)))
    np.testing.assert_allclose(change, -eps * np.trace(jacobians, axis1=1, axis2=2), rtol=1e-7)
    frozen = ref.direction_jacobians(particles, lambda x: scores, h)
    change_without = ref.log_density_change(particles, scores, h, eps)
    np.testing.assert_allclose(change_without, -eps * np.trace(frozen, axis1=1, axis2=2), rtol=1e-7)
    # The log-determinant agrees to first order in eps, and not to second
    log_det = ref.single_particle_log_det(particles, lambda x: -x @ precision, h, eps)
    np.testing.assert_allclose(-log_det, change, atol=eps**2 * 2 * (jacobians**2).sum(axis=(1, 2)).max())


def test_log_determinant_by_hand():
    """One particle on N(0, 1 / lambda): u -> (1 - eps lambda) u, also where that turns the line round or folds it."""
    for step_size, expected in ((0.1, np.log(0.8)), (1.0, 0.0)):
        log_det = ref.single_particle_log_det(np.array([[0.4]]), lambda x: -2 * x, 1.0, step_size)
        np.testing.assert_allclose(log_det, [expected], atol=1e-8)


def test_svgd_moves_particles_to_the_target():
    """200 steps of 15 particles towards N(m, 0.25): mean to 0.01, standard deviation to 15 % (few particles underestimate)."""
    particles = np.random.default_rng(0).normal(size=(15, 1))
    for _ in range(200):
        particles = ref.svgd_step(particles, -(particles - 0.3) / 0.25, 0.1, 0.2)
    assert abs(particles.mean() - 0.3) < 0.01 and abs(particles.std() - 0.5) < 0.075


# -- bad arguments

MDP = (*TWO_STATES, 0.9, 0.5)
X = np.zeros((2, 2))


def flat(actions):
    return np.zeros(len(actions))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("transitions", lambda: ref.soft_value_iteration(MDP[0] * 0.9, *MDP[1:])),
        ("transitions", lambda: ref.soft_value_iteration(MDP[0][0], *MDP[1:])),
        ("transitions", lambda: ref.soft_value_iteration(2 * MDP[0] - MDP[0][::-1], *MDP[1:])),
        ("rewards", lambda: ref.soft_policy_iteration(MDP[0], MDP[1] + np.nan, 0.9, 0.5)),
        ("gamma", lambda: ref.soft_value_iteration(*TWO_STATES, 1.0, 0.5)),
        ("alpha", lambda: ref.soft_value_iteration(*TWO_STATES, 0.9, -0.1)),
        ("alpha", lambda: ref.soft_value(X, np.nan)),
        ("alpha", lambda: ref.munchausen_value_iteration(*TWO_STATES, 0.9, 0.0)),
        ("coefficient", lambda: ref.munchausen_value_iteration(*MDP, 1.1)),
        ("lower_bound", lambda: ref.munchausen_value_iteration(*MDP, 0.9, 1.0)),
        ("terminal", lambda: ref.soft_value_iteration(*MDP, terminal=np.array([0, 1]))),
        ("initial_q", lambda: ref.soft_value_iteration(*MDP, initial_q=np.zeros(2))),
        ("tolerance", lambda: ref.soft_value_iteration(*MDP, tolerance=-1.0)),
        ("max_iterations", lambda: ref.soft_value_iteration(*MDP, max_iterations=0)),
        ("policy", lambda: ref.soft_policy_evaluation(np.ones((2, 2)), *MDP)),
        ("q", lambda: ref.soft_bellman_backup(np.zeros((3, 2)), *MDP)),
        ("q", lambda: ref.total_variation(np.array([0.5, 0.5]), np.ones(1))),
        ("alpha", lambda: ref.soft_value_by_quadrature(flat, 0.0, 1)),
        ("q_function", lambda: ref.soft_value_by_quadrature(lambda a: a, 0.5, 1)),
        ("q_function", lambda: ref.soft_value_by_quadrature(lambda a: a[:, 0] * np.nan, 0.5, 1)),
        ("d", lambda: ref.grid(0, 5)),
        ("d", lambda: ref.grid(4, 100)),
        ("n", lambda: ref.grid(1, 0)),
        ("actions", lambda: ref.histogram_kl(np.array([[1.1]]), flat)),
        ("log_density", lambda: ref.histogram_kl(np.array([[0.1]]), flat)),
        ("bins", lambda: ref.histogram_kl(np.array([[0.1]]), flat, bins=0)),
        ("weights", lambda: ref.gaussian_mixture_score(X, np.array([0.5, 0.4, 0.3]), *MIXTURE[1:])),
        ("covariances", lambda: ref.gaussian_mixture_score(X, *MIXTURE[:2], -MIXTURE[2])),
        ("covariance", lambda: ref.gaussian_entropy(np.array([[1.0, 2.0], [2.0, 1.0]]))),
        ("h", lambda: ref.svgd_direction(X, X, 0.0)),
        ("scores", lambda: ref.svgd_direction(X, X[:1], 1.0)),
        ("normalizer", lambda: ref.log_density_change(X, X, 1.0, 0.1, normalizer=0)),
        ("hessians", lambda: ref.log_density_change(X, X, 1.0, 0.1, hessians=X)),
        ("delta", lambda: ref.direction_jacobians(X, lambda x: x, 1.0, delta=0.0)),
    ],
)
def test_bad_arguments(name, call):
    with pytest.raises(ValueError, match=f"`{name}` must .*, not "):
        call()


@pytest.mark.parametrize(
    "solve", [ref.soft_value_iteration, ref.soft_policy_iteration, ref.munchausen_value_iteration], ids=lambda f: f.__name__
)
def test_too_few_iterations(solve):
    with pytest.raises(RuntimeError, match=r"has not converged in 1 iterations.*max_iterations"):
        solve(*MDP, max_iterations=1)
