"""The temperature of an algorithm: fixed, scheduled or learned."""

import math

import numpy as np
import torch as th
from stable_baselines3.common.type_aliases import Schedule

from sb3_maxent.common.checks import check_number
from sb3_maxent.common.policies import MaxEntPolicy
from sb3_maxent.common.schedules import as_schedule

# Names by which it is saved: as SAC does
OPTIMIZER, LOGARITHM, NUMBER = "ent_coef_optimizer", "log_ent_coef", "ent_coef_tensor"
EXPECTED = "`ent_coef` must be a number >= 0, a schedule, 'lin_X', 'lin_X_Y', 'lin_X_Y_F', 'auto' or 'auto_X'"


class Temperature:
    """
    The temperature alpha. It is fixed (a number), scheduled (a function of the progress remaining, ``"lin_X"``, ``"lin_X_Y"``
    or ``"lin_X_Y_F"``) or learned (``"auto"`` or ``"auto_X"``): then its logarithm is a parameter with an optimizer of its
    own.

    :param ent_coef: the temperature, as the algorithms' parameter ``ent_coef``
    :param bounds: lowest and highest value of a learned temperature, ``None`` for no bounds
    :param learning_rate: learning rate of a learned temperature at the start
    :param device: device of the tensors
    :raises ValueError: for an ``ent_coef`` or bounds without a meaning
    """

    def __init__(
        self,
        ent_coef: str | float | Schedule,
        bounds: tuple[float, float] | None,
        learning_rate: float,
        device: th.device,
    ):
        self.setting = ent_coef
        self.bounds = None if bounds is None else self._check_bounds(bounds)
        # The logarithm of a learned temperature, or the temperature itself: SB3 restores either in place on loading
        self.log_ent_coef: th.Tensor | None = None
        self.ent_coef_tensor: th.Tensor | None = None
        self.optimizer: th.optim.Optimizer | None = None
        self.schedule: Schedule | None = None

        text = ent_coef if isinstance(ent_coef, str) else ""
        mode, *numbers = text.split("_") if text.startswith(("auto", "lin")) else ("fixed", ent_coef)
        try:
            values = [float(number) for number in numbers if not callable(number)]
        except (TypeError, ValueError):
            raise ValueError(f"{EXPECTED}, not {ent_coef!r}") from None
        if mode == "auto" and len(values) <= 1:
            init_value = values[0] if values else 1.0
            if not 0 < init_value < np.inf:
                raise ValueError(f"`ent_coef='auto_X'` needs a number X > 0 to start from, not {ent_coef!r}")
            # The logarithm is learned, https://github.com/rail-berkeley/softlearning/issues/37
            self.log_ent_coef = th.log(th.ones(1, device=device) * init_value).requires_grad_(True)
            self.clamp()
            self.optimizer = th.optim.Adam([self.log_ent_coef], lr=learning_rate)
            return
        if bounds is not None:
            raise ValueError(f"`ent_coef_bounds` must be None unless the temperature is learned, not {bounds!r}")
        if callable(ent_coef) or mode == "lin":
            self.schedule = as_schedule("ent_coef", ent_coef, 0)
        elif mode != "fixed":
            raise ValueError(f"{EXPECTED}, not {ent_coef!r}")
        self.ent_coef_tensor = th.zeros((), device=device)

    @staticmethod
    def _check_bounds(bounds: tuple[float, float]) -> tuple[float, float]:
        if np.shape(bounds) != (2,):
            raise ValueError(f"`ent_coef_bounds` must be (lowest, highest) or None, not {bounds!r}")
        lowest, highest = bounds
        check_number("ent_coef_bounds[0]", lowest, 0)
        check_number("ent_coef_bounds[1]", highest, lowest)
        return lowest, highest

    @staticmethod
    def learns(ent_coef: str | float | Schedule) -> bool:
        """
        :param ent_coef: the temperature, as the algorithms' parameter ``ent_coef``
        :return: whether that is a learned temperature
        """
        return isinstance(ent_coef, str) and ent_coef.startswith("auto")

    def is_that_of(self, ent_coef: str | float | Schedule) -> bool:
        """
        :param ent_coef: the temperature, as the algorithms' parameter ``ent_coef``
        :return: whether this object can follow it: it is what the object was made of, or both are numbers
        """
        if self.is_learned or self.schedule is not None:
            return ent_coef == self.setting
        return not callable(ent_coef) and not (isinstance(ent_coef, str) and ent_coef.startswith(("auto", "lin")))

    @property
    def is_learned(self) -> bool:
        """Whether the temperature is learned."""
        return self.log_ent_coef is not None

    @property
    def value(self) -> th.Tensor:
        """The temperature now, one entry, without gradient."""
        if self.log_ent_coef is not None:
            return self.log_ent_coef.detach().exp()
        assert self.ent_coef_tensor is not None
        return self.ent_coef_tensor

    def follow(self, ent_coef: str | float | Schedule, progress_remaining: float) -> None:
        """
        Take the value that a fixed or scheduled temperature has now; a learned one stays as it is.

        :param ent_coef: the temperature, as the algorithms' parameter ``ent_coef``
        :param progress_remaining: share of the training that remains, from 1 to 0
        :raises ValueError: where a schedule gives no number >= 0
        """
        if self.ent_coef_tensor is None:
            return
        if self.schedule is None:
            check_number("ent_coef", ent_coef, 0)
            self.ent_coef_tensor.fill_(float(ent_coef))  # type: ignore[arg-type]
            return
        value = self.schedule(progress_remaining)
        check_number(f"ent_coef` at `progress_remaining={progress_remaining:g}", value, 0)
        self.ent_coef_tensor.fill_(float(value))

    def loss(self, entropy: th.Tensor, target_entropy: float | th.Tensor) -> th.Tensor:
        """
        Loss of a learned temperature (Equation 18 of https://arxiv.org/abs/1812.05905, with log(alpha) for alpha).

        :param entropy: (B, 1) entropies of the policy in nats, without gradient
        :param target_entropy: the target: a number, or (B, 1) for each state
        :return: the loss (scalar)
        """
        assert self.log_ent_coef is not None
        return (self.log_ent_coef * (entropy - target_entropy)).mean()

    @th.no_grad()
    def clamp(self) -> None:
        """Keep a learned temperature within its bounds."""
        if self.log_ent_coef is not None and self.bounds is not None:
            lowest, highest = self.bounds
            self.log_ent_coef.clamp_(math.log(max(lowest, 1e-30)), math.log(max(highest, 1e-30)))

    def tell(self, policy: MaxEntPolicy) -> None:
        """
        Give a policy the temperature that it acts by.

        :param policy: the policy
        """
        if policy.acts_by_ent_coef:
            policy.ent_coef.copy_(self.value.squeeze())

    def saved(self) -> tuple[list[str], list[str]]:
        """
        :return: what is saved of it beside the policy: names of state dicts and of tensors, as attributes of the algorithm
        """
        return ([OPTIMIZER], [LOGARITHM]) if self.is_learned else ([], [NUMBER])
