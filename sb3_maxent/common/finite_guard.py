"""What happens when a number is NaN or infinite: training stops, and nothing that was trained is lost."""

import copy
from typing import Any, NoReturn

import numpy as np
import torch as th
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from sb3_maxent.common.checks import check_finite

ADVICE = (
    "Try a smaller `learning_rate`, smaller rewards (VecNormalize) or bounds on the temperature; "
    "rewards that caused it are still in the replay buffer."
)


class FiniteGuard:
    """
    Copies of a model's last finite state, and the way back to them.

    Transitions are checked before they are stored, so the networks never see a bad one; the statistics of a
    ``VecNormalize`` do, and go back to a copy. Losses are checked at the end of each ``train()``, so that the tensors
    stay on the device until then; networks, optimizers and temperature go back to a copy.

    :param model: the model
    """

    # Gradient steps and environment steps between two copies
    update_interval = 1000
    step_interval = 100

    def __init__(self, model: OffPolicyAlgorithm):
        self.model = model
        self.n_updates = 0
        self.parameters: dict[str, Any] | None = None
        self.tensors: dict[str, th.Tensor] = {}
        self.n_calls = 0
        self.statistics: dict[str, Any] = {}

    def remember_parameters(self) -> None:
        """
        Copy networks, optimizers and temperature, if the last copy is old.

        :raises ValueError: if something that training changes is not finite
        """
        model = self.model
        if self.parameters is not None and model._n_updates < self.n_updates + self.update_interval:
            return
        if name := self.not_finite():
            self.stop(f"`{name}` is NaN or infinite before gradient step {model._n_updates + 1}")
        parameters = copy.deepcopy(model.get_parameters())
        self.tensors = {name: getattr(model, name).detach().clone() for name in model._get_torch_save_params()[1]}
        self.n_updates, self.parameters = model._n_updates, parameters

    def not_finite(self) -> str | None:
        """
        The first tensor that is not finite and that training changes: a parameter with a gradient, or a tensor (of batch norm,
        say) that was finite in the last copy. An infinity that was there from the start, such as a mask's, is meant.

        :return: its name in the policy, ``None`` where there is none
        """
        learned = {name for name, p in self.model.policy.named_parameters(remove_duplicate=False) if p.requires_grad}
        before = {} if self.parameters is None else self.parameters["policy"]
        for name, tensor in self.model.policy.state_dict().items():
            if not tensor.isfinite().all() and (name in learned or (name in before and before[name].isfinite().all())):
                return name
        return None

    def stop(self, reason: str) -> NoReturn:
        """
        Go back to the last copy of the parameters.

        :param reason: what is not finite, and where
        :raises ValueError: in any case
        """
        if self.parameters is None:
            raise ValueError(f"{reason}. {ADVICE}")
        self.model.set_parameters(self.parameters, device=self.model.device)
        for name, tensor in self.tensors.items():
            getattr(self.model, name).data.copy_(tensor)
        self.model._n_updates = self.n_updates
        self.parameters = None  # the optimizers now work on its tensors
        raise ValueError(f"{reason}. The model is back at gradient step {self.n_updates} and can be saved. {ADVICE}")

    def remember_statistics(self) -> None:
        """Copy the statistics of a ``VecNormalize``."""
        normalizer = self.model._vec_normalize_env
        names = ("obs_rms", "ret_rms", "returns")
        self.statistics = {name: copy.deepcopy(getattr(normalizer, name)) for name in names if hasattr(normalizer, name)}

    def check(self, where: str, used: dict[str, Any], stored: dict[str, Any] | None = None) -> None:
        """
        Check arrays; where one is not finite, let the statistics of a ``VecNormalize`` go back to the last copy.

        :param where: where they come from, for the message
        :param used: arrays, or dictionaries of arrays, that networks will work on, by their names
        :param stored: those that are only stored
        :raises ValueError: if something is not finite
        """
        try:
            for name, array in used.items():
                check_finite(name, array, where)
            for name, array in (stored or {}).items():
                check_finite(name, array, where, stored=True)
        except ValueError as error:
            for name, value in self.statistics.items():
                setattr(self.model._vec_normalize_env, name, value)
            raise ValueError(f"{error}. The model was not trained on it and can be saved.") from None

    def check_transition(
        self, new_obs: np.ndarray | dict[str, np.ndarray], rewards: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]
    ) -> None:
        """
        Check what the environments returned, as it is used (in float32, normalized) and as it is stored (not normalized).

        :param new_obs: observations, (n_envs, ...) or a dictionary of these
        :param rewards: (n_envs,)
        :param dones: (n_envs,)
        :param infos: of each environment
        :raises ValueError: if something is not finite
        """
        normalizer = self.model._vec_normalize_env
        used: dict[str, Any] = {"observations": new_obs}
        stored: dict[str, Any] = {}
        if normalizer is not None:
            rewards = normalizer.get_original_reward()
            stored["observations before normalization"] = normalizer.get_original_obs()
        used["rewards"] = rewards  # the replay buffer has float32
        for index in np.flatnonzero(dones):
            used[f"terminal observation of environment {index}"] = infos[index].get("terminal_observation")
        self.check(f"that the environment returned at time step {self.model.num_timesteps}", used, stored)
        if normalizer is not None and self.n_calls % self.step_interval == 0:
            self.remember_statistics()
        self.n_calls += 1
