"""``python -m sb3_maxent.zoo COMMAND``: the commands of rl_zoo3, which know the algorithms of this package here."""

import argparse
import runpy
import subprocess
import sys
import warnings
from typing import Any

from sb3_maxent.zoo.hub import mend_hub
from sb3_maxent.zoo.registry import ALGORITHMS, did_you_mean, register

SCRIPTS = ("train", "enjoy", "benchmark", "record_video", "record_training", "load_from_hub", "push_to_hub")
PLOT_SCRIPTS = ("plot_train", "all_plots", "plot_from_file")
COMMANDS = {name: f"rl_zoo3.{name}" for name in SCRIPTS} | {name: f"rl_zoo3.plots.{name}" for name in PLOT_SCRIPTS}

_subprocess_call = subprocess.call


def _call(command: Any, *args: Any, **kwargs: Any) -> int:
    """
    In place of ``subprocess.call``: benchmark and record_training start other scripts of the RL Zoo
    (``python enjoy.py``, ``python -m rl_zoo3.record_video``), which have to know our algorithms, too.

    :param command: what to run
    :param args: as for ``subprocess.call``
    :param kwargs: as for ``subprocess.call``
    :return: exit status
    """
    ours = [sys.executable, "-m", "sb3_maxent.zoo"]
    match command:
        case ["python", "enjoy.py", *arguments]:
            command = [*ours, "enjoy", *arguments]
        case ["python", "-m", module, *arguments] if module in COMMANDS.values():
            command = [*ours, module.rpartition(".")[2], *arguments]
    return _subprocess_call(command, *args, **kwargs)


def main() -> None:
    """
    Run a command of rl_zoo3 with the arguments of this process.

    :raises SystemExit: with status 2 where there is no such command
    """
    parser = argparse.ArgumentParser(
        prog="python -m sb3_maxent.zoo",
        usage="%(prog)s COMMAND [ARGUMENTS ...]",
        description="Runs a command of rl_zoo3 that knows the algorithms of sb3_maxent. COMMAND --help shows its arguments.",
        epilog=f"Commands: {', '.join(COMMANDS)}. Algorithms of sb3_maxent: {', '.join(ALGORITHMS)}.",
    )
    parser.add_argument("command", metavar="COMMAND", nargs="?")
    command = parser.parse_args(sys.argv[1:2]).command
    if command not in COMMANDS:
        problem = "a command is missing" if command is None else f"there is no command {command!r}"
        parser.error(f"{problem}{did_you_mean(str(command), COMMANDS)}\nCommands: {', '.join(COMMANDS)}")

    register()
    subprocess.call = _call  # type: ignore[assignment]
    mend_hub()
    # The package of the plot scripts imports them, which runpy finds worth a warning
    warnings.filterwarnings("ignore", message=".*found in sys.modules after import of package", category=RuntimeWarning)
    del sys.argv[1]
    runpy.run_module(COMMANDS[command], run_name="__main__", alter_sys=True)
