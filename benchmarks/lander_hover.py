"""
Why DiscreteSAC hovers on LunarLander-v3: how its episodes end, and what its policy does on the ground.

Every 20,000 steps 20 episodes with deterministic and 10 with sampled actions. ``noop_ground`` is the policy's mean probability
of firing no engine where both legs touch the ground, ``entropy_ground`` and ``entropy_air`` its mean entropies there and
elsewhere (nats), over these 30 episodes. A lander that lies still for half a second has landed; any engine starts that anew.
``trained_*`` count the episodes of the training since the last row. Finished runs are skipped::

    python benchmarks/lander_hover.py --settings constant --seeds 100 101 102 103 --csv benchmarks/data/lander_hover.csv
"""

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule
from tables import read, write

from sb3_maxent import DiscreteSAC

ENV_ID = "LunarLander-v3"


def falling_early(left: float) -> float:
    """
    :param left: share of the training that remains
    :return: the target entropy in nats: from 0.9 to 0.1 of the largest one in the first 60%
    """
    return (0.9 - 0.8 * min((1 - left) / 0.6, 1)) * float(np.log(4))


EPSILON: dict[str, Any] = {"exploration_initial_eps": 0.1, "exploration_final_eps": 0.1}
SETTINGS: dict[str, dict[str, Any]] = {
    "constant": {"target_entropy_ratio": 0.5},
    "constant, exploration": {"target_entropy_ratio": 0.5, **EPSILON},
    "constant 0.2, exploration": {"target_entropy_ratio": 0.2, **EPSILON},
    "0.5 to 0.1, exploration": {"target_entropy": "lin_0.5_0.1", **EPSILON},
    "0.9 to 0.2, exploration": {"target_entropy": "lin_0.9_0.2", **EPSILON},
    "constant, exploration, 3 steps": {"target_entropy_ratio": 0.5, "n_steps": 3, **EPSILON},
    "0.5 to 0.1, exploration, 3 steps": {"target_entropy": "lin_0.5_0.1", "n_steps": 3, **EPSILON},
    "0.9 to 0.1 by 60%": {"target_entropy": falling_early},
    "0.9 to 0.1 by 60%, exploration": {"target_entropy": falling_early, **EPSILON},
    # The value of the state at the time limit is left out
    "constant, the time limit is an end": {
        "target_entropy_ratio": 0.5,
        "replay_buffer_kwargs": {"handle_timeout_termination": False},
    },
}
ENDS = ("landed", "crashed", "timed_out")
COLUMNS = [
    "setting",
    "seed",
    "step",
    "return",
    *ENDS,
    *(f"sampled_{end}" for end in ENDS),
    *(f"trained_{end}" for end in ENDS),
    "ent_coef",
    "entropy_ground",
    "entropy_air",
    "noop_ground",
]


def make_model(setting: str, seed: int) -> DiscreteSAC:
    """The zoo file's DiscreteSAC, but for the target entropy and the exploration."""
    return DiscreteSAC(
        "MlpPolicy",
        Monitor(gym.make(ENV_ID)),
        learning_rate=LinearSchedule(1e-3, 0.0, 1.0),
        buffer_size=200_000,
        learning_starts=1000,
        batch_size=128,
        tau=0.01,
        train_freq=4,
        gradient_steps=2,
        critic_ent_coef=0.0,
        policy_kwargs={"net_arch": [128, 128]},
        compile=True,
        seed=seed,
        **SETTINGS[setting],
    )


def end_of(reward: float, terminated: bool) -> str:
    """How an episode ended: a landing is paid 100, a crash costs 100."""
    return ("landed" if reward > 50 else "crashed") if terminated else "timed_out"


class Watch(BaseCallback):
    """
    Evaluates while the agent learns.

    :param file: CSV file that rows are appended to
    :param setting: its name
    """

    def __init__(self, file: Path, setting: str):
        super().__init__()
        self.file, self.setting = file, setting
        self.env = gym.make(ENV_ID)
        self.trained = dict.fromkeys(ENDS, 0)

    def _on_step(self) -> bool:
        if self.locals["dones"][0]:
            truncated = self.locals["infos"][0]["TimeLimit.truncated"]
            self.trained[end_of(self.locals["rewards"][0], not truncated)] += 1
        if self.num_timesteps % 20_000 == 0:
            self.write()
        return True

    def play(
        self, n_episodes: int, deterministic: bool, states: list[tuple[bool, float, float]]
    ) -> tuple[float, dict[str, int]]:
        """
        :param n_episodes: how many
        :param deterministic: whether actions are the policy's modes
        :param states: gets for each state whether both legs touch the ground, the entropy, and the probability of no engine
        :return: mean return, and how many episodes ended in which way
        """
        assert isinstance(self.model, DiscreteSAC)
        generator = np.random.default_rng(0)
        returns, ends = 0.0, dict.fromkeys(ENDS, 0)
        for episode in range(n_episodes):
            observation, _ = self.env.reset(seed=10_000 + episode)
            terminated = truncated = False
            reward = 0.0
            while not terminated and not truncated:
                with th.no_grad():
                    log_probs = self.model.actor.action_log_probs(th.as_tensor(observation[None]))[0].double()
                probabilities = log_probs.exp().numpy() / log_probs.exp().sum().item()
                states.append((bool(observation[6:].all()), -(log_probs.exp() * log_probs).sum().item(), probabilities[0]))
                action = probabilities.argmax() if deterministic else generator.choice(4, p=probabilities)
                observation, step_reward, terminated, truncated, _ = self.env.step(action)
                reward = float(step_reward)
                returns += reward
            ends[end_of(reward, terminated)] += 1
        return returns / n_episodes, ends

    def write(self) -> None:
        """Append a row."""
        states: list[tuple[bool, float, float]] = []
        mean, ends = self.play(20, True, states)
        _, sampled = self.play(10, False, states)
        ground = np.array([state[1:] for state in states if state[0]]).reshape(-1, 2)
        air = np.array([state[1] for state in states if not state[0]])
        row: dict[str, Any] = {
            "setting": self.setting,
            "seed": self.model.seed,
            "step": self.num_timesteps,
            "return": f"{mean:.1f}",
        }
        row |= (
            ends
            | {f"sampled_{end}": n for end, n in sampled.items()}
            | {f"trained_{end}": n for end, n in self.trained.items()}
        )
        row |= {"ent_coef": f"{self.model.temperature.value.item():.4f}", "entropy_air": f"{air.mean():.3f}"}  # type: ignore[attr-defined]
        if len(ground):
            row |= {"entropy_ground": f"{ground[:, 0].mean():.3f}", "noop_ground": f"{ground[:, 1].mean():.3f}"}
        self.trained = dict.fromkeys(ENDS, 0)
        write(self.file, COLUMNS, [row], append=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", default=["constant"], choices=SETTINGS, metavar="SETTING")
    parser.add_argument("--seeds", nargs="+", type=int, default=[100, 101, 102, 103])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--csv", type=Path, required=True)
    args = parser.parse_args()
    th.set_num_threads(1)
    for seed in args.seeds:
        for setting in args.settings:
            run = {"setting": setting, "seed": str(seed)}
            rows = read(args.csv)
            of_run = [row for row in rows if run.items() <= row.items()]
            if any(row["step"] == str(args.steps) for row in of_run):
                continue
            if of_run:  # it was stopped, and starts anew
                write(args.csv, COLUMNS, [row for row in rows if row not in of_run])
            make_model(setting, seed).learn(args.steps, callback=Watch(args.csv, setting))


if __name__ == "__main__":
    main()
