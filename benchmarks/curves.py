"""
Learning curves from the raw data of a comparison (``results.csv``), for the figures of the documentation::

    python benchmarks/curves.py --csv benchmarks/data/s2ac.csv --env Hopper-v5 HalfCheetah-v5 --figure curves.svg
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from drawing import STYLE, save
from matplotlib.figure import Figure
from tables import read

from sb3_maxent.compare.report import draw_learning_curves
from sb3_maxent.compare.results import Result
from sb3_maxent.compare.scores import Curve, learning_curve
from sb3_maxent.reporting.looks import legend_of_panels, rows_and_columns


def results_of(path: Path, env: str) -> dict[str, list[Result]]:
    """The runs on an environment by the algorithm's name. Older files have what tells its settings apart in ``label``."""
    runs: dict[tuple[str, int], list[dict[str, str]]] = {}
    for row in read(path):
        if row["env"] == env and row["step"]:
            runs.setdefault((f"{row['algo']} {row.get('label', '')}".strip(), int(row["seed"])), []).append(row)
    results: dict[str, list[Result]] = {}
    for (name, seed), rows in sorted(runs.items()):
        steps = np.array([int(row["step"]) for row in rows])
        returns = np.array([[float(row["mean_return"])] for row in rows])
        results.setdefault(name, []).append(Result(name, env, seed, int(steps[-1]), "finished", steps, returns))
    return results


def draw(path: Path, envs: list[str]) -> Figure:
    """A panel for each environment, a curve for each algorithm."""
    results = {env: results_of(path, env) for env in envs}
    names = list(dict.fromkeys(name for of_env in results.values() for name in of_env))
    n_rows, n_columns = rows_and_columns(len(envs))
    figure = Figure(figsize=(4.5 * n_columns, 3.4 * n_rows + 0.4), layout="constrained")
    for place, env in enumerate(envs, start=1):
        axes = figure.add_subplot(n_rows, n_columns, place)
        # An empty one keeps an algorithm's place, which is its colour
        nothing = (np.empty(0),) * 4
        curves = (
            learning_curve(results[env][name]) if name in results[env] else Curve(name, *nothing, 0, 0, ()) for name in names
        )
        draw_learning_curves(axes, list(curves))
        axes.set_title(env, loc="left")
    handles = legend_of_panels(figure)
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=4)
    return figure


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--env", nargs="+", required=True, help="environment ids")
    parser.add_argument("--figure", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    with mpl.rc_context(STYLE):
        save(draw(args.csv, args.env), args.figure, f"Learning curves on {', '.join(args.env)}")


if __name__ == "__main__":
    main()
