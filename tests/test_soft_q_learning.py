"""SoftQLearning's formulas against loops, quadrature and the naive Stein direction; its acting and its temperatures."""

import functools
import itertools

import numpy as np
import pytest
import torch as th
import toys
from gymnasium import spaces
from scipy.special import logsumexp, softmax
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from toys import SMALL, Toy, soft_value, step_on

from sb3_maxent import SoftQLearning, reference
from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm
from sb3_maxent.functional import log_det_tanh
from sb3_maxent.soft_q_learning import compose, fine_tune

make_model = functools.partial(toys.make_model, SoftQLearning)

DISCRETE = [spaces.Discrete(3), spaces.Discrete(4, start=-2), spaces.MultiDiscrete([3, 2], start=[1, -1])]
BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([3.0, 0.5], np.float32))
SPACES = [BOX, *DISCRETE[1:]]


def enlarge(module, factor):
    """Multiply all weights, so that Q-values differ by more than the near-zero ones of a fresh network."""
    with th.no_grad():
        for parameter in module.parameters():
            parameter.mul_(factor)


def draw_observations(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size=(n, 3)).astype(np.float32)


# ---------------------------------------------------------------------- discrete actions: formulas


def parts_of(space):
    return [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.tolist()


def joint_table(space, values):
    """(B, joint actions) sums of the components' entries, by loops over components."""
    parts = np.split(values, np.cumsum(parts_of(space))[:-1], axis=1)
    joint = itertools.product(*(range(part.shape[1]) for part in parts))
    return np.stack([sum(part[:, index] for part, index in zip(parts, action, strict=True)) for action in joint], axis=1)


def min_table(model, observations, critic, alpha):
    """(B, joint actions) the smallest Q; where only sums mean something, of the critic with the smallest soft value."""
    with th.no_grad():
        tables = np.array([joint_table(model.action_space, q.double().numpy()) for q in critic(observations)])
    if isinstance(model.action_space, spaces.Discrete):
        return tables.min(axis=0)
    index = (alpha * logsumexp(tables / alpha, axis=2)).argmin(axis=0)
    return tables[index, np.arange(len(index))]


def chosen(model, actions):
    """Index of each action in a joint table."""
    return np.ravel_multi_index((actions - model.action_space.start).astype(int).T, parts_of(model.action_space))


@pytest.mark.parametrize("n_critics", [1, 2, 3])
@pytest.mark.parametrize("action_space", DISCRETE, ids=str)
def test_discrete_targets(action_space, n_critics):
    """V, the Munchausen reward and the loss that one gradient step logs, with sums over joint actions."""
    alpha, coefficient, lowest = 0.3, 0.9, -0.4
    kwargs = {"munchausen_coef": coefficient, "munchausen_clip": lowest, "n_steps": 3, "gamma": 0.9}
    model = make_model(action_space, ent_coef=alpha, policy_kwargs={"n_critics": n_critics}, steps=60, **kwargs)
    enlarge(model.critic, 2.5)
    enlarge(model.critic_target, 2)
    data = model.replay_buffer.sample(32)
    data = data._replace(dones=(th.arange(32) % 4 == 0).float()[:, None])
    index = chosen(model, data.actions.numpy())
    rows = np.arange(32)

    table = min_table(model, data.next_observations, model.critic_target, alpha)
    values = alpha * logsumexp(table / alpha, axis=1)
    with th.no_grad():
        ours = soft_value(model, data.next_observations, alpha)
    np.testing.assert_allclose(ours[:, 0], values, rtol=1e-4, atol=1e-5)

    table = min_table(model, data.observations, model.critic_target, alpha)
    log_pi = (table - alpha * logsumexp(table / alpha, axis=1, keepdims=True)) / alpha
    scaled = alpha * log_pi[rows, index]
    assert (scaled < lowest).any() and (scaled > lowest).any()
    rewards = data.rewards[:, 0].numpy() + coefficient * np.clip(scaled, lowest, 0)
    with th.no_grad():
        np.testing.assert_allclose(model._rewards(step_on(None, alpha, data))[:, 0], rewards, rtol=1e-4, atol=1e-5)

    targets = rewards + (1 - data.dones[:, 0].numpy()) * data.discounts[:, 0].numpy() * values
    assert len(set(data.discounts[:, 0].tolist())) > 1  # episodes end inside some of the returns
    with th.no_grad():
        current = [joint_table(action_space, q.numpy())[rows, index] for q in model.critic(data.observations)]
    entropy = -(lambda p: (p * np.log(p)).sum(axis=1))(
        softmax(min_table(model, data.observations, model.critic, alpha) / alpha, 1)
    )
    model.replay_buffer.sample = lambda *args, **kwargs: data
    model.train(1, 32)
    logged = model.logger.name_to_value
    assert logged["train/critic_loss"] == pytest.approx(0.5 * sum(np.mean((q - targets) ** 2) for q in current), rel=1e-4)
    assert logged["train/q_mean"] == pytest.approx(np.mean(current), rel=1e-4, abs=1e-6)
    assert logged["train/entropy"] == pytest.approx(entropy.mean(), rel=1e-4)


# ---------------------------------------------------------------------- Box actions: formulas


def box_model(dim, alpha, **kwargs):
    """A model that has not learned, with smooth and curved critics and a sampler that is one-to-one but no identity."""
    policy_kwargs = {"activation_fn": th.nn.Tanh, **kwargs.pop("policy_kwargs", {})}
    space = spaces.Box(-1, 1, (dim,))
    model = make_model(space, ent_coef=alpha, policy_kwargs=policy_kwargs, learning_starts=100, **kwargs)
    enlarge(model.critic_target, 4)
    enlarge(model.critic, 3)
    if model._has_density:
        with th.no_grad():
            model.actor.linear_path.weight.copy_(th.tensor([[0.8, 0.5], [-0.4, 1.2]]) if dim == 2 else th.eye(dim) * 1.2)
    return model


def q_of(critic, observation):
    """Q of one state as a function of actions (M, d), by SB3's own forward pass."""

    def q_function(actions):
        actions = th.as_tensor(actions, dtype=th.float32)
        with th.no_grad():
            return th.cat(critic(observation.expand(len(actions), -1), actions), dim=1).amin(dim=1).numpy()

    return q_function


@pytest.mark.parametrize("n_critics", [1, 2])
@pytest.mark.parametrize("proposal", ["uniform", "sampler", "mixture"])
@pytest.mark.parametrize("dim", [1, 2])
def test_soft_value_is_the_integral(dim, proposal, n_critics):
    """Monte Carlo error: about 0.003 with this many particles (3 times that for samples with few near the bounds)."""
    alpha = 0.5
    model = box_model(dim, alpha, n_value_particles=40_001, value_proposal=proposal, policy_kwargs={"n_critics": n_critics})
    observations = th.as_tensor(draw_observations(4))
    with th.no_grad():
        values = soft_value(model, observations, model.ent_coef_tensor)
    expected = [
        reference.soft_value_by_quadrature(q_of(model.critic_target, observation), alpha, dim, 60)
        for observation in observations
    ]
    assert np.ptp(q_of(model.critic_target, observations[0])(np.linspace(-1, 1, 9).repeat(dim).reshape(-1, dim))) > alpha
    assert values.shape == (4, 1)
    np.testing.assert_allclose(values[:, 0], expected, atol=0.01 if proposal == "uniform" else 0.03)


@pytest.mark.parametrize("proposal", ["uniform", "sampler", "mixture"])
def test_td_target_of_box_actions(proposal):
    """The loss that one gradient step logs, with the values that it used."""
    model = box_model(2, 0.5, value_proposal=proposal, steps=120, n_steps=2)
    data = model.replay_buffer.sample(16)
    data = data._replace(dones=(th.arange(16) % 4 == 0).float()[:, None])
    model.replay_buffer.sample = lambda *args, **kwargs: data
    state = th.get_rng_state()
    with th.no_grad():
        values = soft_value(model, data.next_observations, model.ent_coef_tensor)
        targets = data.rewards + (1 - data.dones) * data.discounts * values
        q_values = model.critic(data.observations, data.actions)
    th.set_rng_state(state)
    model.train(1, 16)
    expected = 0.5 * sum(float((q - targets).square().mean()) for q in q_values)
    assert model.logger.name_to_value["train/critic_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("activation_fn", [th.nn.Tanh, th.nn.ReLU])
@pytest.mark.parametrize("alpha", [0.5, 0.0])
@pytest.mark.parametrize("kernel_bandwidth", [0.3, "median", "mean", "score"])
def test_stein_gradient(kernel_bandwidth, alpha, activation_fn, monkeypatch):
    """Each updated sample is pushed by alpha phi, which naive loops give: means over the fixed ones."""
    kwargs = {"n_kernel_particles": 7, "kernel_update_ratio": 0.4, "kernel_bandwidth": kernel_bandwidth}
    model = box_model(2, alpha, policy_kwargs={"activation_fn": activation_fn}, **kwargs)
    observations = th.as_tensor(draw_observations(3))
    samples = th.randn(3, 7, 2, generator=th.Generator().manual_seed(1))
    updated, fixed = samples[:, :3].clone().requires_grad_(), samples[:, 3:].clone()
    queue = [updated, fixed]
    original = model.actor.unsquashed_of_features

    def unsquashed(features, noise):
        if not queue:  # the entropy's
            return original(features, noise)
        assert noise.shape == queue[0].shape
        return queue.pop(0)

    monkeypatch.setattr(model.actor, "unsquashed_of_features", unsquashed)
    loss, _ = model._stein_loss(observations, model.ent_coef_tensor)
    (gradient,) = th.autograd.grad(loss, updated)

    directions = np.zeros((3, 3, 2))
    for b, observation in enumerate(observations):
        ends = fixed[b].clone().requires_grad_()
        q_values = th.cat(model.critic(observation.expand(4, -1), th.tanh(ends)), dim=1).amin(dim=1)
        # alpha times the score of exp(Q(tanh u) / alpha) |d tanh(u) / du|
        (score,) = th.autograd.grad((q_values + alpha * log_det_tanh(ends)).sum(), ends)
        u, y, scores = updated[b].detach().double().numpy(), fixed[b].double().numpy(), score.double().numpy()
        table = np.array([[((x - z) ** 2).sum() for z in y] for x in u])
        rules = {"median": np.sort(table.ravel())[(table.size - 1) // 2], "mean": table.mean()}
        rules = {rule: value / (2 * np.log(5)) for rule, value in rules.items()}
        lengths = np.linalg.norm(scores, axis=1)  # of alpha times the scores
        v = 2 * (alpha / lengths.mean()) ** 2
        rules["score"] = min(max(2 * v / np.log(5), 0.25 * table.min(axis=1).mean()), rules["median"])
        h = rules.get(kernel_bandwidth, kernel_bandwidth)
        for i in range(3):
            for j in range(4):
                k = reference.rbf_kernel(u[i], y[j], h)
                directions[b, i] += (k * scores[j] + alpha * k * (u[i] - y[j]) / h) / 4
    np.testing.assert_allclose(gradient * 9, -directions, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(loss.item(), 0.5 * (directions**2).sum(axis=2).mean(), rtol=1e-3)


@pytest.mark.parametrize("kwargs", [{}, {"value_proposal": "sampler", "ent_coef": "auto"}], ids=["default", "sampler-auto"])
def test_the_actors_loss_moves_only_the_actor(kwargs):
    model = make_model(BOX, **kwargs)
    model.policy.zero_grad(set_to_none=True)
    data = model.replay_buffer.sample(16)
    with th.no_grad():
        soft_value(model, data.next_observations, 0.5)
    loss, _ = model._actor_loss(step_on(data.observations, 0.5))
    assert all(parameter.grad is None for parameter in model.policy.parameters())
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.actor.parameters())
    for network in (model.critic, model.critic_target):
        assert all(parameter.grad is None for parameter in network.parameters())


def test_the_critics_loss_moves_only_the_critics():
    model = make_model(BOX)
    before = [parameter.clone() for parameter in model.actor.parameters()]
    model._actor_loss = lambda step: (None, None)
    critic = [parameter.clone() for parameter in model.critic.parameters()]
    model.train(2, 16)
    assert all(map(th.equal, before, model.actor.parameters()))
    assert not any(map(th.equal, critic, model.critic.parameters()))


@pytest.mark.parametrize("ent_coef", ["auto", 0.5])
def test_entropy_of_the_sampler(ent_coef):
    """-log density, averaged, is the entropy of a histogram (400 cells, bias 400 / 2n) of what predict() samples."""
    model = make_model(spaces.Box(-1, 1, (1,)), ent_coef=ent_coef, learning_starts=100)
    with th.no_grad():
        model.actor.linear_path.weight.fill_(0.6)
    observation = th.as_tensor(draw_observations(1))
    with th.no_grad():
        samples = model.predict(observation.expand(400_000, -1).numpy())[0]
        entropies = [model._stein_loss(observation.expand(20_000, -1), th.tensor(0.5))[1] for _ in range(2)]
    frequencies = np.histogram(samples, bins=400, range=(-1, 1))[0] / len(samples)
    frequencies = frequencies[frequencies > 0]
    expected = -(frequencies * np.log(frequencies * 200)).sum()
    assert entropies[0].shape == (20_000 if ent_coef == "auto" else 32, 1)  # where it is only logged, few states do
    if ent_coef == "auto":
        assert th.cat(entropies).mean().item() == pytest.approx(expected, abs=0.02)


def test_without_a_density_there_is_no_entropy():
    model = make_model(BOX, policy_kwargs={"noise_dim": 1})
    model.train(1, 16)
    assert "train/entropy" not in model.logger.name_to_value
    assert "train/actor_loss" in model.logger.name_to_value


@pytest.mark.parametrize(
    ("noise_dim", "proposal"), [(1, "uniform"), (2, "uniform"), (5, "uniform"), (2, "sampler"), (2, "mixture")]
)
@pytest.mark.parametrize(("n_value_particles", "n_kernel_particles", "ratio"), [(1, 2, 0.01), (1, 3, 0.99), (5, 7, 0.5)])
def test_numbers_of_particles(n_value_particles, n_kernel_particles, ratio, noise_dim, proposal):
    """The smallest ones, odd ones, and any noise with uniform proposals."""
    model = make_model(
        BOX,
        value_proposal=proposal,
        n_value_particles=max(n_value_particles, 2) if proposal == "mixture" else n_value_particles,
        n_kernel_particles=n_kernel_particles,
        kernel_update_ratio=ratio,
        policy_kwargs={"noise_dim": noise_dim, "n_particles": 1},
        steps=30,
    )
    assert model._n_updates > 0
    assert model.predict(draw_observations(2), deterministic=True)[0].shape == (2, 2)


def test_box_of_two_dimensions():
    model = make_model(spaces.Box(-3, 1, (2, 2)))
    for deterministic in (False, True):
        actions, _ = model.predict(draw_observations(5), deterministic=deterministic)
        assert actions.shape == (5, 2, 2) and (actions >= -3).all() and (actions <= 1).all()


class Subclass(SoftQLearning):
    """With a signature of its own, as users write them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize("action_space", SPACES[:2], ids=str)
def test_subclass(action_space, tmp_path):
    model = toys.make_model(Subclass, action_space)
    model.save(tmp_path / "model")
    assert type(Subclass.load(tmp_path / "model")) is Subclass


def test_number_of_critics_by_default():
    assert make_model(BOX, steps=0).critic.n_critics == 2
    assert make_model(DISCRETE[0], steps=0).critic.n_critics == 1


# ---------------------------------------------------------------------- without a temperature


@pytest.mark.parametrize("action_space", SPACES, ids=str)
def test_without_temperature(action_space):
    """V is the largest Q, discrete actions the best ones, and nothing is NaN."""
    kwargs = {"munchausen_coef": 0.5} if action_space is not BOX else {"value_proposal": "mixture"}
    model = make_model(action_space, ent_coef=0.0, policy_kwargs={"n_critics": 2}, steps=60, **kwargs)
    assert all(value.isfinite().all() for value in model.policy.state_dict().values())
    observations = th.as_tensor(draw_observations(8))
    with th.no_grad():
        values = soft_value(model, observations, model.ent_coef_tensor)[:, 0]
        if action_space is not BOX:
            tables = [joint_table(action_space, q.numpy()) for q in model.critic_target(observations)]
            worst = np.min(tables, axis=0).max(axis=1) if action_space.shape == () else np.max(tables, axis=2).min(axis=0)
            np.testing.assert_allclose(values, worst, rtol=1e-4, atol=1e-6)
            samples = [model.predict(observations.numpy(), deterministic=deterministic)[0] for deterministic in (False, True)]
            np.testing.assert_array_equal(*samples)
    if action_space is BOX:
        q_functions = [q_of(model.critic_target, observation) for observation in observations]
        nodes = reference.grid(2, 50)[0]
        best = [q_function(nodes).max() for q_function in q_functions]
        assert (values.numpy() <= np.array(best) + 1e-3).all() and (values.numpy() > np.array(best) - 0.2).all()


# ---------------------------------------------------------------------- acting


@pytest.mark.parametrize("action_space", SPACES, ids=str)
def test_predict(action_space):
    model = make_model(action_space, policy_kwargs={"n_critics": 2})
    observations = draw_observations(64)
    actions, _ = model.predict(observations, deterministic=True)
    assert actions.dtype == (np.float32 if action_space is BOX else np.int64)
    assert actions.shape == (64, *action_space.shape)
    np.testing.assert_array_equal(model.predict(observations, deterministic=True)[0], actions)
    # One row at a time, and without the batch dimension; one row never changes another's action
    for observation, action in zip(observations, actions, strict=True):
        np.testing.assert_allclose(model.predict(observation, deterministic=True)[0], action, rtol=1e-4, atol=1e-5)
    changed = observations.copy()
    changed[0] = -changed[0]
    for deterministic in (True, False):
        samples = []
        for batch in (observations, changed):
            th.manual_seed(1)
            samples.append(model.predict(batch, deterministic=deterministic)[0])
            assert all(sample in action_space for sample in samples[-1])
        np.testing.assert_array_equal(samples[0][1:], samples[1][1:])


@pytest.mark.parametrize("n_critics", [1, 2, 3])
def test_deterministic_box_action_is_the_best_of_fixed_particles(n_critics):
    """Particle by particle and critic by critic, through the layers as they are."""
    model = make_model(BOX, policy_kwargs={"n_critics": n_critics, "n_particles": 6})
    enlarge(model.critic, 2)
    observations = draw_observations(16)
    noise = model.policy.predict_noise
    assert noise.shape == (6, 2) and noise.abs().max() > 0.5
    indices = set()
    for observation, action in zip(observations, model.predict(observations, deterministic=True)[0], strict=True):
        obs = th.as_tensor(observation[None])
        candidates, q_values = [], []
        with th.no_grad():
            for z in noise:
                sample = model.actor.net(th.cat([obs, z[None]], dim=1)) + z[None] @ model.actor.linear_path.weight.T
                candidates.append(th.tanh(sample))
                q_values.append(min(q.item() for q in model.critic(obs, candidates[-1])))
        indices.add(int(np.argmax(q_values)))
        best = candidates[int(np.argmax(q_values))][0].numpy()
        np.testing.assert_allclose(action, BOX.low + 0.5 * (best + 1) * (BOX.high - BOX.low), rtol=1e-4, atol=1e-5)
    assert len(indices) > 1


def test_particles_of_deterministic_actions_are_standard_normal():
    noise = make_model(BOX, steps=0, policy_kwargs={"n_particles": 256}).policy.predict_noise.numpy()
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(noise.T), np.eye(2), atol=0.1)


def test_samples_of_the_sampler_are_independent():
    """Rows with the same observation: the sampler's distribution in each, and nothing in common."""
    model = make_model(BOX)
    observation = draw_observations(1)
    actions, _ = model.predict(observation.repeat(20_000, axis=0))
    assert len(np.unique(actions, axis=0)) > 19_900
    scaled = np.arctanh((2 * (actions - BOX.low) / (BOX.high - BOX.low) - 1).clip(-0.999999, 0.999999))
    with th.no_grad():
        noise = th.randn(1, 20_000, 2, generator=th.Generator().manual_seed(3))
        expected = model.actor.unsquashed(th.as_tensor(observation), noise)[0].numpy()
    np.testing.assert_allclose(scaled.mean(axis=0), expected.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(scaled.std(axis=0), expected.std(axis=0), atol=0.05)
    for lag in (1, 2, 64):
        for column in scaled.T:
            assert abs(np.corrcoef(column[:-lag], column[lag:])[0, 1]) < 0.03


@pytest.mark.parametrize("n_critics", [1, 2])
@pytest.mark.parametrize("action_space", DISCRETE[1:], ids=str)
def test_samples_have_the_policys_probabilities(action_space, n_critics):
    """Joint frequencies, with chi-squared at most 5 standard deviations above its mean; and the mode."""
    alpha, n = 0.3, 20_000
    model = make_model(action_space, ent_coef=alpha, policy_kwargs={"n_critics": n_critics})
    enlarge(model.critic, 2)
    for observation in draw_observations(3):
        table = min_table(model, th.as_tensor(observation[None]), model.critic, alpha)[0]
        probabilities = softmax(table / alpha)
        batch = np.tile(observation, (n, 1))
        counts = np.bincount(chosen(model, model.predict(batch)[0].reshape(n, -1)), minlength=len(table))
        statistic = ((counts - n * probabilities) ** 2 / (n * probabilities)).sum()
        freedom = len(table) - 1
        assert statistic < freedom + 5 * (2 * freedom) ** 0.5 + 5
        mode, _ = model.predict(batch[:1], deterministic=True)
        assert chosen(model, mode.reshape(1, -1))[0] == table.argmax()
    assert np.ptp(probabilities) > 0.1


# ---------------------------------------------------------------------- exploration


def follow(model, name, steps=100):
    """What is logged under a name after each step of learn()."""
    values = {}

    def callback(local, _):
        if name in model.logger.name_to_value:
            values[model.num_timesteps] = model.logger.name_to_value[name], model.policy.ent_coef.item()
        return True

    model.learn(steps, callback=callback, log_interval=10**6)
    return values


def test_exploration_rate_decays():
    model = make_model(DISCRETE[1], steps=0, exploration_initial_eps=0.8, exploration_final_eps=0.2, exploration_fraction=0.5)
    rates = follow(model, "rollout/exploration_rate")
    for step, (rate, _) in rates.items():  # logged after the callback: the rate of the step before
        assert rate == pytest.approx(max(0.8 - 0.6 * (step - 1) / 50, 0.2)), step
    assert len(rates) == 99


@pytest.mark.parametrize("behavior_policy", ["greedy", "boltzmann"])
@pytest.mark.parametrize("action_space", DISCRETE[1:], ids=str)
def test_behavior_policy(action_space, behavior_policy):
    """A share of 1 - eps acts by the policy's mode or by its samples, the rest uniformly."""
    n, eps = 8000, 0.5
    model = make_model(
        action_space,
        behavior_policy=behavior_policy,
        exploration_initial_eps=eps,
        exploration_final_eps=eps,
        ent_coef=0.3,
    )
    enlarge(model.critic, 2)
    observation = draw_observations(1)
    model._last_obs, model._repeated_actions = observation.repeat(n, axis=0), None
    table = min_table(model, th.as_tensor(observation), model.critic, 0.3)[0]
    policy = softmax(table / 0.3) if behavior_policy == "boltzmann" else np.eye(len(table))[table.argmax()]
    for rate in (eps, 0.0):
        model.exploration_initial_eps = model.exploration_final_eps = rate
        model.exploration_schedule = lambda progress, rate=rate: rate
        actions, buffer_actions = model._sample_action(0, None, n)
        np.testing.assert_array_equal(actions, buffer_actions)
        frequencies = np.bincount(chosen(model, actions.reshape(n, -1)), minlength=len(table)) / n
        np.testing.assert_allclose(frequencies, (1 - rate) * policy + rate / len(table), atol=0.025)
    # Before learning starts all is uniform
    model.num_timesteps, model.n_envs = 0, n
    actions, _ = model._sample_action(20, None, n)
    frequencies = np.bincount(chosen(model, actions.reshape(n, -1)), minlength=len(table)) / n
    np.testing.assert_allclose(frequencies, 1 / len(table), atol=0.025)


# ---------------------------------------------------------------------- temperature


@pytest.mark.parametrize(
    ("ent_coef", "schedule"),
    [
        ("lin_1", lambda progress: progress),
        ("lin_1_0.1", lambda progress: 0.1 + 0.9 * progress),
        ("lin_1_0.1_0.5", lambda progress: 0.1 + 0.9 * max(2 * progress - 1, 0)),
        (lambda progress: 0.5 * progress**2, lambda progress: 0.5 * progress**2),
        (0.7, lambda progress: 0.7),
        ("0.7", lambda progress: 0.7),
        ("1e-3", lambda progress: 1e-3),  # what a yml file makes of 1e-3
    ],
)
@pytest.mark.parametrize("action_space", SPACES[:2], ids=str)
def test_scheduled_temperature(action_space, ent_coef, schedule):
    """The one of a gradient step is logged, and it is the policy's, too."""
    model = make_model(action_space, ent_coef=ent_coef, steps=0)
    assert model.policy.ent_coef.item() == pytest.approx(schedule(1.0))
    values = follow(model, "train/ent_coef")
    assert len(values) == 79
    for step, logged in values.items():  # of the gradient step that followed the step before
        assert logged == pytest.approx((schedule(1 - (step - 1) / 100),) * 2, abs=1e-6), step


@pytest.mark.parametrize("action_space", DISCRETE[1:], ids=str)
@pytest.mark.parametrize("ratio", [0.3, 0.8])
def test_learned_temperature_of_discrete_actions(action_space, ratio):
    """In a bandit with fixed Q-values the entropy reaches its target."""
    target = ratio * np.log(parts_of(action_space)).sum()
    model = make_model(action_space, ent_coef="auto_0.5", target_entropy=target, learning_rate=0.0)
    enlarge(model.critic, 3)
    for group in model.ent_coef_optimizer.param_groups:
        group["lr"] = 0.02
    model._update_learning_rate = lambda optimizers: None
    model.train(600, 64)
    logged = model.logger.name_to_value
    model.train(1, 500)
    assert logged["train/entropy"] == pytest.approx(target, abs=0.05)
    assert model.policy.ent_coef.item() == pytest.approx(logged["train/ent_coef"]) != pytest.approx(0.5)
    assert make_model(action_space, ent_coef="auto", steps=0).target_entropy == pytest.approx(target / ratio / 2)


@pytest.mark.parametrize("target_entropy", ["auto", 1.3])
def test_learned_temperature_of_box_actions(target_entropy):
    """It falls where the entropy is above the target, -d, and rises where it is below."""
    model = make_model(BOX, ent_coef="auto_0.5", target_entropy=target_entropy, steps=30)
    assert model.target_entropy == (-2.0 if target_entropy == "auto" else 1.3)
    logged = model.logger.name_to_value
    model.train(1, 16)
    assert -2 < logged["train/entropy"] < 1.3
    assert (logged["train/ent_coef"] < 0.5) == (target_entropy == "auto")
    assert model.policy.ent_coef.item() == pytest.approx(logged["train/ent_coef"])


@pytest.mark.parametrize("path", [False, True])
def test_temperature_given_on_loading(path, tmp_path):
    """It is the one that the model acts with, before any training, too."""
    model = make_model(DISCRETE[1], ent_coef=5.0)
    model.save(tmp_path / "model")
    assert SoftQLearning.load(tmp_path / "model").policy.ent_coef.item() == 5.0
    loaded = SoftQLearning.load(tmp_path / "model", ent_coef=0.0)
    if path:
        loaded.set_parameters(tmp_path / "model.zip")
    observations = draw_observations(50)
    best = model.predict(observations, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(observations)[0], best)
    assert (model.predict(observations)[0] != best).any()


@pytest.mark.parametrize("noise_dim", [1, 2, 5])
def test_fresh_sampler_spreads_along_its_linear_path(noise_dim):
    """Without the path the first samples lie close together, and all of them end in one mode (benchmarks/sampler.py)."""
    model = SoftQLearning("MlpPolicy", toys.Toy(action_space=BOX), seed=0, policy_kwargs={"noise_dim": noise_dim})
    weight = model.policy.actor.linear_path.weight.detach()
    if noise_dim == 2:
        assert th.equal(weight, th.eye(2))
    smaller = weight @ weight.t() if noise_dim >= 2 else weight.t() @ weight
    th.testing.assert_close(smaller, th.eye(min(noise_dim, 2)))
    with th.no_grad():
        u = model.policy.actor.unsquashed(th.zeros(1, 3), model.policy.actor.draw_noise(1, 2000))
    assert th.linalg.matrix_norm(u[0].T.cov(), ord=2) > 0.7


def test_entropy_of_the_batch_by_autograd():
    """The entropies beside the Stein loss are those of the states that they stand for."""
    env, policy_kwargs = toys.Toy(action_space=BOX), {"net_arch": [16]}
    model = SoftQLearning("MlpPolicy", env, ent_coef="auto", n_kernel_particles=16, policy_kwargs=policy_kwargs)
    with th.no_grad():
        for parameter in model.policy.actor.net.parameters():
            parameter.mul_(3)
    observations = 2 * th.randn(6, 3, generator=th.Generator().manual_seed(0))
    th.manual_seed(1)
    _, entropies = model._stein_loss(observations, th.tensor(0.2))
    assert entropies is not None
    th.manual_seed(1)
    model.policy.actor.draw_noise(6, model.n_kernel_particles)
    for observation, noise, entropy in zip(observations, model.policy.actor.draw_noise(6, 1), entropies, strict=True):

        def sample(row, observation=observation):
            return th.tanh(model.policy.actor.unsquashed(observation.unsqueeze(0), row.view(1, 1, 2))).flatten()

        jacobian = th.autograd.functional.jacobian(sample, noise.flatten())
        normal = th.distributions.Normal(0.0, 1.0).log_prob(noise).sum()
        th.testing.assert_close(entropy.squeeze(), jacobian.det().abs().log() - normal, rtol=1e-3, atol=1e-3)


# ---------------------------------------------------------------------- values that no reward allows


def discrete_batch(rewards, discounts=None):
    """Transitions with these rewards, none of them the last of an episode."""
    observations = th.zeros(len(rewards), 3)
    rewards = th.tensor(rewards).reshape(-1, 1)
    discounts = None if discounts is None else th.tensor(discounts).reshape(-1, 1)
    return ReplayBufferSamples(
        observations, th.zeros(len(rewards), 1), observations, th.zeros_like(rewards), rewards, discounts
    )


def runaway(model):
    """Let all Q-values be 1e4."""
    with th.no_grad():
        for network in (*model.critic.q_networks, *model.critic_target.q_networks):
            network[-1].weight.zero_()
            network[-1].bias.fill_(1e4)
    return model


def test_values_are_bounded_by_rewards():
    """By hand: gamma 0.9, alpha 0.5, four actions; a reward for three steps; costs, which an end of the episode stops."""
    model = runaway(make_model(spaces.Discrete(4), gamma=0.9, ent_coef=0.5, steps=0))
    bonus = 0.5 * np.log(4) / 0.1

    def target(rewards, discounts=None):
        discount = 0.9 if discounts is None else th.tensor(discounts).reshape(-1, 1)
        step = GradientStep(discrete_batch(rewards, discounts), th.tensor(0.5), discount)
        return model._td_target(step).flatten().tolist()

    assert target([-1.0, -3.0]) == pytest.approx([-1 + 0.9 * bonus, -3 + 0.9 * bonus])
    assert target([-1.0, 2.0]) == pytest.approx([-1 + 0.9 * (20 + bonus), 2 + 0.9 * (20 + bonus)])
    assert target([-1.0]) == pytest.approx([-1 + 0.9 * (20 + bonus)])  # it remembers
    assert target([8.13], [0.729]) == pytest.approx([8.13 + 0.729 * (30 + bonus)])  # 3 for three steps
    for kwargs in ({"bound_values": False, "gamma": 0.9}, {"gamma": 1.0}):
        free = runaway(make_model(spaces.Discrete(4), ent_coef=0.5, steps=0, **kwargs))
        step = GradientStep(discrete_batch([1.0]), th.tensor(0.5), free.gamma)
        assert free._td_target(step).item() == pytest.approx(1 + free.gamma * (1e4 + 0.5 * np.log(4)))


@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_runaway_q_comes_back(compile):
    """Trained on rewards of at most 1, values of 1e4 fall to the bound; a loaded model still knows it."""
    model = make_model(spaces.Discrete(4), gamma=0.5, ent_coef=0.1, learning_rate=0.05, tau=1.0, compile=compile, steps=100)
    highest = model.replay_buffer.rewards[: model.replay_buffer.pos].max() / 0.5
    assert 0 < model.highest_return.item() <= highest + 1e-5
    runaway(model)
    with th.no_grad():
        for network in model.critic.q_networks:
            network[-1].bias.fill_(20.0)
        model.critic_target.load_state_dict(model.critic.state_dict())
    model.train(600, 32)
    assert model.logger.name_to_value["train/q_mean"] < 20
    with th.no_grad():
        q_values = model.critic(th.zeros(1, 3))[0]
    assert q_values.max() < highest + 0.1 * np.log(4) / 0.5 + 0.3


def test_bound_is_saved(tmp_path):
    model = make_model(spaces.Discrete(4), steps=60)
    model.save(tmp_path / "model")
    loaded = SoftQLearning.load(tmp_path / "model")
    assert loaded.highest_return.item() == model.highest_return.item() > 0
    tuned = fine_tune(model, Toy(action_space=spaces.Discrete(4)))
    assert tuned.highest_return.item() == model.highest_return.item()
    assert compose([model, model], gradient_steps=0).highest_return.item() == np.inf
    fresh = SoftQLearning("MlpPolicy", Toy(action_space=spaces.Discrete(4)), **SMALL)
    assert fresh.highest_return.item() == 0


def test_model_that_was_saved_before_there_was_a_bound(tmp_path, monkeypatch):
    """Nothing is known of its rewards, so its values have no bound."""
    model = make_model(spaces.Discrete(4), steps=60)
    monkeypatch.setattr(SoftQLearning, "_get_torch_save_params", MaxEntAlgorithm._get_torch_save_params)
    model.save(tmp_path / "old")
    monkeypatch.undo()
    loaded = SoftQLearning.load(tmp_path / "old", env=model.get_env())
    assert loaded.highest_return.item() == np.inf
    loaded.learn(30, reset_num_timesteps=False)
