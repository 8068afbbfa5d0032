"""
Train on MultiGoal-v0 or MultiGoalMaxEnt-v0 and draw the papers' figure: trajectories, Q contours and sampled actions. With
``--obstacle`` a wall is put up only now, after training: trajectories that touch it are green where they still
reach a goal, and red where they don't.

    python examples/plot_multigoal.py --algo s2ac --steps 20000 --ent-coef 1
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

from sb3_maxent import S2AC, SoftQLearning

ALGORITHMS = {"s2ac": S2AC, "sql": SoftQLearning, "sac": SAC}
# The obstacles of S2AC's code
OBSTACLES = {"MultiGoal-v0": [[[-1.5, 3], [1.5, 3]]], "MultiGoalMaxEnt-v0": [[[-2, 0], [0, 2]]]}


def play(model: BaseAlgorithm, env: gym.Env, seed: int) -> dict:
    """One episode with sampled actions; the last step's info, and whether a wall stopped the point (``"blocked"``)."""
    observation, info = env.reset(seed=seed)
    done = blocked = False
    while not done:
        last = observation
        observation, _, terminated, truncated, info = env.step(model.predict(observation)[0])
        done = terminated or truncated
        blocked |= bool((observation == last).all())
    return {**info, "blocked": blocked}


def draw_trajectories(model: BaseAlgorithm, axes: Axes, env: gym.Env, n_episodes: int = 20) -> None:
    """Episodes with sampled actions, over the contours of the reward for where the point is."""
    scene = env.unwrapped
    low, high = scene.limits
    grid = np.stack(np.meshgrid(*[np.linspace(low, high, 80)] * 2), axis=-1)
    axes.contour(grid[..., 0], grid[..., 1], scene.reward_at(grid.reshape(-1, 2)).reshape(80, 80), 20, alpha=0.3)
    for seed in range(n_episodes):
        info = play(model, env, seed)
        colour = "b" if not info["blocked"] else "limegreen" if info["is_success"] else "r"
        axes.plot(*np.array(scene.trajectory).T, "-", color=colour, linewidth=0.8)
    axes.plot(*scene.goals.T, "ro", markersize=8)
    axes.plot(*scene.probe_states.T, "kx", markersize=8)
    for wall in scene.obstacles:
        axes.plot(*wall.T, "k-", linewidth=3)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", title="trajectories")


def draw_actions(model: BaseAlgorithm, axes: Axes, state: np.ndarray, n_actions: int = 300) -> None:
    """Contours of Q over the actions in one state, and actions sampled there."""
    grid = th.as_tensor(np.stack(np.meshgrid(*[np.linspace(-1, 1, 60)] * 2), axis=-1).reshape(-1, 2), dtype=th.float32)
    observations = np.repeat(np.float32(state)[None], n_actions, axis=0)
    with th.no_grad():
        q_values = th.stack(model.critic(th.as_tensor(observations[:1]).expand(len(grid), -1), grid)).amin(dim=0)
    x, y = grid.numpy().T.reshape(2, 60, 60)
    axes.contour(x, y, q_values.numpy().reshape(60, 60), 25, cmap="viridis")
    axes.plot(*model.predict(observations)[0].T, "b.", markersize=3)
    axes.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal", title=f"Q and actions at ({state[0]:g}, {state[1]:g})")


def draw(models: dict[str, BaseAlgorithm], env: gym.Env, output: str) -> None:
    """The whole figure, a line for each model."""
    probe_states = env.unwrapped.probe_states
    size = (1 + len(probe_states), len(models))
    figure, axes = plt.subplots(size[1], size[0], figsize=(4 * size[0], 4 * size[1]), squeeze=False)
    for (name, model), line in zip(models.items(), axes, strict=True):
        draw_trajectories(model, line[0], env)
        line[0].set_ylabel(name)
        for state, axis in zip(probe_states, line[1:], strict=True):
            draw_actions(model, axis, state)
    figure.savefig(output, dpi=80, bbox_inches="tight")
    print(f"Saved {output}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", choices=ALGORITHMS, default="s2ac")
    parser.add_argument("--env", choices=OBSTACLES, default="MultiGoal-v0")
    parser.add_argument(
        "--steps", type=int, default=20_000, help="environment steps; there is one gradient step for every four"
    )
    parser.add_argument("--ent-coef", type=float, default=1.0, help="temperature")
    parser.add_argument("--model", help="draw a trained model instead of training one")
    parser.add_argument("--obstacle", action="store_true", help="put up a wall after training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="multigoal.png")
    args = parser.parse_args()
    if args.model is not None:
        model = ALGORITHMS[args.algo].load(args.model, device="cpu")
    else:  # rewards of either environment are scaled by 0.1
        parameters = {"learning_rate": lambda left: 1e-3 * left + 1e-5, "batch_size": 64, "learning_starts": 500, "tau": 0.01}
        parameters |= {"policy_kwargs": {"net_arch": [128, 128]}, "device": "cpu"}
        parameters |= {"ent_coef": args.ent_coef, "seed": args.seed}
        env = make_vec_env(args.env, n_envs=4, seed=args.seed, env_kwargs={"reward_scale": 0.1})
        model = ALGORITHMS[args.algo]("MlpPolicy", env, **parameters).learn(args.steps, progress_bar=True)
    env = gym.make(args.env, obstacles=OBSTACLES[args.env] if args.obstacle else ())
    draw({args.algo: model}, env, args.output)


if __name__ == "__main__":
    main()
