"""Errors for bad arguments: they name the parameter, the value and what is allowed."""

from typing import Any

import numpy as np
from gymnasium import spaces


def check_number(
    name: str,
    value: Any,
    minimum: float = float("-inf"),
    maximum: float = float("inf"),
    integer: bool = False,
) -> None:
    """
    Check that ``value`` is a finite number (an integer if ``integer``) in ``[minimum, maximum]``.

    :param name: the parameter's name, for the message
    :param value: what was given
    :param minimum: smallest allowed value
    :param maximum: largest allowed value
    :param integer: whether fractions are refused
    :raises ValueError: if it is not
    """
    kind = "an integer" if integer else "a number"
    try:
        valid = minimum <= value <= maximum and abs(value) < float("inf")  # NaN fails the comparison
    except TypeError:
        valid = False
    if not valid or isinstance(value, bool) or (integer and not isinstance(value, int | np.integer)):
        hint = ", which is a text: YAML reads 2e-3 as one, and 2.0e-3 or 0.002 as a number" if isinstance(value, str) else ""
        raise ValueError(f"`{name}` must be {kind} in [{minimum:g}, {maximum:g}], not {value!r}{hint}")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """
    Check that ``value`` is one of ``choices``.

    :param name: the parameter's name, for the message
    :param value: what was given
    :param choices: the allowed values
    :raises ValueError: if it is not
    """
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}, not {value!r}")


def check_action_space(space: spaces.Space) -> None:
    """
    Check that SB3's scaling of ``Box`` actions to [-1, 1] has a meaning: it divides by ``high - low``, in the space's type.

    :param space: any action space
    :raises ValueError: with the first dimension where it has none
    """
    if not isinstance(space, spaces.Box):
        return
    if not np.issubdtype(space.dtype, np.floating):
        raise ValueError(f"`action_space` must be a Box of floating-point numbers, not of {space.dtype}: {space}")
    if 0 in space.shape:
        raise ValueError(f"`action_space` must have at least one dimension, not the shape {space.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        # float32 is what replay buffers store
        span = np.asarray(space.high, dtype=np.float32) - np.asarray(space.low, dtype=np.float32)
    for index in np.argwhere(~(np.isfinite(span) & (span > 0)))[:1]:
        place = tuple(int(i) for i in index)
        raise ValueError(
            f"`action_space` must have low < high, with a finite difference in float32, in each dimension, not "
            f"low={space.low[place]} and high={space.high[place]} in dimension {place[0] if len(place) == 1 else place}"
        )


def check_finite(name: str, values: np.ndarray | dict[str, np.ndarray] | None, where: str, stored: bool = False) -> None:
    """
    Check that an array, or each array of a dictionary, holds neither NaN nor infinity, also not in float32, the type that
    networks work in.

    :param name: what the array is, for the message
    :param values: any array or dictionary of arrays; integers pass
    :param where: where it comes from, for the message
    :param stored: whether the values are only stored, in their own type, so that they need not be finite in float32
    :raises ValueError: with the first bad value and its index
    """
    if isinstance(values, dict):
        for key, array in values.items():
            check_finite(f"{name}[{key!r}]", array, where, stored)
        return
    if values is None:
        return
    used = np.asarray(values)
    if used.dtype == np.float64 and not stored:
        with np.errstate(over="ignore"):
            used = used.astype(np.float32)
    finite = np.isfinite(used)
    if finite.all():
        return
    index = tuple(int(i) for i in np.argwhere(~finite)[0])
    value, what = np.asarray(values)[index], "NaN or infinity"
    if np.isfinite(value):
        what = "A number that is infinite in float32"
    raise ValueError(f"{what} in the {name} {where}: {value} at index {index}")
