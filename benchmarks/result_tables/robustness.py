"""Trained agents in perturbed worlds."""

import json
from collections.abc import Iterable

import pandas as pd

from result_tables.common import Table, read, table
from sb3_maxent.reporting import formatting
from sb3_maxent.reporting.statistics import Estimate, mean_with_interval


def in_worlds(name: str, column: str) -> pd.DataFrame:
    """A column of a table of robustness: a row for each agent, by algorithm and seed, and a column for each world."""
    rows = read(f"robustness_{name}")
    worlds = list(dict.fromkeys(zip(rows.perturbation, rows.value, strict=True)))
    return rows.pivot(index=["algo", "seed"], columns=["perturbation", "value"], values=column)[worlds]


def world_name(perturbation: str, value: str) -> str:
    """What was perturbed, in words."""
    if perturbation == "obstacles":
        return formatting.count(len(json.loads(value)), "wall")
    if perturbation == "action_delay":
        return f"actions {formatting.count(int(value), 'step')} late"
    return f"{perturbation.replace('_', ' ')} {value}"


def over_agents(values: pd.Series, digits: int, unit: str = "") -> Iterable[str]:
    """``mean [95% interval]`` of each algorithm, as the report of robustness has it."""
    for algo in ("s2ac", "sac", "sacnf"):
        estimate = mean_with_interval(values[algo].to_numpy())
        rounded = Estimate(*(round(number, digits) + 0.0 for number in estimate))  # no -0
        yield formatting.interval(rounded, digits).replace(" [", f"{unit} [")


def robustness_changes(name: str, digits: int) -> Table:
    """Changes of the return from the unperturbed world, below the return there."""
    returns = in_worlds(name, "mean_return")
    unperturbed = returns["", ""]
    lines = [["unperturbed: the return itself", *over_agents(unperturbed, digits)]]
    for world in returns.columns[1:]:
        lines.append([world_name(*world), *over_agents(returns[world] - unperturbed, digits)])
    return ["change of the return", "S2AC", "SAC", "SACNF"], lines


@table
def robustness_multigoal() -> Table:
    return robustness_changes("multigoal", 1)


@table
def robustness_pendulum() -> Table:
    return robustness_changes("pendulum", 0)


@table
def robustness_hopper() -> Table:
    return robustness_changes("hopper", 0)


@table
def robustness_success() -> Table:
    shares = 100 * in_worlds("multigoal", "success_rate")
    worlds = {world: world_name(*world) for world in shares.columns if world[0] == "obstacles"}
    lines = ([name, *over_agents(shares[world], 1, "%")] for world, name in {("", ""): "unperturbed", **worlds}.items())
    return ["episodes that reach a goal", "S2AC", "SAC", "SACNF"], lines
