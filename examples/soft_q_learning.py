"""
SoftQLearning: exp(Q / alpha) itself is the policy, with all its modes. Of four goals that are equally good it visits all.

    python examples/soft_q_learning.py --steps 20000
"""

import argparse
from typing import Any

import gymnasium as gym
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_maxent import SoftQLearning
from sb3_maxent.figures import multigoal_figure
from sb3_maxent.measures import play

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=20_000, help="environment steps")
steps = parser.parse_args().steps

env = make_vec_env("MultiGoal-v0", n_envs=4, seed=0)
parameters: dict[str, Any] = {"learning_rate": lambda left: 1e-3 * left, "batch_size": 64, "learning_starts": 500, "tau": 0.01}
parameters |= {"ent_coef": 1.0, "policy_kwargs": {"net_arch": [128, 128], "n_critics": 1}}
model = SoftQLearning("MlpPolicy", env, **parameters, seed=0, device="cpu").learn(steps, progress_bar=True)

model.save("soft_q_learning")
model = SoftQLearning.load("soft_q_learning", device="cpu")
mean, std = evaluate_policy(model, env, n_eval_episodes=100, deterministic=False)
print(f"return of the sampled actions: {mean:.1f} +/- {std:.1f}")

world = gym.make("MultiGoal-v0")
goals = [str(play(model, world, seed).info["goal"]) for seed in range(100)]
for goal in sorted(set(goals)):
    print(f"{goal}: {goals.count(goal)} of {len(goals)} episodes")
multigoal_figure({"SoftQLearning": model}, world).savefig("soft_q_learning.png", bbox_inches="tight")
