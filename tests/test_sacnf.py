"""SACNF's flows against hand-made numbers, autograd's Jacobian and quadrature; its hooks; what it needs of Zuko."""

import math
import subprocess
import sys
from typing import Any

import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor
from toys import Toy, make_model, soft_value, step_on

from sb3_maxent import SACNF
from sb3_maxent.common.gradient_step import OptimizerUpdate
from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.functional import log_abs_det_jacobian
from sb3_maxent.reference import histogram_kl
from sb3_maxent.sacnf import flows

FAMILIES = ("radial", "planar", "spline")


class DoubleExtractor(FlattenExtractor):
    """Features in double precision, where SB3 makes all observations single."""

    def forward(self, observations):
        return super().forward(observations).double()


def make_actor(dim=2, seed=0, noise=0.1, double=True, **kwargs):
    """An actor for three-dimensional observations, all of whose weights are moved at random."""
    th.manual_seed(seed)
    env = Toy(spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (dim,)))
    policy_kwargs = {"net_arch": [16, 16], **({"features_extractor_class": DoubleExtractor} if double else {})}
    actor = SACNF("MlpPolicy", env, buffer_size=1, policy_kwargs=policy_kwargs, **kwargs).actor
    actor = actor.double() if double else actor
    with th.no_grad():
        for parameter in actor.parameters():
            parameter.add_(noise * th.randn_like(parameter))
    return actor


# ---------------------------------------------------------------------- transforms


def transforms(family, dim, n=64):
    """Transforms of n points in double precision, with parameters from mild to extreme."""
    size = th.linspace(0, 4, n, dtype=th.float64)
    if family == "radial":
        parameters = th.randn(n, dim).double(), size * th.randn(n), size * th.randn(n)
        return flows.RadialTransform(*parameters)
    if family == "planar":
        return flows.PlanarTransform(size[:, None] * th.randn(n, dim), th.randn(n).double(), size[:, None] * th.randn(n, dim))
    lazy = flows.make_flows("spline", 1, dim, 5, 8, th.nn.ReLU).double()[0]
    return lazy(size[:, None] * th.randn(n, 5))


families = pytest.mark.parametrize("family", FAMILIES)
dims = pytest.mark.parametrize("dim", [1, 2, 3])


@dims
@families
def test_log_det_is_that_of_the_jacobian(family, dim):
    th.manual_seed(dim)
    transform = transforms(family, dim)
    x = (2 * th.randn(64, dim)).double().requires_grad_()
    y, log_det = transform.call_and_ladj(x)
    th.testing.assert_close(log_det, log_abs_det_jacobian(y, x), rtol=1e-9, atol=1e-9)
    assert log_det.std() > 0.1  # not all the identity


@dims
@families
def test_inverse(family, dim):
    th.manual_seed(dim)
    transform = transforms(family, dim)
    x = (2 * th.randn(64, dim)).double()
    th.testing.assert_close(transform.inv(transform(x)), x, rtol=1e-7, atol=1e-7)
    y = (2 * th.randn(64, dim)).double()  # any point is the image of one
    th.testing.assert_close(transform(transform.inv(y)), y, rtol=1e-7, atol=1e-7)


def test_radial_numbers():
    """alpha = 1 and a derivative of 2 at the centre, so beta = 1, at distance 1: h = 1/2."""
    transform = flows.RadialTransform(th.tensor([[1.0, 0.0]]), th.zeros(1), th.tensor([math.log(2)]))
    x = th.tensor([[1.0, 1.0]])
    y, log_det = transform.call_and_ladj(x)
    th.testing.assert_close(y, th.tensor([[1.0, 1.5]]))
    # (1 + beta h)^(d - 1) (1 + beta h + beta h' r) with h' = -1/4
    th.testing.assert_close(log_det, th.tensor([math.log(1.5 * (1.5 - 0.25))]))


def test_planar_numbers():
    """Across w the scale is taken as it is; along w it is changed to softplus(w scale + log(e - 1)) - 1."""
    x = th.tensor([[0.5, 2.0]])
    w, b = th.tensor([[1.0, 0.0]]), th.tensor([0.5])
    y, log_det = flows.PlanarTransform(w, b, th.tensor([[0.0, 3.0]])).call_and_ladj(x)
    th.testing.assert_close(y, th.tensor([[0.5, 2 + 3 * math.tanh(1)]]))
    th.testing.assert_close(log_det, th.zeros(1), atol=1e-6, rtol=0)
    y, log_det = flows.PlanarTransform(w, b, th.tensor([[-50.0, 0.0]])).call_and_ladj(x)  # the bound, w u = exp(-5) - 1
    along = math.exp(-5) - 1
    th.testing.assert_close(y, th.tensor([[0.5 + along * math.tanh(1), 2.0]]))
    th.testing.assert_close(log_det, th.tensor([math.log(1 + along * (1 - math.tanh(1) ** 2))]))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e4])
@pytest.mark.parametrize("family", ["radial", "planar"])
def test_extreme_parameters_give_finite_numbers(family, size):
    th.manual_seed(0)
    parameters = [size * th.randn(100, 2), size * th.randn(100), size * th.randn(100)]
    if family == "planar":
        parameters[2] = size * th.randn(100, 2)
    for parameter in parameters:
        parameter.requires_grad_()
    transform = (flows.RadialTransform if family == "radial" else flows.PlanarTransform)(*parameters)
    y, log_det = transform.call_and_ladj(th.randn(100, 2))
    (y.sum() + log_det.sum()).backward()
    for value in (y, log_det, *(parameter.grad for parameter in parameters)):
        assert value.isfinite().all()


@families
def test_splines_leave_what_is_outside_of_their_domain(family):
    """The identity beyond 5 for splines; shallow flows reach everywhere."""
    x = th.tensor([[7.0, -8.0]], dtype=th.float64)
    th.manual_seed(0)
    lazy = flows.make_flows(family, 1, 2, 0, 8, th.nn.ReLU).double()[0]
    for parameter in lazy.parameters():
        parameter.data += 0.5
    assert th.equal(lazy()(x), x) == (family == "spline")


# ---------------------------------------------------------------------- the actor

actors = pytest.mark.parametrize(
    ("family", "conditional"), [(family, conditional) for family in FAMILIES for conditional in (False, True)]
)


@pytest.mark.parametrize("dim", [1, 2])
@actors
def test_density_integrates_to_one(family, conditional, dim):
    actor = make_actor(dim, flow=family, conditional_flow=conditional)
    u = th.linspace(-9, 9, 8001 if dim == 1 else 201, dtype=th.float64)
    points = th.cartesian_prod(*[u] * dim).reshape(-1, dim)
    actions = points.tanh()
    with th.no_grad():
        log_prob = actor.log_prob(th.tensor([[0.3, -0.5, 0.8]]).expand(len(actions), 3), actions)
    volume = (1 - actions**2).prod(dim=1) * (u[1] - u[0]) ** dim
    assert (log_prob.exp() * volume).sum().item() == pytest.approx(1, abs=2e-3)


@actors
def test_density_of_the_drawn_action(family, conditional):
    actor = make_actor(flow=family, conditional_flow=conditional)
    observations = th.rand(200, 3)
    actions, log_prob = actor.action_log_prob(observations)
    inside = (actions.abs() < 0.9999).all(dim=1)
    assert inside.sum() > 150 and actions.abs().max() <= 1
    th.testing.assert_close(log_prob[inside], actor.log_prob(observations, actions)[inside], rtol=1e-6, atol=1e-6)


@actors
def test_density_is_that_of_the_map_from_noise_to_action(family, conditional):
    """Against autograd's Jacobian of everything after the standard normal noise, in three dimensions."""
    actor = make_actor(3, flow=family, conditional_flow=conditional)
    observations, noise = th.rand(100, 3), th.randn(100, 3, dtype=th.float64, requires_grad=True)
    mean, log_std, transforms_ = actor._base(observations)
    u = mean + log_std.exp() * noise
    for transform in transforms_:
        u = transform(u)
    actions = th.tanh(u)
    expected = th.distributions.Normal(0, 1).log_prob(noise).sum(dim=1) - log_abs_det_jacobian(actions, noise)
    inside = (actions.abs() < 0.9999).all(dim=1)
    assert inside.sum() > 70
    th.testing.assert_close(actor.log_prob(observations, actions)[inside], expected[inside], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("family", "noise"), [("radial", 0.3), ("planar", 0.3), ("spline", 0.1)])
def test_samples_follow_the_density(family, noise):
    actor = make_actor(2, flow=family, double=False, noise=noise)
    observation = th.tensor([[0.3, -0.5, 0.8]])
    with th.no_grad():
        actions = actor(observation.expand(50_000, 3)).numpy()

        def log_density(points):
            points = th.as_tensor(points, dtype=th.float32)
            return actor.log_prob(observation.expand(len(points), 3), points).double().numpy()

        assert histogram_kl(actions, log_density, nodes_per_bin=16) < 0.007  # by chance alone 400 cells / (2 * 50000)
        actor.flows = actor.flows[:0]
        assert histogram_kl(actions, log_density) > 0.015  # not the Gaussian's


def test_without_flows_it_is_sacs_actor():
    actor = make_actor(n_flows=0, double=False)
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
    # SAC adds 1e-6 inside the logarithm of tanh's derivative
    th.testing.assert_close(log_prob, expected, rtol=1e-4, atol=1e-4)


@families
def test_deterministic_action_is_the_image_of_the_mean(family):
    """Which in one dimension is the median."""
    actor = make_actor(1, flow=family, double=False, noise=0.2)
    observation = th.tensor([[0.3, -0.5, 0.8]])
    with th.no_grad():
        action = actor(observation, deterministic=True)
        assert th.equal(action, actor(observation, deterministic=True))
        below = (actor(observation.expand(20_000, 3)) < action).float().mean().item()
    assert below == pytest.approx(0.5, abs=0.02)


@actors
def test_conditional_flows_depend_on_the_observation(family, conditional):
    actor = make_actor(flow=family, conditional_flow=conditional)
    x = th.randn(1, 2, dtype=th.float64).expand(2, 2)
    images = x
    for transform in actor._base(th.tensor([[0.9, 0.9, 0.9], [-0.9, -0.9, -0.9]]))[2]:
        images = transform(images)
    assert (images[0] - images[1]).abs().max().item() == 0 if not conditional else (images[0] - images[1]).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["radial", "planar"])
def test_shallow_flows_begin_as_the_identity(family):
    actor = make_actor(flow=family, noise=0)
    x = th.randn(30, 2, dtype=th.float64)
    for transform in actor._base(th.rand(30, 3))[2]:
        assert (transform(x) - x).abs().max() < 0.02


def test_numbers_of_parameters():
    """The paper's flows: a centre and two numbers, or two vectors and a number, for each of them."""

    def extra(**kwargs):
        counts = [sum(p.numel() for p in make_actor(3, n_flows=n, **kwargs).parameters()) for n in (0, 4)]
        return counts[1] - counts[0]

    assert extra(flow="radial", conditional_flow=False) == 4 * (3 + 2)
    assert extra(flow="planar", conditional_flow=False) == 4 * (3 + 3 + 1)
    assert extra(flow="radial") == 4 * (3 + 2) * (1 + 16)
    assert extra(flow="spline") > 4 * 64 * 64


# ---------------------------------------------------------------------- the algorithm


def test_hooks_by_hand():
    """V = min Q' - alpha log p, and the actor's loss alpha log p - min Q, with two critics."""
    model = make_model(SACNF, spaces.Box(-1, 1, (2,)))
    observations = th.zeros(3, *model.observation_space.shape)
    log_prob = th.tensor([0.5, -1.0, 2.0])
    model.policy.actor = model.actor = type(
        "Stub", (th.nn.Module,), {"action_log_prob": lambda self, obs: (th.zeros(3, 2), log_prob)}
    )()
    q, target = th.tensor([[1.0], [5.0], [3.0]]), th.tensor([[0.0], [1.0], [2.0]])
    model.critic = lambda obs, actions: (q, q.flip(0))
    model.critic_target = lambda obs, actions: (target + 1, target)
    values = soft_value(model, observations, 0.5)
    th.testing.assert_close(values, th.tensor([[-0.25], [1.5], [1.0]]))
    loss, entropy = model._actor_loss(step_on(observations, 0.5))
    th.testing.assert_close(loss, th.tensor((0.25 - 1 - 0.5 - 5 + 1 - 1) / 3))
    th.testing.assert_close(entropy, -log_prob[:, None])


def test_default_target_entropy():
    assert make_model(SACNF, spaces.Box(-1, 1, (2,))).target_entropy == -2


@pytest.mark.parametrize(
    ("family", "n_flows", "lowest", "highest"),
    [
        ("radial", 3, 0.8, 1.2),
        ("planar", 3, 0.3, 1.2),
        pytest.param("spline", 3, 0, 0.2, marks=pytest.mark.slow),
        ("spline", 0, 1.2, 1.4),
    ],
)
def test_actors_loss_with_the_exact_q(family, n_flows, lowest, highest):
    """KL divergence to exp(Q / alpha) of four modes: splines come near it, shallow flows and SAC's Gaussian do not."""
    env = MixtureBanditEnv()
    means = th.as_tensor(env.means, dtype=th.float32)

    def exact_q(observations, actions):
        squares = ((actions[:, None] - means) ** 2).sum(dim=2)
        return (th.logsumexp(-squares / (2 * env.widths[0] ** 2), dim=1, keepdim=True),)

    policy_kwargs = {"net_arch": [32]}
    model: Any = SACNF("MlpPolicy", env, flow=family, n_flows=n_flows, ent_coef=1.0, seed=1, policy_kwargs=policy_kwargs)
    model.policy.critic = None
    model.critic = exact_q
    observations = th.zeros(128, 1)
    update = OptimizerUpdate(th.optim.Adam(model.actor.parameters(), 5e-3))
    for _ in range(400):
        loss, _ = model._actor_loss(step_on(observations, 1.0))
        update.apply(th.autograd.grad(loss, update.parameters))
    actions = model.actor(th.zeros(20_000, 1)).detach().numpy()
    assert lowest < histogram_kl(actions, env.log_prob) < highest


# ---------------------------------------------------------------------- Zuko


def test_without_zuko():
    """The package can be imported; what needs Zuko says how to get it."""
    code = """
import sys
sys.modules["zuko"] = None
from sb3_maxent import S2AC, SACNF
S2AC("MlpPolicy", "Pendulum-v1", buffer_size=10)
try:
    SACNF("MlpPolicy", "Pendulum-v1", buffer_size=10)
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith('SACNF needs Zuko: pip install "sb3_maxent[flows]"')


def test_zuko_leaves_the_checks_of_torch_alone():
    """Importing it turns them off for all of torch.distributions."""
    code = """
import torch
from sb3_maxent import SACNF
SACNF("MlpPolicy", "Pendulum-v1", buffer_size=10)
try:
    torch.distributions.Normal(torch.tensor(float("nan")), 1.0)
except ValueError:
    print("checked")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "checked\n"


@families
def test_all_of_the_flow_learns(family):
    model = make_model(SACNF, spaces.Box(-2, 3, (2,)), flow=family)
    before = [parameter.clone() for parameter in model.actor.flows.parameters()]
    model.train(5, 16)
    assert all(not th.equal(*pair) for pair in zip(before, model.actor.flows.parameters(), strict=True))
