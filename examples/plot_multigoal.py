"""
Train on MultiGoal-v0 or MultiGoalMaxEnt-v0 and draw the papers' figure: trajectories, Q contours and sampled actions. With
``--obstacle`` a wall is put up only now, after training: trajectories that touch it are orange where they still
reach a goal, and dashed in pink where they don't.

    python examples/plot_multigoal.py --algo s2ac --steps 20000 --ent-coef 1
"""

import argparse
from typing import Any

import gymnasium as gym
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env

from sb3_maxent import S2AC, SoftQLearning
from sb3_maxent.figures import multigoal_figure

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"s2ac": S2AC, "sql": SoftQLearning, "sac": SAC}
# The obstacles of S2AC's code
OBSTACLES = {"MultiGoal-v0": [[[-1.5, 3], [1.5, 3]]], "MultiGoalMaxEnt-v0": [[[-2, 0], [0, 2]]]}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--algo", choices=ALGORITHMS, default="s2ac")
parser.add_argument("--env", choices=OBSTACLES, default="MultiGoal-v0")
parser.add_argument("--steps", type=int, default=20_000, help="environment steps; there is one gradient step for every four")
parser.add_argument("--ent-coef", type=float, default=1.0, help="temperature")
parser.add_argument("--model", help="draw a trained model instead of training one")
parser.add_argument("--obstacle", action="store_true", help="put up a wall after training")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", default="multigoal.png")
args = parser.parse_args()

if args.model is not None:
    model = ALGORITHMS[args.algo].load(args.model, device="cpu")
else:  # rewards of either environment are scaled by 0.1
    parameters: dict[str, Any] = {"learning_rate": lambda left: 1e-3 * left + 1e-5, "batch_size": 64, "learning_starts": 500}
    parameters |= {"tau": 0.01, "policy_kwargs": {"net_arch": [128, 128]}, "device": "cpu"}
    parameters |= {"ent_coef": args.ent_coef, "seed": args.seed}
    env = make_vec_env(args.env, n_envs=4, seed=args.seed, env_kwargs={"reward_scale": 0.1})
    model = ALGORITHMS[args.algo]("MlpPolicy", env, **parameters).learn(args.steps, progress_bar=True)
world = gym.make(args.env, obstacles=OBSTACLES[args.env] if args.obstacle else ())
multigoal_figure({args.algo: model}, world).savefig(args.output, dpi=80, bbox_inches="tight")
print(f"Saved {args.output}")
