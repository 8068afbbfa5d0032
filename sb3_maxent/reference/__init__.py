"""
Exact, slow solutions in plain NumPy that the algorithms are held against.

Nothing here imports anything else of ours, and no algorithm imports this: an oracle can't share a bug with what it checks.
"""

from sb3_maxent.reference.continuous import (
    gaussian_entropy,
    gaussian_mixture_log_density,
    gaussian_mixture_score,
    grid,
    histogram_entropy,
    histogram_kl,
    optimal_density,
    optimal_entropy,
    optimal_log_density,
    optimal_moments,
    soft_value_by_quadrature,
)
from sb3_maxent.reference.svgd import (
    direction_jacobians,
    log_density_change,
    rbf_kernel,
    single_particle_log_det,
    svgd_direction,
    svgd_step,
)
from sb3_maxent.reference.tabular import (
    entropy,
    munchausen_value_iteration,
    soft_bellman_backup,
    soft_policy,
    soft_policy_evaluation,
    soft_policy_improvement,
    soft_policy_iteration,
    soft_value,
    soft_value_iteration,
    total_variation,
)

__all__ = [
    "direction_jacobians",
    "entropy",
    "gaussian_entropy",
    "gaussian_mixture_log_density",
    "gaussian_mixture_score",
    "grid",
    "histogram_entropy",
    "histogram_kl",
    "log_density_change",
    "munchausen_value_iteration",
    "optimal_density",
    "optimal_entropy",
    "optimal_log_density",
    "optimal_moments",
    "rbf_kernel",
    "single_particle_log_det",
    "soft_bellman_backup",
    "soft_policy",
    "soft_policy_evaluation",
    "soft_policy_improvement",
    "soft_policy_iteration",
    "soft_value",
    "soft_value_by_quadrature",
    "soft_value_iteration",
    "svgd_direction",
    "svgd_step",
    "total_variation",
]
