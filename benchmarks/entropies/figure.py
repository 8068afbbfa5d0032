"""The figure of what is in the CSV."""

from pathlib import Path

import matplotlib

from entropies.own_entropy import NEIGHBOUR_DIMENSIONS
from entropies.report import parts_of

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CURVES = {
    ("SVGD", "closed form"): "C0o-",
    ("SVGD", "with Hessian"): "C1s-",
    ("SVGD", "own determinant"): "C2^-",
    ("SVGD", "joint determinant"): "C3v--",
    ("SVGD", "nearest neighbours"): "kx:",
    ("SVGD", "fitted Gaussian"): "k+--",
    ("SGLD", "change of variables"): "C4d-",
    ("gradient flow", "change of variables"): "C5*--",
    ("HMC, one trajectory", "divided by N(v)"): "C6<-",
    ("HMC, new velocities", "divided by N(v)"): "C8>-",
}


def draw_curves(axis: plt.Axes, rows: list[dict[str, str]], column: str, per_dimension: bool) -> None:
    """Estimates (divided by d, if so) over a column."""
    for (sampler, estimator), style in CURVES.items():
        chosen = [row for row in rows if (row["sampler"], row["estimator"]) == (sampler, estimator)]
        if estimator == "nearest neighbours":
            chosen = [row for row in chosen if int(row["dim"]) <= NEIGHBOUR_DIMENSIONS]
        values = [float(row["entropy"]) / (int(row["dim"]) if per_dimension else 1) for row in chosen]
        axis.plot([int(row[column]) for row in chosen], values, style, label=f"{sampler}: {estimator}", markersize=4)
    truths = {int(row[column]): float(row["truth"]) / (int(row["dim"]) if per_dimension else 1) for row in rows}
    axis.plot(list(truths), list(truths.values()), "0.5", linewidth=5, alpha=0.6, zorder=0, label="target")


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Estimates by step on the Gaussian, and by dimension on the mixtures."""
    parts = parts_of(rows)
    figure, axes = plt.subplots(1, 2, figsize=(12, 5))
    draw_curves(axes[0], parts["by step"], "steps", per_dimension=False)
    axes[0].set_xscale("symlog", linthresh=3)
    axes[0].set(xlabel="steps", ylabel="entropy", ylim=(-4, 6), title="Gaussian, 20 particles, from N(0, 6 I)")
    short = [row for row in parts["mixture"] if row["steps"] == "30"]
    draw_curves(axes[1], short, "dim", per_dimension=True)
    axes[1].set_xscale("log")
    axes[1].set(xlabel="dimensions", ylabel="entropy / d", ylim=(-7, 3), title="mixtures of four Gaussians, 30 steps")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=4)
    figure.savefig(path, dpi=120, bbox_inches="tight")
