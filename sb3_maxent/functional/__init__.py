"""The mathematics: pure functions of torch tensors, without modules, state or Stable-Baselines3."""

from sb3_maxent.functional.kernels import bandwidth, rbf_kernel, score_bandwidth, squared_distances
from sb3_maxent.functional.mixture import gaussian_log_probs
from sb3_maxent.functional.secant_entropy import (
    pair_correlation_trace,
    pair_products,
    secant_log_density_change,
    secant_trace,
)
from sb3_maxent.functional.soft_values import (
    boltzmann_log_probs,
    categorical_entropy,
    importance_soft_value,
    policy_soft_value,
    soft_maximum,
    soft_td_target,
)
from sb3_maxent.functional.squash import log_abs_det_jacobian, log_det_tanh, unsquash
from sb3_maxent.functional.stein_entropy import (
    exact_log_density_change,
    log_density_change,
    stein_direction_and_jacobian,
    stein_trace,
    step_ratio,
)
from sb3_maxent.functional.svgd import energy_gradient, squashed_gradient, stein_direction, svgd_step
from sb3_maxent.functional.truncated_normal import truncated_normal_icdf, truncated_normal_log_prob

__all__ = [
    "bandwidth",
    "boltzmann_log_probs",
    "categorical_entropy",
    "energy_gradient",
    "exact_log_density_change",
    "gaussian_log_probs",
    "importance_soft_value",
    "log_abs_det_jacobian",
    "log_density_change",
    "log_det_tanh",
    "pair_correlation_trace",
    "pair_products",
    "policy_soft_value",
    "rbf_kernel",
    "score_bandwidth",
    "secant_log_density_change",
    "secant_trace",
    "soft_maximum",
    "soft_td_target",
    "squared_distances",
    "squashed_gradient",
    "stein_direction",
    "stein_direction_and_jacobian",
    "stein_trace",
    "step_ratio",
    "svgd_step",
    "truncated_normal_icdf",
    "truncated_normal_log_prob",
    "unsquash",
]
