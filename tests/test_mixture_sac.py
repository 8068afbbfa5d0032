"""MixtureSAC's density and gradients against torch.distributions, quadrature and SAC's formulas; its components."""

import math
from typing import Any

import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor
from toys import Toy, make_model, soft_value, step_on

from sb3_maxent import SACNF, MixtureSAC
from sb3_maxent.common.gradient_step import OptimizerUpdate
from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.functional import gaussian_log_probs
from sb3_maxent.mixture_sac.policies import Mixture
from sb3_maxent.reference import histogram_kl

OBSERVATION = th.tensor([[0.3, -0.5, 0.8]])
counts = pytest.mark.parametrize("n_components", [1, 2, 5])


def make_actor(dim=2, seed=0, noise=0.1, **kwargs):
    """An actor for three-dimensional observations, all of whose weights are moved at random."""
    th.manual_seed(seed)
    env = Toy(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (dim,)))
    actor = MixtureSAC("MlpPolicy", env, buffer_size=1, policy_kwargs={"net_arch": [16, 16]}, **kwargs).actor
    with th.no_grad():
        for parameter in actor.parameters():
            parameter.add_(noise * th.randn_like(parameter))
    return actor


def distribution(actor, observations):
    """The policy by torch.distributions, in double precision."""
    weights, means, stds = (part.double() for part in actor.components(observations))
    gaussians = th.distributions.Independent(th.distributions.Normal(means, stds), 1)
    mixture = th.distributions.MixtureSameFamily(th.distributions.Categorical(weights), gaussians)
    return th.distributions.TransformedDistribution(mixture, th.distributions.TanhTransform(cache_size=1))


# ---------------------------------------------------------------------- the density


def test_gaussian_log_probs_numbers():
    """The origin under N(0, 1)^2, and under deviations of 2 and 1 at a distance of one deviation."""
    means = th.tensor([[[0.0, 0.0], [2.0, 0.0]]])
    log_stds = th.tensor([[[0.0, 0.0], [math.log(2), 0.0]]])
    values = gaussian_log_probs(th.zeros(1, 1, 2), means, log_stds)
    th.testing.assert_close(values, th.tensor([[[-math.log(2 * math.pi), -math.log(2 * math.pi) - math.log(2) - 0.5]]]))


@counts
@pytest.mark.parametrize("dim", [1, 3])
def test_density_is_that_of_torch_distributions(dim, n_components):
    actor = make_actor(dim, n_components=n_components, noise=0.3)
    observations = th.rand(200, 3)
    with th.no_grad():
        actions, log_prob = actor.action_log_prob(observations)
        given = actor.log_prob(observations, actions)
    expected = distribution(actor, observations).log_prob(actions.double()).float()
    inside = (actions.abs() < 0.999).all(dim=1)
    assert inside.sum() > 100 and actions.abs().max() <= 1
    th.testing.assert_close(log_prob[inside], expected[inside], rtol=1e-4, atol=1e-3)
    th.testing.assert_close(given[inside], expected[inside], rtol=1e-4, atol=1e-3)


@counts
def test_density_integrates_to_one(n_components):
    actor = make_actor(1, n_components=n_components, noise=0.3)
    u = th.linspace(-9, 9, 8001)
    with th.no_grad():
        log_prob = actor.log_prob(OBSERVATION.expand(len(u), 3), u.tanh()[:, None])
    assert (log_prob.exp() * (1 - u.tanh() ** 2) * (u[1] - u[0])).sum().item() == pytest.approx(1, abs=2e-3)


def test_samples_follow_the_density():
    actor = make_actor(2, noise=0.3)
    with th.no_grad():
        actions = actor(OBSERVATION.expand(50_000, 3)).numpy()

        def log_density(points):
            points = th.as_tensor(points, dtype=th.float32)
            return actor.log_prob(OBSERVATION.expand(len(points), 3), points).double().numpy()

        assert histogram_kl(actions, log_density, nodes_per_bin=16) < 0.007  # by chance alone 400 cells / (2 * 50000)
        actor.logits.bias.add_(th.tensor([1.0, 0.0, 0.0, 0.0]))
        assert histogram_kl(actions, log_density) > 0.02  # not another mixture's


def test_components():
    actor = make_actor(3, n_components=4, noise=0)
    weights, means, stds = actor.components(th.rand(7, 3))
    assert weights.shape == (7, 4) and means.shape == stds.shape == (7, 4, 3)
    th.testing.assert_close(weights.sum(dim=1), th.ones(7))
    assert not weights.requires_grad and weights.max() < 0.5
    # The start: deviations near the given one, means apart and within the given share of the actions
    assert 0.12 < stds.min() and stds.max() < 0.35
    distances = th.cdist(means[0].tanh(), means[0].tanh()) + 9 * th.eye(4)
    assert distances.min() > 0.3 and means.tanh().abs().max() < 0.95


def test_the_start_follows_its_parameters():
    actor = make_actor(3, noise=0, mean_spread=0.0, start_std=0.05, max_std=2.0)
    for layer in (actor.mu, actor.log_std):
        layer.weight.data.zero_()
    _, means, stds = actor.components(OBSERVATION)
    assert th.equal(means, th.zeros(1, 4, 3))
    th.testing.assert_close(stds, th.full((1, 4, 3), 0.05))


def test_deviations_stay_below_their_bound_and_can_leave_it():
    actor = make_actor(3, max_std=0.3, start_std=0.1)
    for raw in (1.2, 4.0):  # SAC's own bound is 2
        actor.log_std.bias.data.fill_(raw)
        log_stds = actor.mixture(OBSERVATION).log_stds
        assert 0.23 < log_stds.exp().min() and log_stds.exp().max() < 0.3
        (slope,) = th.autograd.grad(log_stds.sum(), actor.log_std.bias)
        assert slope.min() > 1e-3


@pytest.mark.parametrize("max_std", [0.5, 2.0, 7.0])
def test_a_start_at_the_bound(max_std):
    actor = make_actor(3, noise=0, start_std=0.99 * max_std, max_std=max_std)
    actor.log_std.weight.data.zero_()
    th.testing.assert_close(actor.components(OBSERVATION).stds, th.full((1, 4, 3), 0.99 * max_std), rtol=1e-4, atol=0)


# ---------------------------------------------------------------------- one component


def test_one_component_is_sacs_actor():
    actor = make_actor(n_components=1)
    sac = Actor(actor.observation_space, actor.action_space, [16, 16], FlattenExtractor(actor.observation_space), 3)
    sac.load_state_dict(actor.state_dict())
    observations = th.rand(50, 3)
    assert th.equal(actor(observations, deterministic=True), sac(observations, deterministic=True))
    results = []
    for each in (actor, sac):
        th.manual_seed(1)
        results.append(each.action_log_prob(observations))
    (actions, log_prob), (expected_actions, expected) = results
    assert th.equal(actions, expected_actions)
    th.testing.assert_close(log_prob, expected, rtol=1e-4, atol=1e-4)  # SAC adds 1e-6 inside a logarithm


@pytest.mark.parametrize("ent_coef", [0.2, "auto"])
def test_one_component_learns_as_sac(ent_coef):
    """SACNF without flows has SAC's formulas (test_sacnf.py), and draws noise in the same order."""
    kwargs = {"ent_coef": ent_coef, "steps": 120, "policy_kwargs": {"net_arch": [16, 16]}}
    ours = make_model(MixtureSAC, spaces.Box(-2, 3, (2,)), n_components=1, **kwargs)
    sac = make_model(SACNF, spaces.Box(-2, 3, (2,)), n_flows=0, **kwargs)
    assert ours._n_updates == sac._n_updates >= 100
    weights, expected = ours.policy.state_dict(), sac.policy.state_dict()
    assert list(weights) == list(expected)
    for name, value in expected.items():
        th.testing.assert_close(weights[name], value, rtol=1e-3, atol=2e-4)


# ---------------------------------------------------------------------- the algorithm


def quadratic(model, centres, heights):
    """Give a model critics whose Q is the highest of some hills in one dimension, without a network."""

    def q_values(actions):
        return (heights - 4 * (actions - centres) ** 2).amax(dim=2)

    def q_and_gradient(features, actions, of="min"):
        with th.enable_grad():
            actions = actions.detach().requires_grad_()
            values = q_values(actions)
            return values.detach(), th.autograd.grad(values.sum(), actions)[0]

    stub: Any = type("Stub", (th.nn.Module,), {})()
    stub.particle_features = lambda obs: obs
    stub.q_and_gradient, stub.q_particles = q_and_gradient, lambda features, actions: q_values(actions)
    model.policy.critic = model.critic = model.policy.critic_target = model.critic_target = stub


def objective(mixture, centres, heights, ent_coef):
    """Integral of pi (alpha log pi - Q) by quadrature, one dimension, for one state, and the entropy."""
    u = th.linspace(-7, 7, 20_001, dtype=th.float64)[None, :, None]
    log_weights, means, log_stds = (part[:1].double() for part in mixture)
    normals = th.distributions.Normal(means[:, :, 0], log_stds[:, :, 0].exp())
    log_u = (normals.log_prob(u) + log_weights).logsumexp(dim=2)[0]
    actions = u[0].tanh()
    log_prob = log_u - (1 - actions[:, 0] ** 2).clamp(min=1e-300).log()
    q = (heights - 4 * (actions - centres) ** 2).amax(dim=1)
    probability = log_u.exp() * (u[0, 1, 0] - u[0, 0, 0])
    return (probability * (ent_coef * log_prob - q)).sum(), -(probability * log_prob).sum()


CENTRES, HEIGHTS = th.tensor([-0.5, 0.6]), th.tensor([1.0, 0.5])


def exact_and_estimated(weights=(0.7, 0.3), n_states=40_000):
    """A model of two components in one state; the exact objective and the loss, both as functions of the same mixture."""
    model: Any = make_model(MixtureSAC, spaces.Box(-1, 1, (1,)), n_components=2)
    quadratic(model, CENTRES, HEIGHTS)
    parts = [
        th.tensor(weights).log()[None].requires_grad_(),
        th.tensor([[[-0.6], [0.3]]], requires_grad=True),
        th.tensor([[[-1.0], [-1.5]]], requires_grad=True),
    ]

    def mixture(obs):
        logits, means, log_stds = (part.expand(len(obs), *part.shape[1:]) for part in parts)
        return Mixture(logits.log_softmax(dim=1), means, log_stds)

    model.actor.mixture = mixture
    observations = th.zeros(n_states, *model.observation_space.shape)
    return model, parts, mixture(observations[:1]), observations


def test_soft_value_and_entropy_are_the_exact_integrals():
    model, _, mixture, observations = exact_and_estimated()
    cost, entropy = objective(mixture, CENTRES.double(), HEIGHTS.double(), 0.4)
    values = soft_value(model, observations, 0.4)
    assert values.mean().item() == pytest.approx(-cost.item(), abs=0.01)
    _, estimate = model._actor_loss(step_on(observations, 0.4))
    assert estimate.mean().item() == pytest.approx(entropy.item(), abs=0.01)


def test_gradient_is_that_of_the_objective():
    model, parts, mixture, observations = exact_and_estimated()
    cost, _ = objective(mixture, CENTRES.double(), HEIGHTS.double(), 0.4)
    exact = [gradient.squeeze() for gradient in th.autograd.grad(cost, parts)]
    loss, _ = model._actor_loss(step_on(observations, 0.4))
    ours = [gradient.squeeze() for gradient in th.autograd.grad(loss, parts)]
    for ours_of_part, exact_of_part in zip(ours, exact, strict=True):
        th.testing.assert_close(ours_of_part, exact_of_part, rtol=0, atol=0.02)
        assert exact_of_part.abs().min() > 0.04


def test_default_target_entropy():
    assert make_model(MixtureSAC, spaces.Box(-1, 1, (2,))).target_entropy == -2


def test_deterministic_actions():
    """The heaviest component's mean, or that of the component which the critics like best; the same in each call."""
    model = make_model(MixtureSAC, spaces.Box(-1, 1, (1,)), n_components=2)
    model.policy.set_training_mode(False)
    with th.no_grad():
        for layer in (model.actor.mu, model.actor.logits):
            layer.weight.zero_()
        model.actor.mu.bias.copy_(th.tensor([-0.6, 0.9]).atanh())
        model.actor.logits.bias.copy_(th.tensor([0.0, 1.0]))
    observation = model.observation_space.sample()
    assert model.predict(observation, deterministic=True)[0].item() == pytest.approx(0.9, abs=1e-5)
    model.policy.deterministic_action = "best"
    for slope, best in ((-1.0, -0.6), (1.0, 0.9)):
        model.policy.critic.q_particles = lambda features, actions, slope=slope: slope * actions.sum(dim=2)
        assert model.predict(observation, deterministic=True)[0].item() == pytest.approx(best, abs=1e-5)
    assert abs(model.predict(observation)[0].item() - model.predict(observation)[0].item()) > 1e-4


def test_each_state_has_its_own_component():
    """In two states the weight and the means are on other sides: no row is given another's component, nor its mean."""
    actor = make_actor(1, n_components=2, start_std=0.01, max_std=0.02)
    table = {0: ([9.0, -9.0], [0.5, -0.2]), 1: ([-9.0, 9.0], [-0.7, 0.3])}
    states = th.tensor([0, 1, 1, 0, 1])

    def mixture(obs):
        logits, means = (th.tensor([table[int(state)][part] for state in obs]) for part in (0, 1))
        return Mixture(logits.log_softmax(dim=1), means[:, :, None], th.full((len(obs), 2, 1), -5.0))

    actor.mixture = mixture
    expected = th.tensor([0.5, 0.3, 0.3, 0.5, 0.3])[:, None]
    th.testing.assert_close(actor(states, deterministic=True), expected.tanh())
    for actions in (actor(states), actor.action_log_prob(states)[0]):
        th.testing.assert_close(actions, expected.tanh(), rtol=0, atol=0.05)


def test_components_have_noise_of_their_own():
    actor = make_actor(2, noise=0, mean_spread=0.0)
    for layer in (actor.mu, actor.log_std):
        layer.weight.data.zero_()
    actions, _, _ = actor.component_actions(OBSERVATION)
    assert th.cdist(actions[0], actions[0]).triu(1).unique().numel() == 7  # six distances, and zero


def test_products_have_a_row_for_each_component():
    """By which the faster library for them is chosen."""
    assert make_model(MixtureSAC, spaces.Box(-1, 1, (1,)), n_components=3)._n_actions_a_transition() == 3


@pytest.mark.parametrize(("n_components", "lowest", "highest"), [(1, 1.2, 1.4), (4, 0, 0.1), (8, 0, 0.1)])
def test_actors_loss_with_the_exact_q(n_components, lowest, highest):
    """KL divergence to exp(Q / alpha) of four modes: SAC's Gaussian can't come near it."""
    env = MixtureBanditEnv()
    means = th.as_tensor(env.means, dtype=th.float32)
    model: Any = MixtureSAC(
        "MlpPolicy", env, n_components=n_components, ent_coef=1.0, seed=1, policy_kwargs={"net_arch": [32]}
    )
    critic: Any = type("Stub", (th.nn.Module,), {})()

    def q_and_gradient(features, actions, of="min"):
        with th.enable_grad():
            actions = actions.detach().requires_grad_()
            squares = ((actions[:, :, None] - means) ** 2).sum(dim=3)
            values = th.logsumexp(-squares / (2 * env.widths[0] ** 2), dim=2)
            return values.detach(), th.autograd.grad(values.sum(), actions)[0]

    critic.particle_features, critic.q_and_gradient = (lambda obs: obs), q_and_gradient
    model.policy.critic = model.critic = critic
    update = OptimizerUpdate(th.optim.Adam(model.actor.parameters(), 5e-3))
    for _ in range(400):
        loss, _ = model._actor_loss(step_on(th.zeros(128, 1), 1.0))
        update.apply(th.autograd.grad(loss, update.parameters))
    actions = model.actor(th.zeros(20_000, 1)).detach().numpy()
    assert lowest < histogram_kl(actions, env.log_prob) < highest


def test_a_policy_saved_alone_keeps_its_components(tmp_path):
    parameters = {"n_components": 3, "mean_spread": 0.4, "start_std": 0.1, "max_std": 0.3, "deterministic_action": "best"}
    model = make_model(MixtureSAC, spaces.Box(-2, 3, (2,)), **parameters)
    model.policy.save(tmp_path / "policy")
    loaded = type(model.policy).load(tmp_path / "policy")
    assert {name: getattr(loaded, name) for name in parameters} == parameters
    observation = model.observation_space.sample()
    assert (loaded.predict(observation, deterministic=True)[0] == model.predict(observation, deterministic=True)[0]).all()
