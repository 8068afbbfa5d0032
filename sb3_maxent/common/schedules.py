"""Settings that may change in the course of the training."""

from typing import Any

from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule

from sb3_maxent.common.checks import check_number

# Of the training, in which a linear schedule reaches its end
SMALLEST_SHARE = 1e-6


def linear_schedule(name: str, text: str, minimum: float, maximum: float = float("inf")) -> LinearSchedule:
    """
    Read ``"lin_X"``, ``"lin_X_Y"`` or ``"lin_X_Y_F"``.

    :param name: the parameter's name, for the message
    :param text: a setting that begins with ``"lin"``
    :param minimum: smallest allowed value of X and Y
    :param maximum: largest allowed value of X and Y
    :return: the function of the progress remaining that goes linearly from X to Y, 0 where there is no Y, in the first share F
        of the training, 1 where there is no F, and stays there
    :raises ValueError: where it is something else, or X, Y or F is out of range
    """
    mode, *numbers = text.split("_")
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = []
    if mode != "lin" or not 1 <= len(values) <= 3:
        raise ValueError(
            f"`{name}` must be 'lin_X', 'lin_X_Y' or 'lin_X_Y_F' with numbers X, Y and F for a linear schedule, not {text!r}"
        )
    for value in values[:2]:
        check_number(f"{name}={text}", value, minimum, maximum)
    start, end, share = values + [0.0, 1.0][len(values) - 1 :]
    check_number(f"{name}={text}", share, SMALLEST_SHARE, 1)
    return LinearSchedule(start, end, share)


def as_schedule(name: str, setting: Any, minimum: float) -> Schedule:
    """
    :param name: the parameter's name, for the message
    :param setting: a number, ``"lin_X"``, ``"lin_X_Y"``, ``"lin_X_Y_F"``, or a function of the progress remaining (from 1
        to 0)
    :param minimum: smallest allowed value
    :return: the function of the progress remaining that it stands for
    :raises ValueError: where it is none of them
    """
    if callable(setting):
        return FloatSchedule(setting)
    if isinstance(setting, str) and setting.startswith("lin"):
        return linear_schedule(name, setting, minimum)
    try:
        number = float(setting)  # a yml file makes a text of 1e-3
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` must be a number >= {minimum:g}, a schedule, 'lin_X', 'lin_X_Y' or 'lin_X_Y_F', not {setting!r}"
        ) from None
    check_number(name, setting if isinstance(setting, bool) else number, minimum)
    return FloatSchedule(number)
