"""Errors for bad arguments: they name the parameter, the value and what is allowed."""

from typing import Any

import numpy as np

# The smallest number that "in (0, inf)" lets pass
POSITIVE = float(np.finfo(np.float32).tiny)


def check_array(
    name: str,
    value: Any,
    shape: tuple[int | None, ...],
    minimum: float = float("-inf"),
    maximum: float = float("inf"),
    allow_empty: bool = False,
) -> np.ndarray:
    """
    Turn an argument into an array of finite numbers of the right shape and in the right range.

    :param name: the parameter's name, for the message
    :param value: what was given: a number or (nested) sequences of numbers
    :param shape: the shape it must have, ``()`` for a number; ``None`` where any length from 1 is allowed
    :param minimum: smallest allowed number
    :param maximum: largest allowed number
    :param allow_empty: whether there may be none at all
    :return: float64 copy
    :raises ValueError: if it is none
    """
    try:
        if np.asarray(value).dtype.kind in "bUS":  # NumPy would read True as 1 and "0.5" as 0.5
            raise TypeError
        array = np.array(value, dtype=np.float64)
        if allow_empty and not array.size:
            return np.empty((0, *shape[1:]))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no numbers, or rows of different length
        array = np.array(float("nan"))
    fits = array.ndim == len(shape) and all(
        length >= 1 if wanted is None else length == wanted for length, wanted in zip(array.shape, shape, strict=True)
    )
    # NaN fails the comparison, infinity isfinite
    if not fits or not ((minimum <= array) & (array <= maximum) & np.isfinite(array)).all():
        lengths = ", ".join("any" if length is None else str(length) for length in shape)
        kind = f"an array of shape ({lengths}) with finite numbers" if shape else "a finite number"
        raise ValueError(f"`{name}` must be {kind} in [{minimum:g}, {maximum:g}], not {value!r}")
    return array


def check_each(name: str, value: Any, n: int, minimum: float = float("-inf"), maximum: float = float("inf")) -> np.ndarray:
    """
    Turn an argument that is one number for all of n things, or one for each, into one for each.

    :param name: the parameter's name, for the message
    :param value: what was given
    :param n: how many things there are
    :param minimum: smallest allowed number
    :param maximum: largest allowed number
    :return: (n,), read-only
    :raises ValueError: if it is neither
    """
    return np.broadcast_to(check_array(name, value, (n,) if n_axes(value) else (), minimum, maximum), n)


def n_axes(value: Any) -> int:
    """Number of an argument's axes; 1 if its rows have different lengths, for :func:`check_array` to refuse them."""
    try:
        return np.ndim(value)
    except ValueError:
        return 1


def check_distribution(name: str, value: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """
    Turn an argument into probabilities that sum to 1 along the last axis.

    :param name: the parameter's name, for the message
    :param value: what was given
    :param shape: as in :func:`check_array`
    :return: float64 copy whose sums are 1 to within rounding
    :raises ValueError: if a number is outside [0, 1] or a sum differs from 1 by more than 1e-6
    """
    array = check_array(name, value, shape, 0.0, 1.0)
    sums = array.sum(axis=-1, keepdims=True)
    if (np.abs(sums - 1) > 1e-6).any():
        index = tuple(int(i) for i in np.argwhere(np.abs(sums - 1) > 1e-6)[0][:-1])
        where = f"`{name}`{list(index)}" if index else f"`{name}`"
        raise ValueError(f"{where} must sum to 1, not to {sums[index].item():g}: {array[index].tolist()}")
    return array / sums


def check_indices(name: str, value: Any, length: int) -> np.ndarray:
    """
    Turn an argument into different indices of a sequence.

    :param name: the parameter's name, for the message
    :param value: what was given
    :param length: the sequence's length
    :return: (I,) sorted integers, possibly none
    :raises ValueError: if one is no integer in [0, length) or appears twice
    """
    try:
        indices = sorted(value)
    except TypeError:  # no sequence, or not of numbers
        indices = [None]
    if any(isinstance(i, bool) or not isinstance(i, int | np.integer) or not 0 <= i < length for i in indices) or len(
        set(indices)
    ) < len(indices):
        raise ValueError(f"`{name}` must be different integers in [0, {length - 1}], not {value!r}")
    return np.array(indices, dtype=np.int64)
