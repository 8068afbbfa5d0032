"""
The command line of a comparison and the runs it asks for. What can be known to go wrong is found here, before any starts.
"""

import argparse
import ast
import hashlib
import importlib
import json
import re
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from sb3_maxent import zoo
from sb3_maxent.compare.folder import SHARED
from sb3_maxent.compare.runs import Run
from sb3_maxent.reporting.command import too_small

LEAST = {
    "seeds": 1,
    "first_seed": 0,
    "n_timesteps": 1,
    "n_jobs": 1,
    "eval_freq": 1,
    "eval_episodes": 1,
    "save_freq": 1,
    "num_threads": 1,
}
ITEM = re.compile(r"(?:(?P<algo>[^:=]+)=)?(?P<key>[^:=]+):(?P<value>.+)", re.DOTALL)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """
    :param arguments: of the command line
    :return: with the default of ``--eval-freq``, and each name once
    :raises SystemExit: with status 2 for what argparse finds
    """
    parser = argparse.ArgumentParser(
        prog="python -m sb3_maxent.compare",
        allow_abbrev=False,  # --seed, which is the seed in the zoo, is not --seeds
        description="Trains algorithms on environments with several seeds, each run as the RL Zoo trains it, and writes a "
        "report. The same command goes on after an interruption; more algorithms, environments, or seeds can be added.",
    )
    add = parser.add_argument
    add("--algos", nargs="+", default=[], metavar="ALGO", help="zoo keys: ours, SB3's, sb3-contrib's")
    add("--envs", nargs="+", default=[], metavar="ENV", help="ids of environments")
    add("--seeds", type=int, default=5, metavar="N", help="number of seeds (default: 5)")
    add("--first-seed", type=int, default=0, metavar="SEED", help="(default: 0)")
    add("-n", "--n-timesteps", type=int, metavar="N", help="environment steps of each run")
    add("-f", "--folder", type=Path, default=Path("runs/compare"), help="where everything goes (default: runs/compare)")
    add("--n-jobs", type=int, metavar="N", help="runs at the same time on this machine (default: 1)")
    add("--dask", metavar="ADDRESS", help="or scheduler file of a dask cluster that does the runs; all share the folder")
    add("--eval-freq", type=int, metavar="N", help="environment steps between evaluations (default: a tenth of -n)")
    add("--eval-episodes", type=int, default=10, metavar="N", help="episodes of each evaluation (default: 10)")
    add("--save-freq", type=int, metavar="N", help="environment steps between checkpoints (default: none)")
    add("--num-threads", type=int, default=1, metavar="N", help="PyTorch's, for each run (default: 1)")
    add("--device", default="auto", help="PyTorch's (default: auto)")
    add(
        *("-conf", "--conf-file"),
        nargs="+",
        default=[],
        metavar="[ALGO=]FILE",
        help="hyperparameters in place of the zoo's, for one algorithm or for all",
    )
    add(
        *("-params", "--hyperparams"),
        nargs="+",
        default=[],
        metavar="[ALGO=]KEY:VALUE",
        help="single hyperparameters, for one algorithm or for all",
    )
    add("--gym-packages", nargs="+", default=[], metavar="MODULE", help="modules that register environments")
    add("--report-only", action="store_true", help="write the report of what is in the folder (-f) and train nothing")
    parsed = parser.parse_args(arguments)

    parsed.algos, parsed.envs = list(dict.fromkeys(parsed.algos)), list(dict.fromkeys(parsed.envs))
    if not parsed.report_only:
        needed = {"--algos": parsed.algos, "--envs": parsed.envs, "-n": parsed.n_timesteps is not None}
        if not all(needed.values()):
            parser.error(f"missing: {', '.join(name for name, given in needed.items() if not given)}")
        if parsed.eval_freq is None:
            parsed.eval_freq = max(parsed.n_timesteps // 10, 1)
    return parsed


def plan(arguments: argparse.Namespace) -> tuple[list[Run], dict[Path, Path]]:
    """
    :param arguments: of the command line
    :return: all runs, those that are finished as well, seed by seed so that what is there early can be compared; and where
        in the folder hyperparameter files are to be copied from, so that editing them changes nothing for runs to come
    :raises ValueError: with a line for everything that is wrong
    """
    problems = [*_bad_numbers(arguments), *_missing_packages(arguments)]
    known = zoo.algorithms()
    for kind, names, registered in (("algorithm", arguments.algos, known), ("environment", arguments.envs, gym.registry)):
        problems += [
            f"there is no {kind} {name!r}{zoo.did_you_mean(name, registered)}" for name in names if name not in registered
        ]
    conf, conf_problems = _conf_files(arguments, known)
    overrides, override_problems = _overrides(arguments, known)
    problems += [*conf_problems, *override_problems]

    problems += filter(None, map(zoo.missing_extra, arguments.algos))

    hyperparams: dict[tuple[str, str], dict[str, Any]] = {}
    for env in (env for env in arguments.envs if env in gym.registry):
        for algo in (algo for algo in arguments.algos if algo in known and not zoo.is_missing(conf.get(algo))):
            try:
                hyperparams[algo, env] = _hyperparams(algo, env, conf.get(algo), overrides[algo])
            except Exception as error:  # the file may be Python
                file = f", {conf[algo]}" if algo in conf else ""
                problems.append(f"{algo} on {env}{file}: {error if isinstance(error, ValueError) else repr(error)}")
                continue
            unknown = zoo.unknown_hyperparams(algo, hyperparams[algo, env])
            # Once, where it is the same for all environments
            problems += [line for line in (f"{algo}: {each}" for each in unknown) if line not in problems]
        problems += _unfit_actions(env, {algo: values for (algo, id), values in hyperparams.items() if id == env})
    if problems:
        raise ValueError("\n".join(problems))

    folder = arguments.folder.resolve()
    settings = {name: getattr(arguments, name) for name in SHARED}
    session = uuid.uuid4().hex[:8]
    files = {algo: Path(file) for algo, file in conf.items() if Path(file).is_file()}
    # Each content has a name of its own: two commands on one folder may have different files
    copies = {
        algo: folder / "conf" / f"{algo}_{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}{file.suffix}"
        for algo, file in files.items()
    }
    extra = {algo: _extra(arguments, {**conf, **copies}.get(algo), overrides[algo]) for algo in arguments.algos}
    runs = [
        Run(folder, algo, env, seed, settings, hyperparams[algo, env], extra[algo], session)
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        for env in arguments.envs
        for algo in arguments.algos
    ]
    return runs, {copies[algo]: files[algo] for algo in files}


def _bad_numbers(arguments: argparse.Namespace) -> Iterable[str]:
    yield from too_small(arguments, LEAST)
    if arguments.eval_freq > arguments.n_timesteps > 0:
        yield f"--eval-freq must be at most -n ({arguments.n_timesteps}), not {arguments.eval_freq}: no run would be evaluated"
    if arguments.dask and arguments.n_jobs is not None:
        yield "--n-jobs is for this machine: with --dask the workers' threads say how many runs are made at the same time"


def _missing_packages(arguments: argparse.Namespace) -> Iterable[str]:
    for module in arguments.gym_packages:
        try:
            importlib.import_module(module)
        except Exception as error:  # of the user's own code
            yield f"--gym-packages {module}: {type(error).__name__}: {error}"


def _conf_files(arguments: argparse.Namespace, known: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """
    :param arguments: of the command line
    :param known: all algorithms
    :return: file or module of each algorithm that has one; what is wrong
    """
    of_algo, problems, for_all = {}, [], None
    for item in arguments.conf_file:
        algo, equals, file = item.partition("=")
        if not equals or Path(item).is_file():
            algo, file = "", item
        if algo and algo not in arguments.algos:
            problems.append(f"-conf {item}: {_not_compared(algo, arguments, known)}")
        if zoo.is_missing(file):
            problems.append(f"-conf {item}: there is no file {file}")
        if algo in of_algo or (not algo and for_all):
            problems.append(f"-conf {item}: there is another file for {algo or 'all algorithms'}")
        if algo:
            of_algo[algo] = file
        else:
            for_all = file
    return {**(dict.fromkeys(arguments.algos, for_all) if for_all else {}), **of_algo}, problems


def _overrides(arguments: argparse.Namespace, known: Sequence[str]) -> tuple[dict[str, list[re.Match[str]]], list[str]]:
    """
    :param arguments: of the command line
    :param known: all algorithms
    :return: the items of each algorithm, those for all first, as a later one counts; what is wrong
    """
    for_all, of_algo, problems = [], {algo: [] for algo in arguments.algos}, []  # type: ignore[var-annotated]
    for item in arguments.hyperparams:
        match = ITEM.fullmatch(item)
        if match is None:
            problems.append(f"--hyperparams {item}: KEY:VALUE or ALGO=KEY:VALUE is needed")
            continue
        try:
            compile(match["value"], item, "eval")  # rl_zoo3 evaluates it
        except SyntaxError:
            problems.append(f"--hyperparams {item}: {match['value']!r} is not a Python expression")
        if match["algo"] is None:
            for_all.append(match)
        elif match["algo"] in of_algo:
            of_algo[match["algo"]].append(match)
        else:
            problems.append(f"--hyperparams {item}: {_not_compared(match['algo'], arguments, known)}")
    return {algo: [*for_all, *own] for algo, own in of_algo.items()}, problems


def _not_compared(algo: str, arguments: argparse.Namespace, known: Sequence[str]) -> str:
    what = "is not among --algos" if algo in known else "is no algorithm"
    return f"{algo!r} {what}{zoo.did_you_mean(algo, arguments.algos)}"


def _unfit_actions(env_id: str, hyperparams: dict[str, dict[str, Any]]) -> Iterable[str]:
    """
    :param env_id: a registered environment
    :param hyperparams: of each algorithm that is to be trained on it
    :return: what is wrong with it
    """
    try:
        env = gym.make(env_id)
    except Exception as error:
        yield f"environment {env_id!r} can't be made: {type(error).__name__}: {error}"
        return
    for algo, values in hyperparams.items():
        fitting = zoo.fitting_actions(algo)
        changed = {"env_wrapper", "vec_env_wrapper", "env_kwargs"} & values.keys()
        if not changed and not isinstance(env.action_space, fitting):
            allowed = " or ".join(space.__name__ for space in fitting)
            yield f"{algo} on {env_id}: its actions are {env.action_space}, but {algo} needs {allowed}"
    env.close()


def _hyperparams(algo: str, env: str, conf: str | None, overrides: list[re.Match[str]]) -> dict[str, Any]:
    """
    :param algo: zoo key
    :param env: environment id
    :param conf: hyperparameter file or module, if not the zoo's
    :param overrides: single hyperparameters
    :return: what the training will use, as JSON can hold it, without any memory address
    :raises ValueError: if something is missing that rl_zoo3 needs
    """
    values = zoo.read_hyperparams(algo, env, conf)
    for match in overrides:
        try:
            values[match["key"]] = ast.literal_eval(match["value"])  # so that it equals the same number of a file
        except (ValueError, SyntaxError):
            values[match["key"]] = match["value"]
    if missing := {"policy", "n_timesteps"} - values.keys():
        raise ValueError(f"the hyperparameters have no {' and no '.join(sorted(missing))}, which rl_zoo3 needs")
    del values["n_timesteps"]  # it needs it, but -n counts

    def describe(value: Any) -> str:
        return getattr(value, "__qualname__", None) or type(value).__qualname__

    return json.loads(json.dumps(values, default=describe))


def _extra(arguments: argparse.Namespace, conf: Path | str | None, overrides: list[re.Match[str]]) -> tuple[str, ...]:
    """
    :param arguments: of the command line
    :param conf: hyperparameter file or module of an algorithm
    :param overrides: its single hyperparameters
    :return: arguments of its trainings beside those that all share
    """
    extra = []
    if arguments.save_freq is not None:
        extra += ["--save-freq", str(arguments.save_freq)]
    if conf is not None:
        extra += ["--conf-file", str(conf)]
    if overrides:
        extra += ["--hyperparams", *(f"{item['key']}:{item['value']}" for item in overrides)]
    if arguments.gym_packages:
        extra += ["--gym-packages", *arguments.gym_packages]
    return tuple(extra)
