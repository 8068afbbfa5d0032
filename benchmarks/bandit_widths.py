r"""
SoftQLearning on MixtureBandit-v0 with modes of other widths, by the class's default bandwidth of the kernel and by others.

The complete algorithm, with the zoo file's learning rate, batches and networks; ``--gradient-steps`` is how many of them
follow each step of the 8 environments. ``--ent-coef lin_10_1_0.5`` has a temperature that falls to the bandit's, 1, so
that the sampler keeps all modes until the critic knows them. Finished runs are skipped. ``--course`` writes, for four moments
of each run, how far the critic is (KL divergence of exp(Q) to the optimum, by quadrature) and how far the policy::

    python benchmarks/bandit_widths.py --seeds 0 1 2 3 4 --csv benchmarks/data/bandit_widths.csv
    python benchmarks/bandit_widths.py --seeds 0 --bandwidths median --csv benchmarks/data/bandit_widths.csv
    python benchmarks/bandit_widths.py --seeds 0 1 2 3 4 --widths 0.1 --gradient-steps 8 --ent-coef lin_10_1_0.5 --compile \
        --csv benchmarks/data/bandit_widths.csv --course benchmarks/data/bandit_course.csv
"""

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from multimodal import BANDITS, measure_bandit
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule
from tables import keys_in, write

from sb3_maxent import SoftQLearning
from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.measures import q_function
from sb3_maxent.reference import grid, optimal_log_density

KEY = ["task", "width", "bandwidth", "gradient_steps", "ent_coef", "seed"]
COLUMNS = [*KEY, "kl", "worst_factor", "shares", "seconds"]
COURSE = [*KEY, "step", "kl_of_q", "shares_of_q", "kl", "shares"]
MOMENTS = (2_000, 5_000, 10_000, 20_000)


class Course(BaseCallback):
    """
    Measures the critic and the policy in the course of a training.

    :param env_kwargs: of the bandit
    """

    def __init__(self, env_kwargs: dict[str, Any]):
        super().__init__()
        self.env_kwargs = env_kwargs
        self.rows: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps in MOMENTS:
            with th.random.fork_rng(devices=[]):
                self.rows.append({"step": self.num_timesteps, **self._measure()})
        return True

    def _measure(self) -> dict[str, Any]:
        env = MixtureBanditEnv(**self.env_kwargs)
        actions, weights = grid(2, 200)
        log_density = optimal_log_density(q_function(self.model, np.zeros(1)), 1.0, 2, 200)(actions)
        mass = weights * np.exp(log_density)
        policy = measure_bandit(self.model, self.env_kwargs)
        return {
            "kl_of_q": round(float(mass @ (log_density - env.log_prob(actions))), 4),
            "shares_of_q": np.bincount(env.mode_of(actions), mass, len(env.weights)).round(4).tolist(),
            "kl": policy["kl"],
            "shares": policy["shares"],
        }


def train(
    task: str, width: float, bandwidth: Any, gradient_steps: int, ent_coef: Any, seed: int, compile: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """
    :param task: of BANDITS
    :param width: of each mode
    :param bandwidth: of the kernel, ``"default"`` for the class's
    :param gradient_steps: after each step of the environments
    :param ent_coef: the temperature, a number or a schedule that ends at the bandit's
    :param seed: of the run
    :param compile: whether the gradient step is compiled
    :return: measures of the policy at the end, and those of its course
    """
    env_kwargs = {**BANDITS[task], "widths": width}
    model = SoftQLearning(
        "MlpPolicy",
        make_vec_env(lambda: MixtureBanditEnv(**env_kwargs), n_envs=8, seed=seed),
        learning_rate=LinearSchedule(1e-3, 0.0, 1.0),
        batch_size=64,
        learning_starts=500,
        gradient_steps=gradient_steps,
        ent_coef=ent_coef,
        compile=compile,
        policy_kwargs={"net_arch": [128, 128]},
        seed=seed,
        **({} if bandwidth == "default" else {"kernel_bandwidth": bandwidth}),
    )
    course = Course(env_kwargs)
    return measure_bandit(model.learn(MOMENTS[-1], course), env_kwargs), course.rows


def number_or_name(text: str) -> Any:
    """A number where it is one, else the name of a rule or a schedule."""
    try:
        return float(text)
    except ValueError:
        return text


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[100, 101])
    parser.add_argument("--widths", nargs="+", type=float, default=[0.1, 0.15, 0.25])
    parser.add_argument("--bandwidths", nargs="+", type=number_or_name, default=["default"])
    parser.add_argument("--gradient-steps", type=int, default=1)
    parser.add_argument("--ent-coef", type=number_or_name, default=1.0)
    parser.add_argument("--compile", action="store_true", help="the gradient step, for many of them")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--course", type=Path, help="CSV for the critic and the policy on the way")
    args = parser.parse_args()
    th.set_num_threads(1)
    for seed, width, task, bandwidth in itertools.product(args.seeds, args.widths, BANDITS, args.bandwidths):
        values = (task, width, bandwidth, args.gradient_steps, args.ent_coef, seed)
        run = dict(zip(KEY, map(str, values), strict=True))
        if run in keys_in(args.csv, KEY):
            continue
        start = time.time()
        measured, course = train(*values, args.compile)
        row = {**run, **measured, "seconds": round(time.time() - start)}
        print(" ".join(f"{name}={row[name]}" for name in COLUMNS), flush=True)
        write(args.csv, COLUMNS, [row], append=True)
        if args.course is not None:
            write(args.course, COURSE, [{**run, **row} for row in course], append=True)


if __name__ == "__main__":
    main()
