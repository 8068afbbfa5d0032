"""
S2AC, SoftQLearning and SB3's SAC on MixtureBandit-v0, whose optimal policy is a mixture of four Gaussians: learned against
exact density of the actions, and the KL divergence between them. With the settings of hyperparams/.

    python examples/compare_bandit.py --steps 20000
"""

import argparse

from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env

from sb3_maxent import S2AC, SoftQLearning
from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.figures import density_figure

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=20_000, help="environment steps of each; a gradient step for every eight")
parser.add_argument("--output", default="compare_bandit.png")
args = parser.parse_args()

# The temperature at which the mixture is optimal is the bandit's
shared = {"learning_rate": lambda left: 1e-3 * left, "batch_size": 64, "learning_starts": 500, "ent_coef": 1.0}
shared |= {"policy_kwargs": {"net_arch": [128, 128]}, "seed": 0, "device": "cpu"}
own = {S2AC: {}, SoftQLearning: {"n_value_particles": 1, "n_kernel_particles": 32, "kernel_bandwidth": 0.03}, SAC: {}}
models = {}
for algorithm, parameters in own.items():
    env = make_vec_env("MixtureBandit-v0", n_envs=8, seed=0)
    models[algorithm.__name__] = algorithm("MlpPolicy", env, **shared, **parameters).learn(args.steps, progress_bar=True)

figure, divergences = density_figure(models, [0.0], MixtureBanditEnv().log_prob)
for name, divergence in divergences.items():
    print(f"{name:13s} KL divergence from the optimum: {divergence:.3f} nats")
figure.savefig(args.output, dpi=80, bbox_inches="tight")
print(f"Saved {args.output}")
