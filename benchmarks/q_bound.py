"""
Does Q run away? Return and largest Q of discrete SoftQLearning on CartPole-v1 during training, beside the bound that
no Q can exceed, (1 + alpha log 2) / (1 - gamma)::

    python benchmarks/q_bound.py --setting plain munchausen --seeds 6 101 --csv benchmarks/data/q_bound.csv
"""

import argparse
import math
from pathlib import Path
from typing import Any

import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from tables import write

from sb3_maxent import SoftQLearning

ENV, STEPS, N_MEASUREMENTS = "CartPole-v1", 50_000, 10
TWINS = {"net_arch": [128, 128], "n_critics": 2}
UNBOUNDED = {"bound_values": False}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"ent_coef": 0.1, "policy_kwargs": TWINS, **UNBOUNDED},
    "plain, bounded": {"ent_coef": 0.1, "policy_kwargs": TWINS},
    "plain, bounded, 1 critic": {"ent_coef": 0.1},
    "plain, tau 0.01, lr 1e-3": {
        **UNBOUNDED,
        "ent_coef": 0.1,
        "policy_kwargs": TWINS,
        "tau": 0.01,
        "learning_rate": lambda left: 1e-3 * left,
    },
    "munchausen, 1 critic": {"ent_coef": 0.03, "munchausen_coef": 0.9, **UNBOUNDED},
    "munchausen": {"ent_coef": 0.03, "munchausen_coef": 0.9, "policy_kwargs": TWINS, **UNBOUNDED},
}
COLUMNS = ["setting", "seed", "step", "return", "largest_q", "bound"]


class Measure(BaseCallback):
    """Appends rows with the return of 5 episodes and the largest Q among 1000 states of the replay buffer."""

    model: SoftQLearning

    def __init__(self, setting: str, seed: int, rows: list[dict[str, Any]]):
        super().__init__()
        self.setting, self.seed, self.rows = setting, seed, rows

    def _on_step(self) -> bool:
        if self.num_timesteps % (STEPS // N_MEASUREMENTS) == 0:
            mean, _ = evaluate_policy(self.model, make_vec_env(ENV, seed=5), n_eval_episodes=5)
            assert self.model.replay_buffer is not None
            assert isinstance(mean, float) and isinstance(self.model.ent_coef, float)
            observations = self.model.replay_buffer.sample(1000).observations
            with th.no_grad():
                q_values = self.model.policy.soft_minimum(self.model.critic(observations), self.model.policy.ent_coef)
            bound = (1 + self.model.ent_coef * math.log(2)) / (1 - self.model.gamma)
            measured = [round(value, 1) for value in (mean, q_values.max().item(), bound)]
            values = [self.setting, self.seed, self.num_timesteps, *measured]
            self.rows.append(dict(zip(COLUMNS, values, strict=True)))
            print(*values, flush=True)
        return True


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[6, 101])
    parser.add_argument("--compile", action="store_true", help="compile the gradient step")
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    th.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for setting in args.setting:
        for seed in args.seeds:
            # The other settings of hyperparams/sql.yml
            parameters: dict[str, Any] = {
                "learning_rate": lambda left: 2e-3 * left,
                "batch_size": 64,
                "learning_starts": 1000,
                "tau": 0.05,
            }
            parameters |= {"train_freq": 4, "gradient_steps": 2, "policy_kwargs": {"net_arch": [128, 128]}, "device": "cpu"}
            parameters |= {"compile": args.compile, **SETTINGS[setting]}
            model = SoftQLearning("MlpPolicy", make_vec_env(ENV, seed=seed), seed=seed, buffer_size=100_000, **parameters)
            model.learn(STEPS, callback=Measure(setting, seed, rows))
    if args.csv is not None:
        write(args.csv, COLUMNS, rows)


if __name__ == "__main__":
    main()
