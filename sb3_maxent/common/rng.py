"""State of the random generators that training draws from."""

import random
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces


def get_rng_state(action_space: spaces.Space) -> dict[str, Any]:
    """
    :param action_space: the model's action space, whose generator draws the actions before ``learning_starts``
    :return: the state of Python's, NumPy's and torch's generators and of the action space's
    """
    return {
        "random": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": th.get_rng_state(),
        "cuda": th.cuda.get_rng_state_all(),
        "action_space": action_space.np_random.bit_generator.state,
    }


def set_rng_state(state: dict[str, Any], action_space: spaces.Space) -> None:
    """
    :param state: what :func:`get_rng_state` returned
    :param action_space: the model's action space
    """
    random.setstate(state["random"])
    np.random.set_state(state["numpy"])
    th.set_rng_state(state["torch"])
    if len(state["cuda"]) == th.cuda.device_count():
        th.cuda.set_rng_state_all(state["cuda"])
    action_space.np_random.bit_generator.state = state["action_space"]
