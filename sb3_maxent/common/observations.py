"""What happens to an observation before a features extractor sees it, in a form that ``torch.compile`` can trace."""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch.nn import functional as F

# A dictionary of recipes, the divisor of a float observation, or how many classes each entry is one-hot encoded in
Recipe = dict[str, Any] | float | tuple[int, ...]


def recipe_of(observation_space: spaces.Space, normalize_images: bool) -> Recipe:
    """
    How SB3's ``preprocess_obs`` treats the observations of a space, in plain Python values. SB3 decides it anew for each
    batch from the NumPy arrays of the space, which no graph can hold.

    :param observation_space: Observation space
    :param normalize_images: Whether to normalize images or not, dividing by 255.0
    :return: the recipe, for :func:`preprocess`
    :raises NotImplementedError: for a space that SB3 has no networks for
    """
    match observation_space:
        case spaces.Dict():
            return {key: recipe_of(space, normalize_images) for key, space in observation_space.spaces.items()}
        case spaces.Box():
            return 255.0 if normalize_images and is_image_space(observation_space) else 1.0
        case spaces.Discrete():
            return (int(observation_space.n),)
        case spaces.MultiDiscrete():
            return tuple(int(n) for n in observation_space.nvec)
        case spaces.MultiBinary():
            return 1.0
    raise NotImplementedError(f"Preprocessing not implemented for {observation_space}")


def preprocess(obs: PyTorchObs, recipe: Recipe) -> PyTorchObs:
    """
    The same tensors as SB3's ``preprocess_obs``.

    :param obs: batch of B observations
    :param recipe: of :func:`recipe_of`
    :return: the observations as floats: images in [0, 1], discrete ones one-hot encoded
    """
    if isinstance(recipe, dict):
        return {key: preprocess(value, recipe[key]) for key, value in obs.items()}  # type: ignore[misc,union-attr]
    assert isinstance(obs, th.Tensor), f"Expecting a torch Tensor, but got {type(obs)}"
    if isinstance(recipe, float):
        return obs.float() if recipe == 1.0 else obs.float() / recipe
    if len(recipe) == 1:
        return F.one_hot(obs.long(), recipe[0]).float()
    one_hot = [F.one_hot(column.long(), n).float() for column, n in zip(obs.split(1, dim=1), recipe, strict=True)]
    return th.cat(one_hot, dim=-1).view(-1, sum(recipe))


class TraceableFeatures:
    """A mixin that stands before an SB3 network among the base classes: its features can be part of a compiled graph."""

    observation_space: spaces.Space
    normalize_images: bool

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.recipe = recipe_of(self.observation_space, self.normalize_images)

    def extract_features(self, obs: PyTorchObs, features_extractor: BaseFeaturesExtractor) -> th.Tensor:
        """
        Preprocess the observation if needed and extract features.

        :param obs: batch of B observations
        :param features_extractor: The features extractor to use
        :return: (B, F) features
        """
        return features_extractor(preprocess(obs, self.recipe))


class BoxCritic(TraceableFeatures, ContinuousCritic):  # type: ignore[misc]
    """SB3's critics for continuous actions."""


def choose_observations(chosen: th.Tensor, these: PyTorchObs, those: PyTorchObs) -> PyTorchObs:
    """
    :param chosen: (B, 1) boolean
    :param these: batch of B observations
    :param those: batch of B observations
    :return: ``these`` where ``chosen``, ``those`` elsewhere
    """
    if isinstance(these, dict):
        return {key: choose_observations(chosen, value, those[key]) for key, value in these.items()}  # type: ignore[misc,index]
    assert isinstance(these, th.Tensor) and isinstance(those, th.Tensor)
    return th.where(chosen.view(-1, *[1] * (these.ndim - 1)), these, those)


def first_observations(observations: PyTorchObs, n: int) -> PyTorchObs:
    """
    :param observations: batch of B observations
    :param n: how many
    :return: the first n of them
    """
    if isinstance(observations, dict):
        return {key: value[:n] for key, value in observations.items()}
    return observations[:n]
