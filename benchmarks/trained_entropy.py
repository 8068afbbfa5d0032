"""
The entropy that a trained agent's algorithm estimates, beside that of the actions which it really draws (nearest neighbours
over unbounded actions, Jacobian of tanh added), in states of its own episodes. For S2AC by each estimator; those of SAC and
MixtureSAC are exact::

    python -m sb3_maxent.zoo train --algo s2ac --env HalfCheetah-v5 -f logs
    python benchmarks/trained_entropy.py --algo s2ac --env HalfCheetah-v5 --model logs/s2ac/HalfCheetah-v5_1/HalfCheetah-v5.zip
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import get_args

import gymnasium as gym
import numpy as np
import torch as th
from entropies.own_entropy import nearest_neighbour_entropy
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from tables import write

from sb3_maxent import S2AC, MixtureSAC
from sb3_maxent.functional import log_det_tanh
from sb3_maxent.measures import current_ent_coef, current_target_entropy
from sb3_maxent.s2ac.sampler import EntropyEstimator

ENTROPY_ESTIMATORS: tuple[EntropyEstimator, ...] = get_args(EntropyEstimator)
ALGORITHMS: dict[str, type[S2AC] | type[SAC] | type[MixtureSAC]] = {"s2ac": S2AC, "sac": SAC, "mixturesac": MixtureSAC}
N_ACTIONS = 4000
COLUMNS = ["env", "algo", "label", "ent_coef", "target_entropy", "state", *ENTROPY_ESTIMATORS, "own"]


def states_of(model: BaseAlgorithm, env: gym.Env, n_states: int) -> list[np.ndarray]:
    """States of episodes with sampled actions, 25 steps apart."""
    states: list[np.ndarray] = []
    observation, _ = env.reset(seed=0)
    while len(states) < n_states:
        for _ in range(25):
            observation, _, terminated, truncated, _ = env.step(model.predict(observation)[0])
            if terminated or truncated:
                observation, _ = env.reset()
        states.append(observation)
    return states


def entropies(model: S2AC | SAC | MixtureSAC, state: np.ndarray) -> dict[str, str]:
    """Entropies of the actions in one state, in nats: estimated, and the samples' own."""
    observations = th.as_tensor(state, dtype=th.float32)[None].expand(N_ACTIONS, -1)
    estimates: dict[str, str] = dict.fromkeys(ENTROPY_ESTIMATORS, "")
    if isinstance(model, S2AC):
        policy, sampler = model.policy, model.policy.sampler
        features = policy.critic.particle_features(observations), policy.actor_features(observations)
        for estimator in ENTROPY_ESTIMATORS:
            policy.sampler = replace(sampler, entropy_estimator=estimator)
            th.manual_seed(0)
            particles = policy.particles(*features, policy.ent_coef, policy.draw_noise(N_ACTIONS))
            estimates[estimator] = f"{-particles.log_prob.mean().item():.2f}"
        policy.sampler, u = sampler, particles.u[:, 0]
    else:
        actions, log_prob = model.actor.action_log_prob(observations)
        estimates["exact"], u = f"{-log_prob.mean().item():.2f}", th.atanh(actions.clamp(-1 + 1e-6, 1 - 1e-6))
    own = nearest_neighbour_entropy(u.double()[:, None], N_ACTIONS)[0] + log_det_tanh(u).mean().item()
    return {**estimates, "own": f"{own:.2f}"}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", choices=ALGORITHMS, default="s2ac")
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--states", type=int, default=10)
    parser.add_argument("--label", default="")
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    th.set_num_threads(1)
    model = ALGORITHMS[args.algo].load(args.model, device="cpu", custom_objects={"buffer_size": 1})
    common = {"env": args.env, "algo": args.algo, "label": args.label, "ent_coef": f"{current_ent_coef(model):.4g}"}
    common["target_entropy"] = f"{current_target_entropy(model):g}"
    rows = []
    for index, state in enumerate(states_of(model, gym.make(args.env), args.states)):
        with th.no_grad():
            rows.append({**common, "state": str(index), **entropies(model, state)})
    for name in (*ENTROPY_ESTIMATORS, "own"):
        values = [float(row[name]) for row in rows if row[name]]
        if values:
            print(f"{name:12s} {np.mean(values):7.2f}  (states: {np.min(values):.2f} to {np.max(values):.2f})")
    if args.csv is not None:
        write(args.csv, COLUMNS, rows, append=True)


if __name__ == "__main__":
    main()
