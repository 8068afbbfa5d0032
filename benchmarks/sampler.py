"""
SoftQLearning's sampling network on the exact energy of MixtureBandit-v0: no critic, no data, only the Stein gradient.

What limits the policy: the linear path of the sampler, the bandwidth of the kernel, the number of particles::

    python benchmarks/sampler.py --csv benchmarks/data/sampler.csv
"""

import argparse
import itertools
import time
from pathlib import Path

import torch as th
from multimodal import BANDITS, measure_bandit
from tables import write

from sb3_maxent import SoftQLearning
from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.functional.kernels import SteinBandwidthRule

COLUMNS = ["task", "linear_path", "bandwidth", "particles", "seed", "steps", "kl", "shares", "seconds"]


class ExactCritic(th.nn.Module):
    """In the place of the critic: Q(a) = alpha log p(a), with p the bandit's mixture."""

    def __init__(self, env: MixtureBanditEnv):
        super().__init__()
        self.means = th.tensor(env.means, dtype=th.float32)
        self.precisions = th.tensor(env.widths, dtype=th.float32) ** -2
        # Without the truncated mass of each component, 1e-3 of it here
        log_weights = th.tensor(env.weights, dtype=th.float32).log()
        self.log_weights = log_weights + env.means.shape[1] / 2 * self.precisions.log()
        self.ent_coef = env.ent_coef

    def particle_features(self, observations: th.Tensor) -> th.Tensor:
        """What q_gradient needs of a state: nothing."""
        return observations

    def q_gradient(self, _: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """Gradient of Q at actions (B, N, d)."""
        with th.enable_grad():
            actions = actions.detach().requires_grad_()
            distances = ((actions.unsqueeze(-2) - self.means) ** 2).sum(dim=-1)
            log_density = th.logsumexp(self.log_weights - 0.5 * self.precisions * distances, dim=-1)
            return self.ent_coef * th.autograd.grad(log_density.sum(), actions)[0]


def train(
    task: str, linear_path: bool, bandwidth: SteinBandwidthRule | float, n_particles: int, seed: int, steps: int
) -> dict:
    """
    Train the sampler alone.

    :return: a row of the CSV
    """
    env_kwargs = BANDITS[task]
    env = MixtureBanditEnv(**env_kwargs)
    model = SoftQLearning(
        "MlpPolicy",
        env,
        ent_coef=1.0,
        buffer_size=1,
        n_kernel_particles=n_particles,
        kernel_bandwidth=bandwidth,
        policy_kwargs={"net_arch": [128, 128]},
        seed=seed,
        device="cpu",
    )
    model.critic = ExactCritic(env)
    actor = model.policy.actor
    assert actor is not None
    if not linear_path:
        actor.linear_path.weight.data.zero_()
        actor.linear_path.weight.requires_grad_(False)
    start, observations = time.time(), th.zeros(64, 1)
    for step in range(steps):
        for group in actor.optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - step / steps)
        loss, _ = model._stein_loss(observations, th.tensor(1.0))
        actor.optimizer.zero_grad()
        loss.backward()
        actor.optimizer.step()
    measures = measure_bandit(model, env_kwargs)
    row = {"task": task, "linear_path": linear_path, "bandwidth": bandwidth, "particles": n_particles, "seed": seed}
    return {**row, "steps": steps, "kl": measures["kl"], "shares": measures["shares"], "seconds": f"{time.time() - start:.0f}"}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    th.set_num_threads(1)
    settings: list[tuple[bool, SteinBandwidthRule | float, int]] = [(False, "median", 32), (False, 0.03, 32)]
    settings += [(True, bandwidth, 32) for bandwidth in ("median", "mean", "score", 0.3, 0.1, 0.03, 0.01)]
    settings += [(True, 0.03, 16), (True, 0.03, 64), (True, "score", 16)]
    rows = []
    for task, setting, seed in itertools.product(("bandit-3", "bandit-4"), settings, range(args.seeds)):
        rows.append(train(task, *setting, seed, args.steps))
        print(" ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
    if args.csv is not None:
        write(args.csv, COLUMNS, rows)


if __name__ == "__main__":
    main()
