"""The deterministic action as a module of tensors alone, for ``torch.onnx``, ``torch.export`` and ``torch.jit.trace``."""

import torch as th
from gymnasium import spaces
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_maxent.common.policies import MaxEntPolicy


class DeterministicPolicy(nn.Module):
    """
    ``predict(obs, deterministic=True)`` for a batch of tensors: what the policy gives, scaled to the bounds of the action
    space. It shares the policy's weights, and puts the policy in evaluation mode.

    :param policy: The policy of a model of this package, ``model.policy``
    """

    low: th.Tensor
    high: th.Tensor

    def __init__(self, policy: MaxEntPolicy):
        super().__init__()
        self.policy = policy
        self.action_space = policy.action_space
        if isinstance(self.action_space, spaces.Box):
            self.register_buffer("low", th.as_tensor(self.action_space.low, device=policy.device))
            self.register_buffer("high", th.as_tensor(self.action_space.high, device=policy.device))
        self.eval()

    def forward(self, obs: PyTorchObs) -> th.Tensor:
        """
        :param obs: batch of B observations as ``policy.obs_to_tensor`` gives them, images with the channels first
        :return: (B, ...) actions of the action space
        """
        actions = self.policy(obs, deterministic=True)
        if isinstance(self.action_space, spaces.Box):
            # As in SB3's unscale_action, to the last bit
            actions = self.low + 0.5 * (actions.reshape(-1, *self.low.shape) + 1.0) * (self.high - self.low)
        return actions
