"""
S2AC's sampler on the exact energy of MixtureBandit-v0: no critic, no data, only the start's two parameters to learn.

What limits the policy: each line changes one thing of the defaults. KL divergence of the actions to the optimum, shares of
the modes, the entropy that the estimator gives beside that of the actions (histogram of 20000), the optimum's, and the
largest step ratio::

    python benchmarks/s2ac_sampler.py --csv benchmarks/data/s2ac_sampler.csv
    python benchmarks/s2ac_sampler.py --report
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from multimodal import BANDITS
from sampler import ExactCritic
from tables import DATA, read, write

import sb3_maxent  # noqa: F401  registers the environments
from sb3_maxent.reference import histogram_entropy, histogram_kl
from sb3_maxent.s2ac import SteinSampler, Target

COLUMNS = ["task", "setting", "seed", "kl", "worst_factor", "shares", "estimated", "actions", "optimum", "step_ratio", "std"]
N_STATES, N_ACTIONS = 64, 20_000
PLAIN = {"precondition": False, "max_step_ratio": None, "svgd_step_size": 0.1}
# name: parameters of the sampler, beside the closed form; likelihood_ratio and learned are the trainer's
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no likelihood-ratio term": {"likelihood_ratio": False},
    "fixed start, std 0.5": {"learned": False},
    "without our additions (in u, eps 0.1, neither bound nor likelihood ratio)": {**PLAIN, "likelihood_ratio": False},
    "without our additions but the likelihood ratio": PLAIN,
    "without our additions, eps 0.2": {**PLAIN, "svgd_step_size": 0.2, "likelihood_ratio": False},
    "no bound on the step": {"max_step_ratio": None},
    "eps 0.1": {"svgd_step_size": 0.1},
    "eps 1": {"svgd_step_size": 1.0},
    "0 steps": {"n_svgd_steps": 0},
    "1 step": {"n_svgd_steps": 1},
    "10 steps": {"n_svgd_steps": 10},
    "5 particles": {"n_particles": 5},
    "20 particles": {"n_particles": 20},
    "64 particles": {"n_particles": 64},
    "64 particles, 10 steps": {"n_particles": 64, "n_svgd_steps": 10},
    "bandwidth: mean": {"kernel_bandwidth": "mean"},
    "bandwidth 0.1": {"kernel_bandwidth": 0.1},
    "bandwidth 1": {"kernel_bandwidth": 1.0},
    "entropy: secants": {"entropy_estimator": "secant"},
    "entropy: secants, 6 particles": {"entropy_estimator": "secant", "n_particles": 6},
    "entropy: Hutchinson": {"entropy_estimator": "hutchinson"},
    "entropy: exact": {"entropy_estimator": "exact"},
    "second order": {"second_order": True},
}


class ExactValues(ExactCritic):
    """Also Q itself."""

    def q_particles(self, _: th.Tensor, actions: th.Tensor) -> th.Tensor:
        """Q at actions (B, N, d)."""
        distances = ((actions.unsqueeze(-2) - self.means) ** 2).sum(dim=-1)
        return self.ent_coef * th.logsumexp(self.log_weights - 0.5 * self.precisions * distances, dim=-1)


def train(task: str, setting: str, seed: int, steps: int) -> dict[str, Any]:
    """
    Learn the start, and measure.

    :return: a row of the CSV
    """
    parameters = {"entropy_estimator": "closed_form", **SETTINGS[setting]}
    likelihood_ratio, learned = parameters.pop("likelihood_ratio", True), parameters.pop("learned", True)
    env_kwargs = BANDITS[task]
    env: Any = gym.make("MixtureBandit-v0", **env_kwargs).unwrapped
    critic, sampler = ExactValues(env), SteinSampler(**parameters)
    q_values, q_gradient = (lambda a: critic.q_particles(a, a)), (lambda a: critic.q_gradient(a, a))
    target = Target(q_values, q_gradient, th.tensor(1.0))
    th.manual_seed(seed)
    mean, log_std = th.zeros(1, 2, requires_grad=True), th.full((1, 2), math.log(0.5)).requires_grad_()
    optimizer = th.optim.Adam([mean, log_std])
    for step in range(steps if learned else 0):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / steps)
        noise = sampler.start_noise(th.rand(N_STATES, sampler.n_particles, 2))
        particles = sampler.sample(mean, log_std, noise, target)
        costs = particles.log_prob - q_values(th.tanh(particles.u))
        loss = costs.mean()
        if likelihood_ratio:
            advantages = (costs - costs.mean(dim=1, keepdim=True)).detach() * sampler.n_particles / (sampler.n_particles - 1)
            loss = loss + (advantages * particles.start_log_prob).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with th.no_grad():
        n_states = math.ceil(N_ACTIONS / sampler.n_particles)
        noise = sampler.start_noise(th.rand(n_states, sampler.n_particles, 2))
        particles = sampler.sample(mean, log_std, noise, target)
    actions = th.tanh(particles.u).flatten(0, 1).numpy()[:N_ACTIONS]
    weights = env.mode_probabilities()
    shares = np.bincount(env.mode_of(actions), minlength=len(weights)) / len(actions)
    factors = np.maximum(shares, 1e-9) / weights
    return {
        "task": task,
        "setting": setting,
        "seed": seed,
        "kl": f"{histogram_kl(actions, env.log_prob):.4f}",
        "worst_factor": f"{np.maximum(factors, 1 / factors).max():.3f}",
        "shares": json.dumps(shares.round(4).tolist()),
        "estimated": f"{-particles.log_prob.mean().item():.3f}",
        "actions": f"{histogram_entropy(actions):.3f}",
        "optimum": f"{-env.log_prob(env.sample(N_ACTIONS, np.random.default_rng(0))).mean():.3f}",
        "step_ratio": f"{particles.diagnostics.get('step_ratio', th.zeros(())).item():.3f}",
        "std": json.dumps(log_std.exp()[0].tolist()),
    }


def report(path: Path) -> None:
    """Print a Markdown table: means over seeds, the worst factor of all of them."""
    rows = read(path)
    print("| setting | " + " | ".join(f"{task}: KL | worst factor | entropy, estimated / of the actions" for task in BANDITS))
    print("|---|" + "---|" * 3 * len(BANDITS))
    for setting in SETTINGS:
        cells = []
        for task in BANDITS:
            group = [row for row in rows if row["setting"] == setting and row["task"] == task]
            if not group:
                continue
            mean = {key: np.mean([float(row[key]) for row in group]) for key in ("kl", "estimated", "actions")}
            worst = max(float(row["worst_factor"]) for row in group)
            cells += [f"{mean['kl']:.3f}", f"{worst:.2f}", f"{mean['estimated']:.2f} / {mean['actions']:.2f}"]
        print(f"| {setting} | {' | '.join(cells)} |")
    print("optimum's entropy:", {task: next(row["optimum"] for row in rows if row["task"] == task) for task in BANDITS})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--csv", type=Path, default=DATA / "s2ac_sampler.csv")
    parser.add_argument("--report", action="store_true", help="print a table of what is in the CSV")
    args = parser.parse_args()
    th.set_num_threads(1)
    if not args.report:
        runs = [(task, setting, seed) for task in BANDITS for setting in SETTINGS for seed in range(args.seeds)]
        rows = []
        for run in runs:
            rows.append(train(*run, args.steps))
            print(rows[-1], flush=True)
        write(args.csv, COLUMNS, rows)
    report(args.csv)


if __name__ == "__main__":
    main()
