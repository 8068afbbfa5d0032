"""
MixtureSAC: SAC whose policy is a mixture of Gaussians; its components on a bandit with four modes, SAC's Gaussian beside it.

    python examples/mixture_sac.py --steps 20000
"""

import argparse
from typing import Any

import torch as th
from matplotlib import rc_context
from stable_baselines3.common.env_util import make_vec_env

from sb3_maxent import MixtureSAC
from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.figures import density_figure
from sb3_maxent.reporting.formatting import STYLE, save

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=20_000, help="environment steps of each; a gradient step for every eight")
parser.add_argument("--output", default="mixture_sac.png", help="file for the figure, .png or .svg")
args = parser.parse_args()

parameters: dict[str, Any] = {"learning_rate": lambda left: 1e-3 * left, "batch_size": 64, "learning_starts": 500}
parameters |= {"ent_coef": 1.0, "policy_kwargs": {"net_arch": [128, 128]}, "seed": 0, "device": "cpu"}
models = {}
for name, k in {"4 components": 4, "1 component": 1}.items():
    env = make_vec_env("MixtureBandit-v0", n_envs=8, seed=0)
    models[name] = MixtureSAC("MlpPolicy", env, n_components=k, **parameters).learn(args.steps, progress_bar=True)
models["4 components"].save("mixture_sac")
models["4 components"] = MixtureSAC.load("mixture_sac", device="cpu")
weights, means, _ = models["4 components"].actor.components(th.zeros(1, 1))
print(f"weights {weights[0].numpy().round(2)}, actions {means[0].tanh().double().numpy().round(2).tolist()}")

with rc_context(STYLE):
    figure, divergences = density_figure(models, [0.0], MixtureBanditEnv().log_prob)
    save(figure, args.output, "Densities of the actions: the optimum, four Gaussians, one Gaussian")
for name, divergence in divergences.items():
    print(f"{name:12s} KL divergence from the optimum: {divergence:.3f} nats")
