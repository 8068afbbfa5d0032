"""
Train DiscreteSAC on CartPole-v1 with the RL Zoo's command (one to two minutes), evaluate it and draw its learning curve.

Run by ``make demo``; everything it writes lies under ``demo/``.
"""

import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_maxent import DiscreteSAC

ENV = "CartPole-v1"
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
command = [sys.executable, "-m", "sb3_maxent.zoo", "train", "--algo", "discretesac", "--env", ENV, "--progress"]
command += ["-n", str(steps), "--eval-freq", str(max(steps // 20, 1)), "--eval-episodes", "10", "--seed", "0"]
command += ["--verbose", "0", "--device", "cpu", "--num-threads", "1", "-f", "demo/logs", "-tb", "demo/tensorboard"]
subprocess.run(command, check=True)

run = max(Path("demo/logs/discretesac").glob(f"{ENV}_*"), key=lambda path: int(path.name.rpartition("_")[2]))
model = DiscreteSAC.load(run / f"{ENV}.zip", device="cpu")
mean, std = evaluate_policy(model, make_vec_env(ENV, seed=1), n_eval_episodes=20)

evaluations = np.load(run / "evaluations.npz")
figure, axes = plt.subplots(figsize=(6, 4))
returns = evaluations["results"]
axes.plot(evaluations["timesteps"], returns.mean(axis=1), label="mean of 10 episodes")
axes.fill_between(evaluations["timesteps"], returns.min(axis=1), returns.max(axis=1), alpha=0.2, label="lowest to highest")
axes.set(xlabel="environment steps", ylabel="return", title=f"DiscreteSAC on {ENV}")
axes.legend(loc="lower right")
figure.savefig(run / "learning_curve.png", dpi=120, bbox_inches="tight")

print(f"\nMean return over 20 episodes: {mean:.1f} +/- {std:.1f} (500 is the most that {ENV} gives)")
print(f"Model:          {run / f'{ENV}.zip'}")
print(f"Logs:           {run} and demo/tensorboard (tensorboard --logdir demo/tensorboard)")
print(f"Learning curve: {run / 'learning_curve.png'}")
