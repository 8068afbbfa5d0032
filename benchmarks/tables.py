"""The raw data of the benchmarks: CSV files in ``benchmarks/data``."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from sb3_maxent.zoo import TrainedAgent

DATA = Path(__file__).parent / "data"
# Columns that say which agent a row is about
AGENT = ["env", "algo", "label", "seed"]


def read(path: Path) -> list[dict[str, str]]:
    """Rows of the CSV, none if there is no file yet."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def keys_in(path: Path, names: Sequence[str]) -> list[dict[str, str]]:
    """These columns of each row of the CSV: what has been measured already."""
    return [{name: row[name] for name in names} for row in read(path)]


def label_of(agent: "TrainedAgent") -> str:
    """The name of a comparison's variant without the algorithm's before it, empty for the algorithm itself."""
    return agent.variant.removeprefix(f"{agent.algo}-")


def agents_to_measure(folders: Iterable[Path], path: Path) -> Iterator[tuple["TrainedAgent", dict[str, str]]]:
    """The agents of comparisons that are not in the CSV yet, and the first columns of their rows (``AGENT``)."""
    from sb3_maxent.zoo import trained_agents

    there = keys_in(path, AGENT)
    for agent in (agent for folder in folders for agent in trained_agents(folder)):
        key = {"env": agent.env, "algo": agent.algo, "label": label_of(agent), "seed": str(agent.seed)}
        if key not in there:
            yield agent, key


def environment_of(agent: "TrainedAgent", **kwargs: Any) -> gym.Env:
    """
    The environment of an agent, as a plain one.

    :param kwargs: further arguments of the environment
    :raises ValueError: if the agent was trained with wrappers or normalised observations, which a plain one has not
    """
    names = ("normalize", "env_wrapper", "vec_env_wrapper", "frame_stack")
    if more := [name for name in names if agent.hyperparams.get(name)]:
        raise ValueError(f"{agent.file} was trained with {', '.join(more)}; this measures agents without them")
    return gym.make(agent.env, **agent.env_kwargs, **kwargs)


def write(path: Path, columns: list[str], rows: list[dict[str, Any]], append: bool = False) -> None:
    """Write a CSV, or append to what it holds."""
    new = not append or not path.exists()
    with path.open("w" if new else "a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
