"""The table of all evaluations, ``results.csv``: a line for each agent and world, appended as they come."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class World(NamedTuple):
    """
    What is perturbed, as the table holds it.

    :param perturbation: names, joined by a plus; empty for the unperturbed world
    :param value: as many values in JSON, joined by a semicolon and a space
    """

    perturbation: str = ""
    value: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """For the wrapper"""
        values = map(json.loads, self.value.split("; "))
        return dict(zip(self.perturbation.split("+"), values, strict=True)) if self.perturbation else {}

    def __str__(self) -> str:
        pairs = zip(self.perturbation.split("+"), self.value.split("; "), strict=True)
        return ", ".join(map(" ".join, pairs)) if self.perturbation else "unperturbed"


class Row(NamedTuple):
    """
    An agent in a world.

    :param algo: zoo key
    :param env: environment id
    :param exp_id: what tells the agent from others of this algorithm and environment in its folder
    :param folder: of the trained agents, as it was given
    :param seed: of its training
    :param model: hash of the model file: an agent that was trained again is another one
    :param saved: ``"last"`` or ``"best"`` model of the training
    :param perturbation: see :class:`World`
    :param value: see :class:`World`
    :param actions: ``"deterministic"`` or ``"stochastic"``
    :param first_seed: episode i was reset with ``first_seed + i``
    :param episodes: their number
    :param mean_return: sum of the environment's rewards, not discounted, mean over the episodes
    :param std_return: its standard deviation over the episodes
    :param mean_length: steps of an episode
    :param success_rate: share of the episodes that ended with ``info["is_success"]``, NaN where that is not there
    :param versions: of the packages that matter
    """

    algo: str
    env: str
    exp_id: str
    folder: str
    seed: int
    model: str
    saved: str
    perturbation: str
    value: str
    actions: str
    first_seed: int
    episodes: int
    mean_return: float
    std_return: float
    mean_length: float
    success_rate: float
    versions: str

    @property
    def agent(self) -> tuple[str, str, str, str]:
        return self.algo, self.env, self.exp_id, self.folder

    @property
    def world(self) -> World:
        return World(self.perturbation, self.value)


# What all rows of a table have in common
SHARED = ("saved", "actions", "first_seed", "episodes")


def read(file: Path) -> list[Row]:
    """
    :param file: the table
    :return: its lines, but for half a line at the end; none where there is no table
    :raises ValueError: if it is something else
    """
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    if lines and lines[0] != list(Row._fields):
        raise ValueError(f"{file} is not a table of this command (of this version): choose another folder by -o")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        try:
            rows.append(Row(*(kind(cell) for kind, cell in zip(Row.__annotations__.values(), line, strict=True))))
        except ValueError as error:
            raise ValueError(f"{file}, line {number} can't be read ({error}): mend or remove it") from error
    return rows


def newest(rows: Sequence[Row]) -> list[Row]:
    """
    :param rows: of the table
    :return: those that count: for each agent those of the model file that was evaluated last, and each world once
    """
    models = {row.agent: row.model for row in rows}
    return list({(row.agent, row.world): row for row in rows if row.model == models[row.agent]}.values())


def mend(file: Path) -> None:
    """
    Remove half a line, which a kill or a full disk may have left at the end.

    :param file: the table, which need not be there
    """
    if file.is_file():
        os.truncate(file, file.read_bytes().rfind(b"\n") + 1)


def append(file: Path, row: Row) -> None:
    """
    :param file: the table
    :param row: a line for it
    """
    text = io.StringIO()
    with file.open("a", encoding="utf-8") as table:
        csv.writer(text, lineterminator="\n").writerows([row] if table.tell() else [Row._fields, row])
        table.write(text.getvalue())  # at once: other processes may be writing, too
