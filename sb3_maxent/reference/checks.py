"""Errors for bad arguments of the oracles."""

from typing import Any

import numpy as np


def require(condition: Any, name: str, allowed: str, value: Any) -> None:
    """
    Raise an error that names the parameter, what is allowed and what was given.

    :param condition: whether the value is allowed
    :param name: the parameter's name
    :param allowed: what is allowed, completing "must ..."
    :param value: what was given
    :raises ValueError: if ``condition`` is false
    """
    if not condition:
        raise ValueError(f"`{name}` must {allowed}, not {value!r}")


def require_array(name: str, array: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """
    A finite array of 64-bit floats.

    :param name: the parameter's name
    :param array: anything that ``np.asarray`` takes
    :param shape: the shape it must have; ``None`` for any positive size
    :return: the array
    :raises ValueError: if the shape is another one, or if there is NaN or infinity
    """
    array = np.asarray(array, dtype=np.float64)
    fits = array.ndim == len(shape) and array.size and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    require(fits, name, f"have shape {shape} (None: any positive size)", array.shape)
    require(np.isfinite(array).all(), name, "be finite", array[~np.isfinite(array)][:1])
    return array
