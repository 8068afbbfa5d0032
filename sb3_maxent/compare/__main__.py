"""
Compare algorithms: ``python -m sb3_maxent.compare --algos s2ac sac --envs Pendulum-v1 --seeds 5 -n 20000``.

Exit status: 0 if all runs are finished, 1 if not, 2 for a command line that can't be carried out, 130 after Ctrl-C.
"""

import re
import shlex
import shutil
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sb3_maxent.compare.folder import (
    OTHERS,
    add_others,
    differences,
    differences_of_others,
    existing_settings,
    others,
    read_others,
    read_results,
    read_settings,
    report_settings,
    traces,
)
from sb3_maxent.compare.plan import parse, plan
from sb3_maxent.compare.runs import STOP, Outcome, Run, read_evaluations, shown, train, write, write_json
from sb3_maxent.reporting.command import run_command

# About what a run leaves behind, without checkpoints
BYTES_PER_RUN = 20e6
# How long a cluster may be without workers
PATIENCE_SECONDS = 300.0
CONNECT_SECONDS = 10.0
TICK_SECONDS = 1.0
GO_ON = "Finished runs are kept; the same command goes on with the others."


def main(argv: Sequence[str] | None = None) -> int:
    """
    :param argv: arguments of the command line
    :return: exit status
    """
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse(argv)

    def prepare_all() -> tuple[list[Run], Executor | None, Any]:
        # Before the runs: not after hours that a package for the report is missing
        from sb3_maxent.compare.report import write_report  # noqa: F401

        if arguments.report_only:
            read_settings(arguments.folder), read_others(arguments.results)  # refuse what is something else
            add_others(arguments.folder, arguments.results)
            existing_settings(arguments.folder)
            return [], None, None
        todo = prepare(arguments, argv)
        return todo, *(executor(arguments) if todo else (None, None))

    def execute_all(prepared: tuple[list[Run], Executor | None, Any]) -> int:
        todo, pool, client = prepared
        return execute(todo, len(todo) if client else arguments.n_jobs or 1, pool, client) if pool else 0

    def report() -> Path:
        from sb3_maxent.compare.report import write_report

        return write_report(arguments.folder, read_results(arguments.folder), report_settings(arguments.folder))

    return run_command("python -m sb3_maxent.compare", prepare_all, execute_all, report, GO_ON)


# ---------------------------------------------------------------------- before


def prepare(arguments: Namespace, argv: Sequence[str]) -> list[Run]:
    """
    :param arguments: of the command line
    :param argv: the same as they were given
    :return: the runs that are not finished
    :raises ValueError: if something is wrong with the command line, or with the folder
    :raises OSError: if the folder can't be written
    """
    everything, conf_copies = plan(arguments)
    folder = arguments.folder
    if lines := differences(folder, everything):
        what = "\n  ".join(lines)
        raise ValueError(
            f"{folder} was made with other settings:\n  {what}\nChoose another folder by -f, or go back to those."
        )
    if lines := differences_of_others(folder, arguments.results, everything):
        what, place = "\n  ".join(lines), shown(folder.resolve() / OTHERS)
        raise ValueError(
            f"runs of other comparisons (--results) have other settings:\n  {what}\n"
            f"Go back to those, or leave the file out, and remove it from {place}."
        )
    settings = _settings(arguments, argv, everything)
    folder.mkdir(parents=True, exist_ok=True)
    for copy, source in conf_copies.items():
        copy.parent.mkdir(exist_ok=True)
        write(copy, source.read_text())
    add_others(folder, arguments.results)
    write_json(folder / "settings.json", settings)

    elsewhere = {run.key for run in others(folder)}
    todo = [run for run in everything if not run.final_folder.exists() and run.key not in elsewhere]
    print(f"{len(everything)} run{'s' * (len(everything) > 1)} of {arguments.n_timesteps} steps in {folder}")
    if finished := [run for run in everything if run not in todo]:
        print(f"Finished already, skipped: {len(finished)} ({_names(finished)})")
    for run in todo:
        if attempts := run.attempts():
            print(f"Begun before, starts anew: {run}; what it left is in {shown(attempts[-1])}")
    free = shutil.disk_usage(folder).free
    if free < BYTES_PER_RUN * len(todo):
        print(f"Warning: only {free / 1e6:.0f} MB are free for {len(todo)} runs in {folder}")
    return todo


def _names(runs: Iterable[Run]) -> str:
    seeds: dict[str, list[str]] = {}
    for run in runs:
        seeds.setdefault(f"{run.label} on {run.env}", []).append(str(run.seed))
    return "; ".join(f"{name}: seed{'s' * (len(of) > 1)} {', '.join(of)}" for name, of in seeds.items())


def _settings(arguments: Namespace, argv: Sequence[str], everything: Sequence[Run]) -> dict[str, Any]:
    """
    :param arguments: of the command line
    :param argv: the same as they were given
    :param everything: the runs that are asked for
    :return: what is kept in the folder; of paths and addresses only what is the same on other machines
    """
    words = ["ADDRESS" if word == arguments.dask else re.sub(r"(?<![\w.-])/[^\s'\",=]*/(?=[^/])", "", word) for word in argv]
    asked = [list(run.key) for run in everything]
    variants = {run.variant: run.algo for run in everything if run.variant}
    return {
        "command": shlex.join(["python", "-m", "sb3_maxent.compare", *words]),
        **everything[0].settings,
        "seeds": f"{everything[0].seed} to {everything[-1].seed}",
        "n_jobs": "dask" if arguments.dask else arguments.n_jobs or 1,
        "variants": {**((read_settings(arguments.folder) or {}).get("variants", {})), **variants},
        # What an earlier command left unfinished does not vanish from the report because this one asks for less
        "runs": [*asked, *(run for run in traces(arguments.folder) if run not in asked)],
    }


def executor(arguments: Namespace) -> tuple[Executor, Any]:
    """
    :param arguments: of the command line
    :return: what makes the runs, and dask's client where a cluster does
    :raises ValueError: if there is no such cluster
    """
    if not arguments.dask:
        return ThreadPoolExecutor(arguments.n_jobs or 1), None
    from distributed import Client

    try:
        is_file = Path(arguments.dask).is_file()
        where = {"scheduler_file" if is_file else "address": arguments.dask}
        client = Client(**where, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"--dask {arguments.dask}: no dask scheduler answers there ({error})") from error
    # Not by joblib's backend for dask: where a run takes worker after worker down, it waits for ever (joblib 1.6)
    return client.get_executor(pure=False), client


# ---------------------------------------------------------------------- runs


def execute(todo: Sequence[Run], at_a_time: int, pool: Executor, client: Any) -> int:
    """
    Execute runs and say what becomes of each.

    :param todo: runs to execute, at least one
    :param at_a_time: how many the pool is given at the same time
    :param pool: executes them
    :param client: dask's, for a cluster
    :return: exit status
    """
    STOP.clear()
    # What a batch system sends before it kills
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    waiting = list(todo)
    futures: dict[Future, Run] = {}
    failed: list[Run] = []
    problem, interrupted = "", False
    workers_lost = WorkersLost(client)
    try:
        with tqdm(total=len(todo), unit="run", smoothing=0, disable=None) as bar:
            while (waiting or futures) and not problem:
                while waiting and len(futures) < at_a_time:
                    run = waiting.pop(0)
                    futures[pool.submit(train, run)] = run
                for future in wait(futures, TICK_SECONDS, FIRST_COMPLETED).done:
                    run = futures.pop(future)
                    outcome = _outcome(run, future)
                    if outcome.status == "failed":
                        failed.append(run)
                    ended = len(todo) - len(waiting) - len(futures)
                    tqdm.write(f"[{ended}/{len(todo)}] {run}: {outcome}", file=sys.stdout)
                    if outcome.disk_full:
                        waiting = []  # they would all fail; what is under way may still find room
                bar.n = round(len(todo) - len(waiting) - len(futures) + _under_way(list(futures.values())), 2)
                bar.refresh()
                problem = workers_lost()
    except KeyboardInterrupt:
        interrupted = True
        print("\nInterrupted: ending what is under way", flush=True)
    finally:
        STOP.set()
        for future in futures:
            future.cancel()
        if client is None or client.status != "closed":  # no scheduler is left then that could cancel anything
            pool.shutdown(wait=client is None)
        if client is not None:
            client.close()
        signal.signal(signal.SIGTERM, handler)

    missing = [run for run in todo if not run.final_folder.exists()]
    if not missing:
        print("All runs are finished.")
        return 0
    lines = [problem, f"Failed: {len(failed)} ({_names(failed)})" if failed else ""]
    if not_made := [run for run in missing if run not in failed]:
        lines.append(f"Not finished: {len(not_made)} ({_names(not_made)})")
    print("\n".join(filter(None, [*lines, GO_ON])), flush=True)
    return 130 if interrupted else 1


def _outcome(run: Run, future: Future) -> Outcome:
    """
    :param run: which
    :param future: of its training, done
    :return: what became of it, also where there was no chance to say it
    """
    try:
        return future.result()
    except CancelledError:
        return Outcome("interrupted", "the scheduler has gone")
    except Exception as error:  # of a worker: it died again and again, or has another version of this package
        message = f"{type(error).__name__}: {error}"
    with suppress(OSError):
        run.log.parent.mkdir(exist_ok=True)
        write(run.log, f"{message}\n")
    return Outcome("failed", message)


def _under_way(unfinished: Sequence[Run]) -> float:
    """
    :param unfinished: runs, under way or waiting
    :return: work done so far, in units of runs, by their latest evaluations
    """
    if not unfinished:
        return 0.0
    folder, session, n_timesteps = unfinished[0].folder, unfinished[0].session, unfinished[0].settings["n_timesteps"]
    latest = {attempt.name.rsplit("_", 2)[0]: attempt for attempt in sorted(folder.glob(f"unfinished/*_{session}"))}
    evaluated = [read_evaluations(run.training_folder(latest[run.name]))[0] for run in unfinished if run.name in latest]
    return sum(min(steps[-1] / n_timesteps, 1.0) for steps in evaluated if len(steps))


class WorkersLost:
    """
    Says when a cluster can't go on: its scheduler has gone, or it has been without workers for too long.

    :param client: dask's, ``None`` for this machine
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.seen = time.monotonic()

    def __call__(self) -> str:
        """
        :return: what to tell, empty while there are workers
        """
        # The futures tell that the scheduler has gone. One whose result was on its way then is never done, however.
        if self.client is not None and self.client.status == "closed":
            return "The scheduler has gone."
        try:
            present = self.client is None or self.client.status != "running" or self.client.ncores()
        except OSError:
            present = True  # it is the scheduler that has gone; the client closes if it does not come back
        if present:
            self.seen = time.monotonic()
        elif time.monotonic() - self.seen > PATIENCE_SECONDS:
            return f"The scheduler has had no worker for {PATIENCE_SECONDS:g} seconds."
        return ""


if __name__ == "__main__":
    sys.exit(main())
