"""What a comparison's runs left behind, as the report reads it, and as a CSV file."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

COLUMNS = ("algo", "env", "seed", "status", "n_timesteps", "seconds", "step", "mean_return", "std_return", "n_episodes")


@dataclass(frozen=True)
class Result:
    """
    One run: an algorithm on an environment with a seed.

    :param algo: zoo key, or name of a variant
    :param env: environment id
    :param seed: the seed
    :param n_timesteps: environment steps that were asked for
    :param status: ``"finished"``; ``"unfinished"`` (interrupted, or still under way), ``"failed"``, ``"missing"`` (not begun)
    :param steps: (E,) environment steps at which the agent was evaluated, increasing; E may be 0
    :param means: (E,) mean of the undiscounted returns of each evaluation's episodes
    :param stds: (E,) their standard deviation
    :param n_episodes: (E,) their number
    :param seconds: wall-clock time of the run, ``None`` where it did not finish
    :param num_timesteps: environment steps that it took in that time (PPO takes whole rollouts, so more than it was asked),
        ``None`` where that is not known
    """

    algo: str
    env: str
    seed: int
    n_timesteps: int
    status: Literal["finished", "unfinished", "failed", "missing"]
    steps: np.ndarray
    means: np.ndarray
    stds: np.ndarray
    n_episodes: np.ndarray
    seconds: float | None = None
    num_timesteps: int | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells a run of a comparison from the others"""
        return self.algo, self.env, self.seed


def of_episodes(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    :param returns: (E, K) undiscounted returns of the K episodes of each evaluation
    :return: their means, standard deviations and numbers, (E,) each
    """
    returns = np.asarray(returns, dtype=float)
    if len(returns) == 0:
        return np.empty(0), np.empty(0), np.empty(0, dtype=int)
    return returns.mean(axis=1), returns.std(axis=1), np.full(len(returns), returns.shape[1])


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """
    Write one row for each evaluation of each run; a run without one has a row, too.

    :param path: the file
    :param results: the runs
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for run in results:
            seconds = "" if run.seconds is None else run.seconds
            start = [run.algo, run.env, run.seed, run.status, run.n_timesteps, seconds]
            if len(run.steps) == 0:
                writer.writerow([*start, "", "", "", ""])
            for step, mean, std, n_episodes in zip(run.steps, run.means, run.stds, run.n_episodes, strict=True):
                writer.writerow([*start, int(step), float(mean), float(std), int(n_episodes)])


def read_csv(path: Path) -> list[Result]:
    """
    :param path: what :func:`write_csv` wrote
    :return: the runs, in the order of the file
    :raises ValueError: if it is something else
    """
    runs: dict[tuple[str, ...], list[dict[str, str]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or [])]:
            raise ValueError(f"{path} is no results.csv of a comparison: it has no column {', '.join(missing)}")
        for row in reader:
            runs.setdefault(tuple(row[name] for name in ("algo", "env", "seed")), []).append(row)
    try:
        return [_read_run(rows) for rows in runs.values()]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} can't be read: {error}") from error


def _read_run(rows: Sequence[dict[str, str]]) -> Result:
    first = rows[0]
    seconds = float(first["seconds"]) if first["seconds"] else None
    evaluations = [row for row in rows if row["step"]]

    def column(name: str, kind: type) -> np.ndarray:
        return np.array([kind(row[name]) for row in evaluations], dtype=kind)

    return Result(
        *(first["algo"], first["env"], int(first["seed"]), int(first["n_timesteps"])),
        first["status"],  # type: ignore[arg-type]
        *(column("step", int), column("mean_return", float), column("std_return", float), column("n_episodes", int)),
        seconds,
    )
