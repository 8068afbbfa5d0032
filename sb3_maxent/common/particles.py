"""Networks over particles: many actions for each state, at the cost of one pass over the state."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch as th
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn
from torch.nn import functional as F

from sb3_maxent.common.observations import BoxCritic
from sb3_maxent.functional.tracing import is_exporting

# Which of the critics judges: the smallest value, the first one, or the mean
CriticChoice = Literal["min", "first", "mean"]
# What the products of the networks are done in
Precision = Literal["float32", "bfloat16"]
# As many cost less in one product than the calls that choose among them
FEW_ROWS = 64
# Derivatives of activations, each from the layer, its input and its output, for graphs that can't hold autograd
DERIVATIVES: dict[type[nn.Module], Callable[[Any, th.Tensor, th.Tensor], th.Tensor]] = {
    nn.ReLU: lambda layer, x, y: (x > 0).to(x.dtype),
    nn.LeakyReLU: lambda layer, x, y: th.where(x > 0, 1.0, layer.negative_slope),
    nn.ELU: lambda layer, x, y: th.where(x > 0, 1.0, y + layer.alpha),
    nn.Tanh: lambda layer, x, y: 1 - y * y,
    nn.Sigmoid: lambda layer, x, y: y * (1 - y),
    nn.SiLU: lambda layer, x, y: th.sigmoid(x) + y * (1 - th.sigmoid(x)),
    nn.Softplus: lambda layer, x, y: th.sigmoid(layer.beta * x),
    nn.GELU: lambda layer, x, y: 0.5 * (1 + th.erf(x / math.sqrt(2))) + x * th.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),
}


def particle_forward(net: nn.Sequential, features: th.Tensor, particles: th.Tensor) -> th.Tensor:
    """
    What a network makes of ``[features, particle]`` for each particle, without repeating the features: their share of
    the first layer is computed once for each state.

    :param net: layers that begin with a linear one
    :param features: (B, F) features of the states
    :param particles: (B, N, d)
    :return: (B, N, outputs)
    """
    first, *layers = net
    hidden = _first_layer(first, features, particles)
    for layer in layers:
        # In place, which the gradients of the layers before it allow: with many particles memory costs as much as products
        hidden = F.relu_(hidden) if type(layer) is nn.ReLU else layer(hidden)
    return hidden.view(*particles.shape[:2], -1)


def _first_layer(linear: nn.Module, features: th.Tensor, particles: th.Tensor) -> th.Tensor:
    """What the first layer makes of [features, particle], in rows (B * N, outputs), as batch norm wants them."""
    dim = particles.shape[2]
    assert isinstance(linear, nn.Linear) and linear.in_features == features.shape[1] + dim, linear
    if not is_exporting() and len(features) == 1:  # nothing to share between states: fewer calls, which is what acting costs
        return F.linear(th.cat([features.expand(particles.shape[1], -1), particles[0]], dim=1), linear.weight, linear.bias)
    of_features, of_particles = linear.weight.split([features.shape[1], dim], dim=1)
    shares = F.linear(features, of_features, linear.bias).unsqueeze(1)
    # In place, and not as a product that is added to the shares: that would copy them for each particle first
    return F.linear(particles, of_particles).add_(shares).flatten(0, 1)


def _is_relu_net(net: nn.Module) -> bool:
    """Whether a network is made of linear layers with ReLUs between them."""
    layers = list(net.children())
    return (
        all(type(layer) is (nn.ReLU if index % 2 else nn.Linear) for index, layer in enumerate(layers))
        and len(layers) % 2 == 1
    )


def n_states_of(obs: PyTorchObs) -> int:
    """
    :param obs: batch of B observations
    :return: B
    """
    # Not len(), which torch.jit.trace takes for a constant
    return (next(iter(obs.values())) if isinstance(obs, dict) else obs).shape[0]


class ParticleCritic(BoxCritic):
    """Critics for continuous actions that can also judge many actions for each state."""

    def particle_features(self, obs: PyTorchObs) -> th.Tensor:
        """
        :param obs: batch of B observations
        :return: (B, F) what the critics need of a state, without gradient
        """
        with th.no_grad():
            return self.extract_features(obs, self.features_extractor)

    def q_particles(self, features: th.Tensor, actions: th.Tensor, of: CriticChoice = "min") -> th.Tensor:
        """
        :param features: (B, F) of :meth:`particle_features`
        :param actions: (B, N, d) actions in [-1, 1]
        :param of: the smallest of the critics' values, that of the first one alone, or their mean
        :return: (B, N) Q-values
        """
        means = [self._smallest(q_nets, features, actions) for q_nets in self._groups(of)]
        return means[0] if len(means) == 1 else th.stack(means).mean(dim=0)

    def q_gradient(
        self, features: th.Tensor, actions: th.Tensor, of: CriticChoice = "min", precision: Precision = "float32"
    ) -> th.Tensor:
        """
        Gradient of :meth:`q_particles` with respect to the actions.

        :param features: (B, F) of :meth:`particle_features`
        :param actions: (B, N, d) actions in [-1, 1]
        :param of: as in :meth:`q_particles`
        :param precision: what the networks compute in; with ``"bfloat16"`` the gradient has three digits, and which critic is
            the smallest is known to three digits of Q
        :return: (B, N, d) without gradient
        """
        if precision == "float32":
            return self.q_and_gradient(features, actions, of)[1]
        with th.autocast(actions.device.type, th.bfloat16):
            return self.q_and_gradient(features, actions, of)[1].to(actions.dtype)

    def q_and_gradient(self, features: th.Tensor, actions: th.Tensor, of: CriticChoice = "min") -> tuple[th.Tensor, th.Tensor]:
        """
        :meth:`q_particles` and :meth:`q_gradient` in one.

        :param features: (B, F) of :meth:`particle_features`
        :param actions: (B, N, d) actions in [-1, 1]
        :param of: as in :meth:`q_particles`
        :return: (B, N) and (B, N, d), both without gradient
        """
        parts = [self._smallest_and_gradient(q_nets, features, actions) for q_nets in self._groups(of)]
        if len(parts) == 1:
            return parts[0]
        values, gradients = (th.stack(column).mean(dim=0) for column in zip(*parts, strict=True))
        return values, gradients

    def _groups(self, of: CriticChoice) -> list[list[nn.Sequential]]:
        """The networks in groups, so that the choice is the mean over groups of the smallest value in each."""
        q_nets: list[nn.Sequential] = list(self.q_networks)  # type: ignore[arg-type]
        return {"min": [q_nets], "first": [q_nets[:1]], "mean": [[q_net] for q_net in q_nets]}[of]

    @staticmethod
    def _smallest(q_nets: list[nn.Sequential], features: th.Tensor, actions: th.Tensor) -> th.Tensor:
        values = [particle_forward(q_net, features, actions) for q_net in q_nets]
        return (values[0] if len(values) == 1 else th.cat(values, dim=2).amin(dim=2, keepdim=True)).squeeze(2)

    def _smallest_and_gradient(
        self, q_nets: list[nn.Sequential], features: th.Tensor, actions: th.Tensor
    ) -> tuple[th.Tensor, th.Tensor]:
        if is_exporting():
            return self._exportable_q_and_gradient(q_nets, features, actions)
        if all(_is_relu_net(q_net) for q_net in q_nets):
            return self._relu_q_and_gradient(q_nets, features, actions)
        if not th.compiler.is_compiling() and th.is_inference_mode_enabled():  # of the caller: no gradients
            with th.inference_mode(False):
                return self._smallest_and_gradient(q_nets, features.clone(), actions.clone())
        with th.enable_grad():
            actions = actions.detach().requires_grad_()
            values = self._smallest(q_nets, features, actions)
            return values.detach(), th.autograd.grad(values.sum(), actions)[0]

    @staticmethod
    @th.no_grad()
    def _relu_q_and_gradient(
        q_nets: list[nn.Sequential], features: th.Tensor, actions: th.Tensor
    ) -> tuple[th.Tensor, th.Tensor]:
        """The same for networks of linear layers and ReLUs, without autograd."""
        values, activations = [], []
        stacks = [[layer for layer in q_net.children() if isinstance(layer, nn.Linear)] for q_net in q_nets]
        for first, *linears in stacks:
            hidden = [_first_layer(first, features, actions)]
            for linear in linears:
                hidden.append(linear(hidden[-1].relu_()))
            values.append(hidden.pop())
            activations.append(hidden)
        smallest_values, smallest = th.cat(values, dim=1).min(dim=1)
        # Each row goes back through its own critic only: but not where a product costs no more than a choice, nor in bfloat16,
        # whose products by oneDNN need another kernel for each number of rows
        all_rows = len(stacks) == 1 or len(smallest) <= FEW_ROWS or th.is_autocast_enabled(actions.device.type)
        gradient = actions.new_zeros(len(smallest), actions.shape[2])
        for index, ((first, *linears), hidden) in enumerate(zip(stacks, activations, strict=True)):
            chosen = smallest == index
            rows = None if all_rows else chosen.nonzero().squeeze(1)
            backward = None  # above the last layer it would be 1: no product there
            for linear, active in zip(reversed(linears), reversed(hidden), strict=True):
                mask = (active if rows is None else active.index_select(0, rows)).sign_()  # of ReLU's output: 1 or 0
                backward = mask.mul_(linear.weight if backward is None else backward @ linear.weight)
            if backward is None:
                backward = actions.new_ones(len(smallest) if rows is None else len(rows), 1)
            # Few columns: products with the transposed weights, in one piece, are three times as fast
            own = F.linear(backward, first.weight[:, features.shape[1] :].t().contiguous()).to(gradient.dtype)
            if rows is None:
                gradient = th.where(chosen.unsqueeze(1), own, gradient)
            else:
                gradient[rows] = own
        return smallest_values.view(actions.shape[:2]), gradient.view_as(actions)

    @staticmethod
    def _exportable_q_and_gradient(
        q_nets: list[nn.Sequential], features: th.Tensor, actions: th.Tensor
    ) -> tuple[th.Tensor, th.Tensor]:
        """The same without autograd and without a choice among rows, of which exported graphs hold neither."""
        values, gradients = [], []
        for q_net in q_nets:
            first, *layers = q_net.children()
            unknown = [type(layer).__name__ for layer in layers if type(layer) not in (nn.Linear, *DERIVATIVES)]
            if unknown:
                known = ", ".join(kind.__name__ for kind in DERIVATIVES)
                raise ValueError(f"`activation_fn` must be one of {known} to export the gradient of Q, not {unknown[0]}")
            outputs = [_first_layer(first, features, actions)]
            for layer in layers:
                outputs.append(layer(outputs[-1]))
            values.append(outputs[-1])
            gradient = th.ones_like(outputs[-1])
            for layer, x, y in zip(reversed(layers), outputs[-2::-1], outputs[:0:-1], strict=True):
                if isinstance(layer, nn.Linear):
                    gradient = gradient @ layer.weight
                else:
                    gradient = gradient * DERIVATIVES[type(layer)](layer, x, y)
            assert isinstance(first, nn.Linear)
            gradients.append(gradient @ first.weight[:, features.shape[1] :])
        smallest_values, smallest = th.cat(values, dim=1).min(dim=1, keepdim=True)
        gradient = gradients[0]
        for index, other in enumerate(gradients[1:], start=1):
            gradient = th.where(smallest == index, other, gradient)
        return smallest_values.view(actions.shape[:2]), gradient.view(actions.shape)


def differentiable_q(critic: ParticleCritic, features: th.Tensor, actions: th.Tensor) -> th.Tensor:
    """
    Q-values whose gradient goes to the actions alone, from one pass: nothing goes back through the critics a second time.

    :param critic: the critics
    :param features: (B, F) of :meth:`ParticleCritic.particle_features`
    :param actions: (B, N, d) actions in [-1, 1], with a graph
    :return: (B, N) Q-values
    """
    q_values, q_gradient = critic.q_and_gradient(features, actions.detach())
    return q_values + ((actions - actions.detach()) * q_gradient).sum(dim=2)
