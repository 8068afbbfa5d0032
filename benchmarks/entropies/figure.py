"""The figure of what is in the CSV."""

from pathlib import Path

import matplotlib
from drawing import STYLE, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from entropies.experiment import DIMENSIONS
from entropies.own_entropy import NEIGHBOUR_DIMENSIONS
from entropies.report import parts_of
from sb3_maxent.reporting.looks import BLUE, GREEN, INK, ORANGE, PINK, PURPLE, SKY

CURVES = {
    ("SVGD", "closed form"): (BLUE, "o-"),
    ("SVGD", "with Hessian"): (ORANGE, "s-"),
    ("SVGD", "own determinant"): (PURPLE, "^-"),
    ("SVGD", "joint determinant"): (PINK, "v--"),
    ("SVGD", "nearest neighbours"): (INK, "x:"),
    ("SVGD", "fitted Gaussian"): (INK, "+--"),
    ("SGLD", "change of variables"): (GREEN, "d-"),
    ("gradient flow", "change of variables"): (GREEN, "*--"),
    ("HMC, one trajectory", "divided by N(v)"): (SKY, "<-"),
    ("HMC, new velocities", "divided by N(v)"): (SKY, ">--"),
}


def draw_curves(axis: Axes, rows: list[dict[str, str]], column: str, per_dimension: bool) -> None:
    """Estimates (divided by d, if so) over a column."""
    for (sampler, estimator), (color, style) in CURVES.items():
        chosen = [row for row in rows if (row["sampler"], row["estimator"]) == (sampler, estimator)]
        if estimator == "nearest neighbours":
            chosen = [row for row in chosen if int(row["dim"]) <= NEIGHBOUR_DIMENSIONS]
        values = [float(row["entropy"]) / (int(row["dim"]) if per_dimension else 1) for row in chosen]
        steps = [int(row[column]) for row in chosen]
        axis.plot(steps, values, style, color=color, label=f"{sampler}: {estimator}", markersize=4)
    truths = {int(row[column]): float(row["truth"]) / (int(row["dim"]) if per_dimension else 1) for row in rows}
    axis.plot(list(truths), list(truths.values()), "0.5", linewidth=5, alpha=0.6, zorder=0, label="target")


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Estimates by step on the Gaussian, and by dimension on the mixtures."""
    parts = parts_of(rows)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 5), layout="constrained")
        steps, dimensions = figure.subplots(1, 2)
        draw_curves(steps, parts["by step"], "steps", per_dimension=False)
        steps.set_xscale("symlog", linthresh=3)
        steps.set_xticks([0, 1, 3, 10, 30, 100, 300], ["0", "1", "3", "10", "30", "100", "300"])
        steps.set(xlabel="steps", ylabel="entropy, nats", ylim=(-4, 6), title="Gaussian, 20 particles, from N(0, 6 I)")
        short = [row for row in parts["mixture"] if row["steps"] == "30"]
        draw_curves(dimensions, short, "dim", per_dimension=True)
        dimensions.set_xscale("log")
        dimensions.set_xticks(DIMENSIONS, list(map(str, DIMENSIONS)))
        dimensions.set(xlabel="dimensions", ylabel="entropy / d, nats", ylim=(-7, 3))
        dimensions.set_title("mixtures of four Gaussians, 30 steps")
        for axes in (steps, dimensions):
            axes.minorticks_off()
            axes.title.set_fontsize(11)
        figure.legend(*steps.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
        words = (
            "Estimates of the entropy: by steps they cross the target's and go on falling, by dimensions the closed form stays"
        )
        save(figure, path, f"{words} at the start's")
