"""Networks over particles: the shared first layer and the special path for ReLU networks give what plain networks give."""

import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from sb3_maxent.common.particles import DERIVATIVES, ParticleCritic, n_states_of, particle_forward

OBSERVATIONS, ACTIONS = spaces.Box(-1, 1, (5,)), spaces.Box(-1, 1, (3,))


def make_critic(net_arch, n_critics=2, activation_fn=nn.ReLU):
    th.manual_seed(1)
    extractor = FlattenExtractor(OBSERVATIONS)
    critic = ParticleCritic(
        OBSERVATIONS, ACTIONS, net_arch, extractor, 5, activation_fn, n_critics=n_critics, share_features_extractor=False
    )
    for parameter in critic.parameters():  # so that no critic is the smaller one everywhere
        nn.init.normal_(parameter, std=0.5 if parameter.ndim == 2 else 0.05)
    return critic.double()


def make_inputs(n_states=9, n_particles=6):
    generator = th.Generator().manual_seed(1)
    observations = th.randn(n_states, 5, generator=generator, dtype=th.float64)
    return observations, 2 * th.rand(n_states, n_particles, 3, generator=generator, dtype=th.float64) - 1


def naive(net, features, particles):
    """Repeat the features, as everybody does."""
    repeated = features.unsqueeze(1).expand(-1, particles.shape[1], -1)
    return net(th.cat([repeated, particles], dim=2).flatten(0, 1)).view(*particles.shape[:2], -1)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(8, 2)],
        [nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 2)],
        [nn.Linear(8, 7), nn.Tanh(), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 2)],
        [nn.Linear(8, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 2)],
    ],
    ids=["linear", "relu", "layer-norm", "batch-norm"],
)
def test_particle_forward(layers):
    """Values and gradients, of the weights too: the work in place spoils none of them."""
    net = nn.Sequential(*layers).double()
    features, particles = make_inputs()
    gradients = []
    for forward in (particle_forward, naive):
        inputs = [features.clone().requires_grad_(), particles.clone().requires_grad_()]
        values = forward(net, *inputs)
        gradients.append([values, *th.autograd.grad((values**2).sum(), [*inputs, *net.parameters()])])
    for ours, expected in zip(*gradients, strict=True):
        th.testing.assert_close(ours, expected)


@pytest.mark.parametrize("n_critics", [1, 2, 3])
@pytest.mark.parametrize("net_arch", [[], [9], [5, 1, 4], [16, 16, 8]], ids=str)
@pytest.mark.parametrize("activation_fn", [nn.ReLU, nn.Tanh, nn.LeakyReLU])
@pytest.mark.parametrize("n_states", [1, 9, 12])  # 72 actions are too many to go back through every critic
def test_q_gradient(net_arch, n_critics, activation_fn, n_states):
    critic = make_critic(net_arch, n_critics, activation_fn)
    observations, actions = make_inputs(n_states)
    reference = actions.clone().requires_grad_()
    stacked = th.stack([naive(q_net, observations, reference).squeeze(2) for q_net in critic.q_networks])
    smallest = stacked.amin(dim=0)
    (expected,) = th.autograd.grad(smallest.sum(), reference, retain_graph=True)
    th.testing.assert_close(critic.q_particles(observations, actions), smallest)
    with th.no_grad():
        gradient = critic.q_gradient(observations, actions)
    th.testing.assert_close(gradient, expected)
    assert not gradient.requires_grad
    for of, values in (("first", stacked[0]), ("mean", stacked.mean(dim=0))):
        (slope,) = th.autograd.grad(values.sum(), reference, retain_graph=True)
        th.testing.assert_close(critic.q_and_gradient(observations, actions, of), (values.detach(), slope))
        th.testing.assert_close(critic.q_particles(observations, actions, of), values)
    if n_states > 1:
        assert len(stacked.argmin(dim=0).unique()) >= min(n_critics, 2), "one critic is the smallest one everywhere"


@pytest.mark.parametrize("n_critics", [1, 2, 3])
@pytest.mark.parametrize("activation_fn", [nn.ReLU, nn.Tanh])
def test_q_gradient_in_bfloat16(n_critics, activation_fn):
    """To bfloat16's two to three digits, where the critics are far enough apart to tell which one is the smallest."""
    critic = make_critic([16, 16], n_critics, activation_fn).float()
    observations, actions = (tensor.float() for tensor in make_inputs(40))
    with th.no_grad():
        stacked = th.stack([naive(q_net, observations, actions).squeeze(2) for q_net in critic.q_networks])
        values = stacked.sort(dim=0).values
        exact = critic.q_gradient(observations, actions)
        rounded = critic.q_gradient(observations, actions, precision="bfloat16")
    apart = th.ones_like(values[0], dtype=th.bool) if n_critics == 1 else (values[1] - values[0]) > 0.02 * values.abs().max()
    assert rounded.dtype == th.float32 and apart.float().mean() > 0.5
    error = ((rounded - exact)[apart]).norm() / exact[apart].norm()
    assert 1e-4 < error < (0.05 if activation_fn is nn.Tanh else 0.2), error  # a ReLU is on or off
    assert not th.is_autocast_enabled("cpu")


def test_values_are_those_of_the_critics():
    """One particle is SB3's own forward pass."""
    critic = make_critic([16, 16]).float()
    observations, actions = (tensor.float() for tensor in make_inputs(n_particles=1))
    expected = th.cat(critic(observations, actions.squeeze(1)), dim=1).amin(dim=1, keepdim=True)
    th.testing.assert_close(critic.q_particles(critic.particle_features(observations), actions), expected)


def test_batches():
    observations = {"a": th.arange(6).view(3, 2), "b": th.arange(3)}
    assert n_states_of(observations) == 3 and n_states_of(observations["a"]) == 3


@pytest.mark.parametrize("n_critics", [1, 2, 3])
@pytest.mark.parametrize("net_arch", [[], [9], [5, 1, 4]], ids=str)
@pytest.mark.parametrize("activation_fn", DERIVATIVES)
def test_q_gradient_of_exported_graphs(net_arch, n_critics, activation_fn):
    """By hand, without autograd."""
    critic = make_critic(net_arch, n_critics, activation_fn)
    observations, actions = make_inputs()
    with th.no_grad():
        ours = critic._exportable_q_and_gradient(list(critic.q_networks), observations, actions)
    for value, expected in zip(ours, critic.q_and_gradient(observations, actions), strict=True):
        th.testing.assert_close(value, expected)
