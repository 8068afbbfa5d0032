"""Settings that may change in the course of the training."""

from typing import Any

from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule

from sb3_maxent.common.checks import check_number


def ends_of_linear(name: str, text: str, minimum: float, maximum: float = float("inf")) -> tuple[float, float]:
    """
    Read ``"lin_X"`` or ``"lin_X_Y"``.

    :param name: the parameter's name, for the message
    :param text: a setting that begins with ``"lin"``
    :param minimum: smallest allowed value of X and Y
    :param maximum: largest allowed value of X and Y
    :return: X and Y, which is 0 where there is none
    :raises ValueError: where it is something else, or X or Y is out of range
    """
    mode, *numbers = text.split("_")
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = []
    if mode != "lin" or not 1 <= len(values) <= 2:
        raise ValueError(f"`{name}` must be 'lin_X' or 'lin_X_Y' with numbers X and Y for a linear schedule, not {text!r}")
    for value in values:
        check_number(f"{name}={text}", value, minimum, maximum)
    return values[0], values[1] if len(values) == 2 else 0.0


def as_schedule(name: str, setting: Any, minimum: float) -> Schedule:
    """
    :param name: the parameter's name, for the message
    :param setting: a number, ``"lin_X"``, ``"lin_X_Y"``, or a function of the progress remaining (from 1 to 0)
    :param minimum: smallest allowed value
    :return: the function of the progress remaining that it stands for
    :raises ValueError: where it is none of them
    """
    if callable(setting):
        return FloatSchedule(setting)
    if isinstance(setting, str) and setting.startswith("lin"):
        start, end = ends_of_linear(name, setting, minimum)
        return LinearSchedule(start, end, 1.0)
    try:
        number = float(setting)  # a yml file makes a text of 1e-3
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be a number >= {minimum:g}, a schedule, 'lin_X' or 'lin_X_Y', not {setting!r}"
        ) from None
    check_number(name, setting if isinstance(setting, bool) else number, minimum)
    return FloatSchedule(number)
