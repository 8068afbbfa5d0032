"""
S2AC: an actor-critic whose policy is a sampler, so that it has the modes of exp(Q / alpha), and an entropy that is known.

    python examples/s2ac.py --steps 20000
"""

import argparse
from typing import Any

import gymnasium as gym
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_maxent import S2AC
from sb3_maxent.figures import multigoal_figure
from sb3_maxent.measures import entropy_of_actions, entropy_of_q

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=20_000, help="environment steps")
steps = parser.parse_args().steps

env = make_vec_env("MultiGoalMaxEnt-v0", n_envs=4, seed=0, env_kwargs={"reward_scale": 0.1})
parameters: dict[str, Any] = {"learning_rate": lambda left: 1e-3 * left, "batch_size": 64, "learning_starts": 500, "tau": 0.01}
parameters |= {"gradient_steps": 2, "ent_coef": 1.0, "policy_kwargs": {"net_arch": [128, 128], "n_critics": 1}}
model = S2AC("MlpPolicy", env, **parameters, seed=0, device="cpu").learn(steps, progress_bar=True)

model.save("s2ac")
model = S2AC.load("s2ac", device="cpu")
mean, std = evaluate_policy(model, env, n_eval_episodes=100, deterministic=False)
print(f"return of the sampled actions: {mean:.1f} +/- {std:.1f}")

world = gym.make("MultiGoalMaxEnt-v0", reward_scale=0.1)
for state in ([0, 0], [4, 0]):  # between the goals, and where one of them is near
    actions, best = entropy_of_actions(model, state), entropy_of_q(model, state)
    print(f"entropy of the actions at {state}: {actions:.2f}, of exp(Q / alpha): {best:.2f} nats")
multigoal_figure({"S2AC": model}, world).savefig("s2ac.png", bbox_inches="tight")
