"""
How many modes the policies of trained agents have, in states of their own episodes.

In each state 1000 actions are drawn, and taken back to before tanh, where SAC's policy is a Gaussian, with one mode. Mixtures
of one to five Gaussians are fitted to them. The best one by BIC counts: its density is climbed from each of its means, and
where the climbs end are the modes. A mode counts with 5% of the actions or more. SB3's SAC is the control: more than one mode
there is an error of the method. In many dimensions it takes more actions to see a second mode: in 17 of them 4000, where two
are 5 deviations apart (``--actions``). The agents are those of comparisons::

    python -m sb3_maxent.compare --algos sac s2ac mixturesac --envs HalfCheetah-v5 --seeds 5 -n 200000 -f runs/mujoco
    python benchmarks/modes_used.py -f runs/mujoco

Agents that are in the CSV already are skipped.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch as th
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from stable_baselines3.common.base_class import BaseAlgorithm
from tables import AGENT, DATA, agents_to_measure, environment_of, write
from trained_entropy import states_of

from sb3_maxent.measures import current_ent_coef

N_STATES, N_ACTIONS, MOST = 50, 1000, 5
# Share of the actions from which on a mode counts
SHARE = 0.05
# Actions this close to a bound have no place before tanh that is known
BOUND = 1 - 1e-6
COLUMNS = [*AGENT, "steps", "ent_coef", "modes", "several", "beside_the_heaviest"]


def climb(points: np.ndarray, mixture: GaussianMixture, n_steps: int = 200) -> np.ndarray:
    """
    Where points end that climb the density of a mixture of Gaussians (Carreira-Perpinan 2000, the fixed-point iteration).

    :param points: (n, d)
    """
    for _ in range(n_steps):
        weights = mixture.predict_proba(points)  # (n, components)
        precisions = np.einsum("nk,kij->nij", weights, mixture.precisions_)
        pulls = np.einsum("nk,kij,kj->ni", weights, mixture.precisions_, mixture.means_)
        points = np.linalg.solve(precisions, pulls[:, :, None])[:, :, 0]
    return points


def shares_of_modes(samples: np.ndarray) -> np.ndarray:
    """
    The share of the samples that belongs to each mode of their density, the largest first.

    :param samples: (n, d)
    """
    # Unit scale in every direction, so that distances mean the same in all
    samples = (samples - samples.mean(axis=0)) / samples.std(axis=0).clip(min=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [GaussianMixture(n, random_state=0, reg_covar=1e-4).fit(samples) for n in range(1, MOST + 1)]
    best = min(fits, key=lambda fit: fit.bic(samples))
    ends = climb(best.means_, best)
    modes: list[np.ndarray] = []
    mode_of = np.empty(len(ends), dtype=int)
    for index, end in enumerate(ends):
        near = [number for number, mode in enumerate(modes) if np.linalg.norm(mode - end) < 0.05]
        if not near:
            modes.append(end)
        mode_of[index] = near[0] if near else len(modes) - 1
    shares = np.bincount(mode_of[best.predict(samples)], minlength=len(modes)) / len(samples)
    return np.sort(shares)[::-1]


def draw(model: BaseAlgorithm, state: np.ndarray, n_actions: int) -> np.ndarray:
    """Sampled actions in one state, before tanh (n_actions, d)."""
    actions, _ = model.predict(np.repeat(state[None], n_actions, axis=0))
    return np.arctanh(np.clip(model.policy.scale_action(actions), -BOUND, BOUND))


def measure(model: BaseAlgorithm, states: list[np.ndarray], n_actions: int) -> dict[str, str]:
    """Means over the states: number of modes, share of states with several, share of actions beside the heaviest mode."""
    shares = [shares_of_modes(draw(model, state, n_actions)) for state in states]
    modes = np.array([(each >= SHARE).sum() for each in shares])
    values = {
        "modes": modes.mean(),
        "several": (modes > 1).mean(),
        "beside_the_heaviest": np.mean([1 - each[0] for each in shares]),
    }
    return {name: f"{value:.4g}" for name, value in values.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, nargs="+", required=True, help="of comparisons")
    parser.add_argument("--states", type=int, default=N_STATES)
    parser.add_argument("--actions", type=int, default=N_ACTIONS)
    parser.add_argument("--csv", type=Path, default=DATA / "modes_used.csv")
    args = parser.parse_args()
    th.set_num_threads(1)
    for agent, key in agents_to_measure(args.folder, args.csv):
        model = agent.load("cpu")
        th.manual_seed(agent.seed)
        states = states_of(model, environment_of(agent), args.states)
        common = {"steps": str(model.num_timesteps), "ent_coef": f"{current_ent_coef(model):.4g}"}
        row = {**key, **common, **measure(model, states, args.actions)}
        write(args.csv, COLUMNS, [row], append=True)
        print(row, flush=True)


if __name__ == "__main__":
    main()
