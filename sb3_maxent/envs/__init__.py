"""
Small environments in which a maximum-entropy policy has something to show. Importing registers them with Gymnasium;
every variant is a keyword argument of ``gymnasium.make``. Where the package isn't imported, as in the worker processes of
a ``SubprocVecEnv``, ``gymnasium.make("sb3_maxent:MultiGoal-v0")`` imports it.
"""

import gymnasium as gym

from sb3_maxent.envs.action_mask import ActionMaskWrapper
from sb3_maxent.envs.mixture_bandit import MixtureBanditEnv
from sb3_maxent.envs.multigoal import MultiGoalEnv
from sb3_maxent.envs.perturbation import PERTURBATIONS, PerturbationWrapper
from sb3_maxent.envs.tabular import TabularMDPEnv
from sb3_maxent.envs.two_ways import TwoWaysEnv

_ENTRY_POINTS = {
    "MultiGoal-v0": ("MultiGoalEnv", {"max_episode_steps": 30}),
    "MultiGoalMaxEnt-v0": (
        "MultiGoalEnv",
        {
            "max_episode_steps": 30,
            "kwargs": {
                "goals": [[5, 0], [-4, 3], [-4, -3]],
                "goal_threshold": 0.5,
                "reward_scale": 1.0,
                "init_sigma": 0.0,
                "probe_states": [[-3.5, -2.5], [-2.5, 0.5], [-1, 0], [0, 0], [1, 0], [4, 0]],
            },
        },
    ),
    "MixtureBandit-v0": ("MixtureBanditEnv", {}),
    "TabularMDP-v0": ("TabularMDPEnv", {}),  # its horizon is an argument
    "TwoWays-v0": ("TwoWaysEnv", {"max_episode_steps": 40}),
}
for _id, (_class, _arguments) in _ENTRY_POINTS.items():
    if _id not in gym.registry:
        gym.register(_id, entry_point=f"{__name__}:{_class}", **_arguments)  # type: ignore[arg-type]
# MinAtar's own ids, which Gymnasium 1.0 no longer finds in the package. It has no limit of time, without which an agent that
# never misses Breakout's ball plays for ever
for _game in ("asterix", "breakout", "freeway", "seaquest", "space_invaders"):
    _id = f"MinAtar/{_game.title().replace('_', '')}-v1"
    if _id not in gym.registry:
        gym.register(
            _id,
            entry_point="sb3_maxent.minatar:make_game",
            max_episode_steps=10_000,
            kwargs={"game": _game, "use_minimal_action_set": True},
        )

__all__ = [
    "PERTURBATIONS",
    "ActionMaskWrapper",
    "MixtureBanditEnv",
    "MultiGoalEnv",
    "PerturbationWrapper",
    "TabularMDPEnv",
    "TwoWaysEnv",
]
