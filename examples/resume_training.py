"""
Train, save the model and its replay buffer, load both in a new object and go on where the training stopped.

    python examples/resume_training.py --steps 5000
"""

import argparse
from typing import Any

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_maxent import DiscreteSAC

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=5_000, help="environment steps, before and after")
steps = parser.parse_args().steps

env = make_vec_env("CartPole-v1", seed=0)
parameters: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 64, "learning_starts": 500, "tau": 0.05}
parameters |= {"critic_ent_coef": 0.0, "train_freq": 4, "gradient_steps": 2}
model = DiscreteSAC("MlpPolicy", env, **parameters, seed=0, device="cpu").learn(steps)
print(f"before: {model.num_timesteps} steps, return {evaluate_policy(model, env)[0]:.1f}")
model.save("resume_training")  # networks, optimizers, temperature and counts
model.save_replay_buffer("resume_training_buffer")  # a file of its own: it is much larger
del model

model = DiscreteSAC.load("resume_training", env=env, device="cpu")
model.load_replay_buffer("resume_training_buffer")
assert model.replay_buffer is not None
print(f"loaded: {model.num_timesteps} steps, {model.replay_buffer.size()} transitions in the replay buffer")

# Without reset_num_timesteps=False the count, and with it schedules and learning_starts, would begin again
model.learn(steps, reset_num_timesteps=False)
print(f"after: {model.num_timesteps} steps, return {evaluate_policy(model, env)[0]:.1f}")
