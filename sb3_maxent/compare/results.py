"""What a comparison's runs left behind, as the report reads it, and as a CSV file."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

SUMMARY = ("mean_return", "std_return", "n_episodes")
COLUMNS = ("algo", "env", "seed", "status", "n_timesteps", "seconds", "step", *SUMMARY, "run")
# What may not differ between runs that are compared, wherever they are made; and what the runs of one folder share besides
EXPERIMENT = ("n_timesteps", "eval_freq", "eval_episodes")
SHARED = (*EXPERIMENT, "num_threads", "device")
# What the record of a run has in any case
RECORDED = {"algo", "env", "seed", *SHARED, "hyperparams", "versions", "machine"}


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
    :param returns: (E, K) undiscounted returns of the K episodes of each evaluation
    :param seconds: wall-clock time of the run, ``None`` where it did not finish
    :param num_timesteps: environment steps that it took in that time (PPO takes whole rollouts, so more than it was asked),
        ``None`` where that is not known
    :param record: how it was made, as its ``run.json`` has it: hyperparameters, versions, machine and more; ``None`` where
        that is not known
    """

    algo: str
    env: str
    seed: int
    n_timesteps: int
    status: Literal["finished", "unfinished", "failed", "missing"]
    steps: np.ndarray
    returns: np.ndarray
    seconds: float | None = None
    num_timesteps: int | None = None
    record: dict[str, Any] | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells a run of a comparison from the others"""
        return self.algo, self.env, self.seed

    @property
    def summary(self) -> np.ndarray:
        """(3, E) mean and standard deviation of the returns of each evaluation's episodes, and their number"""
        returns = np.asarray(self.returns, dtype=float)
        if len(returns) == 0:
            return np.empty((3, 0))
        return np.stack([returns.mean(axis=1), returns.std(axis=1), np.full(len(returns), returns.shape[1])])


@dataclass(frozen=True)
class SummarisedResult(Result):
    """
    A run of which only a CSV file is left: its ``returns`` are not known, (E, 0).

    :param of_file: the ``summary``

    The other parameters are those of :class:`Result`.
    """

    of_file: np.ndarray = field(kw_only=True)

    @property
    def summary(self) -> np.ndarray:
        """(3, E) mean and standard deviation of the returns of each evaluation's episodes, and their number"""
        return self.of_file


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """
    Write one row for each evaluation of each run; a run without one has a row, too. The first row of a finished run has its
    record, as JSON, in the column ``run``.

    :param path: the file
    :param results: the runs
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for run in results:
            seconds = "" if run.seconds is None else run.seconds
            start = [run.algo, run.env, run.seed, run.status, run.n_timesteps, seconds]
            record = "" if run.record is None else json.dumps(run.record)
            if len(run.steps) == 0:
                writer.writerow([*start, "", "", "", "", record])
            for step, mean, std, n_episodes in zip(run.steps, *run.summary, strict=True):
                writer.writerow([*start, int(step), float(mean), float(std), int(n_episodes), record])
                record = ""  # once is enough


def read_csv(path: Path) -> list[Result]:
    """
    :param path: what :func:`write_csv` wrote; older files have no column ``run``
    :return: the runs, in the order of the file
    :raises ValueError: if it is something else
    """
    runs: dict[tuple[str, ...], list[dict[str, str]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in ("run", *(reader.fieldnames or ()))]
            for row in reader if not missing else ():
                runs.setdefault(tuple(row[name] for name in ("algo", "env", "seed")), []).append(row)
        found = [_read_run(rows) for rows in runs.values()]
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    if missing:
        raise ValueError(f"{path} is no results.csv of a comparison: it has no column {', '.join(missing)}")
    return found


def _read_run(rows: Sequence[dict[str, str]]) -> Result:
    first = rows[0]
    key = first["algo"], first["env"], int(first["seed"])
    n_timesteps = int(first["n_timesteps"])
    seconds = float(first["seconds"]) if first["seconds"] else None
    evaluations = sorted((row for row in rows if row["step"]), key=lambda row: int(row["step"]))
    summary = [[float(row[name]) for row in evaluations] for name in SUMMARY]
    text = next((row["run"] for row in rows if row.get("run")), "")
    record = _read_record(text, *key, n_timesteps) if text else None
    return SummarisedResult(
        *key,
        n_timesteps,
        first["status"],  # type: ignore[arg-type]
        steps=np.array([int(row["step"]) for row in evaluations], dtype=int),
        returns=np.empty((len(evaluations), 0)),
        seconds=seconds,
        num_timesteps=record.get("num_timesteps") if record else None,
        record=record,
        of_file=np.array(summary),
    )


def _read_record(text: str, label: str, env: str, seed: int, n_timesteps: int) -> dict[str, Any]:
    """
    :param text: of the column ``run``
    :param label: what the file calls the algorithm; it, the environment, the seed and the steps of the file count
    :param env: environment id
    :param seed: the seed
    :param n_timesteps: environment steps that were asked for
    :return: the record
    :raises ValueError: if it is something else
    """
    record = json.loads(text)
    if not (isinstance(record, dict) and record.keys() >= RECORDED):
        raise ValueError(f"the column run must have {', '.join(sorted(RECORDED))}, not {text}")
    texts = [record["algo"], record["machine"], *dict(record["versions"]).values()]
    numbers = [record["eval_freq"], record["eval_episodes"], record.get("num_timesteps", 0)]
    if not (all(isinstance(each, str) for each in texts) and all(isinstance(each, int) for each in numbers)):
        raise ValueError(f"the column run must have names as text and steps as integers, not {text}")
    variant = label if label != record["algo"] else ""
    hyperparams = dict(record["hyperparams"])
    return {**record, "variant": variant, "env": env, "seed": seed, "n_timesteps": n_timesteps, "hyperparams": hyperparams}
