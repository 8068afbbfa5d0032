"""
What the critics of trained agents say of their own actions, beside the discounted returns that followed. Q holds the entropy
bonus of later steps, too, so that it should lie above the returns by that, and no more. The agents are those of comparisons::

    python -m sb3_maxent.compare --algos sac s2ac mixturesac --envs Hopper-v5 --seeds 5 -n 100000 -f runs/mujoco
    python benchmarks/q_against_returns.py -f runs/mujoco

Agents that are in the CSV already are skipped. Actions are sampled. An episode that the time limit cuts has no known return at
its end, so only states at least 300 steps before it count.
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from tables import AGENT, DATA, agents_to_measure, environment_of, write

from sb3_maxent.measures import current_ent_coef

N_EPISODES, HORIZON = 5, 300
COLUMNS = [*AGENT, "steps", "ent_coef", "return", "length", "q", "discounted_return"]


def discounted_to_go(rewards: list[float], gamma: float) -> np.ndarray:
    """For each step of an episode, the rewards from there on, discounted (steps,)."""
    to_go, value = np.zeros(len(rewards)), 0.0
    for index in reversed(range(len(rewards))):
        to_go[index] = value = rewards[index] + gamma * value
    return to_go


@th.no_grad()
def measure(model: OffPolicyAlgorithm, env: gym.Env, n_episodes: int) -> dict[str, str]:
    """
    Over episodes with sampled actions, of the seeds 0, 1, ...: mean return and length; over their states the mean of the
    lowest critic's Q, and of the discounted return.
    """
    values: dict[str, list[float]] = {name: [] for name in ("return", "length", "q", "discounted_return")}
    for seed in range(n_episodes):
        observation, _ = env.reset(seed=seed)
        observations, actions, rewards = [], [], []
        done = False
        while not done:
            action, _ = model.predict(observation)
            observations.append(observation)
            actions.append(model.policy.scale_action(action))
            observation, reward, terminated, truncated, _ = env.step(action)
            rewards.append(float(reward))
            done = terminated or truncated
        to_go = discounted_to_go(rewards, model.gamma)
        n_known = len(rewards) if terminated else max(len(rewards) - HORIZON, 0)
        tensors = (th.as_tensor(np.array(each), dtype=th.float32) for each in (observations, actions))
        values["q"] += th.cat(model.critic(*tensors), dim=1).amin(dim=1)[:n_known].tolist()  # type: ignore[attr-defined]
        values["discounted_return"] += to_go[:n_known].tolist()
        values["return"].append(sum(rewards))
        values["length"].append(len(rewards))
    return {name: f"{np.mean(each):.4g}" for name, each in values.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, nargs="+", required=True, help="of comparisons")
    parser.add_argument("--episodes", type=int, default=N_EPISODES)
    parser.add_argument("--csv", type=Path, default=DATA / "q_against_returns.csv")
    args = parser.parse_args()
    th.set_num_threads(1)
    for agent, key in agents_to_measure(args.folder, args.csv):
        model = agent.load("cpu")
        if not isinstance(model, OffPolicyAlgorithm) or not hasattr(model, "critic"):
            print(f"{' '.join(agent.key)}: no critic of actions", flush=True)
            continue
        th.manual_seed(agent.seed)
        common = {"steps": str(model.num_timesteps), "ent_coef": f"{current_ent_coef(model):.4g}"}
        row = {**key, **common, **measure(model, environment_of(agent), args.episodes)}
        write(args.csv, COLUMNS, [row], append=True)
        print(row, flush=True)


if __name__ == "__main__":
    main()
