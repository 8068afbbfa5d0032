"""Action masks as sb3_contrib's MaskablePPO takes them, put into the observation."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class ActionMaskWrapper(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """
    Puts what the environment's method ``action_masks()`` returns into the observation, so that vectorized environments,
    ``VecNormalize``, replay buffers and ``evaluate_policy`` carry it. A dictionary of observations gets one more key; any
    other observation becomes a dictionary with the keys ``"observation"`` and ``key``. The policy takes the mask with
    ``policy_kwargs=dict(action_mask_key="action_mask")``; ``VecNormalize`` has to be told to leave it alone, with
    ``norm_obs_keys=["observation"]``.

    :param env: an environment with ``Discrete``, ``MultiDiscrete`` or ``MultiBinary`` actions and a method ``action_masks()``
        that gives, for all actions of all components side by side, whether they are allowed now (``MultiBinary``: two for
        each component, for 0 and 1), as https://sb3-contrib.readthedocs.io/en/master/modules/ppo_mask.html says
    :param key: the mask's key in the observation
    :raises ValueError: if there is no such method, if the key is taken, or if a mask has another length, or other values
        than booleans or 0 and 1
    """

    def __init__(self, env: gym.Env[Any, Any], key: str = "action_mask"):
        gym.utils.RecordConstructorArgs.__init__(self, key=key)
        super().__init__(env)
        self.n_actions = _number_of_actions(env.action_space)
        if not env.has_wrapper_attr("action_masks"):
            raise ValueError(f"`env` must have a method `action_masks()`, which {env.unwrapped} has not")
        self.key = key
        self._is_dict = isinstance(env.observation_space, spaces.Dict)
        parts = dict(env.observation_space.spaces) if self._is_dict else {"observation": env.observation_space}  # type: ignore[attr-defined]
        if key in parts:
            raise ValueError(f"`key` must be none of {', '.join(map(repr, parts))}, not {key!r}")
        self.observation_space = spaces.Dict({**parts, key: spaces.MultiBinary(self.n_actions)})

    def action_masks(self) -> np.ndarray:
        """
        :return: (A,) whether the actions are allowed now
        :raises ValueError: if the environment's mask has another length, or other values than booleans or 0 and 1
        """
        given = self.env.get_wrapper_attr("action_masks")()
        try:
            masks = np.asarray(given)
        except ValueError:  # lists of several lengths
            masks = np.asarray(given, dtype=object)
        if masks.dtype == object or masks.size != self.n_actions:
            raise ValueError(
                f"`action_masks()` must give {self.n_actions} values for {self.action_space}, those of all components side by "
                f"side, not {given!r}"
            )
        # The masks that are added to logits have 0 for allowed and -inf for forbidden actions
        if masks.dtype != bool and not np.isin(masks, (0, 1)).all():
            raise ValueError(
                f"`action_masks()` must give booleans, or 1 for allowed and 0 for forbidden actions, not {given!r}"
            )
        return masks.astype(bool).reshape(-1)

    def _with_mask(self, observation: Any) -> dict[str, Any]:
        parts = observation if self._is_dict else {"observation": observation}
        return {**parts, self.key: self.action_masks().astype(np.int8)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """
        :param seed: as in Gymnasium
        :param options: as in Gymnasium
        :return: observation with the mask, info
        """
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """
        :param action: as in Gymnasium
        :return: observation with the mask, reward, whether terminated, whether truncated, info
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_mask(observation), reward, terminated, truncated, info


def _number_of_actions(space: spaces.Space[Any]) -> int:
    """How many actions all components have together."""
    match space:
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete():
            return int(space.nvec.sum())
        case spaces.MultiBinary():
            return 2 * int(np.prod(space.shape))
    raise ValueError(f"`env` must have Discrete, MultiDiscrete or MultiBinary actions, not {space}")
