"""Policies of DiscreteSAC."""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from sb3_maxent.common.discrete import CategoricalHeads, DiscreteCritic, DiscreteSpace, check_action_mask_key
from sb3_maxent.common.policies import MaxEntActor, MaxEntPolicy


class DiscreteActor(MaxEntActor):
    """
    Categorical policy, a product of independent ones for ``MultiDiscrete`` and ``MultiBinary`` actions.

    :param observation_space: Observation space
    :param action_space: Action space
    :param net_arch: Network architecture
    :param features_extractor: Network to extract features
    :param features_dim: Number of features
    :param activation_fn: Activation function
    :param normalize_images: Whether to normalize images or not, dividing by 255.0 (True by default)
    :param action_mask_key: Key of a dictionary observation under which the action mask stands
    """

    own_parameters = ("action_mask_key",)

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: DiscreteSpace,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        action_mask_key: str | None = None,
    ):
        super().__init__(
            observation_space, action_space, net_arch, features_extractor, features_dim, activation_fn, normalize_images
        )
        self.heads = CategoricalHeads(action_space)
        self.logits_net = nn.Sequential(*create_mlp(features_dim, self.heads.n_logits, net_arch, activation_fn))
        self.action_mask_key = action_mask_key

    def action_log_probs(self, obs: PyTorchObs) -> th.Tensor:
        """
        Log-probabilities of all actions.

        :param obs: batch of B observations
        :return: (B, A) with A the number of actions, summed over the components for ``MultiDiscrete``
        """
        logits = self.logits_net(self.extract_features(obs, self.features_extractor))
        if self.action_mask_key is not None:
            logits = self.heads.masked(logits, obs[self.action_mask_key])  # type: ignore[index]
        return self.heads.log_probs(logits)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        return self.heads.actions(self.action_log_probs(observation), deterministic)


class DiscreteSACPolicy(MaxEntPolicy):
    """
    Policy class (with both actor and critic) for DiscreteSAC.

    :param observation_space: Observation space
    :param action_space: Action space, ``Discrete``, ``MultiDiscrete`` or ``MultiBinary``
    :param lr_schedule: Learning rate schedule (could be constant)
    :param action_mask_key: Key of a dictionary observation under which the action mask stands, a ``MultiBinary`` of as
        many entries as there are actions (for several components: one after the other), 1 where an action is allowed.
        Where a component has none that is allowed, as environments say at the end of an episode, all of its actions are.
        The mask is an observation like the others: it passes through vectorized environments, replay buffers and
        ``predict()`` as they are.
    :param kwargs: The other parameters, see :class:`~sb3_maxent.common.policies.MaxEntPolicy`
    :raises ValueError: if there is no such mask among the observations
    """

    actor: DiscreteActor
    critic: DiscreteCritic
    critic_target: DiscreteCritic

    own_parameters = ("action_mask_key",)

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: DiscreteSpace,
        lr_schedule: Schedule,
        *args: Any,
        action_mask_key: str | None = None,
        **kwargs: Any,
    ):
        self.action_mask_key = action_mask_key
        check_action_mask_key(action_mask_key, observation_space, action_space)
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> DiscreteActor:
        actor_kwargs = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return DiscreteActor(**actor_kwargs, action_mask_key=self.action_mask_key).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> DiscreteCritic:
        critic_kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return DiscreteCritic(**critic_kwargs).to(self.device)


MlpPolicy = DiscreteSACPolicy


class CnnPolicy(DiscreteSACPolicy):
    """Policy class for DiscreteSAC with image observations, see :class:`DiscreteSACPolicy`."""

    default_features_extractor_class = NatureCNN


class MultiInputPolicy(DiscreteSACPolicy):
    """Policy class for DiscreteSAC with dictionary observations, see :class:`DiscreteSACPolicy`."""

    default_features_extractor_class = CombinedExtractor
