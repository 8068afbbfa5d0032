"""
What a hovering DiscreteSAC's critics say of hovering and of landing on LunarLander-v3, along one episode.

Two agents are trained as by ``lander_hover.py``: one that hovers, and one that lands. In an episode of the hovering one,
the other takes over every 100 steps (the episode is played anew up to there). For each such state the table has

- ``q``: the hovering agent's value of its own next action, by its lowest critic;
- ``hovering``: the discounted rewards that follow until the time limit, if it goes on;
- ``time_limit``: what its target critics' value of the last state adds to these, discounted: hovering that goes on for ever;
- ``landing``: the discounted rewards that follow if the other agent takes over, and ``landed`` whether it lands;
- ``q_at_rest``: the hovering agent's value of no engine in the first state of that landing with both legs on the ground, and
  ``at_rest`` the discounted rewards that follow there::

    python benchmarks/lander_values.py --hovering 100 --landing 103
"""

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch as th
from lander_hover import ENV_ID, end_of, make_model
from q_against_returns import discounted_to_go
from tables import DATA, write

from sb3_maxent import DiscreteSAC

EPISODE = 10_000
EVERY = 100
COLUMNS = ["step", "height", "q", "hovering", "time_limit", "landing", "landed", "q_at_rest", "at_rest"]


def trained(setting: str, seed: int, n_steps: int, folder: Path) -> DiscreteSAC:
    """The agent of this seed, from the folder if it is there."""
    file = folder / f"{setting}_{seed}_{n_steps}.zip".replace(" ", "_")
    if not file.exists():
        make_model(setting, seed).learn(n_steps).save(file)
    return DiscreteSAC.load(file, device="cpu", custom_objects={"buffer_size": 1})


@th.no_grad()
def q_values(model: DiscreteSAC, observation: np.ndarray) -> np.ndarray:
    """The lowest critic's value of each action (4,)."""
    return th.stack(model.critic(th.as_tensor(observation[None]))).amin(dim=0)[0].numpy()


@th.no_grad()
def value(model: DiscreteSAC, observation: np.ndarray) -> float:
    """What the time limit leaves in the targets: the policy's mean of the target critics' values, the lower one of the two."""
    states = th.as_tensor(observation[None])
    probabilities = model.actor.action_log_probs(states).exp()
    return min((probabilities * q).sum().item() for q in model.critic_target(states))


def play(
    env: gym.Env, first: DiscreteSAC, then: DiscreteSAC, takeover: int
) -> tuple[list[np.ndarray], list[int], list[float], str]:
    """
    One episode with deterministic actions, always the same one.

    :param first: the agent that acts before the step ``takeover``
    :param then: the agent that acts from there on
    :return: states (one more than actions), actions, rewards, and how it ended
    """
    observation, _ = env.reset(seed=EPISODE)
    states: list[np.ndarray] = [observation]
    actions: list[int] = []
    rewards: list[float] = []
    terminated = truncated = False
    while not terminated and not truncated:
        model = first if len(actions) < takeover else then
        actions.append(int(model.predict(states[-1], deterministic=True)[0]))
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        states.append(observation)
        rewards.append(float(reward))
    return states, actions, rewards, end_of(rewards[-1], terminated)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", default="constant", help="of the training, by its name in lander_hover.py")
    parser.add_argument("--hovering", type=int, default=100, help="seed")
    parser.add_argument("--landing", type=int, default=103, help="seed")
    parser.add_argument("--steps", type=int, default=200_000, help="of the training")
    parser.add_argument("-f", "--folder", type=Path, default=Path("runs/lander_values"), help="for the agents")
    parser.add_argument("--csv", type=Path, default=DATA / "lander_values.csv")
    args = parser.parse_args()
    th.set_num_threads(1)
    hovering, landing = (trained(args.setting, seed, args.steps, args.folder) for seed in (args.hovering, args.landing))
    env, gamma = gym.make(ENV_ID), hovering.gamma
    states, actions, rewards, end = play(env, hovering, hovering, 0)
    to_go = discounted_to_go(rewards, gamma)
    print(f"The episode: {end} after {len(rewards)} steps, return {sum(rewards):.1f}")
    last = value(hovering, states[-1]) if end == "timed_out" else 0.0
    rows = []
    for step in range(0, len(rewards), EVERY):
        seen, _, paid, how = play(env, hovering, landing, step)
        landing_to_go = discounted_to_go(paid, gamma)
        row = {
            "step": step,
            "height": f"{states[step][1]:.2f}",
            "q": f"{q_values(hovering, states[step])[actions[step]]:.1f}",
            "hovering": f"{to_go[step]:.1f}",
            "time_limit": f"{gamma ** (len(rewards) - step) * last:.1f}",
            "landing": f"{landing_to_go[step]:.1f}",
            "landed": how,
        }
        at_rest = [number for number in range(step, len(paid)) if seen[number][6:].all()]
        if at_rest:
            row["q_at_rest"] = f"{q_values(hovering, seen[at_rest[0]])[0]:.1f}"
            row["at_rest"] = f"{landing_to_go[at_rest[0]]:.1f}"
        rows.append(row)
        print(row, flush=True)
    write(args.csv, COLUMNS, rows)


if __name__ == "__main__":
    main()
