"""
Train S2AC and SB3's SAC on MultiGoalMaxEnt-v0 by the RL Zoo's command, with the same networks, batches, gradient steps and
temperature, both at the same time: two and a half minutes on two cores. Then show what a policy with several modes is for:
tables of what the two do, and figures. Three goals are equally good; a Gaussian can aim at one of them, or between them. (One
seed, one temperature: docs/results/s2ac.md has five seeds and two temperatures. SAC has its two critics, S2AC one.)

Run by ``make demo``; everything it writes lies under ``demo/``.
"""

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_maxent import S2AC
from sb3_maxent.figures import multigoal_figure, trajectories_figure
from sb3_maxent.measures import entropy_of_actions, entropy_of_q, play

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"S2AC": S2AC, "SAC": SAC}
ENV, EPISODES = "MultiGoalMaxEnt-v0", 200


def start(name: str, steps: str) -> subprocess.Popen:
    """The RL Zoo's own training, in a process of its own."""
    algo = name.lower()
    print(f"Training {algo} on {ENV} for {steps} steps", flush=True)
    command = [sys.executable, "-m", "sb3_maxent.zoo", "train", "--algo", algo, "--env", ENV, "--seed", "0"]
    command += ["-n", steps, "--eval-freq", "-1", "--verbose", "0", "--device", "cpu", "--num-threads", "1", "-f", "demo/logs"]
    return subprocess.Popen([*command, "--hyperparams", "ent_coef:0.7"])


def load(name: str) -> BaseAlgorithm:
    """The last agent that was trained."""
    run = max(Path(f"demo/logs/{name.lower()}").glob(f"{ENV}_*"), key=lambda path: int(path.name.rpartition("_")[2]))
    return ALGORITHMS[name].load(run / f"{ENV}.zip", device="cpu")


env = gym.make(ENV)
processes = {name: start(name, sys.argv[1] if len(sys.argv) > 1 else "20000") for name in ALGORITHMS}
if failed := [name for name, process in processes.items() if process.wait() != 0]:
    sys.exit(f"Training {' and '.join(failed)} failed, see above")
models = {name: load(name) for name in ALGORITHMS}

n_goals = len(env.get_wrapper_attr("goals"))
heads = " | ".join(f"goal {index}" for index in range(n_goals))
print(f"\n{EPISODES} episodes with sampled actions      | success | {heads} | goals reached")
for name, model in models.items():
    goals = [play(model, env, seed).info["goal"] for seed in range(EPISODES)]
    shares = [goals.count(f"goal {index}") / EPISODES for index in range(n_goals)]
    cells = " | ".join(f"{100 * share:5.1f}%" for share in shares)
    # Half of a fair share counts as reached
    reached = f"{sum(share >= 0.5 / n_goals for share in shares)} of {n_goals}"
    print(f"{name:37s} | {100 * sum(shares):6.1f}% | {cells} | {reached}")

print("\nentropy in a state, nats              | state          | of the actions | of exp(Q / alpha), the best for this Q")
for name, model in models.items():
    for state in env.get_wrapper_attr("probe_states"):
        place = f"({state[0]:g}, {state[1]:g})"
        print(f"{name:37s} | {place:14s} | {entropy_of_actions(model, state):14.2f} | {entropy_of_q(model, state):.2f}")

multigoal_figure(models, env).savefig("demo/multigoal.png", dpi=80, bbox_inches="tight")
figure = trajectories_figure(models, env)
figure.suptitle("Three goals (stars) are equally good. Each line is one episode, from the middle.", fontsize="medium")
figure.savefig("demo/goals.svg")
print("\nSaved demo/multigoal.png and demo/goals.svg\nModels: demo/logs")
