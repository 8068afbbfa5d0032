"""
Policies with several modes, against exact solutions: MixtureBandit-v0 (KL divergence to the optimal policy, share of
each mode), MultiGoal-v0 and MultiGoalMaxEnt-v0 (share of episodes that reach each goal). The agents are those of comparisons;
the policy at the end of a training is sampled (20000 actions, 200 episodes)::

    python -m sb3_maxent.compare --algos s2ac sql sac --envs MixtureBandit-v0 MultiGoal-v0 --seeds 5 -n 20000 -f runs/modes
    python benchmarks/multimodal.py -f runs/modes
    python benchmarks/multimodal.py --report

Agents that are in the CSV already are skipped. A variant of a comparison has its name in the column ``label``, without the
algorithm's before it.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from tables import DATA, keys_in, label_of, read, write

from sb3_maxent.envs import MixtureBanditEnv
from sb3_maxent.reference import histogram_kl
from sb3_maxent.zoo import TrainedAgent, trained_agents

N_ACTIONS, N_EPISODES = 20_000, 200
# Arguments of MixtureBandit-v0, for benchmarks that make it
BANDITS: dict[str, dict] = {
    "bandit-3": {"means": [[0.6, 0.0], [-0.4, 0.5], [-0.4, -0.5]], "weights": [0.5, 0.3, 0.2]},
    "bandit-4": {},
}
GOALS = {"MultiGoal-v0": "multigoal", "MultiGoalMaxEnt-v0": "multigoal-maxent"}
KEY = ["task", "algo", "label", "seed"]
COLUMNS = [*KEY, "steps", "measures", "seconds", "hyperparams", "versions"]


def measure_bandit(model: BaseAlgorithm, env_kwargs: dict) -> dict:
    """KL divergence of the policy's actions to the optimum, and the share of each mode beside its weight."""
    env = MixtureBanditEnv(**env_kwargs)
    observations = np.zeros((N_ACTIONS, 1), dtype=np.float32)
    actions, _ = model.predict(observations, deterministic=False)
    weights = env.mode_probabilities()
    shares = np.bincount(env.mode_of(actions), minlength=len(weights)) / N_ACTIONS
    factors = np.maximum(shares, 1e-9) / weights
    return {
        "kl": round(histogram_kl(actions, env.log_prob), 4),
        "shares": shares.round(4).tolist(),
        "worst_factor": round(float(np.maximum(factors, 1 / factors).max()), 3),
    }


def measure_goals(model: BaseAlgorithm, env_id: str, env_kwargs: dict, n_episodes: int = N_EPISODES) -> dict:
    """
    Shares of the episodes that reach each goal, their lengths and returns; actions are sampled. With obstacles, also the
    share of the episodes that touch one, and of these the share that reaches a goal.
    """
    env = make_vec_env(f"sb3_maxent:{env_id}", n_envs=20, seed=10_000, env_kwargs=env_kwargs)
    episodes: list[dict] = []
    blocked = np.zeros(env.num_envs, dtype=bool)

    def record(step: dict, _: dict) -> None:
        index, done = step["i"], step["done"]
        # An obstacle (or a corner of the square) keeps the point
        blocked[index] |= not done and (step["new_observations"][index] == step["observations"][index]).all()
        if done:
            episodes.append({**step["info"], "blocked": blocked[index]})
            blocked[index] = False

    # The same number from each environment: short episodes would be counted more often otherwise
    evaluate_policy(model, env, n_episodes, deterministic=False, callback=record)
    goals = [info["goal"] for info in episodes]
    n_goals = len(env.get_attr("goals")[0])
    shares = [goals.count(f"goal {index}") / len(goals) for index in range(n_goals)]
    lengths, returns = ([info["episode"][key] for info in episodes] for key in ("l", "r"))
    measures = {
        "success": round(sum(shares), 4),
        "shares": shares,
        "length": round(float(np.mean(lengths)), 2),
        "return": round(float(np.mean(returns)), 3),
    }
    if "obstacles" in env_kwargs:
        escaped = [info["is_success"] for info in episodes if info["blocked"]]
        measures |= {"blocked": len(escaped) / len(episodes), "escaped": float(np.mean(escaped)) if escaped else None}
    return measures


def key_of(agent: TrainedAgent) -> dict[str, str]:
    """What tells an agent from the others: task, algorithm, label and seed; nothing where there is no such task."""
    task = GOALS.get(agent.env, "")
    if agent.env == "MixtureBandit-v0":
        task = f"bandit-{len(MixtureBanditEnv(**agent.env_kwargs).mode_probabilities())}"
    return {"task": task, "algo": agent.algo, "label": label_of(agent), "seed": str(agent.seed)} if task else {}


def measure(agent: TrainedAgent, n_episodes: int) -> dict[str, str]:
    """
    :param agent: of a comparison
    :param n_episodes: where it reaches for goals
    :return: its row
    """
    model = agent.load("cpu")
    th.manual_seed(agent.seed)
    if agent.env in GOALS:
        measures = measure_goals(model, agent.env, agent.env_kwargs, n_episodes)
    else:
        measures = measure_bandit(model, agent.env_kwargs)
    run = json.loads(agent.file.with_name("run.json").read_text())
    return {
        **key_of(agent),
        "steps": str(model.num_timesteps),
        "measures": json.dumps(measures),
        "seconds": f"{run['seconds']:.0f}",
        "hyperparams": " ".join(f"{name}:{value}" for name, value in (agent.arguments["hyperparams"] or {}).items()),
        "versions": " ".join(f"{name}=={version}" for name, version in run["versions"].items()),
    }


def report(path: Path) -> None:
    """Print a Markdown table, a line for each run."""
    print("| task | algorithm | seed | steps | measures | seconds |\n|---|---|---|---|---|---|")
    for row in sorted(read(path), key=lambda row: (row["task"], row["algo"], row["label"], int(row["seed"]))):
        measures = ", ".join(f"{name} {value}" for name, value in json.loads(row["measures"]).items())
        name = f"{row['algo']} {row['label']}".strip()
        print(f"| {row['task']} | {name} | {row['seed']} | {row['steps']} | {measures} | {row['seconds']} |")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, nargs="+", default=[], help="of comparisons")
    parser.add_argument("--episodes", type=int, default=N_EPISODES, help="where agents reach for goals")
    parser.add_argument("--csv", type=Path, default=DATA / "multimodal.csv")
    parser.add_argument("--report", action="store_true", help="print a table of what is in the CSV, measure nothing")
    args = parser.parse_args()
    th.set_num_threads(1)
    if args.report:
        report(args.csv)
        return
    there = keys_in(args.csv, KEY)
    for agent in (agent for folder in args.folder for agent in trained_agents(folder)):
        key = key_of(agent)
        if not key or key in there:
            print(f"{' '.join(agent.key)}: {'already in the CSV' if key else 'not one of these tasks'}", flush=True)
            continue
        row = measure(agent, args.episodes)
        write(args.csv, COLUMNS, [row], append=True)
        there.append(key)
        print(f"{' '.join(filter(None, key.values()))}: {row['measures']}", flush=True)


if __name__ == "__main__":
    main()
