"""
SACNF: SAC with a normalizing-flow policy, whose density is exact; with SAC's Gaussian beside it on a bandit with four modes.

    python examples/sacnf.py --steps 20000
"""

import argparse
from typing import Any

import torch as th
from matplotlib import rc_context
from stable_baselines3.common.env_util import make_vec_env

from sb3_maxent import SACNF
from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.figures import density_figure
from sb3_maxent.reporting.formatting import STYLE, save

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=20_000, help="environment steps of each; a gradient step for every eight")
parser.add_argument("--output", default="sacnf.png", help="file for the figure, .png or .svg")
args = parser.parse_args()

parameters: dict[str, Any] = {"learning_rate": lambda left: 1e-3 * left, "batch_size": 64, "learning_starts": 500}
parameters |= {"ent_coef": 1.0, "policy_kwargs": {"net_arch": [128, 128]}, "seed": 0, "device": "cpu"}
models = {}
for name, n_flows in {"spline flow": 3, "no flow": 0}.items():
    env = make_vec_env("MixtureBandit-v0", n_envs=8, seed=0)
    models[name] = SACNF("MlpPolicy", env, n_flows=n_flows, **parameters).learn(args.steps, progress_bar=True)
models["spline flow"].save("sacnf")
models["spline flow"] = SACNF.load("sacnf", device="cpu")
with th.no_grad():
    actions, log_prob = models["spline flow"].actor.action_log_prob(th.zeros(10_000, 1))
print(f"entropy of the flow's policy: {-log_prob.mean():.2f} nats")

with rc_context(STYLE):
    figure, divergences = density_figure(models, [0.0], MixtureBanditEnv().log_prob)
    save(figure, args.output, "Densities of the actions: the optimum, a spline flow, no flow")
for name, divergence in divergences.items():
    print(f"{name:11s} KL divergence from the optimum: {divergence:.3f} nats")
