"""
The command line and the evaluations it asks for. What can be known to go wrong is found here, before any starts.
"""

import argparse
import ast
import contextlib
import hashlib
import inspect
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.utils import get_device

from sb3_maxent import zoo
from sb3_maxent.envs import PERTURBATIONS, PerturbationWrapper
from sb3_maxent.reporting.command import too_small
from sb3_maxent.robustness.evaluation import Job, environment
from sb3_maxent.robustness.table import World


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """
    :param arguments: of the command line
    :return: with each name once
    :raises SystemExit: with status 2 for what argparse finds
    """
    parser = argparse.ArgumentParser(
        prog="python -m sb3_maxent.robustness",
        allow_abbrev=False,
        description="Evaluates trained agents of the RL Zoo, or of a comparison, in perturbed worlds, and writes a table and "
        "a figure. The same command goes on after an interruption; agents and strengths can be added.",
        epilog=f"Perturbations: {', '.join(PERTURBATIONS)}.",
    )
    add = parser.add_argument
    add("-f", "--folder", type=Path, default=Path("logs"), help="of the trained agents (default: logs)")
    add("--algos", nargs="+", default=[], metavar="ALGO", help="zoo keys, or names of variants (default: all that are there)")
    add("--envs", nargs="+", default=[], metavar="ENV", help="ids of environments (default: all that are there)")
    add("--perturb", nargs="+", default=[], metavar="NAME:V1,V2,...", help="perturbations and their strengths")
    add("--product", action="store_true", help="all combinations of the strengths (default: one perturbation at a time)")
    add("--episodes", type=int, default=20, metavar="N", help="of each agent in each world (default: 20)")
    add("--seed", type=int, default=0, metavar="SEED", help="of the first episode, the next ones count on (default: 0)")
    add("--stochastic", action="store_true", help="sample actions")
    add("--load-best", action="store_true", help="the best model of each training instead of the last one")
    add("-o", "--output", type=Path, default=Path("runs/robustness"), help="where to (default: runs/robustness)")
    add("--n-jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    add("--device", default="auto", help="PyTorch's (default: auto)")
    add("--report-only", action="store_true", help="write the report of what is in the folder (-o) and evaluate nothing")
    parsed = parser.parse_args(arguments)
    parsed.algos, parsed.envs = list(dict.fromkeys(parsed.algos)), list(dict.fromkeys(parsed.envs))
    if not parsed.report_only and not parsed.perturb:
        parser.error("missing: --perturb")
    return parsed


def plan(arguments: argparse.Namespace) -> list[Job]:
    """
    :param arguments: of the command line
    :return: all evaluations, those that are there already as well, world by world so that what is there early can be compared
    :raises ValueError: with a line for everything that is wrong
    """
    problems = [*too_small(arguments, {"episodes": 1, "seed": 0, "n_jobs": 1})]
    try:
        get_device(arguments.device)
    except RuntimeError as error:
        problems.append(f"--device {arguments.device}: {error}")

    agents = zoo.trained_agents(arguments.folder, arguments.load_best)
    algos = arguments.algos or list(dict.fromkeys(agent.label for agent in agents))
    envs = arguments.envs or list(dict.fromkeys(agent.env for agent in agents))
    problems += _missing_agents(arguments, agents)
    agents = [agent for agent in agents if agent.label in algos and agent.env in envs]
    axes: dict[str, list[Any]] = {}
    for item in arguments.perturb:
        try:
            name, values = _axis(item)
            if name in axes:
                raise ValueError(f"{name} is there twice")
            axes[name] = values
        except ValueError as error:
            problems.append(f"--perturb {item}: {error}")
    singles = _worlds({name: value} for name, values in axes.items() for value in values)
    for env in envs:
        of_env = [agent for agent in agents if agent.env == env]
        problems += _unfit(of_env[0], singles) if of_env else []
        problems += _incomparable(env, of_env)
    if problems:
        raise ValueError("\n".join(problems))

    ordered = {name: axes[name] for name in PERTURBATIONS if name in axes}  # the same combination has one name
    products = _worlds(dict(zip(ordered, values, strict=True)) for values in itertools.product(*ordered.values()))
    shared = {
        "saved": "best" if arguments.load_best else "last",
        "actions": "stochastic" if arguments.stochastic else "deterministic",
        "first_seed": arguments.seed,
        "episodes": arguments.episodes,
    }
    models = {agent.file: hashlib.sha256(agent.file.read_bytes()).hexdigest()[:12] for agent in agents}
    return [
        Job(agent, models[agent.file], world, shared, arguments.device)
        for env in envs
        for world in (products if arguments.product else singles)
        for algo in algos
        for agent in agents
        if (agent.label, agent.env) == (algo, env)
    ]


def _missing_agents(arguments: argparse.Namespace, agents: Sequence[zoo.TrainedAgent]) -> Iterable[str]:
    folder = arguments.folder
    if not agents:
        yield f"there is no trained agent in {folder}{' with a best_model.zip' if arguments.load_best else ''} (-f)"
        return
    pairs = {(agent.label, agent.env) for agent in agents}
    algos, envs = map(set, zip(*pairs, strict=True))
    for kind, names, known in (("algorithm", arguments.algos, algos), ("environment", arguments.envs, envs)):
        yield from (
            f"{folder} has no agent of {kind} {name!r}{zoo.did_you_mean(name, known)}" for name in names if name not in known
        )
    asked = {agent.algo for agent in agents if agent.label in (arguments.algos or algos)}
    for algo in sorted(asked.difference(zoo.algorithms())):
        yield f"{algo} is no algorithm of the zoo: is what registers it missing?"
    for algo, env in itertools.product(arguments.algos, arguments.envs):
        if algo in algos and env in envs and (algo, env) not in pairs:
            yield f"{folder} has no agent of {algo} on {env}"


def _incomparable(env: str, agents: Sequence[zoo.TrainedAgent]) -> Iterable[str]:
    """
    :param env: environment id
    :param agents: all that are to be evaluated on it
    :return: what is wrong with them
    """
    kwargs = {}
    for agent in agents:
        with contextlib.suppress(Exception):  # of a file that can't be read: the evaluation will say so
            kwargs[str(agent.env_kwargs)] = f"{agent.label} {agent.exp_id}"
    if len(kwargs) > 1:
        each = "; ".join(f"{agent}: {text}" for text, agent in kwargs.items())
        yield f"{env}: agents with other env_kwargs can't be compared ({each}): each kind wants a folder of its own (-f, -o)"


def _axis(item: str) -> tuple[str, list[Any]]:
    """
    :param item: ``NAME:V1,V2,...``
    :return: name and values
    :raises ValueError: if it is something else
    """
    name, _, text = item.partition(":")
    if name not in PERTURBATIONS:
        raise ValueError(
            f"there is no perturbation {name!r}{zoo.did_you_mean(name, PERTURBATIONS)}; {', '.join(PERTURBATIONS)}"
        )
    try:
        values = plain(ast.literal_eval(f"[{re.sub(r'none', 'None', text)}]"))
        json.dumps(values)
    except (ValueError, SyntaxError, TypeError):
        values = []
    if not values:
        raise ValueError("NAME:V1,V2,... with numbers, lists of numbers, or none is needed")
    return name, values


def plain(value: Any) -> Any:
    """
    :param value: a number, or nested sequences of numbers
    :return: the same, so that the same numbers have the same text
    """
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool):
        raise ValueError(f"{value} is no number")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _worlds(perturbed: Iterable[dict[str, Any]]) -> list[World]:
    """
    :param perturbed: arguments for the wrapper
    :return: the unperturbed world, and each other one once
    """
    changed = [{name: json.dumps(it) for name, it in each.items() if it != NEUTRAL[name]} for each in perturbed]
    return list(dict.fromkeys([World(), *(World("+".join(each), "; ".join(each.values())) for each in changed)]))


# What each perturbation is where there is none
NEUTRAL = {name: plain(inspect.signature(PerturbationWrapper).parameters[name].default) for name in PERTURBATIONS}


def _unfit(agent: zoo.TrainedAgent, worlds: Iterable[World]) -> Iterable[str]:
    """
    :param agent: one of those on an environment
    :param worlds: the unperturbed one first
    :return: what is wrong with them
    """
    for world in worlds:
        try:
            environment(agent, world).close()
        except Exception as error:  # of the environment
            yield f"{agent.env}, {world}: {error if isinstance(error, ValueError) else repr(error)}"
            if not world.perturbation:
                return
