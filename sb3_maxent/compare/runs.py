"""
One run of a comparison: the RL Zoo's training in a process of its own, and where it lies.

A run trains in a folder of its own, ``unfinished/<name>_<env>_seed<seed>_<time>_<session>/``. When it is complete it is
moved to where rl_zoo3 would have put it, ``<algo>/<env>_<seed + 1>/``, a variant's to ``variants/<name>/<algo>/...``, by one
atomic rename: a run that lies there is finished, and nothing else marks it. So nothing has to be repaired after a kill at any
moment, and where two processes train the same run the second one to finish is discarded.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sb3_maxent.reporting.command import DISK_FULL
from sb3_maxent.reporting.versions import machine, versions
from sb3_maxent.zoo import VARIANTS

# Starts a training; the arguments of the zoo's command follow
LAUNCHER = [sys.executable, "-m", "sb3_maxent.compare.child"]
POLL_SECONDS = 0.2

# Set when the trainings of this process have to end. Tasks of a dask worker learn it from the worker.
STOP = threading.Event()


@dataclass(frozen=True)
class Run:
    """
    :param folder: the comparison's folder, absolute
    :param algo: zoo key
    :param env: environment id
    :param seed: the seed
    :param settings: what all runs of the comparison share, see ``results.SHARED``
    :param hyperparams: the algorithm's hyperparameters for this environment, as JSON can hold them
    :param arguments: for the zoo's training, beside those that follow from the above
    :param session: marks the folders of runs that are under way as those of one call of the command
    :param variant: name of these settings of the algorithm, empty for the zoo's
    """

    folder: Path
    algo: str
    env: str
    seed: int
    settings: dict[str, Any]
    hyperparams: dict[str, Any]
    arguments: tuple[str, ...] = ()
    session: str = "0"
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.label} on {self.env}, seed {self.seed}"

    @property
    def label(self) -> str:
        """What the report calls the algorithm"""
        return self.variant or self.algo

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the other runs of a comparison"""
        return self.label, self.env, self.seed

    @property
    def name(self) -> str:
        return f"{self.label}_{self.env_name}_seed{self.seed}"

    @property
    def env_name(self) -> str:
        """The environment in names of files, as rl_zoo3 has it"""
        return self.env.replace("/", "-")

    @property
    def final_folder(self) -> Path:
        """Where the run lies when it is finished; rl_zoo3 counts from 1"""
        folder = self.folder / VARIANTS / self.variant if self.variant else self.folder
        return folder / self.algo / f"{self.env_name}_{self.seed + 1}"

    @property
    def log(self) -> Path:
        """What the process printed, where the run failed"""
        return self.folder / "failed" / f"{self.name}.log"

    def training_folder(self, attempt: Path) -> Path:
        """
        :param attempt: the run's folder in ``unfinished/``
        :return: where rl_zoo3 writes the agent, the evaluations, and the checkpoints
        """
        return attempt / self.algo / f"{self.env_name}_1"

    def attempts(self) -> list[Path]:
        """
        :return: folders of the run in ``unfinished/``, the oldest first
        """
        folders = self.folder.glob("unfinished/*")
        return sorted(path for path in folders if path.name.startswith(f"{self.name}_"))

    def command(self, folder: Path) -> list[str]:
        """
        :param folder: where rl_zoo3 writes
        :return: the zoo's training, beginning with the name of its command
        """
        options = {
            "--algo": self.algo,
            "--env": self.env,
            "--seed": self.seed,
            "--n-timesteps": self.settings["n_timesteps"],
            "--eval-freq": self.settings["eval_freq"],
            "--eval-episodes": self.settings["eval_episodes"],
            "--num-threads": self.settings["num_threads"],
            "--device": self.settings["device"],
            "--log-folder": folder,
        }
        return ["train", *(str(part) for option in options.items() for part in option), *self.arguments]


@dataclass(frozen=True)
class Outcome:
    """
    What became of a run.

    :param status: ``"interrupted"`` where it was told to end
    :param message: what else there is to say
    :param disk_full: whether that is why it failed
    """

    status: Literal["finished", "failed", "interrupted"]
    message: str = ""
    disk_full: bool = False

    def __str__(self) -> str:
        disk = "\n    The disk is full." if self.disk_full else ""
        return (f"{self.status}: {self.message}" if self.message else self.status) + disk


def train(run: Run) -> Outcome:
    """
    Train a run to its end. Called in a thread of the comparison's process or on a dask worker.

    :param run: which
    :return: what became of it; errors are told by this, too
    """
    abandoned = _abandoned()
    try:
        return _train(run, abandoned)
    except OSError as error:
        return Outcome("failed", str(error), error.errno in DISK_FULL)


def _train(run: Run, abandoned: Callable[[], bool]) -> Outcome:
    if not (run.folder / "settings.json").is_file():
        return Outcome(
            "failed", f"{run.folder} is not there: all workers need the folder of the comparison under the same path"
        )
    if run.final_folder.exists():
        return Outcome("finished", "by another process")

    attempt = run.folder / "unfinished" / f"{run.name}_{datetime.now():%Y%m%d-%H%M%S-%f}_{run.session}"
    attempt.mkdir(parents=True)
    run.log.unlink(missing_ok=True)  # of an attempt before this one
    environment = {**os.environ, "OMP_NUM_THREADS": str(run.settings["num_threads"]), "PYTHONUNBUFFERED": "1"}
    with (
        (attempt / "log.txt").open("wb") as log,
        # A session of its own: Ctrl-C in the terminal would make rl_zoo3 save a half-trained agent as if it were finished
        subprocess.Popen(
            [*LAUNCHER, *run.command(attempt)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        ) as process,
    ):
        status = None
        try:
            while status is None and not abandoned():
                try:
                    status = process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    pass
        finally:
            process.kill()  # for nothing where it ended by itself
    end = time.time()
    if status is None:
        _tidy(attempt)
        return Outcome("interrupted")

    folder = run.training_folder(attempt)
    problem, data = _check(run, folder) if status == 0 else (_ended(status), {})
    if problem:
        return _failed(run, attempt, problem)
    # Without the start of Python, by SB3's own record of when learning began
    record = {**_record(run), "num_timesteps": data["num_timesteps"], "seconds": end - data["start_time"] / 1e9}
    write_json(folder / "run.json", record)
    (attempt / "log.txt").rename(folder / "log.txt")
    return _publish(run, attempt)


def _check(run: Run, folder: Path) -> tuple[str, dict[str, Any]]:
    """
    rl_zoo3 saves the agent and exits with 0 also when training was interrupted.

    :param run: which
    :param folder: where rl_zoo3 wrote
    :return: what is missing, empty if the run is complete; what SB3 saved with the agent
    """
    try:
        with zipfile.ZipFile(folder / f"{run.env_name}.zip") as agent:
            data = json.loads(agent.read("data"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        return f"it left no agent that can be read ({error})", {}
    n_timesteps, eval_freq, n_envs = run.settings["n_timesteps"], run.settings["eval_freq"], data["n_envs"]
    if data["num_timesteps"] < n_timesteps:
        return f"it ended after {data['num_timesteps']} of {n_timesteps} steps", data
    steps, _ = read_evaluations(folder)
    if len(steps) == 0 or steps[-1] + max(eval_freq // n_envs, 1) * n_envs <= data["num_timesteps"]:
        return "its last evaluation is missing", data
    return "", data


def _ended(status: int) -> str:
    """
    :param status: exit status of a process, other than 0
    :return: in words
    """
    if status > 0:
        return f"exit status {status}"
    hint = " (which the system sends where memory runs out)" if status == -signal.SIGKILL else ""
    return f"killed by signal {-status}{hint}"


def _failed(run: Run, attempt: Path, problem: str) -> Outcome:
    run.log.parent.mkdir(exist_ok=True)
    log = (attempt / "log.txt").rename(run.log)
    lines = log.read_text(errors="replace").splitlines()[-8:]
    _tidy(attempt)
    full = disk_is_full(run.folder) or any(os.strerror(number) in line for number in DISK_FULL for line in lines)
    return Outcome("failed", "\n    ".join([f"{problem}; the end of {shown(log)}:", *lines]), full)


def _publish(run: Run, attempt: Path) -> Outcome:
    run.final_folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        run.training_folder(attempt).rename(run.final_folder)
        outcome = Outcome("finished")
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        outcome = Outcome("finished", "another process was first; what was trained here a second time is discarded")
    shutil.rmtree(attempt, ignore_errors=True)
    return outcome


def _tidy(attempt: Path) -> None:
    """
    Remove what an attempt left behind if nothing was trained.

    :param attempt: a run's folder in ``unfinished/``
    """
    if not any((*attempt.rglob("*.zip"), *attempt.rglob("evaluations.npz"))):
        shutil.rmtree(attempt, ignore_errors=True)


def _abandoned() -> Callable[[], bool]:
    """
    :return: says whether nobody waits for this thread's run any more
    """
    distributed = sys.modules.get("distributed")
    try:
        worker = distributed.get_worker()  # type: ignore[union-attr]
    except (AttributeError, ValueError):  # not on a worker
        return STOP.is_set
    task = worker.state.tasks[worker.get_current_task()]
    # A task that runs can't be stopped from outside, but the worker is told when the client has gone
    return lambda: task.state == "cancelled"


# ---------------------------------------------------------------------- files


def _record(run: Run) -> dict[str, Any]:
    """
    :param run: which
    :return: what it was, and on what kind of machine
    """
    return {
        "algo": run.algo,
        "variant": run.variant,
        "env": run.env,
        "seed": run.seed,
        **run.settings,
        "hyperparams": run.hyperparams,
        "versions": versions(),
        "machine": machine(),
    }


def read_evaluations(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """
    :param folder: where rl_zoo3 writes, or the place of a finished run
    :return: (E,) environment steps and (E, K) returns of K episodes; E = 0 where there is nothing, or half a file
    """
    try:
        with np.load(folder / "evaluations.npz") as evaluations:
            return evaluations["timesteps"], evaluations["results"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return np.empty(0, dtype=np.int64), np.empty((0, 0))


def write(path: Path, text: str) -> None:
    """
    Write a file at once or not at all.

    :param path: which
    :param text: what
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """
    :param path: which
    :param content: what, all or nothing of it
    """
    write(path, json.dumps(content, indent=2) + "\n")


def disk_is_full(folder: Path) -> bool:
    """
    :param folder: where
    :return: whether less than one megabyte is left
    """
    return shutil.disk_usage(folder).free < 1e6


def shown(path: Path) -> Path:
    """
    :param path: absolute
    :return: relative to the working folder where it lies there
    """
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
