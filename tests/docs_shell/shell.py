"""
Runs pages of the documentation: a process that has imported the libraries and forks for each command, because importing
them takes several times as long as most commands with small numbers. Of this package and of rl_zoo3 it imports nothing
itself, so that a page that forgets an import fails.

For each line of standard input, ``{"steps": [[language, code], ...], "folder": ..., "log": ...}``, it runs the steps in the
folder, appends what they print to the log, and answers with the number of steps that have succeeded. Blocks of Python
share one process and its names; a bash command is a process of its own.
"""

import importlib
import json
import multiprocessing
import os
import re
import runpy
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

# Dependencies of ours and of rl_zoo3
for module in (
    "torch.utils.tensorboard",
    "stable_baselines3",
    "sb3_contrib",
    "matplotlib.pyplot",
    "optuna",
    "seaborn",
    "huggingface_sb3",
):
    try:
        importlib.import_module(module)
    except ImportError:
        continue

FORK = multiprocessing.get_context("fork")
TIMEOUT = 600.0  # seconds, for what hangs
VARIABLE = re.compile(r"(\w+)=(.*)")
NEEDS_SHELL = re.compile(r"[|<>&;$*~`]|^PYTHONPATH=")
FOLDER = os.path.dirname(os.path.abspath(__file__))


def start(target: Callable[..., None], folder: str, log: str, *args: Any) -> Any:
    """A child that works in a folder and writes to a log."""

    def child() -> None:
        os.chdir(folder)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(file, stream)
        target(*args)

    process = FORK.Process(target=child)
    process.start()
    return process


def interpret(connection: Connection) -> None:
    """Execute what comes, and answer whether that succeeded."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    sys.path.insert(0, "")
    while True:
        code = connection.recv()
        try:
            exec(compile(code, "<a block of the page>", "exec"), namespace)
            succeeded = True
        except BaseException:
            traceback.print_exc()
            succeeded = False
        sys.stdout.flush()
        connection.send(succeeded)


def command(line: str) -> None:
    """Run a command: Python's modules and files here, if the line needs no shell, all else by bash."""
    words = shlex.split(line)
    while match := VARIABLE.fullmatch(words[0]):
        os.environ[match[1]] = match[2]
        del words[0]
    if words[0] != "python" or words[1] == "-c" or NEEDS_SHELL.search(line):
        # A path of its own comes before the one with our sitecustomize.py
        line = re.sub(r"^PYTHONPATH=(\S+)", rf"PYTHONPATH=\1:{FOLDER}", line)
        sys.exit(subprocess.run(["bash", "-c", line]).returncode)
    if words[1] == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = words[2:]
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(words[1])))
        sys.argv = words[1:]
        runpy.run_path(words[1], run_name="__main__")


def run_page(steps: list[tuple[str, str]], folder: str, log: str) -> int:
    """:return: how many steps have succeeded; those after the first that fails are not run"""
    ours, theirs = FORK.Pipe()
    interpreter = start(interpret, folder, log, theirs)
    theirs.close()
    done = 0
    for language, code in steps:
        if language == "python":
            ours.send(code)
            ended = ours.poll(TIMEOUT)
            try:
                succeeded = ended and ours.recv()
            except EOFError:  # it has died
                succeeded = False
        else:
            process = start(command, folder, log, code)
            process.join(TIMEOUT)
            ended = not process.is_alive()
            succeeded = process.exitcode == 0
            process.kill()
        if not ended:
            with open(log, "a") as file:
                file.write(f"No end after {TIMEOUT:.0f} seconds\n")
        if not succeeded:
            break
        done += 1
    interpreter.kill()
    interpreter.join()
    return done


if __name__ == "__main__":
    for request in sys.stdin:
        print(run_page(**json.loads(request)), flush=True)
