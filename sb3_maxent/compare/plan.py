"""
The command line of a comparison and the runs it asks for. What can be known to go wrong is found here, before any starts.
"""

import argparse
import importlib.util
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from sb3_maxent import zoo
from sb3_maxent.compare.entrants import Entrant, Items, is_literal, not_compared, read_entrants, read_items, values_of
from sb3_maxent.compare.folder import name_by_content
from sb3_maxent.compare.results import SHARED
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
    add(
        "--variant",
        nargs="+",
        default=[],
        metavar="NAME=ALGO,KEY:VALUE,...",
        help="an algorithm with hyperparameters of its own, under a name of its own",
    )
    add("--envs", nargs="+", default=[], metavar="ENV", help="ids of environments")
    add(
        "--env-kwargs",
        nargs="+",
        default=[],
        metavar="[ENV=]KEY:VALUE",
        help="arguments of the environments, for one of them or for all",
    )
    add("--seeds", type=int, default=5, metavar="N", help="number of seeds (default: 5)")
    add("--first-seed", type=int, default=0, metavar="SEED", help="(default: 0)")
    add("-n", "--n-timesteps", type=int, metavar="N", help="environment steps of each run")
    add("-f", "--folder", type=Path, default=Path("runs/compare"), help="where everything goes (default: runs/compare)")
    add(
        "--results",
        nargs="+",
        default=[],
        type=Path,
        metavar="CSV",
        help="results.csv of other comparisons: their finished runs are not made again, and are in the report",
    )
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
    add("--track", action="store_true", help="track each run with Weights and Biases, by the zoo's own option")
    add("--wandb-project-name", metavar="NAME", help="the project there (default: the zoo's)")
    add("--wandb-entity", metavar="NAME", help="the team there")
    add("--wandb-tags", nargs="+", default=[], metavar="TAG", help="tags of the runs there")
    add("--gym-packages", nargs="+", default=[], metavar="MODULE", help="modules that register environments")
    add("--report-only", action="store_true", help="write the report of what is in the folder (-f) and train nothing")
    parsed = parser.parse_args(arguments)

    parsed.algos, parsed.envs = list(dict.fromkeys(parsed.algos)), list(dict.fromkeys(parsed.envs))
    if not parsed.report_only:
        needed = {"--algos": parsed.algos or parsed.variant, "--envs": parsed.envs, "-n": parsed.n_timesteps is not None}
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
    entrants, variant_problems = read_entrants(arguments.algos, arguments.variant)
    algos = list(dict.fromkeys(entrant.algo for entrant in entrants))
    for kind, names, registered in (("algorithm", algos, known), ("environment", arguments.envs, gym.registry)):
        problems += [
            f"there is no {kind} {name!r}{zoo.did_you_mean(name, registered)}" for name in names if name not in registered
        ]
    conf, conf_problems = _conf_files(arguments.conf_file, algos, known)
    overrides, override_problems = read_items("--hyperparams", arguments.hyperparams, "ALGO", algos, known)
    env_kwargs, kwargs_problems = read_items("--env-kwargs", arguments.env_kwargs, "ENV", arguments.envs, list(gym.registry))
    problems += [*variant_problems, *conf_problems, *override_problems, *kwargs_problems]
    problems += [
        f"--env-kwargs {item[0]}: {item['value']!r} must be a Python literal"
        for item in dict.fromkeys(item for items in env_kwargs.values() for item in items)
        if not is_literal(item["value"])
    ]
    problems += filter(None, map(zoo.missing_extra, algos))
    problems += [f"--results {file}: there is no such file" for file in arguments.results if not file.is_file()]
    overrides = {entrant.label: [*overrides[entrant.algo], *entrant.items] for entrant in entrants}
    if any(item["key"] == "env_kwargs" for items in overrides.values() for item in items):
        problems.append("env_kwargs is no hyperparameter here: --env-kwargs KEY:VALUE also reaches the evaluations")

    hyperparams: dict[tuple[str, str], dict[str, Any]] = {}
    for env in (env for env in arguments.envs if env in gym.registry):
        for entrant in (each for each in entrants if each.algo in known and not zoo.is_missing(conf.get(each.algo))):
            algo, label = entrant.algo, entrant.label
            try:
                hyperparams[label, env] = _hyperparams(algo, env, conf.get(algo), overrides[label], env_kwargs[env])
            except Exception as error:  # the file may be Python
                file = f", {conf[algo]}" if algo in conf else ""
                problems.append(f"{label} on {env}{file}: {error if isinstance(error, ValueError) else repr(error)}")
                continue
            unknown = zoo.unknown_hyperparams(algo, hyperparams[label, env])
            # Once, where it is the same for all environments
            problems += [line for line in (f"{label}: {each}" for each in unknown) if line not in problems]
        of_env = {each: hyperparams[each.label, env] for each in entrants if (each.label, env) in hyperparams}
        problems += _unfit_actions(env, values_of(env_kwargs[env]), of_env)
    if problems:
        raise ValueError("\n".join(problems))

    folder = arguments.folder.resolve()
    settings = {name: getattr(arguments, name) for name in SHARED}
    session = uuid.uuid4().hex[:8]
    files = {algo: Path(file) for algo, file in conf.items() if Path(file).is_file()}
    # Each content has a name of its own: two commands on one folder may have different files
    copies = {algo: folder / "conf" / name_by_content(algo, file, file.suffix) for algo, file in files.items()}

    def run(entrant: Entrant, env: str, seed: int) -> Run:
        of_run = hyperparams[entrant.label, env]
        extra = _extra(arguments, entrant, {**conf, **copies}.get(entrant.algo), overrides[entrant.label], of_run)
        return Run(folder, entrant.algo, env, seed, settings, of_run, extra, session, entrant.variant)

    runs = [
        run(entrant, env, seed)
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        for env in arguments.envs
        for entrant in entrants
    ]
    return runs, {copies[algo]: files[algo] for algo in files}


def _bad_numbers(arguments: argparse.Namespace) -> Iterable[str]:
    yield from too_small(arguments, LEAST)
    if arguments.eval_freq > arguments.n_timesteps > 0:
        yield f"--eval-freq must be at most -n ({arguments.n_timesteps}), not {arguments.eval_freq}: no run would be evaluated"
    if arguments.dask and arguments.n_jobs is not None:
        yield "--n-jobs is for this machine: with --dask the workers' threads say how many runs are made at the same time"


def _missing_packages(arguments: argparse.Namespace) -> Iterable[str]:
    if arguments.track and importlib.util.find_spec("wandb") is None:
        yield "--track needs wandb: pip install wandb"
    for module in arguments.gym_packages:
        try:
            importlib.import_module(module)
        except Exception as error:  # of the user's own code
            yield f"--gym-packages {module}: {type(error).__name__}: {error}"


def _conf_files(given: Sequence[str], algos: Sequence[str], known: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """
    :param given: with ``-conf``
    :param algos: of the comparison
    :param known: all algorithms
    :return: file or module of each algorithm that has one; what is wrong
    """
    of_algo, problems, for_all = {}, [], None
    for item in given:
        algo, equals, file = item.partition("=")
        if not equals or Path(item).is_file():
            algo, file = "", item
        if algo and algo not in algos:
            problems.append(f"-conf {item}: {not_compared(algo, algos, known)}")
        if zoo.is_missing(file):
            problems.append(f"-conf {item}: there is no file {file}")
        if algo in of_algo or (not algo and for_all):
            problems.append(f"-conf {item}: there is another file for {algo or 'all algorithms'}")
        if algo:
            of_algo[algo] = file
        else:
            for_all = file
    return {**(dict.fromkeys(algos, for_all) if for_all else {}), **of_algo}, problems


def _unfit_actions(env_id: str, kwargs: Mapping[str, Any], hyperparams: Mapping[Entrant, Mapping[str, Any]]) -> Iterable[str]:
    """
    :param env_id: a registered environment
    :param kwargs: of the command line, for the environment
    :param hyperparams: of each entrant that is to be trained on it
    :return: what is wrong with it
    """
    try:
        env = gym.make(env_id, **kwargs)
    except Exception as error:
        yield f"environment {env_id!r} can't be made: {type(error).__name__}: {error}"
        return
    for entrant, values in hyperparams.items():
        fitting = zoo.fitting_actions(entrant.algo)
        changed = {"env_wrapper", "vec_env_wrapper", *([] if kwargs else ["env_kwargs"])} & values.keys()
        if not changed and not isinstance(env.action_space, fitting):
            allowed = " or ".join(space.__name__ for space in fitting)
            yield f"{entrant.label} on {env_id}: its actions are {env.action_space}, but {entrant.algo} needs {allowed}"
    env.close()


def _hyperparams(algo: str, env: str, conf: str | None, overrides: Items, env_kwargs: Items) -> dict[str, Any]:
    """
    :param algo: zoo key
    :param env: environment id
    :param conf: hyperparameter file or module, if not the zoo's
    :param overrides: single hyperparameters
    :param env_kwargs: of the command line, in place of the file's
    :return: what the training will use, as JSON can hold it, without any memory address
    :raises ValueError: if something is missing that rl_zoo3 needs
    """
    values = {**zoo.read_hyperparams(algo, env, conf), **values_of(overrides)}
    if env_kwargs:
        values["env_kwargs"] = values_of(env_kwargs)
    if missing := {"policy", "n_timesteps"} - values.keys():
        raise ValueError(f"the hyperparameters have no {' and no '.join(sorted(missing))}, which rl_zoo3 needs")
    del values["n_timesteps"]  # it needs it, but -n counts

    def describe(value: Any) -> str:
        return getattr(value, "__qualname__", None) or type(value).__qualname__

    return json.loads(json.dumps(values, default=describe))


def _extra(
    arguments: argparse.Namespace,
    entrant: Entrant,
    conf: Path | str | None,
    overrides: Items,
    hyperparams: Mapping[str, Any],
) -> tuple[str, ...]:
    """
    :param arguments: of the command line
    :param entrant: which
    :param conf: its hyperparameter file or module
    :param overrides: its single hyperparameters
    :param hyperparams: all of them, for the environment
    :return: arguments of its trainings beside those that all share
    """
    extra = []
    if arguments.save_freq is not None:
        extra += ["--save-freq", str(arguments.save_freq)]
    if conf is not None:
        extra += ["--conf-file", str(conf)]
    if overrides:
        extra += ["--hyperparams", *(f"{item['key']}:{item['value']}" for item in overrides)]
    if isinstance(kwargs := hyperparams.get("env_kwargs"), dict) and kwargs:
        # Also those of a file: rl_zoo3 doesn't pass them on to the environment of the evaluations
        extra += ["--env-kwargs", *(f"{key}:{value!r}" for key, value in kwargs.items())]
    if arguments.gym_packages:
        extra += ["--gym-packages", *arguments.gym_packages]
    if arguments.track:
        extra += ["--track", "--wandb-group", entrant.label]
        named = {"--wandb-project-name": arguments.wandb_project_name, "--wandb-entity": arguments.wandb_entity}
        extra += [word for option, value in named.items() if value for word in (option, value)]
        extra += ["--wandb-tags", *arguments.wandb_tags] if arguments.wandb_tags else []
    return tuple(extra)
