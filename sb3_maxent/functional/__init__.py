"""The mathematics: pure functions of torch tensors, without modules, state or Stable-Baselines3."""

from sb3_maxent.functional.soft_values import categorical_entropy, policy_soft_value, soft_td_target

__all__ = ["categorical_entropy", "policy_soft_value", "soft_td_target"]
