"""
Train on MultiGoal-v0 and draw the figure of the soft Q-learning paper: trajectories, Q contours and sampled actions.

    python examples/plot_multigoal.py --steps 20000 --ent-coef 1
"""

import argparse

import gymnasium as gym
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch as th
from matplotlib.axes import Axes
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env

from sb3_maxent import SoftQLearning

ALGORITHMS = {"sql": SoftQLearning, "sac": SAC}
ENV = "MultiGoal-v0"


def play(model: BaseAlgorithm, env: gym.Env, seed: int) -> dict:
    """One episode with sampled actions; the last step's info."""
    observation, info = env.reset(seed=seed)
    done = False
    while not done:
        observation, _, terminated, truncated, info = env.step(model.predict(observation)[0])
        done = terminated or truncated
    return info


def draw_trajectories(model: BaseAlgorithm, axes: Axes, n_episodes: int = 20, **env_kwargs: object) -> None:
    """Episodes with sampled actions, over the contours of the reward for where the point is."""
    env = gym.make(ENV, **env_kwargs)
    low, high = env.unwrapped.limits
    grid = np.stack(np.meshgrid(*[np.linspace(low, high, 80)] * 2), axis=-1)
    axes.contour(grid[..., 0], grid[..., 1], env.unwrapped.reward_at(grid.reshape(-1, 2)).reshape(80, 80), 20, alpha=0.3)
    for seed in range(n_episodes):
        play(model, env, seed)
        axes.plot(*np.array(env.unwrapped.trajectory).T, "b-", linewidth=0.8)
    axes.plot(*env.unwrapped.goals.T, "ro", markersize=8)
    axes.plot(*env.unwrapped.probe_states.T, "kx", markersize=8)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", title="trajectories")


def draw_actions(model: BaseAlgorithm, axes: Axes, state: np.ndarray, n_actions: int = 300) -> None:
    """Contours of Q / alpha over the actions in one state, and actions sampled there."""
    grid = th.as_tensor(np.stack(np.meshgrid(*[np.linspace(-1, 1, 60)] * 2), axis=-1).reshape(-1, 2), dtype=th.float32)
    observations = np.repeat(np.float32(state)[None], n_actions, axis=0)
    with th.no_grad():
        q_values = th.stack(model.critic(th.as_tensor(observations[:1]).expand(len(grid), -1), grid)).amin(dim=0)
    x, y = grid.numpy().T.reshape(2, 60, 60)
    axes.contour(x, y, q_values.numpy().reshape(60, 60), 25, cmap="viridis")
    axes.plot(*model.predict(observations)[0].T, "b.", markersize=3)
    axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", title=f"Q and actions at ({state[0]:g}, {state[1]:g})")


def draw(model: BaseAlgorithm, output: str, **env_kwargs: object) -> None:
    """The whole figure."""
    probe_states = gym.make(ENV, **env_kwargs).unwrapped.probe_states
    figure, axes = plt.subplots(1, 1 + len(probe_states), figsize=(4 * (1 + len(probe_states)), 4))
    draw_trajectories(model, axes[0], **env_kwargs)
    for state, axis in zip(probe_states, axes[1:], strict=True):
        draw_actions(model, axis, state)
    figure.savefig(output, dpi=80, bbox_inches="tight")
    print(f"Saved {output}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", choices=ALGORITHMS, default="sql")
    parser.add_argument(
        "--steps", type=int, default=20_000, help="environment steps; there is one gradient step for every four"
    )
    parser.add_argument("--ent-coef", type=float, default=1.0, help="temperature")
    parser.add_argument("--model", help="draw a trained model instead of training one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="multigoal.png")
    args = parser.parse_args()
    if args.model is not None:
        model = ALGORITHMS[args.algo].load(args.model, device="cpu")
    else:
        parameters = {"learning_rate": lambda left: 1e-3 * left + 1e-5, "batch_size": 64, "learning_starts": 500, "tau": 0.01}
        parameters |= {"policy_kwargs": {"net_arch": [128, 128]}, "device": "cpu"}
        parameters |= {"ent_coef": args.ent_coef, "seed": args.seed}
        env = make_vec_env(ENV, n_envs=4, seed=args.seed)
        model = ALGORITHMS[args.algo]("MlpPolicy", env, **parameters).learn(args.steps, progress_bar=True)
    draw(model, args.output)


if __name__ == "__main__":
    main()
