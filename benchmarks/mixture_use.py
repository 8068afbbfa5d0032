"""
How many of its components a trained MixtureSAC uses, in states of its own episodes: their weights, how far apart their actions
are, and what the critics say of them. The agents are those of comparisons::

    python -m sb3_maxent.compare --variant mixturesac-compiled=mixturesac,compile:True --envs HalfCheetah-v5 -f runs/mujoco
    python benchmarks/mixture_use.py -f runs/mujoco
"""

import argparse
from pathlib import Path

import numpy as np
import torch as th
from tables import DATA, environment_of, write
from trained_entropy import states_of

from sb3_maxent import MixtureSAC
from sb3_maxent.measures import current_ent_coef, current_target_entropy
from sb3_maxent.zoo import trained_agents

N_STATES = 200
COLUMNS = ["env", "seed", "ent_coef", "target_entropy", "entropy", "weights_entropy", "used", "heaviest", "lowest_mean_weight"]
COLUMNS += ["distance", "std", "q_range", "heaviest_is_best"]


@th.no_grad()
def use(model: MixtureSAC, observations: th.Tensor) -> dict[str, str]:
    """
    Means over the states: the policy's entropy and that of the weights (nats), how many components hold 95% of the weight, the
    heaviest weight, the lowest of the components' mean weights, the distance between the actions of two components (root
    mean square over dimensions, of actions in [-1, 1], weighted), the deviation of an action within a component, the range of
    Q over the components' means, and the share of states where the heaviest component is the best one.
    """
    weights, means, stds = model.actor.components(observations)
    actions = means.tanh()
    _, log_prob, _ = model.actor.component_actions(observations)
    pairs = weights[:, :, None] * weights[:, None]
    squares = (actions[:, :, None] - actions[:, None]).square().mean(dim=3)
    distance = (
        (pairs * squares).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).sub(weights.square().sum(dim=1)).clamp(min=1e-6)
    ).sqrt()
    q_values = model.critic.q_particles(model.critic.particle_features(observations), actions)
    held = weights.sort(dim=1, descending=True).values.cumsum(dim=1)
    values = {
        "entropy": -(weights * log_prob).sum(dim=1),
        "weights_entropy": th.special.entr(weights).sum(dim=1),
        "used": (held < 0.95).sum(dim=1) + 1.0,
        "heaviest": weights.amax(dim=1),
        "lowest_mean_weight": weights.mean(dim=0).amin(),
        "distance": distance,
        "std": (weights[:, :, None] * stds * (1 - actions**2)).sum(dim=1),
        "q_range": q_values.amax(dim=1) - q_values.amin(dim=1),
        "heaviest_is_best": (weights.argmax(dim=1) == q_values.argmax(dim=1)).float(),
    }
    return {name: f"{value.mean().item():.4g}" for name, value in values.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, nargs="+", required=True, help="of comparisons")
    parser.add_argument("--states", type=int, default=N_STATES)
    parser.add_argument("--csv", type=Path, default=DATA / "mixture_use.csv")
    args = parser.parse_args()
    th.set_num_threads(1)
    th.manual_seed(0)
    rows = []
    for agent in (agent for folder in args.folder for agent in trained_agents(folder) if agent.algo == "mixturesac"):
        model = MixtureSAC.load(agent.file, device="cpu", custom_objects={"buffer_size": 1})
        observations = np.array(states_of(model, environment_of(agent), args.states))
        common = {"env": agent.env, "seed": agent.seed, "ent_coef": f"{current_ent_coef(model):.4g}"}
        common["target_entropy"] = f"{current_target_entropy(model):g}"
        rows.append({**common, **use(model, th.as_tensor(observations, dtype=th.float32))})
        print(rows[-1])
    write(args.csv, COLUMNS, rows)


if __name__ == "__main__":
    main()
