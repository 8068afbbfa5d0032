"""
What the agents of comparisons do where benchmarks/multimodal.py does not look:

- entropy of the policy at the probe states: the algorithm's own estimate, that of the actions that it really draws
  (histogram of 20000, cells of 0.1), and that of exp(Q / alpha) with the learned Q, by quadrature;
- success where an obstacle is put in only now, after training (the robustness claim of S2AC's paper).

With ``--figures`` the models are drawn instead, each in a file: trajectories (on MultiGoalMaxEnt-v0 with the obstacle), and
for the probe states Q and sampled actions::

    python benchmarks/multigoal_probe.py -f runs/modes --csv benchmarks/data/multigoal_probe.csv
    python benchmarks/multigoal_probe.py -f runs/modes --figures docs/figures
    python benchmarks/multigoal_probe.py --report
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import gymnasium as gym
import matplotlib
import numpy as np
import torch as th
from drawing import STYLE, save
from multimodal import GOALS, key_of, measure_goals
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from tables import DATA, environment_of, read, write

from sb3_maxent import S2AC, SoftQLearning
from sb3_maxent.figures import multigoal_figure
from sb3_maxent.measures import entropy_of_actions, entropy_of_q
from sb3_maxent.zoo import TrainedAgent, trained_agents

# Those of S2AC's code, see MultiGoalEnv
OBSTACLES = {"multigoal": [[[-1.5, 3], [1.5, 3]]], "multigoal-maxent": [[[-2, 0], [0, 2]]]}
COLUMNS = ["task", "algo", "label", "seed", "what", "measures"]
N_ACTIONS = 20_000
NAMES = {"s2ac": "S2AC", "sac": "SAC", "sql": "SoftQLearning"}


def estimated_entropy(model: BaseAlgorithm, observations: th.Tensor) -> float:
    """The algorithm's own estimate, mean over the (equal) observations."""
    if isinstance(model, S2AC):
        features, noise = model.critic.particle_features(observations), model.policy.draw_noise(len(observations))
        particles = model.policy.particles(features, model.policy.actor_features(observations), model.policy.ent_coef, noise)
        return -particles.log_prob.mean().item()
    if isinstance(model, SoftQLearning):
        actor = model.policy.actor
        assert actor is not None
        return -model._sample_with_density(actor.extract_features(observations, actor.features_extractor), 4)[1].mean().item()
    assert isinstance(model, SAC)
    return -model.actor.action_log_prob(observations)[1].mean().item()


def entropies(model: BaseAlgorithm, state: np.ndarray) -> dict[str, float]:
    """Entropies in a state: estimated, of the actions, of exp(Q / alpha)."""
    observations = th.as_tensor(state, dtype=th.float32).expand(1000, -1)
    actions = entropy_of_actions(model, state, N_ACTIONS)
    return {
        "estimated": round(estimated_entropy(model, observations), 3),
        "actions": round(actions, 3),
        "quadrature": round(entropy_of_q(model, state), 3),
    }


def draw(agent: TrainedAgent, folder: Path) -> None:
    """
    :param agent: that reaches for goals
    :param folder: for TASK_ALGO[_LABEL]_SEED.svg
    """
    key = key_of(agent)
    name = " ".join(filter(None, [NAMES[agent.algo], key["label"], f"on {agent.env}, seed {agent.seed}"]))
    th.manual_seed(agent.seed)
    with matplotlib.rc_context(STYLE):
        obstacles = OBSTACLES[key["task"]] if key["task"] == "multigoal-maxent" else []
        figure = multigoal_figure({name: agent.load("cpu")}, environment_of(agent, obstacles=obstacles))
        save(figure, folder / f"{'_'.join(filter(None, key.values()))}.svg", f"{name}: trajectories, Q and sampled actions")


def look(agent: TrainedAgent) -> list[dict[str, str]]:
    """
    :param agent: that reaches for goals
    :return: rows for the CSV
    """
    env_id, env_kwargs, model, common = agent.env, agent.env_kwargs, agent.load("cpu"), key_of(agent)
    task = common["task"]
    th.manual_seed(agent.seed)
    with th.no_grad():
        rows = [
            {**common, "what": f"entropy at {state.tolist()}", "measures": json.dumps(entropies(model, state))}
            for state in gym.make(env_id, **env_kwargs).get_wrapper_attr("probe_states")
        ]
    for what, obstacles in (("no obstacle", []), ("obstacle", OBSTACLES[task])):
        measures = measure_goals(model, env_id, {**env_kwargs, "obstacles": obstacles})
        rows.append({**common, "what": what, "measures": json.dumps(measures)})
    return rows


def report(path: Path) -> None:
    """Print Markdown tables: means over seeds."""
    groups: dict[tuple[str, str, str], list[dict]] = defaultdict(list)
    for row in read(path):
        name = f"{row['algo']} {row['label']}".strip()
        groups[row["task"], row["what"], name].append(json.loads(row["measures"]))
    print("| task | state | algorithm | seeds | estimated | of the actions | quadrature of the learned Q |")
    print("|---|---|---|---|---|---|---|")
    for (task, what, name), measures in sorted(groups.items()):
        if what.startswith("entropy"):
            columns = [[m[key] for m in measures] for key in ("estimated", "actions", "quadrature")]
            cells = " | ".join(f"{np.mean(column):.2f} ± {np.std(column):.2f}" for column in columns)
            print(f"| {task} | {what.removeprefix('entropy at ')} | {name} | {len(measures)} | {cells} |")
    print(
        "\n| task | world | algorithm | seeds | success | shares of the goals | touch the obstacle | of these reach a goal |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for (task, what, name), measures in sorted(groups.items()):
        if not what.startswith("entropy"):
            success = [m["success"] for m in measures]
            shares = "/".join(f"{100 * share:.0f}" for share in np.mean([m["shares"] for m in measures], axis=0))
            blocked = np.mean([m["blocked"] for m in measures])
            escaped = [m["escaped"] for m in measures if m["escaped"] is not None]
            mean = f"{100 * np.mean(success):.1f} ± {100 * np.std(success):.1f}%"
            out = f"{100 * np.mean(escaped):.0f}%" if escaped else ""
            print(f"| {task} | {what} | {name} | {len(measures)} | {mean} | {shares}% | {100 * blocked:.0f}% | {out} |")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, nargs="+", default=[], help="of comparisons")
    parser.add_argument("--csv", type=Path, default=DATA / "multigoal_probe.csv")
    parser.add_argument("--figures", type=Path, help="folder: draw the models, and measure nothing")
    parser.add_argument("--report", action="store_true", help="print tables of what is in the CSV")
    args = parser.parse_args()
    th.set_num_threads(1)
    agents = [agent for folder in args.folder for agent in trained_agents(folder) if agent.env in GOALS]
    if args.figures is not None:
        for agent in agents:
            draw(agent, args.figures)
        return
    if not args.report:
        write(args.csv, COLUMNS, [row for agent in agents for row in look(agent)])
    report(args.csv)


if __name__ == "__main__":
    main()
