"""
A features extractor for MinAtar (https://arxiv.org/abs/1903.03176), Atari's games on 10 x 10 images: what two cores can do.

``pip install 'sb3_maxent[minatar]'``; importing ``sb3_maxent`` registers the games, ``gymnasium.make("MinAtar/Breakout-v1")``.
"""

from typing import Any

import gymnasium as gym
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn


def make_game(game: str, **kwargs: Any) -> gym.Env:
    """
    The entry point of the games' ids.

    :param game: MinAtar's name of it
    :param kwargs: arguments of MinAtar's ``BaseEnv``
    :return: the game
    :raises ImportError: without the package
    """
    try:
        from minatar.gym import BaseEnv
    except ImportError as error:
        raise ImportError('MinAtar is missing: pip install "sb3_maxent[minatar]"') from error
    return BaseEnv(game, **kwargs)  # type: ignore[no-any-return]


class MinAtarCNN(BaseFeaturesExtractor):
    """
    The network of 1903.03176: 16 filters of 3 x 3 with stride 1, and a linear
    layer, each followed by ReLU. ``NatureCNN`` needs images of 36 x 36 and more. For policies of this package and of SB3,
    as ``policy_kwargs=dict(features_extractor_class=MinAtarCNN, net_arch=[])`` of an ``"MlpPolicy"``, which leaves one
    linear layer for the Q-values.

    :param observation_space: images of shape (height, width, channels) that are not scaled, as MinAtar's of booleans
    :param features_dim: F, size of the linear layer
    :raises ValueError: for other observations, naming their space
    """

    def __init__(self, observation_space: spaces.Space, features_dim: int = 128):
        shape = observation_space.shape if isinstance(observation_space, spaces.Box) else ()
        if len(shape) != 3 or min(shape[:2]) < 3 or is_image_space(observation_space):
            raise ValueError(
                "`observation_space` must be a Box of shape (height, width, channels), at least 3 x 3, and not of pixels "
                "from 0 to 255, which Stable-Baselines3 transposes, "
                f"for MinAtarCNN, not {observation_space}"
            )
        super().__init__(observation_space, features_dim)
        height, width, channels = shape
        self.cnn = nn.Sequential(nn.Conv2d(channels, 16, 3), nn.ReLU(), nn.Flatten())
        self.linear = nn.Sequential(nn.Linear(16 * (height - 2) * (width - 2), features_dim), nn.ReLU())

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """
        :param observations: (B, height, width, channels)
        :return: (B, F)
        """
        return self.linear(self.cnn(observations.permute(0, 3, 1, 2)))
