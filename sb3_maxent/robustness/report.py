"""The report of the table: Markdown with intervals over agents, and a figure."""

import functools
import itertools
import json
import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sb3_maxent.reporting import formatting as fmt
from sb3_maxent.reporting.looks import INK, legend_of_panels, rows_and_columns
from sb3_maxent.reporting.page import FOLDED, write_page
from sb3_maxent.reporting.statistics import REPETITIONS, Estimate, mean_with_interval
from sb3_maxent.robustness.plan import NEUTRAL
from sb3_maxent.robustness.table import SHARED, Row, World, newest, read

UNPERTURBED = World()
GUIDE = f"""\
- **Return of an agent:** the sum of an episode's rewards, not discounted, mean over the episodes. An **agent** is one
  training; those of an algorithm differ in the training's seed.
- **Mean [interval]** over an algorithm's agents, with the 95% percentile interval of a bootstrap over them ({REPETITIONS:,}
  resamples); none for one agent. With fewer than five agents it is usually too narrow.
- **Change:** an agent's return in the perturbed world less its own in the unperturbed one, which takes out what agents
  differ in anyway. It is no ratio, which would mean nothing where returns can be negative.
- All agents meet the same episodes in all worlds: the same first states, and the same noise up to its strength."""


class Panel(NamedTuple):
    """
    A perturbation on an environment.

    :param name: of the perturbation
    :param labels: of the worlds, by strength, the unperturbed one among them
    :param places: of the worlds on an axis
    :param numeric: whether these are strengths, and not just one after the other
    """

    name: str
    labels: dict[World, str]
    places: list[float]
    numeric: bool


def _strength(world: World) -> tuple[Any, ...]:
    """By number, and what is no number after that"""
    values = world.arguments.values()
    numbers = [value if isinstance(value, int | float) else math.inf for value in values]
    return world.perturbation, numbers, len(world.value), world.value


class Scores:
    """
    What the sections and the figure share.

    :param rows: those that count
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        # Not in the order of the table, in which processes may have overtaken one another
        self.algos = sorted({row.algo for row in rows})
        envs = sorted({row.env for row in rows})
        self.worlds = {env: sorted({row.world for row in rows if row.env == env}, key=_strength) for env in envs}
        self.agents: dict[tuple[str, str, World], dict[tuple[str, ...], Row]] = {}
        for row in sorted(rows, key=lambda row: row.agent):
            self.agents.setdefault((row.env, row.algo, row.world), {})[row.agent] = row
        self.estimate = functools.cache(self._estimate)

    def _estimate(self, env: str, algo: str, world: World, column: str, change: bool = False) -> Estimate | None:
        """
        :param env: environment id
        :param algo: zoo key
        :param world: which
        :param column: of the table
        :param change: from the unperturbed world instead, for the agents that were evaluated there
        :return: mean over the agents, ``None`` without any
        """
        before = self.agents.get((env, algo, UNPERTURBED), {})
        scores = [
            getattr(row, column) - (getattr(before[agent], column) if change else 0)
            for agent, row in self.agents.get((env, algo, world), {}).items()
            if agent in before or not change
        ]
        return mean_with_interval(np.array(scores)) if scores else None

    def panels(self, env: str) -> list[Panel]:
        """In the order of the wrapper's parameters"""
        panels = []
        for name, neutral in NEUTRAL.items():
            values = {world: world.arguments[name] for world in self.worlds[env] if world.perturbation == name}
            if values:
                values = {UNPERTURBED: neutral, **values}
                if numeric := all(isinstance(value, int | float) for value in values.values()):
                    values = dict(sorted(values.items(), key=lambda item: item[1]))
                labels = {world: "none" if value is None else json.dumps(value) for world, value in values.items()}
                panels.append(Panel(name, labels, list(values.values()) if numeric else [*range(len(values))], numeric))
        return panels


# ---------------------------------------------------------------------- Markdown


def _tables(scores: Scores, env: str, labels: dict[World, str], turned: bool = False) -> Iterable[str]:
    """
    :param scores: of all
    :param env: environment id
    :param labels: of the worlds, which are the columns
    :param turned: whether worlds are the rows instead
    :return: tables with a row for each algorithm, each after what it is
    """
    numbers = {algo: [len(scores.agents.get((env, algo, world), ())) for world in labels] for algo in scores.algos}
    for title, column, change in (
        ("Return:", "mean_return", False),
        ("Change of the return from the unperturbed world:", "mean_return", True),
        ("Success rate:", "success_rate", False),
    ):
        shown = [world for world in labels if world != UNPERTURBED or not change]
        cells = {algo: [scores.estimate(env, algo, world, column, change) for world in shown] for algo in scores.algos}
        finite = [number for of_algo in cells.values() for cell in of_algo if cell for number in cell if math.isfinite(number)]
        if not finite:
            continue
        names = [f"{labels[world]} (unperturbed)" if world == UNPERTURBED else labels[world] for world in shown]
        rows = [["algorithm", "agents", *names]]
        for algo in filter(lambda algo: any(numbers[algo]), scores.algos):
            texts = [fmt.interval(cell, fmt.decimals(finite)) if cell else fmt.NONE for cell in cells[algo]]
            rows.append([fmt.code(algo), fmt.span(filter(None, numbers[algo])), *texts])
        head, *body = zip(*rows, strict=True) if turned else rows
        yield title
        yield fmt.table(head, body)


def _environment(scores: Scores, env: str) -> Iterable[str]:
    yield f"## {fmt.code(env)}"
    for panel in scores.panels(env):
        yield f"### {fmt.code(panel.name)} on {fmt.code(env)}"
        yield from _tables(scores, env, panel.labels)
    if combined := {world: str(world) for world in scores.worlds[env] if "+" in world.perturbation}:
        yield f"### Combinations on {fmt.code(env)}"
        yield from _tables(scores, env, {UNPERTURBED: "none", **combined}, turned=True)


def _settings(rows: Sequence[Row]) -> Iterable[str]:
    agents = {(*row.agent, row.seed) for row in rows}
    lines = [("agents", f"{len(agents)}, of training seeds {fmt.ranges({seed for *_, seed in agents})}")]
    lines += [(name, "; ".join({str(getattr(row, name)): 0 for row in rows})) for name in (*SHARED, "versions")]
    yield fmt.table(("setting", "value"), [(fmt.code(name), fmt.code(value)) for name, value in lines])
    if len({(algo, env, seed) for algo, env, *_, seed in agents}) < len(agents):
        yield "**Some agents of an algorithm have the same training seed:** if they are copies, intervals are too narrow."


# ---------------------------------------------------------------------- figure


def draw(axes: Axes, scores: Scores, env: str, panel: Panel) -> None:
    """
    The change of the return from the unperturbed world: a line for each algorithm, and its interval as a band where there is
    one. An algorithm's colour and line style are those of its place in ``scores.algos``. No legend:
    ``axes.figure.legend()``.

    :param axes: where to draw
    :param scores: of all
    :param env: environment id
    :param panel: what
    """
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    for index, algo in enumerate(scores.algos):
        estimates = [scores.estimate(env, algo, world, "mean_return", True) for world in panel.labels]
        there = [(place, *estimate) for place, estimate in zip(panel.places, estimates, strict=True) if estimate]
        if there:
            places, values, low, high = np.array(there, dtype=float).T
            axes.plot(places, values, label=algo, linewidth=1.8, marker="o", markersize=4, **fmt.look(index))
            if np.isfinite(low).any():
                axes.fill_between(places, low, high, color=fmt.look(index)["color"], alpha=0.18, linewidth=0)
    if panel.numeric:
        axes.locator_params(axis="x", nbins=4, integer=all(isinstance(place, int) for place in panel.places))
    else:
        axes.set_xlim(-0.5, len(panel.places) - 0.5)
        axes.set_xticks(panel.places, [textwrap.fill(_short(panel.name, label), 14) for label in panel.labels.values()])
    axes.set(xlabel=panel.name, ylabel="change of the return")


def _short(name: str, label: str) -> str:
    """For walls their number, as all of their coordinates would be longer than the figure is high"""
    walls = json.loads(label) if name == "obstacles" and label != "none" else None
    return label if walls is None else fmt.count(len(walls), "wall")


def _figure(scores: Scores) -> Figure | None:
    """For each environment rows of its panels, which have one scale; ``None`` where there is nothing to draw"""
    panels = {env: of_env for env in scores.worlds if (of_env := scores.panels(env))}
    if not panels:
        return None
    shapes = {env: rows_and_columns(len(of_env)) for env, of_env in panels.items()}
    n_rows, n_columns = sum(rows for rows, _ in shapes.values()), max(columns for _, columns in shapes.values())
    figure = Figure(figsize=(max(2.8 * n_columns, 5), 2.5 * n_rows + 0.4), layout="constrained")
    rows = iter(figure.subplots(n_rows, n_columns, squeeze=False))
    for env, of_env in panels.items():
        grid = np.stack(list(itertools.islice(rows, shapes[env][0])))
        used, rest = np.split(grid[:, : shapes[env][1]].ravel(), [len(of_env)])
        for axes, panel in zip(used, of_env, strict=True):
            draw(axes, scores, env, panel)
        for axes in used[1:]:
            axes.sharey(used[0])
        for axes in grid[:, 1:].ravel():
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)
        for axes in (*rest, *grid[:, shapes[env][1] :].ravel()):
            axes.remove()
        used[0].set_title(fmt.shorten(env, 40), loc="left", fontsize=11)
    lines = legend_of_panels(figure)
    figure.legend(lines.values(), lines.keys(), loc="outside lower left", ncols=2 * n_columns)
    return figure


def _outcome(scores: Scores) -> str:
    """The figure in words: how far the return of each algorithm falls at most, and where"""
    texts = []
    for env in scores.worlds:
        labels = {world: (panel.name, label) for panel in scores.panels(env) for world, label in panel.labels.items()}
        lowest = {}
        for algo in scores.algos:
            changes = {world: scores.estimate(env, algo, world, "mean_return", True) for world in labels}
            values = [(estimate.value, world) for world, estimate in changes.items() if estimate]
            if values:
                lowest[algo] = min(values, key=lambda pair: pair[0])
        digits = fmt.decimals(value for value, _ in lowest.values()) if lowest else 0
        falls = [
            f"{algo} {value:.{digits}f} ({labels[world][0]} {_short(*labels[world])})" if value < 0 else f"{algo} none"
            for algo, (value, world) in lowest.items()
        ]
        texts += [f"on {env} {', '.join(falls)}"] if falls else []
    return f"Largest fall of the mean return from the unperturbed world: {'; '.join(texts)}."


def write_report(folder: Path) -> Path:
    """
    Write ``robustness.md``, and ``robustness.png`` and ``.svg``, of the table. The same table gives the same files.

    :param folder: of the table, ``results.csv``
    :return: path of the Markdown page
    :raises ValueError: if there is nothing in the table
    """
    rows = newest(read(folder / "results.csv"))
    if not rows:
        raise ValueError(f"there is no evaluation in {folder / 'results.csv'}")
    scores = Scores(rows)
    title = f"Robustness of {', '.join(scores.algos)} on {', '.join(scores.worlds)}"
    blocks = [f"# {fmt.plain(title)}", "How trained agents do in worlds that are not quite those of their training."]
    with mpl.rc_context(fmt.STYLE):
        if figure := _figure(scores):
            outcome = _outcome(scores)
            fmt.save_figure(figure, folder / "robustness", outcome)
            blocks.append(f"![{fmt.plain(outcome)}](robustness.svg)")
            blocks.append("Change of the return from the unperturbed world: mean over the agents, and 95% intervals as bands.")
    for env in scores.worlds:
        blocks += _environment(scores, env)
    blocks += ["## How to read it", GUIDE, f"## {FOLDED}", *_settings(rows)]
    blocks.append("The raw numbers are in `results.csv`, a line for each agent and world.")
    return write_page(folder, "robustness", title, blocks)
