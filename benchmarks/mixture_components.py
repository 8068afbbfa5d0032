"""
How many components should a mixture have? The fit on the bandits, the cost of a gradient step beside SB3's SAC, and returns on
HalfCheetah-v5, by the number of components, from the raw data::

    python benchmarks/mixture_components.py --figure docs/figures/mixturesac_components.svg
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from drawing import STYLE, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from result_tables.common import MODES, measures
from result_tables.modes import COMPONENTS, cheetah_returns, mixture_row
from result_tables.speed import median_ratio

from sb3_maxent.reporting.formatting import look
from sb3_maxent.reporting.looks import legend_of_panels


def dots(axes: Axes, values: list[np.ndarray], color: str) -> None:
    """A dot for each seed at each number of components."""
    for n, of_n in zip(COMPONENTS, values, strict=True):
        axes.plot([n] * len(of_n), of_n, ".", color=color, alpha=0.5)


def draw() -> Figure:
    """Three panels over the number of components. The lines of fit and return are means, the dots are seeds."""
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    fit, cost, task = figure.subplots(1, 3)
    for index, (bandit, modes) in enumerate(MODES.items()):
        values = [measures("mixture_components", bandit, ("mixturesac", f"k{n}")).kl for n in COMPONENTS]
        fit.plot(COMPONENTS, [of_n.mean() for of_n in values], label=f"MixtureBandit-v0, {modes}", **look(index))
        dots(fit, values, look(index)["color"])
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1]
    fit.set(ylabel="KL to the optimum, nats", yscale="log", yticks=ticks, yticklabels=ticks)
    for index, (ending, name) in enumerate((("", "eager"), (", compiled", "compiled")), start=2):
        cost.plot(
            COMPONENTS,
            [float(median_ratio(mixture_row(n) + ending)) for n in COMPONENTS],
            label=f"gradient step, {name}",
            **look(index),
        )
    cost.axhline(1, color="tab:gray", linewidth=0.8)
    cost.set(ylabel="cost, SB3's SAC = 1", ylim=(0, None))
    returns = [cheetah_returns(n) for n in COMPONENTS]
    task.plot(COMPONENTS, [of_n.mean() for of_n in returns], label="HalfCheetah-v5, 50,000 steps", **look(4))
    dots(task, returns, look(4)["color"])
    task.set(ylabel="mean return", ylim=(0, None))
    for axes in figure.axes:
        axes.set_xscale("log", base=2)
        axes.set(xlabel="components", xticks=COMPONENTS, xticklabels=COMPONENTS)
        axes.minorticks_off()
    handles = legend_of_panels(figure)
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=2)
    return figure


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    with mpl.rc_context(STYLE):
        save(draw(), args.figure, "MixtureSAC by its number of components: fit, cost and returns")


if __name__ == "__main__":
    main()
