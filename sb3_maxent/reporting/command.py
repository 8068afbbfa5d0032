"""The skeleton of a command that plans, executes what is not there yet, and writes a report."""

import errno
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
Todo = TypeVar("Todo")


def run_command(
    program: str,
    prepare: Callable[[], Todo],
    execute: Callable[[Todo], int],
    write_report: Callable[[], Path],
    go_on: str,
) -> int:
    """
    Run a command. Exit status: 0 if everything is done, 1 if not, 2 for a command line that can't be carried out, 130 after
    Ctrl-C.

    :param program: name of the command, for messages
    :param prepare: returns what is left to do; it raises ``ImportError``, ``ValueError`` or ``OSError`` where nothing can be
    :param execute: does it and returns the exit status
    :param write_report: writes the report of what is there and returns its path
    :param go_on: what the same command does after an error
    :return: exit status
    """
    try:
        todo = prepare()
    except ImportError as error:
        return _complain(program, f'{error}\nIs everything there? pip install "sb3_maxent[compare]"', 2)
    except ValueError as error:
        return _complain(program, str(error), 2)
    except OSError as error:
        return _complain(program, str(error), 1 if error.errno in DISK_FULL else 2)

    try:
        status = execute(todo)
        print(f"Report: {write_report()}")
    except (OSError, ValueError) as error:
        return _complain(program, f"{error}\n{go_on}", 1)
    except KeyboardInterrupt:
        return 130
    return status


def _complain(program: str, message: str, status: int) -> int:
    lines = message.splitlines()
    print("\n  ".join([f"{program}: error:", *lines]) if len(lines) > 1 else f"{program}: error: {message}", file=sys.stderr)
    return status


def too_small(arguments: Namespace, least: Mapping[str, int]) -> Iterator[str]:
    """
    :param arguments: of the command line
    :param least: lower bound of each number, by its name among the arguments
    :return: a line for each that is below its bound; one that is ``None`` was not given
    """
    for name, bound in least.items():
        value = getattr(arguments, name)
        if value is not None and value < bound:
            yield f"--{name.replace('_', '-')} must be at least {bound}, not {value}"
