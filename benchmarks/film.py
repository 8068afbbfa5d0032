"""
A film of trained agents, side by side, for the docs::

    MUJOCO_GL=egl python benchmarks/film.py -f agents --envs HalfCheetah-v5 Hopper-v5 -o docs/figures/agents.webp

A row for each environment, a column for each algorithm. Each agent plays an episode of seed 0 with deterministic actions. One
that ends early stays at its last picture. ``--sample`` samples the actions.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch as th
from PIL import Image, ImageDraw
from tables import environment_of

from sb3_maxent.zoo import TrainedAgent, trained_agents

LABEL_HEIGHT = 14


def pictures_of(agent: TrainedAgent, n_steps: int, every: int, sample: bool) -> list[np.ndarray]:
    """Every so many steps a picture of an episode; (height, width, 3) each."""
    th.manual_seed(0)
    model, env = agent.load("cpu"), environment_of(agent, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    pictures = []
    for step in range(n_steps):
        if step % every == 0:
            pictures.append(np.asarray(env.render()))
        action, _ = model.predict(observation, deterministic=not sample)
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            pictures.append(np.asarray(env.render()))
            break
    env.close()
    return pictures


def grid(rows: Sequence[Sequence[tuple[str, np.ndarray]]], side: int) -> Image.Image:
    """
    One picture of many.

    :param rows: labels and pictures (height, width, 3)
    :param side: height and width of each in the grid
    """
    columns = max(len(row) for row in rows)
    whole = Image.new("RGB", (columns * side, len(rows) * (side + LABEL_HEIGHT)), "white")
    draw = ImageDraw.Draw(whole)
    for y, row in enumerate(rows):
        for x, (label, picture) in enumerate(row):
            corner = x * side, y * (side + LABEL_HEIGHT)
            draw.text((corner[0] + 3, corner[1] + 1), label, fill="black")
            whole.paste(Image.fromarray(picture).resize((side, side)), (corner[0], corner[1] + LABEL_HEIGHT))
    return whole


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, default=Path("agents"), help="of trained agents")
    parser.add_argument("--envs", nargs="+", required=True)
    parser.add_argument("--algos", nargs="+", help="zoo keys (default: all that are there)")
    parser.add_argument("--steps", type=int, default=240, help="of the environment")
    parser.add_argument("--every", type=int, default=2, help="steps from picture to picture")
    parser.add_argument("--milliseconds", type=int, default=66, help="that each picture is shown")
    parser.add_argument("--side", type=int, default=160, help="pixels of each agent's picture")
    parser.add_argument("--quality", type=int, default=40, help="of the WebP file, up to 100")
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    agents = [agent for agent in trained_agents(args.folder) if not args.algos or agent.algo in args.algos]
    rows = {env: [agent for agent in agents if agent.env == env] for env in args.envs}
    if missing := [env for env, row in rows.items() if not row]:
        parser.error(f"{args.folder} has no agent for {', '.join(missing)}")
    films = [
        [(f"{agent.label}, {env}", pictures_of(agent, args.steps, args.every, args.sample)) for agent in row]
        for env, row in rows.items()
    ]
    length = max(len(pictures) for row in films for _, pictures in row)
    frames = [
        grid([[(label, pictures[min(index, len(pictures) - 1)]) for label, pictures in row] for row in films], args.side)
        for index in range(length)
    ]
    frames[0].save(
        args.output,
        save_all=True,
        append_images=frames[1:],
        duration=args.milliseconds,
        loop=0,
        quality=args.quality,
        method=6,
    )
    print(f"{args.output}: {length} pictures, {args.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
