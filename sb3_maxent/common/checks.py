"""Errors for bad arguments: they name the parameter, the value and what is allowed."""

from typing import Any

import numpy as np


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
        raise ValueError(f"`{name}` must be {kind} in [{minimum:g}, {maximum:g}], not {value!r}")


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


def check_finite(name: str, values: np.ndarray | dict[str, np.ndarray] | None, where: str) -> None:
    """
    Check that an array, or each array of a dictionary, holds neither NaN nor infinity.

    :param name: what the array is, for the message
    :param values: any array or dictionary of arrays; integers pass
    :param where: where it comes from, for the message
    :raises ValueError: with the first bad value and its index
    """
    if isinstance(values, dict):
        for key, array in values.items():
            check_finite(f"{name}[{key!r}]", array, where)
    elif values is not None and not np.isfinite(values).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(
            f"NaN or infinity in the {name} {where}: {values[index]} at index {index}. The model was not trained on it "
            "and can be saved."
        )
