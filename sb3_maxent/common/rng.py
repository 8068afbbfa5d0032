"""State of the random generators that training draws from."""

import random
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces


def get_rng_state(action_space: spaces.Space, device: th.device) -> dict[str, Any]:
    """
    :param action_space: the model's action space, whose generator draws the actions before ``learning_starts``
    :param device: the model's device; CUDA is left alone where the model does not use it
    :return: the state of Python's, NumPy's and torch's generators and of the action space's
    """
    return {
        "random": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": th.get_rng_state(),
        "cuda": th.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "action_space": action_space.np_random.bit_generator.state,
    }


def set_rng_state(state: dict[str, Any], action_space: spaces.Space, device: th.device) -> None:
    """
    :param state: what :func:`get_rng_state` returned
    :param action_space: the model's action space
    :param device: the model's device
    """
    random.setstate(state["random"])
    np.random.set_state(state["numpy"])
    th.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        th.cuda.set_rng_state(state["cuda"], device)
    action_space.np_random.bit_generator.state = state["action_space"]
