"""``python -m sb3_maxent.zoo COMMAND``: the commands of rl_zoo3, which know the algorithms of this package here."""

import argparse
import importlib
import runpy
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from sb3_maxent.zoo.hub import mend_hub
from sb3_maxent.zoo.registry import (
    ALGORITHMS,
    algorithms,
    did_you_mean,
    fitting_actions,
    is_missing,
    missing_extra,
    register,
    unknown_hyperparams,
)

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


def problems_of_a_training(arguments: Sequence[str]) -> list[str]:
    """
    What is wrong with the arguments of ``train``, as far as it can be told before rl_zoo3 begins. It would show each by the
    traceback of some function.

    :param arguments: of the command line, without the command
    :return: a line for each mistake
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--algo", default="ppo")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("-conf", "--conf-file")
    parser.add_argument("-f", "--log-folder", default="logs")
    parser.add_argument("-params", "--hyperparams", nargs="+", default=[])
    parser.add_argument("--gym-packages", nargs="+", default=[])
    try:
        given = parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError:
        return []  # rl_zoo3's own parser says it
    problems = []
    if is_missing(given.conf_file):
        problems.append(f"-conf {given.conf_file}: there is no such file")
    if Path(given.log_folder).is_file():
        problems.append(f"-f {given.log_folder}: this is a file, and must be a folder")
    known = algorithms()
    if given.algo not in known:
        return problems  # rl_zoo3's own parser lists them
    if missing := missing_extra(given.algo):
        problems.append(missing)
    for module in given.gym_packages:
        try:
            importlib.import_module(module)
        except ImportError as error:
            problems.append(f"--gym-packages {module}: {error}")
    names = {item.partition(":")[0]: item.partition(":")[2] for item in given.hyperparams}
    problems += [f"--hyperparams: {problem}" for problem in unknown_hyperparams(given.algo, names)]
    if given.env not in gym.registry and ":" not in given.env:
        problems.append(f"there is no environment {given.env!r}{did_you_mean(given.env, gym.registry)}")
    elif not problems and given.algo in ALGORITHMS and not names.keys() & {"env_wrapper", "vec_env_wrapper", "env_kwargs"}:
        problems += _unfit_actions(given.algo, given.env)
    return problems


def _unfit_actions(algo: str, env_id: str) -> list[str]:
    try:
        env = gym.make(env_id)
    except Exception:
        return []  # with the arguments of the training it may be made; if not, the environment's own error is shown
    fitting, actions = fitting_actions(algo), env.action_space
    env.close()
    allowed = " or ".join(space.__name__ for space in fitting)
    return [] if isinstance(actions, fitting) else [f"{env_id}: its actions are {actions}, but {algo} needs {allowed}"]


def main() -> None:
    """
    Run a command of rl_zoo3 with the arguments of this process.

    :raises SystemExit: with status 2 where there is no such command, or where a training can't begin with its arguments
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
    if command == "train" and (problems := problems_of_a_training(sys.argv[2:])):
        print("\n".join(f"{parser.prog} train: error: {problem}" for problem in problems), file=sys.stderr)
        sys.exit(2)
    subprocess.call = _call  # type: ignore[assignment]
    mend_hub()
    # The package of the plot scripts imports them, which runpy finds worth a warning
    warnings.filterwarnings("ignore", message=".*found in sys.modules after import of package", category=RuntimeWarning)
    del sys.argv[1]
    runpy.run_module(COMMANDS[command], run_name="__main__", alter_sys=True)
