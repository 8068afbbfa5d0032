"""
Keep the best agent of each algorithm of a comparison, small enough for the repository, in the layout of the zoo::

    python -m sb3_maxent.compare --algos sac mixturesac --envs Hopper-v5 --seeds 5 -n 200000 -f runs/mujoco
    python benchmarks/keep_agents.py -f runs/mujoco --envs Hopper-v5 -o agents
    python -m sb3_maxent.zoo enjoy --algo mixturesac --env Hopper-v5 -f agents --no-render

The best one has the highest return in the last evaluation of its training. Kept are its networks and hyperparameters. What the
optimizers remember and the training's folders are left out. The CSV says which agents they are.
"""

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from tables import DATA, read, write

from sb3_maxent.compare.runs import read_evaluations
from sb3_maxent.zoo import TrainedAgent, trained_agents

COLUMNS = ["algo", "env", "seed", "steps", "return", "kilobytes"]
# Of the training's command line, what the zoo reads to play
ARGUMENTS = ("algo", "env", "seed", "n_timesteps", "env_kwargs", "gym_packages")


def last_return(agent: TrainedAgent) -> float:
    """Mean return in the last evaluation of the agent's training."""
    _, returns = read_evaluations(agent.file.parent)
    return float(returns[-1].mean())


def best_of(agents: Iterable[TrainedAgent]) -> list[TrainedAgent]:
    """The best agent of each algorithm and environment."""
    return list({(agent.algo, agent.env): agent for agent in sorted(agents, key=last_return)}.values())


def keep(agent: TrainedAgent, model: BaseAlgorithm, folder: Path) -> Path:
    """
    Write an agent as the first one of its algorithm and environment.

    :param agent: the agent
    :param model: its model, whose optimizers lose what they remember
    :param folder: where ``<algo>/<env>_1/`` goes, in place of what is there
    :return: the file of the model
    """
    name = agent.env.replace("/", "-")
    place = folder / agent.algo / f"{name}_1"
    shutil.rmtree(place, ignore_errors=True)
    (place / name).mkdir(parents=True)
    parameters = model.get_parameters()
    for saved in parameters.values():
        if "param_groups" in saved:  # an optimizer's
            saved["state"] = {}
    # SB3 annotates a narrower type than that of its own get_parameters()
    model.set_parameters(parameters)  # type: ignore[arg-type]
    file = place / f"{name}.zip"
    model.save(
        file, exclude=["_last_obs", "_last_original_obs", "_last_episode_starts", "ep_info_buffer", "ep_success_buffer"]
    )
    arguments = {key: agent.arguments[key] for key in ARGUMENTS if key in agent.arguments}
    (place / name / "args.yml").write_text(yaml.safe_dump(arguments))
    shutil.copy(agent.file.parent / name / "config.yml", place / name)
    return file


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--folder", type=Path, nargs="+", required=True, help="of comparisons")
    parser.add_argument("--envs", nargs="+", help="environments (default: all)")
    parser.add_argument("-o", "--output", type=Path, default=Path("agents"))
    parser.add_argument("--csv", type=Path, default=DATA / "agents.csv")
    args = parser.parse_args()
    agents = [agent for folder in args.folder for agent in trained_agents(folder) if not args.envs or agent.env in args.envs]
    for agent in best_of(agents):
        model = agent.load("cpu")
        file = keep(agent, model, args.output)
        row = {"algo": agent.algo, "env": agent.env, "seed": str(agent.seed), "steps": str(model.num_timesteps)}
        row |= {"return": f"{last_return(agent):.1f}", "kilobytes": f"{file.stat().st_size / 1000:.0f}"}
        others = [other for other in read(args.csv) if (other["algo"], other["env"]) != (agent.algo, agent.env)]
        write(args.csv, COLUMNS, [*others, row])
        print(row, flush=True)


if __name__ == "__main__":
    main()
