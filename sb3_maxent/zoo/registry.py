"""
The registry: every algorithm of this package, and how rl_zoo3 comes to know it.

An algorithm is added here, with its folder, its hyperparameter file and its page. Every list of algorithms follows: in the
zoo's commands, ``compare``, ``robustness``, the tests, and the tables of the documentation.
"""

import argparse
import ast
import contextlib
import difflib
import functools
import importlib.util
import inspect
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_maxent import S2AC, SACNF, DiscreteSAC, MixtureSAC, SoftQLearning
from sb3_maxent.zoo import search_spaces

DISCRETE = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


@dataclass(frozen=True)
class Algorithm:
    """
    An algorithm of this package. Its zoo key is also the name of its hyperparameter file, ``hyperparams/<key>.yml``.

    :param algorithm: the class
    :param action_spaces: kinds of action that it takes
    :param sample_params: sampler of its hyperparameters for ``-optimize``, see ``search_spaces``
    :param page: name of its page in ``docs/modules`` and, where it has one, in ``docs/results``
    :param summary: what it is, in a few words, for tables
    :param extra: the extra that it needs beside SB3, ``None`` for none
    :param module: what cannot be imported without the extra, ``None`` for none
    """

    algorithm: type[BaseAlgorithm]
    action_spaces: tuple[type[spaces.Space], ...]
    sample_params: Callable[..., dict[str, Any]]
    page: str
    summary: str
    extra: str | None = None
    module: str | None = None


# By zoo key
ALGORITHMS: dict[str, Algorithm] = {
    "discretesac": Algorithm(
        DiscreteSAC,
        DISCRETE,
        search_spaces.sample_discretesac_params,
        page="discretesac",
        summary="soft actor-critic for discrete actions",
    ),
    "mixturesac": Algorithm(
        MixtureSAC,
        (spaces.Box,),
        search_spaces.sample_mixturesac_params,
        page="mixturesac",
        summary="soft actor-critic whose policy is a mixture of Gaussians with an exact density",
    ),
    "s2ac": Algorithm(
        S2AC,
        (spaces.Box,),
        search_spaces.sample_s2ac_params,
        page="s2ac",
        summary="actor-critic whose policy is an SVGD sampler with an entropy in closed form",
    ),
    "sacnf": Algorithm(
        SACNF,
        (spaces.Box,),
        search_spaces.sample_sacnf_params,
        page="sacnf",
        summary="soft actor-critic with a normalizing-flow policy",
        extra="flows",
        module="zuko",
    ),
    "sql": Algorithm(
        SoftQLearning,
        (spaces.Box, *DISCRETE),
        search_spaces.sample_sql_params,
        page="soft_q_learning",
        summary="soft Q-learning: energy-based policies, drawn by a network or, for discrete actions, a softmax",
    ),
}


# Kinds of action of the algorithms of SB3 and contrib that don't take all kinds
ACTIONS_OF_OTHERS: dict[str, tuple[type[spaces.Space], ...]] = {
    **dict.fromkeys(("crossq", "ddpg", "sac", "td3", "tqc"), (spaces.Box,)),
    **dict.fromkeys(("dqn", "qrdqn"), (spaces.Discrete,)),
    "ars": (spaces.Box, spaces.Discrete),
}


def fitting_actions(algo: str) -> tuple[type[spaces.Space], ...]:
    """
    :param algo: zoo key
    :return: the kinds of action that the algorithm takes
    """
    if algo in ALGORITHMS:
        return ALGORITHMS[algo].action_spaces
    return ACTIONS_OF_OTHERS.get(algo, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary))


def hyperparams_file(algo: str) -> Path | None:
    """
    Our hyperparameter file of an algorithm.

    :param algo: zoo key
    :return: the file of the installed package, or of the repository for an editable install, ``None`` without either
    """
    package = Path(__file__).parents[1]
    candidates = (folder / "hyperparams" / f"{algo}.yml" for folder in (package, package.parent))
    return next((file for file in candidates if file.is_file()), None)


def register() -> None:
    """
    Make the algorithms known to rl_zoo3, with their hyperparameter files and search spaces.

    May be called any number of times, and from a ``custom_envs.py`` while rl_zoo3 is being imported. Where
    ``rl_zoo3.exp_manager`` is the module that started this import, its class does not exist yet: the algorithms are
    then registered (enough for rl_zoo3's own scripts), but reading our hyperparameter files takes another call later.

    :raises ImportError: if rl_zoo3 is missing
    """
    try:
        from rl_zoo3 import ALGOS, exp_manager, hyperparams_opt
    except ImportError as error:
        raise ImportError(f'This needs the RL Zoo: pip install "sb3_maxent[zoo]" ({error})') from error

    for key, entry in ALGORITHMS.items():
        ALGOS[key] = entry.algorithm
        hyperparams_opt.HYPERPARAMS_SAMPLER[key] = entry.sample_params
        hyperparams_opt.HYPERPARAMS_CONVERTER[key] = search_spaces.convert_params

    manager = getattr(exp_manager, "ExperimentManager", None)
    if manager is not None and not hasattr(manager.read_hyperparameters, "knows_sb3_maxent"):
        # rl_zoo3 only looks into its own folders when there is no `-conf`
        folders = [folder / "hyperparams" for folder in list(Path(exp_manager.__file__).parents)[:2]]
        manager.read_hyperparameters = _reading_our_files(manager.read_hyperparameters, folders)
        manager.objective = _telling_the_steps(manager.objective)


def _reading_our_files(read_hyperparameters: Callable[[Any], Any], folders: list[Path]) -> Callable[[Any], Any]:
    """
    Which file a training reads its hyperparameters from:

    1. the user's (``-conf``), where given;
    2. rl_zoo3's own for the algorithm, where it has an entry for the environment's id;
    3. ours for the algorithm, where it has such an entry, or where rl_zoo3 has no file (as for our algorithms);
    4. rl_zoo3's own, for its ``atari`` or ``default``.

    Inside a file rl_zoo3 looks for the environment's id, then for ``atari`` if it is of Atari, else for ``default``.

    :param read_hyperparameters: the method of ``ExperimentManager``
    :param folders: where rl_zoo3 looks for files of its own
    :return: the method, with this rule, and with an error that says what to do where there are no hyperparameters
    """

    @functools.wraps(read_hyperparameters)
    def wrapped(self: Any) -> Any:
        env_id, config, ours = self.env_name.gym_id, Path(self.config), hyperparams_file(self.algo)
        if self.trial_id == 0:
            self.trial_id = _FirstTrial()
        if config.parent in folders and ours is not None:
            if not config.is_file() or (_has_entry(ours, env_id) and not _has_entry(config, env_id)):
                self.config = str(ours)
        try:
            return read_hyperparameters(self)
        except (KeyError, ValueError) as error:
            if error.args != ("atari",) and not str(error).startswith("Hyperparameters not found"):
                raise
            raise ValueError(
                f"Hyperparameters not found for {self.algo}-{env_id} in {self.config}. "
                "Write them into a file of your own and pass it with -conf FILE, for instance:\n"
                f"{env_id}:\n  n_timesteps: 20000\n  policy: MlpPolicy"
            ) from error

    wrapped.knows_sb3_maxent = True  # type: ignore[attr-defined]
    return wrapped


def _telling_the_steps(objective: Callable[[Any, Any], float]) -> Callable[[Any, Any], float]:
    """
    :param objective: the method of ``ExperimentManager`` that makes a trial of ``-optimize``
    :return: the method; the study then knows how long a trial trains, which rl_zoo3 tells no sampler
    """

    @functools.wraps(objective)
    def wrapped(self: Any, trial: Any) -> float:
        if trial.study.user_attrs.get(search_spaces.N_TIMESTEPS) != self.n_timesteps:
            trial.study.set_user_attr(search_spaces.N_TIMESTEPS, self.n_timesteps)
        return objective(self, trial)

    return wrapped


class _FirstTrial(int):
    """``--trial-id 0``, which rl_zoo3 2.9 would take for none: it asks whether the number is true."""

    def __bool__(self) -> bool:
        return True


def _has_entry(file: Path, env_id: str) -> bool:
    import yaml  # rl_zoo3's

    return env_id in yaml.safe_load(file.read_text())


def algorithms() -> list[str]:
    """
    The zoo keys of all algorithms that the zoo's commands know: rl_zoo3's and ours.

    :return: what ``--algo`` accepts
    """
    register()
    from rl_zoo3 import ALGOS

    return list(ALGOS)


def read_hyperparams(algo: str, env_id: str, conf: str | Path | None = None) -> dict[str, Any]:
    """
    What a training would read for this algorithm and environment, by rl_zoo3's own code: see ``_reading_our_files`` for
    the file.

    :param algo: zoo key
    :param env_id: id of a registered environment
    :param conf: what would be passed as ``-conf``
    :return: the entry of the file as it stands, before rl_zoo3 makes schedules and classes of its strings
    :raises ValueError: if there is no such algorithm, environment, or entry
    :raises FileNotFoundError: if ``conf`` is missing
    """
    for name, value, known in (("algorithm", algo, algorithms()), ("environment", env_id, list(gym.registry))):
        if value not in known:
            raise ValueError(f"There is no {name} {value!r}{did_you_mean(value, known)}")
    from rl_zoo3.exp_manager import ExperimentManager

    manager = ExperimentManager(argparse.Namespace(), algo, env_id, log_folder="", config=None if conf is None else str(conf))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints them
        return manager.read_hyperparameters()[0]


# What rl_zoo3 takes from a hyperparameter file for itself, beside the constructor's parameters
ZOO_HYPERPARAMS = (
    "callback",
    "env_kwargs",
    "env_wrapper",
    "frame_stack",
    "monitor_kwargs",
    "n_envs",
    "n_timesteps",
    "noise_std",
    "noise_type",
    "normalize",
    "vec_env_wrapper",
)


def unknown_hyperparams(algo: str, hyperparams: Mapping[str, Any]) -> list[str]:
    """
    :param algo: zoo key
    :param hyperparams: names and values, as in a hyperparameter file
    :return: a message for each name that neither rl_zoo3 nor the algorithm knows, and for each key of ``policy_kwargs`` that
        the policy does not know
    """
    register()
    from rl_zoo3 import ALGOS

    algorithm = ALGOS[algo]
    problems = _unknown("hyperparameter", hyperparams, [*_parameters_of(algorithm), *ZOO_HYPERPARAMS])
    policy = algorithm.policy_aliases.get(str(hyperparams.get("policy")))
    if policy is not None:
        names = _keys_of(hyperparams.get("policy_kwargs", {}))
        problems += _unknown("key of `policy_kwargs`", names, _parameters_of(policy))
    return problems


def _unknown(kind: str, names: Iterable[str], known: list[str]) -> list[str]:
    return [f"there is no {kind} {name!r}{did_you_mean(name, known)}" for name in names if name not in known]


def _parameters_of(cls: type) -> list[str]:
    """Names of the parameters of a constructor, and of those that it hands the rest of its arguments to"""
    names: list[str] = []
    for each in cls.__mro__:
        parameters = inspect.signature(each.__init__).parameters.values()  # type: ignore[misc]
        names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names


def _keys_of(value: Any) -> list[str]:
    """Keys of a dictionary, or of the Python expression of one, as in hyperparameter files; none where it is another"""
    if isinstance(value, Mapping):
        return list(value)
    try:
        expression = ast.parse(str(value), mode="eval").body
    except SyntaxError:
        return []
    if isinstance(expression, ast.Call) and getattr(expression.func, "id", "") == "dict":
        return [keyword.arg for keyword in expression.keywords if keyword.arg is not None]
    if isinstance(expression, ast.Dict):
        return [key.value for key in expression.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return []


def is_missing(conf: str | None) -> bool:
    """
    :param conf: what is passed as ``-conf``: a file, or a module
    :return: whether it names a file that is not there
    """
    return conf is not None and Path(conf).suffix in (".yml", ".yaml", ".py") and not Path(conf).is_file()


def missing_extra(algo: str) -> str:
    """
    :param algo: zoo key
    :return: what has to be installed for the algorithm, empty where all is there
    """
    entry = ALGORITHMS.get(algo)
    if entry is None or entry.module is None or importlib.util.find_spec(entry.module) is not None:
        return ""
    return f'{algo} needs {entry.module}: pip install "sb3_maxent[{entry.extra}]"'


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """
    :param name: what is not among them
    :param known: what is
    :return: the nearest ones for the end of a message, nothing where none is near
    """
    lower = {each.lower(): each for each in known}
    matches = difflib.get_close_matches(name.lower(), lower, n=3)
    return f", did you mean {' or '.join(repr(lower[match]) for match in matches)}?" if matches else ""
