"""
Evaluate trained agents in perturbed worlds: ``python -m sb3_maxent.robustness -f logs --perturb observation_noise:0.1,0.2``.

Exit status: 0 if everything is evaluated, 1 if not, 2 for a command line that can't be carried out, 130 after Ctrl-C.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

from sb3_maxent.reporting.command import run_command
from sb3_maxent.robustness.evaluation import Job, outcomes
from sb3_maxent.robustness.plan import parse, plan
from sb3_maxent.robustness.table import SHARED, Row, append, mend, newest, read

GO_ON = "What is evaluated is kept; the same command goes on with the rest."


def main(argv: Sequence[str] | None = None) -> int:
    """
    :param argv: arguments of the command line
    :return: exit status
    """
    arguments = parse(argv)
    file = arguments.output / "results.csv"

    def prepare_all() -> list[Job]:
        # Before the evaluations: not after hours that a package for the report is missing
        from sb3_maxent.robustness.report import write_report  # noqa: F401

        return [] if arguments.report_only else prepare(arguments, file)

    def report() -> Path:
        from sb3_maxent.robustness.report import write_report

        return write_report(arguments.output)

    return run_command(
        "python -m sb3_maxent.robustness",
        prepare_all,
        lambda todo: execute(todo, arguments.n_jobs, file),
        report,
        GO_ON,
    )


def prepare(arguments: Namespace, file: Path) -> list[Job]:
    """
    :param arguments: of the command line
    :param file: the table
    :return: the evaluations that are not in it
    :raises ValueError: if something is wrong with the command line, or with the table
    :raises OSError: if the folder can't be written
    """
    jobs, rows = plan(arguments), newest(read(file))
    shared = {name: (getattr(rows[0], name), jobs[0].shared[name]) for name in SHARED} if rows else {}
    if lines := [f"{name} is {there} there and {now} now" for name, (there, now) in shared.items() if there != now]:
        raise ValueError("\n".join([f"{file} was made with other settings:", *lines, "Choose another folder by -o."]))
    file.parent.mkdir(parents=True, exist_ok=True)
    mend(file)

    there = {(row.agent, row.model, row.world) for row in rows}
    todo = [job for job in jobs if (job.agent.key, job.model, job.world) not in there]
    print(f"{len(jobs)} evaluations of {arguments.episodes} episodes; there already: {len(jobs) - len(todo)}")
    models = {row.agent: row.model for row in rows}
    for algo, env, exp_id, _ in sorted({job.agent.key for job in todo if models.get(job.agent.key, job.model) != job.model}):
        print(f"Another model than before, evaluated anew: {algo} on {env}, agent {exp_id}")
    return todo


def execute(todo: Sequence[Job], n_jobs: int, file: Path) -> int:
    """
    Evaluate, and keep and show each result as it comes.

    :param todo: evaluations to execute
    :param n_jobs: number of processes
    :param file: the table
    :return: exit status
    """
    missing = len(todo)
    try:
        with closing(outcomes(todo, n_jobs)) as results:
            for number, (job, result) in enumerate(results, 1):
                if isinstance(result, Row):
                    append(file, result)
                    missing -= 1
                    result = f"return {result.mean_return:.2f} +- {result.std_return:.2f}"
                print(f"[{number}/{len(todo)}] {job}: {result}", flush=True)
    except KeyboardInterrupt:
        print(f"\nInterrupted. {GO_ON}")
        return 130
    except BrokenProcessPool:
        print("A process was killed in the middle of an evaluation (which the system does where memory runs out).")
    if missing:
        print(f"Not evaluated: {missing}. {GO_ON}")
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
