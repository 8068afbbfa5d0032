"""Discrete, MultiDiscrete and MultiBinary actions: products of categorical distributions, and critics for them."""

import warnings
from collections.abc import Callable

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_maxent.common.observations import TraceableFeatures
from sb3_maxent.common.target_entropy import components_of, largest_entropy
from sb3_maxent.functional import boltzmann_log_probs, soft_maximum

DiscreteSpace = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
# Logit or Q-value of an action that is masked out: its probability is exactly 0, and products with it stay finite
MASKED = -1e8


class CategoricalHeads(nn.Module):
    """
    Independent categorical distributions, one for each of the K components of an action (K = 1 for ``Discrete``).
    Logits, log-probabilities and Q-values of the components stand side by side in one tensor (B, A), A = sum(nvec).

    A mask (B, A) has 1 where an action is allowed. Where it allows none of a component's actions, it allows all of them.

    :param action_space: ``Discrete`` or one-dimensional ``MultiDiscrete``, with any start, or one-dimensional ``MultiBinary``
        (components of two actions)
    :raises ValueError: for a ``MultiDiscrete`` or ``MultiBinary`` of another shape
    """

    offsets: th.Tensor
    start: th.Tensor

    def __init__(self, action_space: DiscreteSpace):
        super().__init__()
        self.shape: tuple[int, ...] = action_space.shape or ()
        if not isinstance(action_space, spaces.Discrete) and len(self.shape) != 1:
            raise ValueError(
                f"`action_space` must be Discrete, MultiDiscrete with a flat nvec or a flat MultiBinary, not {action_space}"
            )
        nvec = components_of(action_space)
        start = np.zeros_like(nvec) + getattr(action_space, "start", 0)
        self.numpy_dtype = action_space.dtype
        self.dtype = th.as_tensor(np.empty(0, action_space.dtype)).dtype
        self.nvec: list[int] = nvec.tolist()
        self.n_logits = sum(self.nvec)
        self.max_entropy = largest_entropy(action_space)
        self.register_buffer("start", th.as_tensor(start).long(), persistent=False)
        self.register_buffer("offsets", th.as_tensor(np.cumsum(nvec) - nvec).long(), persistent=False)

    def log_probs(self, logits: th.Tensor) -> th.Tensor:
        """
        :param logits: (B, A)
        :return: (B, A) log-probabilities, normalized component by component
        """
        return self._by_component(lambda part: th.log_softmax(part, dim=1), logits)

    def boltzmann_log_probs(self, q_values: th.Tensor, ent_coef: th.Tensor | float) -> th.Tensor:
        """
        Log-probabilities of softmax(Q / alpha), component by component.

        :param q_values: (B, A)
        :param ent_coef: the temperature alpha
        :return: (B, A)
        """
        return self._by_component(lambda part: boltzmann_log_probs(part, ent_coef), q_values)

    def _by_component(self, function: Callable[[th.Tensor], th.Tensor], values: th.Tensor) -> th.Tensor:
        """A function of each component's part (B, n) of the values (B, A), side by side again."""
        if len(self.nvec) == 1:
            return function(values)
        return th.cat([function(part) for part in values.split(self.nvec, dim=1)], dim=1)

    def allowed(self, mask: th.Tensor) -> th.Tensor:
        """
        :param mask: (B, A)
        :return: (B, A) whether an action is allowed
        """
        return self._by_component(lambda part: (part != 0) | (part == 0).all(dim=1, keepdim=True), mask)

    def masked(self, values: th.Tensor, mask: th.Tensor) -> th.Tensor:
        """
        :param values: (B, A) logits or Q-values
        :param mask: (B, A)
        :return: (B, A) with a very low number where an action is not allowed
        """
        return values.masked_fill(~self.allowed(mask), MASKED)

    def largest_entropies(self, mask: th.Tensor) -> th.Tensor:
        """
        :param mask: (B, A)
        :return: (B, 1) entropies of the uniform choices among the allowed actions, in nats
        """
        counts = [part.sum(dim=1, keepdim=True) for part in self.allowed(mask).split(self.nvec, dim=1)]
        return th.cat(counts, dim=1).to(th.float32).log().sum(dim=1, keepdim=True)

    def _allowed_parts(self, mask: np.ndarray) -> list[np.ndarray]:
        """
        :param mask: (A,)
        :return: for each component which of its actions are allowed
        """
        allowed = self.allowed(th.as_tensor(mask, device=self.start.device).reshape(1, -1)).cpu().numpy()[0]
        return np.split(allowed, np.cumsum(self.nvec)[:-1])

    def allows(self, mask: np.ndarray, action: np.ndarray) -> bool:
        """
        :param mask: (A,)
        :param action: an action of the action space
        :return: whether it is allowed
        """
        indices = np.ravel(action) - self.start.cpu().numpy()
        return all(part[index] for part, index in zip(self._allowed_parts(mask), indices, strict=True))

    def random_action(self, mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """
        :param mask: (A,)
        :param generator: source of randomness
        :return: an action of the action space, uniformly among the allowed ones
        """
        indices = np.array([generator.choice(np.flatnonzero(part)) for part in self._allowed_parts(mask)])
        return (indices + self.start.cpu().numpy()).reshape(self.shape).astype(self.numpy_dtype)

    def soft_maximum(self, q_values: th.Tensor, ent_coef: th.Tensor | float) -> th.Tensor:
        """
        Soft value of softmax(Q / alpha): for a sum over components the sum of their soft maxima.

        :param q_values: (..., A)
        :param ent_coef: the temperature alpha
        :return: (..., 1)
        """
        parts = q_values.split(self.nvec, dim=-1)
        value = soft_maximum(parts[0], ent_coef)
        for part in parts[1:]:
            value = value + soft_maximum(part, ent_coef)
        return value

    def min_of_critics(self, q_values: th.Tensor, state_values: Callable[[], th.Tensor]) -> th.Tensor:
        """
        Minimum over the critics: action by action for one component. For several, where only the sum over components
        has a meaning, state by state: the critic that values the state least.

        :param q_values: (n_critics, B, A)
        :param state_values: gives (n_critics, B, 1), the value of each state by each critic; called for several components
        :return: (B, A)
        """
        if len(q_values) == 1:
            return q_values[0]
        if len(self.nvec) == 1:
            return q_values.amin(dim=0)
        index = state_values().argmin(dim=0, keepdim=True).expand(1, *q_values.shape[1:])
        return q_values.gather(0, index).squeeze(0)

    def actions(self, log_probs: th.Tensor, deterministic: bool = False) -> th.Tensor:
        """
        :param log_probs: (B, A) log-probabilities
        :param deterministic: whether to take the mode of each component instead of a sample
        :return: ``(B, *action_space.shape)`` actions of the action space, of its type
        """
        parts = log_probs.split(self.nvec, dim=1)
        if deterministic:
            indices = th.stack([part.argmax(dim=1) for part in parts], dim=1)
        else:
            indices = th.cat([th.multinomial(part.exp(), 1) for part in parts], dim=1)
        return (indices + self.start).reshape(-1, *self.shape).to(self.dtype)

    def select(self, values: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """
        Sum over the components of the values of their actions, e.g. Q(s, a) = sum_k Q_k(s, a_k).

        :param values: (B, A)
        :param actions: (B, K) actions of the action space
        :return: (B, 1)
        """
        chosen = values.gather(1, actions.long() - self.start + self.offsets)
        return chosen.sum(dim=1, keepdim=True)


# The default key of ActionMaskWrapper
MASK_KEY = "action_mask"


def check_action_mask_key(key: str | None, observation_space: spaces.Space, action_space: spaces.Space) -> None:
    """
    :param key: key of a dictionary observation under which the action mask stands, ``None`` for none
    :param observation_space: observation space
    :param action_space: action space
    :raises ValueError: if there is no such mask among the observations
    """
    n_actions = CategoricalHeads(action_space).n_logits  # type: ignore[arg-type]
    keys = observation_space.spaces if isinstance(observation_space, spaces.Dict) else {}
    if key is None:
        if keys.get(MASK_KEY) == spaces.MultiBinary(n_actions):
            warnings.warn(
                f"The observations hold an action mask, {MASK_KEY!r}, which the policy takes for an ordinary observation. "
                f"It obeys the mask with `policy_kwargs=dict(action_mask_key={MASK_KEY!r})`.",
                stacklevel=2,
            )
        return
    if keys.get(key) != spaces.MultiBinary(n_actions):
        raise ValueError(
            f"`action_mask_key` must name a MultiBinary({n_actions}) of a dictionary observation, "
            f"not {key!r} of {observation_space}"
        )


class DiscreteCritic(TraceableFeatures, BaseModel):  # type: ignore[misc]
    """
    Critics for (products of) categorical actions: each network maps an observation to the Q-values of all actions.

    With K > 1 components Q decomposes into a sum, ``Q(s, a) = sum_k Q_k(s, a_k)``, so that expectations under
    independent components are exact and cost A = sum(nvec), not prod(nvec). What is lost: Q can't express that the
    value of one component's action depends on another component's.

    :param observation_space: Observation space
    :param action_space: Action space
    :param net_arch: Network architecture
    :param features_extractor: Network to extract features
    :param features_dim: Number of features
    :param activation_fn: Activation function
    :param normalize_images: Whether to normalize images or not, dividing by 255.0 (True by default)
    :param n_critics: Number of critic networks to create
    :param share_features_extractor: Whether the features extractor is the actor's (and learns from its loss only)
    """

    features_extractor: BaseFeaturesExtractor

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: DiscreteSpace,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        n_critics: int = 2,
        share_features_extractor: bool = False,
    ):
        super().__init__(
            observation_space, action_space, features_extractor=features_extractor, normalize_images=normalize_images
        )
        self.heads = CategoricalHeads(action_space)
        self.share_features_extractor = share_features_extractor
        self.n_critics = n_critics
        self.q_networks: list[nn.Module] = []
        for index in range(n_critics):
            q_net = nn.Sequential(*create_mlp(features_dim, self.heads.n_logits, net_arch, activation_fn))
            self.add_module(f"qf{index}", q_net)
            self.q_networks.append(q_net)

    def forward(self, obs: PyTorchObs) -> tuple[th.Tensor, ...]:
        """
        :param obs: batch of B observations
        :return: (B, A) Q-values for each critic
        """
        with th.set_grad_enabled(th.is_grad_enabled() and not self.share_features_extractor):
            features = self.extract_features(obs, self.features_extractor)
        return tuple(q_net(features) for q_net in self.q_networks)
