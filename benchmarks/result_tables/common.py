"""Reading the CSV files of benchmarks/data, the cells of tables, and the register of all tables."""

import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from sb3_maxent.reporting.statistics import summarise

DATA = Path(__file__).resolve().parents[1] / "data"

# Names of the algorithms by zoo key and label
SAC, DQN, S2AC, SACNF, SQL = ("sac", ""), ("dqn", ""), ("s2ac", ""), ("sacnf", ""), ("sql", "")
MIXTURE = ("mixturesac", "")
RADIAL, CONDITIONAL_RADIAL = ("sacnf", "radial"), ("sacnf", "conditional radial")
NAMES = {
    SAC: "SB3 SAC",
    DQN: "SB3 DQN",
    S2AC: "S2AC",
    SACNF: "SACNF, spline",
    MIXTURE: "MixtureSAC",
    SQL: "SoftQLearning",
    ("discretesac", ""): "DiscreteSAC",
    RADIAL: "SACNF, radial, not conditional (the paper's)",
    CONDITIONAL_RADIAL: "SACNF, radial",
}
ENVIRONMENTS = {"multigoal": "MultiGoal-v0", "multigoal-maxent": "MultiGoalMaxEnt-v0"}
MODES = {"bandit-3": "three modes", "bandit-4": "four modes"}
BASELINE = "SB3 SAC"

# A header, and lines of cells
Table = tuple[list[str], Iterable[Iterable[object]]]
TABLES: dict[str, Callable[[], str]] = {}


def table(function: Callable[[], Table]) -> Callable[[], str]:
    """Registers a function as the Markdown table of its name."""

    @functools.wraps(function)
    def markdown() -> str:
        header, lines = function()
        rows = [header, ["---"] * len(header), *lines]
        return "\n".join("|" + "".join(f" {cell} |" if cell != "" else " |" for cell in row) for row in rows)

    TABLES[function.__name__] = markdown
    return markdown


# ---------------------------------------------------------------------- reading


@functools.cache
def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


def read_file(name: str) -> pd.DataFrame:
    """All rows of a CSV file, whose name is given without its ending; empty cells are empty strings."""
    return _read(DATA / f"{name}.csv")


def read(name: str, **equal: object) -> pd.DataFrame:
    """
    Rows of a CSV file.

    :param name: of the file, without ending
    :param equal: values that columns have in these rows
    :raises ValueError: if there is no such row, so that no table has an average of nothing
    """
    rows = read_file(name)
    for column, value in equal.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        raise ValueError(f"{name}.csv has no row with {equal}")
    return rows


def final_returns(name: str, env: str, algo: str, **equal: object) -> np.ndarray:
    """Return at the last evaluation of each seed, in the order of the seeds."""
    rows = read(name, env=env, algo=algo, **equal)
    return rows.sort_values(["seed", "step"]).groupby("seed").mean_return.last().to_numpy()


def measures(name: str, task: str, key: tuple[str, str], **equal: object) -> pd.DataFrame:
    """What was measured of each seed: the JSON column of multimodal.csv and multigoal_probe.csv, as columns."""
    rows = read(name, task=task, algo=key[0], label=key[1].replace(" ", "-"), **equal).sort_values("seed")
    return pd.DataFrame([json.loads(text) for text in rows.measures], index=rows.seed)


# ---------------------------------------------------------------------- cells


def mean_and_range(values: Iterable[float], digits: int, unit: str = "") -> str:
    """``mean (lowest to highest)``."""
    values = np.asarray(list(values))
    mean, low, high = (f"{value:.{digits}f}" for value in (values.mean(), values.min(), values.max()))
    return f"{mean}{unit} ({low} to {high})"


def mean_and_std(values: Iterable[float], digits: int) -> str:
    """``mean ± standard deviation`` (that of the population)."""
    values = np.asarray(list(values), dtype=float)
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def over_seeds(values: np.ndarray, digits: int = 1, with_range: bool = True) -> str:
    """``mean ± standard deviation (lowest to highest, n seeds)``."""
    spread = f"{values.min():.{digits}f} to {values.max():.{digits}f}, " if with_range else ""
    return f"{mean_and_std(values, digits)} ({spread}{len(values)} seeds)"


def iqm_of(returns: np.ndarray, more: str = "", digits: int = 0) -> str:
    """``interquartile mean (its 95% interval)`` over seeds (N,), and more within the brackets; one seed has no interval."""
    iqm = summarise(returns[:, None])["IQM"]
    if len(returns) == 1:
        return f"{iqm.value:.{digits}f}"
    value, low, high = (f"{each:.{digits}f}" for each in (iqm.value, iqm.low, iqm.high))
    return f"{value} ({low} to {high}{more})"


def percent_range(shares: Iterable[Iterable[float]]) -> str:
    """The lowest and the highest of all shares."""
    flat = 100 * np.array([list(row) for row in shares])
    return f"{flat.min():.1f}% to {flat.max():.1f}%"


def seed_by_seed(shares: Iterable[Iterable[float]]) -> str:
    """Shares in whole per cent, seeds apart by semicolons."""
    return "; ".join(" ".join(f"{100 * share:.0f}" for share in row) for row in shares)
