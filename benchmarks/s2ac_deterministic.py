"""
Which action should S2AC take where one is asked for, and not a random one? Trained agents, and their checkpoints, with several
answers in the same episodes. The agents are those of comparisons::

    python -m sb3_maxent.compare --variant s2ac-compiled=s2ac,compile:True --envs Hopper-v5 --first-seed 100 --seeds 2 \\
        -n 100000 --save-freq 20000 -f runs/hopper -params batch_size:64 learning_rate:1e-3 learning_starts:1000 \\
        "policy_kwargs:dict(net_arch=[128,128])" train_freq:1 gradient_steps:1
    python benchmarks/s2ac_deterministic.py -f runs/hopper --csv s2ac_deterministic.csv

What is in the CSV already is skipped.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch as th
from tables import DATA, environment_of, keys_in, label_of, write

from sb3_maxent import S2AC
from sb3_maxent.measures import current_ent_coef
from sb3_maxent.s2ac.policies import S2ACPolicy
from sb3_maxent.s2ac.sampler import Particles
from sb3_maxent.zoo import trained_agents

KEY = ["env", "label", "seed", "steps", "choice", "n_episodes"]
COLUMNS = [*KEY, "ent_coef", "mean_return", "std_return", "length"]

# From (N, d) actions in [-1, 1], their (N, critics) Q and (N,) log-densities to one action (d,)
Choice = Callable[[th.Tensor, th.Tensor, th.Tensor], th.Tensor]


def medoid(actions: th.Tensor) -> th.Tensor:
    """The action with the smallest sum of distances from the others."""
    return actions[th.cdist(actions, actions).sum(dim=1).argmin()]


PREDICTED = "highest of the smallest Q"  # what S2AC.predict takes
CHOICES: dict[str, Choice] = {
    PREDICTED: lambda actions, q, log_prob: actions[q.amin(dim=1).argmax()],
    "highest of the mean Q": lambda actions, q, log_prob: actions[q.mean(dim=1).argmax()],
    "median of the smallest Q": lambda actions, q, log_prob: actions[q.amin(dim=1).argsort()[len(q) // 2]],
    "mean of the better half by Q": lambda actions, q, log_prob: actions[q.amin(dim=1).argsort()[len(q) // 2 :]].mean(dim=0),
    "highest density": lambda actions, q, log_prob: actions[log_prob.argmax()],
    "mean of the actions": lambda actions, q, log_prob: actions.mean(dim=0),
    "mean before tanh": lambda actions, q, log_prob: actions.clamp(-0.9999, 0.9999).atanh().mean(dim=0).tanh(),
    "medoid": lambda actions, q, log_prob: medoid(actions),
    "first": lambda actions, q, log_prob: actions[0],
}
# These have noise of their own in each step, the others the same in all
SAMPLED = "sampled"


@th.no_grad()
def particles_at(policy: S2ACPolicy, observation: np.ndarray) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
    """Actions, their Q and their log-densities at one observation, from the noise of deterministic predictions."""
    states = policy.obs_to_tensor(observation)[0]
    assert isinstance(states, th.Tensor)
    critic_features = policy.critic.particle_features(states)
    noise = policy.predict_noise.unsqueeze(0)
    found: Particles = policy.particles(critic_features, policy.actor_features(states), policy.ent_coef, noise)
    actions = th.tanh(found.u[0])
    each = states.expand(len(actions), -1)
    return actions, th.cat(policy.critic(each, actions), dim=1), found.log_prob[0]


def check_choice(model: S2AC, observation: np.ndarray) -> None:
    """That S2AC's own choice is among those that are measured."""
    action = model.policy.unscale_action(CHOICES[PREDICTED](*particles_at(model.policy, observation)).numpy())
    np.testing.assert_allclose(model.predict(observation, deterministic=True)[0], action, rtol=1e-3, atol=1e-3)


def returns(model: S2AC, env: gym.Env, choice: str, n_episodes: int) -> tuple[list[float], list[int]]:
    """Returns and lengths of the episodes with the seeds 0, 1, ..."""
    totals, lengths = [], []
    for seed in range(n_episodes):
        observation, _ = env.reset(seed=seed)
        total, length, done = 0.0, 0, False
        while not done:
            if choice == SAMPLED:
                action = model.predict(observation)[0]
            else:
                chosen = CHOICES[choice](*particles_at(model.policy, observation))
                action = model.policy.unscale_action(chosen.numpy())
            observation, reward, terminated, truncated, _ = env.step(action)
            total, length, done = total + float(reward), length + 1, terminated or truncated
        totals.append(total)
        lengths.append(length)
    return totals, lengths


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, nargs="+", required=True, help="of comparisons")
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--csv", type=Path, default=DATA / "s2ac_deterministic.csv")
    args = parser.parse_args()
    th.set_num_threads(1)
    there = keys_in(args.csv, KEY)
    for agent in (agent for folder in args.folder for agent in trained_agents(folder) if agent.algo == "s2ac"):
        checkpoints = sorted(agent.file.parent.glob("rl_model_*_steps.zip"), key=lambda file: int(file.stem.split("_")[2]))
        for file in checkpoints or [agent.file]:
            model = replace(agent, file=file).load("cpu")
            assert isinstance(model, S2AC)
            env = environment_of(agent)
            check_choice(model, env.reset(seed=0)[0])
            for choice in (SAMPLED, *CHOICES):
                values = [agent.env, label_of(agent), agent.seed, model.num_timesteps, choice, args.episodes]
                key = dict(zip(KEY, map(str, values), strict=True))
                if key in there:
                    continue
                th.manual_seed(agent.seed)
                totals, lengths = returns(model, env, choice, args.episodes)
                mean, std = np.mean(totals), np.std(totals)
                row = {**key, "ent_coef": f"{current_ent_coef(model):.4g}", "mean_return": f"{mean:.1f}"}
                row |= {"std_return": f"{std:.1f}", "length": f"{np.mean(lengths):.0f}"}
                write(args.csv, COLUMNS, [row], append=True)
                print(row, flush=True)


if __name__ == "__main__":
    main()
