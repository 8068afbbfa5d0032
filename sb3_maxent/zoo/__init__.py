"""
RL Zoo integration: the algorithms, their hyperparameter files and search spaces, and ``python -m sb3_maxent.zoo``.

The only room of the package that imports rl_zoo3, and not before it is used.
"""

from sb3_maxent.zoo.agents import VARIANTS, TrainedAgent, env_kwargs_of, evaluation_env, load_agent, trained_agents
from sb3_maxent.zoo.command import COMMANDS, main
from sb3_maxent.zoo.registry import (
    ALGORITHMS,
    Algorithm,
    algorithms,
    did_you_mean,
    fitting_actions,
    hyperparams_file,
    is_missing,
    missing_extra,
    read_hyperparams,
    register,
    unknown_hyperparams,
)
from sb3_maxent.zoo.search_spaces import ACTIVATIONS, NET_ARCHS, convert_params

__all__ = [
    "ACTIVATIONS",
    "ALGORITHMS",
    "COMMANDS",
    "NET_ARCHS",
    "VARIANTS",
    "Algorithm",
    "TrainedAgent",
    "algorithms",
    "convert_params",
    "did_you_mean",
    "env_kwargs_of",
    "evaluation_env",
    "fitting_actions",
    "hyperparams_file",
    "is_missing",
    "load_agent",
    "main",
    "missing_extra",
    "read_hyperparams",
    "register",
    "trained_agents",
    "unknown_hyperparams",
]
