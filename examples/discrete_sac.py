"""
DiscreteSAC: SAC for discrete actions. The temperature is learned, so that the policy's entropy goes to a target.

    python examples/discrete_sac.py --steps 20000
"""

import argparse
from typing import Any

from matplotlib.figure import Figure
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure

from sb3_maxent import DiscreteSAC
from sb3_maxent.figures import draw_entropy
from sb3_maxent.measures import current_target_entropy

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=20_000, help="environment steps")
steps = parser.parse_args().steps

env = make_vec_env("CartPole-v1", seed=0)
parameters: dict[str, Any] = {"learning_rate": lambda left: 2e-3 * left, "batch_size": 64, "learning_starts": 500, "tau": 0.05}
parameters |= {"train_freq": 4, "gradient_steps": 2, "critic_ent_coef": 0.0, "target_entropy_ratio": 0.3}
parameters |= {"policy_kwargs": {"net_arch": [128, 128]}}
model = DiscreteSAC("MlpPolicy", env, **parameters, seed=0, device="cpu")
model.set_logger(configure("discrete_sac", ["csv"]))  # writes discrete_sac/progress.csv
model.learn(steps, progress_bar=True)

model.save("discrete_sac/model")
model = DiscreteSAC.load("discrete_sac/model", env=env)
mean, std = evaluate_policy(model, env, n_eval_episodes=20)
print(f"return after {model.num_timesteps} steps: {mean:.1f} +/- {std:.1f} (500 is the most)")

figure = Figure(figsize=(6, 3))
target_entropy = current_target_entropy(model)
_, entropies = draw_entropy("discrete_sac", figure.subplots(), target_entropy=target_entropy, label="DiscreteSAC")
print(f"entropy: {entropies[-1]:.2f}, target: {target_entropy:.2f} nats")
figure.savefig("discrete_sac/entropy.png", bbox_inches="tight")
