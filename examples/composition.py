"""
Compose two agents of MultiGoal-v0, each blind to two of the four goals, into one that serves all four, without interaction.

    python examples/composition.py --steps 20000
"""

import argparse
from typing import Any

import gymnasium as gym
from matplotlib import rc_context
from stable_baselines3.common.env_util import make_vec_env

from sb3_maxent import SoftQLearning
from sb3_maxent.figures import trajectories_figure
from sb3_maxent.measures import play
from sb3_maxent.reporting.formatting import STYLE, save
from sb3_maxent.soft_q_learning import compose

N_EPISODES = 200
# What each agent sees of the goals' rewards. All goals attract and end the episode, for both
REWARDS = {"goals 0 and 1": [100.0, 100.0, 0.0, 0.0], "goals 2 and 3": [0.0, 0.0, 100.0, 100.0]}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=20_000, help="environment steps of each agent")
parser.add_argument("--gradient-steps", type=int, default=3000, help="of the composed agent's sampler")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", default="composition.png", help="file for the figure, .png or .svg")
args = parser.parse_args()

models: dict[str, SoftQLearning] = {}
for name, goal_reward in REWARDS.items():
    env = make_vec_env("MultiGoal-v0", n_envs=4, seed=args.seed, env_kwargs={"goal_reward": goal_reward})
    parameters: dict[str, Any] = {"learning_rate": lambda left: 1e-3 * left + 1e-5, "batch_size": 64, "learning_starts": 500}
    parameters |= {"tau": 0.01, "policy_kwargs": {"net_arch": [128, 128]}, "ent_coef": 1.0, "seed": args.seed, "device": "cpu"}
    models[name] = SoftQLearning("MlpPolicy", env, **parameters).learn(args.steps)
models["composed"] = compose(list(models.values()), gradient_steps=args.gradient_steps, learning_rate=1e-3)

world = gym.make("MultiGoal-v0")
for name, model in models.items():
    # Share of the episodes that end at each goal; actions are sampled
    goals = [play(model, world, seed).info["goal"] for seed in range(N_EPISODES)]
    shares = {str(goal): goals.count(goal) / N_EPISODES for goal in sorted(set(goals), key=str)}
    print(f"{name}: {shares}", flush=True)
with rc_context(STYLE):
    save(trajectories_figure(models, world, n_episodes=20), args.output, "Trajectories of two agents and of the composed one")
print(f"Saved {args.output}")
